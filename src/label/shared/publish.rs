//! The end of a shared job: the manifest of its records, and its files in their place.
//!
//! The manifest is the same whoever makes it, so that of several that publish at once it does not matter which is first.

use std::collections::HashSet;
use std::path::PathBuf;

use datafusion::error::DataFusionError;
use futures::{StreamExt, TryStreamExt};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::join::{LOOK_EVERY, clear, clear_published, sweep};
use super::plan::JobPlan;
use super::records::{JobWork, UnitRecord};
use super::status::failed_units;
use super::{named, work_of};
use crate::dataset::Manifest;
use crate::dataset::failures::Failures;
use crate::dataset::lease::OutputLease;
use crate::dataset::manifest::{Counts, Seconds};
use crate::dataset::publish::{FirstPublication, Gathered, Output};
use crate::dataset::store::OutputStore;
use crate::error::AppError;
use crate::label::journal::Journal;

/// Lists of failures that are read at once.
const LISTS: usize = 32;

/// Publishes a shared job all of whose units are done, and returns its manifest; that of a published output where there is nothing to do.
///
/// # Errors
/// [`AppError::Usage`] when units are left, named with the reason of the last failure, or the output is not of several programs.
pub async fn publish(output: &str) -> Result<Manifest, AppError> {
    let output = named(output)?;
    output.check().await?;
    if let Some(plan) = JobPlan::read(&output).await? {
        return publish_units(&output, &plan, None).await;
    }
    let shown = &output.target;
    if let Some(text) = output.manifest().await? {
        return serde_json::from_slice(&text).map_err(AppError::json);
    }
    Err(AppError::Usage(
        match Journal::read(output.journal()).await? {
            Some(_) => format!(
                "'{shown}' is being made by one program, which publishes it itself; run its command again to finish it, or with \
                 --workers-share"
            ),
            None => format!("there is no work on '{shown}' that could be published"),
        },
    ))
}

/// Publishes a job unless another does so meanwhile. With `most`, no more than this share of its images may have failed.
///
/// # Errors
/// When units are left, or something cannot be read or written; the same call can be made again.
pub(super) async fn publish_units(
    output: &Output,
    plan: &JobPlan,
    most: Option<f64>,
) -> Result<Manifest, AppError> {
    let work = work_of(output, plan);
    loop {
        if let Some(manifest) = published(output, plan).await? {
            match work.is_open().await? {
                true => clear_published(output).await?,
                // What this program has left there, not knowing that the job was over.
                false => sweep(output).await?,
            }
            return Ok(manifest);
        }
        if !work.is_open().await? {
            return Err(AppError::Taken(format!(
                "the work on '{}' was given up by another command meanwhile",
                output.target
            )));
        }
        match OutputLease::new(&output.work, &output.target).await {
            Ok(lease) => {
                let done = make(output, plan, &work, most).await;
                lease.release(&output.work).await?;
                match done? {
                    Some(manifest) => return Ok(manifest),
                    None => continue,
                }
            }
            Err(AppError::Taken(_)) => tokio::time::sleep(LOOK_EVERY).await,
            Err(error) => return Err(error),
        }
    }
}

/// The manifest of the output, if it was made by this plan.
async fn published(output: &Output, plan: &JobPlan) -> Result<Option<Manifest>, AppError> {
    let Some(text) = output.manifest().await? else {
        return Ok(None);
    };
    let manifest: Manifest = serde_json::from_slice(&text).map_err(AppError::json)?;
    Ok((manifest.job.id == plan.draft.job.id).then_some(manifest))
}

/// Makes the output; `None` where the job is over already.
async fn make(
    output: &Output,
    plan: &JobPlan,
    work: &JobWork,
    most: Option<f64>,
) -> Result<Option<Manifest>, AppError> {
    if !work.is_open().await? || published(output, plan).await?.is_some() {
        return Ok(None);
    }
    let units = plan.units.len();
    let done = work.done().await?;
    if done.len() < units {
        let left: Vec<u32> = (0..units as u32)
            .filter(|unit| !done.contains(unit))
            .collect();
        let failed = failed_units(work, &left).await?;
        let why = failed.first().map(|failed| {
            format!(
                "; unit {} failed on {}: {}",
                failed.unit, failed.worker, failed.why
            )
        });
        return Err(AppError::Usage(format!(
            "'{}' cannot be published: {} of its {units} units are not done, first unit {}{}",
            output.target,
            left.len(),
            left.first().copied().unwrap_or_default(),
            why.unwrap_or_default()
        )));
    }
    let records = work.read(0..units as u32).await?;
    let manifest = manifest(plan, &records);
    let counts = &manifest.counts;
    if counts.rows == 0 {
        clear(output).await?;
        return Err(AppError::Usage(format!(
            "no row of {} satisfies --where {}",
            plan.draft.input.tables.join(", "),
            plan.draft.input.predicate.as_deref().unwrap_or("true")
        )));
    }
    if let Some(most) = most
        && counts.failures as f64 > most * counts.images as f64
    {
        return Err(AppError::TooManyErrors(format!(
            "{} of {} images failed, more than --max-error-ratio {most} allows; all units are done, and 'picsift publish' publishes \
             them as they are",
            counts.failures, counts.images
        )));
    }
    let (scratch, list) = failures(output, work, &records).await?;
    let external = |error| AppError::Run(DataFusionError::External(error));
    let text = serde_json::to_string_pretty(&manifest).map_err(|error| external(error.into()))?;
    let files = records.iter().map(|record| Gathered {
        from: record.finished(work),
        paths: record.shard.files.iter().map(|f| f.path.clone()).collect(),
    });
    output
        .publish_first(FirstPublication {
            manifest: (text + "\n").into(),
            files: files.collect(),
            failures: list,
        })
        .await?;
    drop(scratch);
    tracing::info!(
        rows = counts.rows,
        units,
        files = manifest.files.len(),
        failures = counts.failures,
        "output published"
    );
    clear(output).await?;
    Ok(Some(manifest))
}

/// The list of all failures in the order of the rows, and the folder that it is in; `None` where nothing failed.
async fn failures(
    output: &Output,
    work: &JobWork,
    records: &[UnitRecord],
) -> Result<(Option<TempDir>, Option<PathBuf>), AppError> {
    let lists: Vec<_> = records
        .iter()
        .filter_map(|record| Some((record, record.shard.failed.as_ref()?)))
        .collect();
    if lists.is_empty() {
        return Ok((None, None));
    }
    let scratch = match &output.work {
        // On the disk of the output, so that it can be moved.
        OutputStore::Local(folder) => tempfile::tempdir_in(folder),
        OutputStore::Remote(_) => tempfile::tempdir(),
    };
    let scratch = scratch.map_err(AppError::file("write in", "the folder for temporary files"))?;
    let path = scratch.path().join("errors.parquet");
    let (parts, mut waiting) = mpsc::channel(LISTS);
    let to = path.clone();
    let written = tokio::task::spawn_blocking(move || {
        Failures::join(std::iter::from_fn(|| waiting.blocking_recv()), &to)
    });
    let reads = lists.into_iter().map(|(record, name)| async move {
        let part = record.failures(work).read(name).await?;
        part.ok_or_else(|| {
            AppError::Usage(format!(
                "the list of failures of unit {} is missing; remove its record, and it will be labelled again",
                record.unit
            ))
        })
    });
    let mut reads = futures::stream::iter(reads).buffered(LISTS);
    let read = async {
        while let Some(part) = reads.try_next().await? {
            // Closed where it cannot be written, which its writer says.
            if parts.send(part).await.is_err() {
                break;
            }
        }
        Ok(())
    };
    let read: Result<(), AppError> = read.await;
    drop(parts);
    let written = written
        .await
        .map_err(|error| AppError::Run(DataFusionError::External(Box::new(error))))?;
    read?;
    match written.map_err(AppError::Run)? {
        0 => Ok((Some(scratch), None)),
        _ => Ok((Some(scratch), Some(path))),
    }
}

fn manifest(plan: &JobPlan, records: &[UnitRecord]) -> Manifest {
    let mut manifest = Manifest {
        counts: Counts::default(),
        seconds: Seconds::default(),
        files: Vec::new(),
        ..plan.draft.clone()
    };
    for record in records {
        let shard = &record.shard;
        manifest.counts += &shard.counts;
        manifest.seconds += &shard.seconds;
        for (category, held) in manifest.categories.iter_mut().zip(&shard.held) {
            category.held += held;
        }
        manifest.files.extend(shard.files.iter().cloned());
    }
    manifest.files.sort_by(|a, b| a.path.cmp(&b.path));
    let workers: HashSet<&str> = records.iter().map(|r| r.worker.token.as_str()).collect();
    manifest.counts.distinct_is_exact &= workers.len() == 1;
    manifest
}
