//! `label`, `eval`, `sample`, `teach`, `gallery` and `export`: the commands' work, whose outcome is data.
//!
//! Each takes the words of its command ([`crate::arguments`]) and gives texts of JSON or plain values; `picsift/_jobs.py` makes objects of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use picsift::cli::Command;
use picsift::dataset::Manifest;
use picsift::error::AppError;
use picsift::label::{LabelJob, Progress};
use picsift::requests;
use picsift::{eval, export, gallery, sample, teach};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

use crate::arguments::{host, parse};
use crate::errors::{Kind, error, raise, warn};
use crate::process::begin_here;
use crate::watch::{Watcher, attended};

/// What `label` gives: the manifest as JSON, the output and the list of failed images as a person would write them.
pub(crate) type Labelled = (String, String, String);

/// The same of a manifest.
pub(crate) fn labelled(
    manifest: &Manifest,
    output: String,
    failures: String,
) -> PyResult<Labelled> {
    let text = serde_json::to_string(manifest).map_err(AppError::json);
    Ok((text.map_err(error)?, output, failures))
}

pub(crate) fn unexpected() -> PyErr {
    raise(Kind::Error, "the arguments are of another command")
}

/// Does the work of a command that is dropped when it is stopped; `state` is what is there of its output then.
pub(crate) fn unless_stopped<T: Send + 'static, F: Future<Output = Result<T, AppError>>>(
    py: Python<'_>,
    state: &str,
    work: impl FnOnce() -> F + Send + 'static,
    mut look: impl FnMut() -> PyResult<()>,
) -> PyResult<T> {
    let done = begin_here(work)?.wait(py, |signals| {
        signals.map_err(|error| stopped(py, error, state))?;
        look()
    })?;
    done.map_err(error)
}

/// What Ctrl-C is, in the command's words.
pub(crate) fn stopped(py: Python<'_>, error: PyErr, state: &str) -> PyErr {
    match error.is_instance_of::<PyKeyboardInterrupt>(py) {
        true => raise(Kind::Interrupted, format!("interrupted; {state}")),
        false => error,
    }
}

/// `picsift label`. Ctrl-C once finishes and keeps what is under way, twice stops at once.
#[pyfunction]
pub(crate) fn label(
    py: Python<'_>,
    words: Vec<String>,
    categories: Vec<String>,
    progress: Option<Bound<'_, PyAny>>,
) -> PyResult<Labelled> {
    let Command::Label(mut args) = parse(words)? else {
        return Err(unexpected());
    };
    // A name may hold a comma here.
    args.categories.categories = categories;
    let options = py
        .detach(|| requests::label(*args, &host()))
        .map_err(error)?;
    let job = unless_stopped(
        py,
        "nothing was written",
        move || LabelJob::plan(options),
        || Ok(()),
    )?;
    let (output, failures) = (job.output(), job.failures());
    for note in job.nothing_to_do().into_iter().chain(job.notes()) {
        warn(py, note)?;
    }
    let idle = job.nothing_to_do().is_some();
    let losses = job.losses();
    let manifest = attended(py, progress, move |tell, cancel| async move {
        job.run(tell, &cancel).await
    })?;
    if let Some(lost) = losses.said() {
        warn(py, &format!("warning: {lost}"))?;
    }
    if !idle {
        LabelJob::any_answered(&manifest).map_err(error)?;
    }
    labelled(&manifest, output, failures)
}

/// `picsift eval`: the report as JSON, as a table for the terminal and as Markdown, and the thresholds that were written.
#[pyfunction]
pub(crate) fn evaluate(
    py: Python<'_>,
    words: Vec<String>,
) -> PyResult<(String, String, String, usize)> {
    let Command::Eval(args) = parse(words)? else {
        return Err(unexpected());
    };
    let file = args.categories_file.clone();
    let options = requests::eval(args);
    let work = move || async move {
        let evaluation = eval::evaluate(&options).await?;
        let written = match &file {
            Some(file) => eval::keep_thresholds(file, &evaluation)?,
            None => 0,
        };
        Ok((
            eval::report::json(&evaluation)?,
            eval::report::table(&evaluation)?,
            eval::report::markdown(&evaluation),
            written,
        ))
    };
    unless_stopped(py, "nothing was written", work, || Ok(()))
}

/// What `sample` gives: rows, the tables, of each category its name, rows drawn and rows there, and notes.
type Sampled = (u64, String, Vec<(String, u64, u64)>, Vec<String>);

/// `picsift sample`.
#[pyfunction]
pub(crate) fn draw(py: Python<'_>, words: Vec<String>) -> PyResult<Sampled> {
    let Command::Sample(args) = parse(words)? else {
        return Err(unexpected());
    };
    let options = requests::sample(args);
    let work = move || async move { sample::sample(&options).await };
    let drawn = unless_stopped(py, "no sample was written", work, || Ok(()))?;
    Ok((drawn.rows, drawn.labelled, drawn.categories, drawn.notes))
}

/// `picsift teach`: the report as JSON and as a table for the terminal.
#[pyfunction]
pub(crate) fn learn(py: Python<'_>, words: Vec<String>) -> PyResult<(String, String)> {
    let Command::Teach(args) = parse(words)? else {
        return Err(unexpected());
    };
    let options = py
        .detach(|| requests::teach(*args, &host()))
        .map_err(error)?;
    let work = move || async move {
        let report = teach::teach(&options).await?;
        Ok((report.json()?, report.table()?))
    };
    unless_stopped(py, "nothing was written", work, || Ok(()))
}

/// What `gallery` gives: rows, those without a picture, bytes of copies, the tables, corrections that were kept, and notes.
type Shown = (usize, usize, u64, String, usize, Vec<String>);

/// `picsift gallery`, which writes the pages.
#[pyfunction]
pub(crate) fn show(
    py: Python<'_>,
    words: Vec<String>,
    progress: Option<Bound<'_, PyAny>>,
) -> PyResult<Shown> {
    let Command::Gallery(args) = parse(words)? else {
        return Err(unexpected());
    };
    let options = py
        .detach(|| requests::gallery(*args, &host()))
        .map_err(error)?;
    let counts: Arc<(AtomicU64, AtomicU64)> = Arc::default();
    let work = {
        let counts = Arc::clone(&counts);
        move || async move {
            let (done, total) = &*counts;
            let begun = |rows| total.store(rows, Ordering::Relaxed);
            let made = || {
                done.fetch_add(1, Ordering::Relaxed);
            };
            gallery::gallery(&options, begun, &made).await
        }
    };
    let started = std::time::Instant::now();
    let mut watcher = Watcher::new(progress);
    let mut look = || {
        let (done, total) = &*counts;
        watcher.look(Some(Progress {
            rows: done.load(Ordering::Relaxed),
            before: 0,
            total: Some(total.load(Ordering::Relaxed)),
            failures: 0,
            elapsed: started.elapsed(),
        }))
    };
    let made = unless_stopped(py, "no gallery was written", work, &mut look)?;
    look()?;
    Ok((
        made.rows,
        made.without_picture,
        made.bytes,
        made.labelled,
        made.corrections,
        made.notes,
    ))
}

/// What `export` gives: pictures, classes, bytes, pictures of each split, rows left out by reason, and notes.
type Exported = (
    u64,
    Vec<String>,
    u64,
    Vec<(String, u64)>,
    Vec<(String, u64)>,
    Vec<String>,
);

/// `picsift export`.
#[pyfunction]
pub(crate) fn write(py: Python<'_>, words: Vec<String>) -> PyResult<Exported> {
    let Command::Export(args) = parse(words)? else {
        return Err(unexpected());
    };
    let options = py
        .detach(|| requests::export(*args, &host()))
        .map_err(error)?;
    let work = move || async move { export::export(&options).await };
    let written = unless_stopped(py, "nothing was exported", work, || Ok(()))?;
    Ok((
        written.pictures,
        written.classes,
        written.bytes,
        written.splits,
        written.left_out.into_iter().collect(),
        written.notes,
    ))
}
