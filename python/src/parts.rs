//! Jobs that several programs do together: one's part, how far all are, and the output of what they did.

use picsift::cli::Command;
use picsift::dataset::Manifest;
use picsift::error::AppError;
use picsift::label::LabelJob;
use picsift::label::shared::{self, Outcome, SharedJob};
use picsift::requests;
use pyo3::prelude::*;

use crate::arguments::{host, parse};
use crate::errors::{Kind, error, raise, warn};
use crate::jobs::{Labelled, labelled, unexpected, unless_stopped};
use crate::watch::attended;

/// What a part gives: the output, and either what was published or how many units of how many are done.
type Done = (String, Option<Labelled>, usize, usize);

/// `picsift label --shard` and `--workers-share`. Ctrl-C as in `label`.
#[pyfunction]
pub(crate) fn part(
    py: Python<'_>,
    words: Vec<String>,
    categories: Vec<String>,
    progress: Option<Bound<'_, PyAny>>,
) -> PyResult<Done> {
    let Command::Label(mut args) = parse(words)? else {
        return Err(unexpected());
    };
    args.categories.categories = categories;
    let Some(share) = args.share.share() else {
        return Err(raise(
            Kind::Input,
            "say which part of how many this is (shard='3/16'), or share without parts",
        ));
    };
    let options = py
        .detach(|| requests::label(*args, &host()))
        .map_err(error)?;
    let plan = move || SharedJob::plan(options, share);
    let job = unless_stopped(py, "nothing was written", plan, || Ok(()))?;
    let (output, failures, losses) = (job.output(), job.failures(), job.losses());
    for note in job.nothing_to_do().into_iter().chain(job.notes()) {
        warn(py, note)?;
    }
    let idle = job.nothing_to_do().is_some();
    let outcome = attended(py, progress, move |tell, cancel| async move {
        job.run(tell, &cancel).await
    })?;
    if let Some(lost) = losses.said() {
        warn(py, &format!("warning: {lost}"))?;
    }
    match outcome {
        Outcome::Published(manifest) => {
            if !idle {
                LabelJob::any_answered(&manifest).map_err(error)?;
            }
            let published = labelled(&manifest, output.clone(), failures)?;
            Ok((output, Some(published), 0, 0))
        }
        Outcome::Left { done, units } => Ok((output, None, done, units)),
    }
}

/// `picsift publish`.
#[pyfunction]
pub(crate) fn publish(py: Python<'_>, words: Vec<String>) -> PyResult<Labelled> {
    let Command::Publish(args) = parse(words)? else {
        return Err(unexpected());
    };
    let output = args.output.trim_end_matches('/').to_string();
    let work = move || async move { shared::publish(&args.output).await };
    let manifest: Manifest = unless_stopped(py, "nothing was published", work, || Ok(()))?;
    LabelJob::any_answered(&manifest).map_err(error)?;
    let failures = format!("{output}/_picsift_errors.pq");
    labelled(&manifest, output, failures)
}

/// `picsift status`, as JSON.
#[pyfunction]
pub(crate) fn status(py: Python<'_>, words: Vec<String>) -> PyResult<String> {
    let Command::Status(args) = parse(words)? else {
        return Err(unexpected());
    };
    let work = move || async move {
        let status = shared::status(&args.output).await?;
        serde_json::to_string(&status).map_err(AppError::json)
    };
    unless_stopped(py, "nothing was changed", work, || Ok(()))
}
