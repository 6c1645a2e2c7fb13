//! The run of a checked job: rows through the model into the staged output, then one rename.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{AsArray, RecordBatch};
use datafusion::common::{DataFusionError, Result as DataFusionResult, exec_datafusion_err};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::prelude::DataFrame;
use futures::TryStreamExt;
use picsift_udf::annotate;
use tokio::sync::mpsc;

use super::job::{Job, Source};
use super::manifest::{Counts, InputEntry, Manifest, Seconds, category_entries};
use super::progress::Progress;
use crate::error::AppError;
use crate::output::publish::{MANIFEST, Staging};
use crate::output::writer::{PartitionedWriter, WrittenFile};

/// Labelled batches that wait for the disk.
const BATCHES_TO_WRITE: usize = 2;

/// Labels all rows and publishes the output.
///
/// # Errors
/// [`AppError`]; the output is as it was before then.
pub async fn run(job: &Job, started: Instant) -> Result<Manifest, AppError> {
    let expected = job.expected_rows().await?;
    let staging = Staging::new(&job.output, job.overwrite)?;
    let mut writer =
        PartitionedWriter::new(staging.path(), &job.schema, &job.partition_by, &job.dropped)
            .map_err(AppError::Plan)?;
    let (batches, mut waiting) = mpsc::channel::<RecordBatch>(BATCHES_TO_WRITE);
    let writing = tokio::task::spawn_blocking(move || -> DataFusionResult<Vec<WrittenFile>> {
        while let Some(batch) = waiting.blocking_recv() {
            writer.write(&batch)?;
        }
        writer.finish()
    });

    let stats = Arc::clone(&job.stats);
    let progress = Progress::start(Arc::clone(&stats), expected);
    let before = job.service.stats();
    let labelled = {
        let work = pin!(label_all(job, batches));
        tokio::select! {
            done = work => done.map_err(AppError::Run),
            _ = interrupted() => Err(AppError::Interrupted("nothing was written".to_string())),
        }
    };
    // The channel is closed by now, whatever happened, so the writer ends; it must before its folder goes.
    let written = writing.await;
    progress.stop().await;
    let held = match (labelled, written) {
        // A full disk closes the channel: then its error is the reason, not the closed channel.
        (_, Ok(Err(error))) => return Err(AppError::Run(error)),
        (_, Err(error)) => return Err(AppError::Run(DataFusionError::External(Box::new(error)))),
        (Err(error), Ok(Ok(_))) => return Err(error),
        (Ok(held), Ok(Ok(files))) => Held {
            held: held.0,
            rows: held.1,
            files,
        },
    };
    if stats.rows() == 0 && job.allowance.exhausted().is_none() {
        return Err(AppError::Usage(format!(
            "no row of {} satisfies --where {}",
            job.inputs.join(", "),
            job.predicate.as_deref().unwrap_or_default()
        )));
    }
    let model = job.service.stats();
    let manifest = Manifest {
        picsift: env!("CARGO_PKG_VERSION"),
        partial: job.allowance.exhausted().map(|end| end.to_string()),
        model: job.service.info().clone(),
        categories: category_entries(&job.categories, &job.labelling, &job.added, &held.held),
        input: InputEntry {
            tables: job.inputs.clone(),
            image_column: job.image.clone(),
            predicate: job.predicate.clone(),
            limit: job.limit,
            partition_by: job.partition_by.clone(),
        },
        counts: Counts::of(&stats, held.rows, model.panics - before.panics),
        seconds: Seconds::of(&stats, started.elapsed(), model.busy - before.busy),
        files: held.files,
    };
    let path = staging.path().join(MANIFEST);
    let text = serde_json::to_string_pretty(&manifest)
        .map_err(|error| AppError::Run(DataFusionError::External(Box::new(error))))?;
    std::fs::write(&path, text + "\n").map_err(AppError::file("write", &path))?;
    staging.publish()?;
    Ok(manifest)
}

struct Held {
    held: Vec<u64>,
    rows: u64,
    files: Vec<WrittenFile>,
}

/// Sends every labelled batch to `batches`; gives the rows for which each category held, and all rows.
async fn label_all(
    job: &Job,
    batches: mpsc::Sender<RecordBatch>,
) -> DataFusionResult<(Vec<u64>, u64)> {
    let (mut held, mut written) = (vec![0; job.categories.len()], 0);
    let mut left = job.limit;
    for source in &job.sources {
        if left == Some(0) || job.allowance.exhausted().is_some() {
            break;
        }
        let mut rows = labelled_rows(job, source, left).await?;
        while let Some(batch) = rows.try_next().await? {
            for (count, name) in held.iter_mut().zip(&job.added.is) {
                if let Some(column) = batch.column_by_name(name) {
                    *count += column.as_boolean().true_count() as u64;
                }
            }
            written += batch.num_rows() as u64;
            left = left.map(|left| left.saturating_sub(batch.num_rows()));
            // The table's metadata is not in DataFusion's schema; the values are the same.
            let batch = RecordBatch::try_new(Arc::clone(&job.schema), batch.columns().to_vec())?;
            batches
                .send(batch)
                .await
                .map_err(|_| exec_datafusion_err!("the output cannot be written"))?;
        }
    }
    Ok((held, written))
}

async fn labelled_rows(
    job: &Job,
    source: &Source,
    limit: Option<usize>,
) -> DataFusionResult<SendableRecordBatchStream> {
    let rows = job.rows_of(source, limit).map_err(|error| match error {
        AppError::Plan(error) | AppError::Run(error) => error,
        other => DataFusionError::External(Box::new(other)),
    })?;
    let (state, plan) = rows.into_parts();
    let plan = annotate(&job.engine, plan, &job.annotation(source))?;
    DataFrame::new(state, plan).execute_stream().await
}

/// Ends when the person presses Ctrl-C; never where the system gives no such signal.
async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
