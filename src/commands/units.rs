//! `picsift label --shard` and `--workers-share`, `picsift status` and `picsift publish`: jobs that several programs do together.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{HumanCount, HumanDuration};
use picsift_udf::{Engine, EngineOptions};

use super::printer::{note, say};
use super::progress::JobProgress;
use super::signals::Signals;
use super::summary::Summary;
use crate::cli::{PublishArgs, StatusArgs, StatusForm, SummaryForm};
use crate::cluster;
use crate::dataset::Manifest;
use crate::error::AppError;
use crate::label::shared::{self, Outcome, Part, Share, SharedJob, Status};
use crate::label::{Cancel, LabelJob, LabelOptions};

/// Units that are named one by one.
const NAMED: usize = 10;

/// The lease of who directs a cluster, which takes no unit itself.
const LEASE: Duration = Duration::from_secs(60);

/// Age in seconds of a sign of life from which it is said.
const OLD: u64 = 30;

/// Does a part of a job, and prints the summary where it is published then.
///
/// # Errors
/// [`AppError`]; what is recorded stays.
pub(super) async fn label(
    options: LabelOptions,
    share: Share,
    form: SummaryForm,
    progress: JobProgress,
) -> Result<(), AppError> {
    let job = SharedJob::plan(options, share).await?;
    let (output, losses) = (job.output(), job.losses());
    let summary = Summary::of_output(output.clone(), job.failures());
    if job.nothing_to_do().is_some() {
        return nothing(job, &summary, form).await;
    }
    for note in job.notes() {
        note!("{note}");
    }
    let cancel = Cancel::default();
    let signals = Signals::listen(cancel.clone());
    let shown = progress.clone();
    let done = job.run(move |done| shown.show(done), &cancel).await;
    progress.finish();
    let outcome = done.map_err(|error| signals.named(error))?;
    if let Some(lost) = losses.said() {
        note!("warning: {lost}");
    }
    match outcome {
        Outcome::Published(manifest) => published(&summary, &manifest, form),
        Outcome::Left { done, units } => {
            match form {
                SummaryForm::Text => say!(
                    "this part is done; {} of {} units of '{output}' are, and whoever does the last one publishes it",
                    HumanCount(done as u64),
                    HumanCount(units as u64)
                ),
                SummaryForm::Json => {
                    say!(
                        "{}",
                        serde_json::json!({"output": output, "done": done, "units": units})
                    );
                }
            }
            Ok(())
        }
    }
}

/// Has a job done by a cluster, and prints the summary of its output.
///
/// # Errors
/// [`AppError`]; what is recorded stays.
pub(super) async fn direct(
    options: LabelOptions,
    address: &str,
    token: Option<&Path>,
    form: SummaryForm,
    progress: JobProgress,
) -> Result<(), AppError> {
    let engine = Arc::new(Engine::new(EngineOptions::default())?);
    let cluster = cluster::at(address, token, engine)?;
    // Before a plan is made that nobody would follow.
    cluster.answers().await?;
    let hands = cluster::hands(cluster, &options)?;
    let share = Share {
        part: Part::Free,
        lease: LEASE,
    };
    let job = SharedJob::plan(options, share).await?;
    let summary = Summary::of_output(job.output(), job.failures());
    if job.nothing_to_do().is_some() {
        return nothing(job, &summary, form).await;
    }
    for note in job.notes() {
        note!("{note}");
    }
    let cancel = Cancel::default();
    let signals = Signals::listen_at_once(cancel.clone());
    let shown = progress.clone();
    let done = job
        .direct(&hands, move |done| shown.show(done), &cancel)
        .await;
    progress.finish();
    match done.map_err(|error| signals.named(error))? {
        Outcome::Published(manifest) => published(&summary, &manifest, form),
        // A cluster does all of a job.
        Outcome::Left { .. } => Ok(()),
    }
}

/// Says that there is nothing to do.
async fn nothing(job: SharedJob, summary: &Summary, form: SummaryForm) -> Result<(), AppError> {
    let why = job.nothing_to_do().unwrap_or_default();
    match form {
        SummaryForm::Text => say!("{why}"),
        SummaryForm::Json => note!("{why}"),
    }
    if let Outcome::Published(manifest) = job.run(|_| (), &Cancel::default()).await?
        && form == SummaryForm::Json
    {
        say!("{}", summary.object(&manifest));
    }
    Ok(())
}

/// Publishes what several programs have labelled.
///
/// # Errors
/// [`AppError`]; the output is as it was before then.
pub(super) async fn publish(args: PublishArgs) -> Result<(), AppError> {
    let manifest = shared::publish(&args.output).await?;
    let output = args.output.trim_end_matches('/').to_string();
    let failures = format!("{output}/_picsift_errors.pq");
    let summary = Summary::of_output(output, failures);
    published(&summary, &manifest, args.summary)
}

fn published(summary: &Summary, manifest: &Manifest, form: SummaryForm) -> Result<(), AppError> {
    match form {
        SummaryForm::Text => summary.print(manifest).map_err(AppError::Terminal)?,
        SummaryForm::Json => say!("{}", summary.object(manifest)),
    }
    LabelJob::any_answered(manifest)
}

/// Says how far the work on an output is.
///
/// # Errors
/// When there is none, or it cannot be read.
pub(super) async fn status(args: StatusArgs) -> Result<(), AppError> {
    let status = shared::status(&args.output).await?;
    match args.format {
        StatusForm::Json => say!(
            "{}",
            serde_json::to_string(&status).map_err(AppError::json)?
        ),
        StatusForm::Text => {
            for line in lines(&status) {
                say!("{line}");
            }
        }
    }
    Ok(())
}

/// What a person reads.
fn lines(status: &Status) -> Vec<String> {
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let failed_images = |failures: u64| match failures {
        0 => String::new(),
        failures => format!(
            ", {} image{} failed",
            HumanCount(failures),
            plural(failures as usize)
        ),
    };
    match status {
        Status::Published {
            rows,
            failures,
            files,
        } => vec![format!(
            "published: {} row{} in {} file{}{}",
            HumanCount(*rows),
            plural(*rows as usize),
            HumanCount(*files as u64),
            plural(*files),
            failed_images(*failures)
        )],
        Status::OneProgram {
            rows,
            failures,
            labelled,
        } => vec![format!(
            "begun by one program: {} rows are done{}{}",
            HumanCount(*rows),
            failed_images(*failures),
            match labelled {
                true => ", which are all; run its command again to publish them",
                false =>
                    "; run its command again should it have ended, or with --workers-share on several machines",
            }
        )],
        Status::Shared {
            units,
            done,
            rows,
            rows_done,
            failures,
            at_work,
            failed,
            images_per_second,
            seconds_left,
            ..
        } => {
            let count = |count: usize| HumanCount(count as u64);
            let mut lines = vec![format!(
                "{} of {} units are done ({} of {} rows{}), {} under way, {} failed",
                count(*done),
                count(*units),
                HumanCount(*rows_done),
                HumanCount(*rows),
                failed_images(*failures),
                count(at_work.len()),
                count(failed.len())
            )];
            if done == units {
                lines.push("all are done; 'picsift publish' makes the output of them".to_string());
            }
            if let (Some(pace), Some(left)) = (images_per_second, seconds_left) {
                let left = Duration::from_secs_f64(left.clamp(0.0, 1e9));
                lines.push(format!("{pace:.0} images/s, {} left", HumanDuration(left)));
            }
            for at in at_work.iter().take(NAMED) {
                let silent = match at.silent {
                    0..OLD => String::new(),
                    seconds => format!(
                        ", no sign of life for {}",
                        HumanDuration(Duration::from_secs(seconds))
                    ),
                };
                lines.push(format!(
                    "under way: unit {} on {}{silent}",
                    at.unit, at.worker
                ));
            }
            for unit in failed.iter().take(NAMED) {
                lines.push(format!(
                    "failed: unit {} on {}: {}",
                    unit.unit, unit.worker, unit.why
                ));
            }
            let more = at_work.len().saturating_sub(NAMED) + failed.len().saturating_sub(NAMED);
            if more > 0 {
                lines.push(format!("and {} more units", count(more)));
            }
            lines
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::label::shared::{FailedUnit, UnitAtWork};

    #[test]
    fn a_status_says_what_is_done_by_whom_and_when_it_ends() {
        let status = Status::Shared {
            units: 16,
            done: 4,
            rows: 320_000,
            rows_done: 80_000,
            images: 80_000,
            failures: 7,
            at_work: vec![UnitAtWork {
                unit: 4,
                worker: "node7 (process 12)".to_string(),
                silent: 300,
            }],
            failed: vec![FailedUnit {
                unit: 5,
                worker: "node8 (process 13)".to_string(),
                why: "cannot write x: No space left on device".to_string(),
            }],
            images_per_second: Some(400.0),
            seconds_left: Some(600.0),
        };
        assert_eq!(
            lines(&status),
            [
                "4 of 16 units are done (80,000 of 320,000 rows, 7 images failed), 1 under way, 1 failed",
                "400 images/s, 10 minutes left",
                "under way: unit 4 on node7 (process 12), no sign of life for 5 minutes",
                "failed: unit 5 on node8 (process 13): cannot write x: No space left on device",
            ]
        );
    }
}
