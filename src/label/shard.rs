//! One shard: a part of the rows through the model, into files of their own.
//!
//! Knows neither where the part comes from nor what is remembered of it: a run of one program goes by a journal, several that share
//! an output by units. What is written is whole and safe on the disk when [`label`] returns, and counts only when somebody remembers it.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::{AsArray, RecordBatch};
use datafusion::common::{DataFusionError, Result as DataFusionResult, exec_datafusion_err};
use datafusion::prelude::DataFrame;
use futures::TryStreamExt;
use picsift_udf::{Cascade, annotate};
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::embedded::{self, BYTES_COLUMN};
use super::journal::Shard;
use super::prepare::PreparedJob;
use super::sources::Source;
use super::tally::{IMAGES_TO_JUDGE, Tally};
use super::unwritten;
use crate::batches;
use crate::dataset::failures::Failures;
use crate::dataset::finished::Finished;
use crate::dataset::store::OutputStore;
use crate::error::AppError;
use crate::input::files::FileEntry;
use crate::input::rows::{InputRows, ShardSize};
use crate::input::scan::last_place;
use crate::input::{FILE_COLUMN, Position, ROW_COLUMN, UNREADABLE_COLUMN};
use crate::output::writer::{PartNames, PartitionedWriter, TableShape, WrittenFile};

/// Labelled batches that wait for the disk.
const BATCHES_TO_WRITE: usize = 2;

/// The rows of a shard.
#[derive(Clone, Copy)]
pub(super) struct ShardRows<'a> {
    /// The table that they are of.
    pub(super) source: &'a Source,
    /// Where they come from.
    pub(super) rows: &'a Arc<InputRows>,
    /// How many of them.
    pub(super) size: ShardSize,
    /// The job's files, by their numbers.
    pub(super) files: &'a [FileEntry],
    /// Rows before them that are done, for messages.
    pub(super) done: u64,
}

/// Where a shard is written.
pub(super) struct ShardPlace<'a> {
    /// Where its files wait.
    pub(super) finished: &'a Finished,
    /// What they are called.
    pub(super) names: PartNames,
    /// Where the list of its failures waits.
    pub(super) failures: &'a OutputStore,
    /// What that is called.
    pub(super) list: String,
}

/// Labels and writes the next part of the rows, by both models of a cascade where there is one; `None` when there were no rows for it. Of its counts only the rows are filled in.
///
/// # Errors
/// What is wrong with the rows, or that the place cannot be written.
pub(super) async fn label(
    job: &PreparedJob,
    part: ShardRows<'_>,
    place: ShardPlace<'_>,
    cascade: Option<Arc<Cascade>>,
    tally: &mut Tally,
) -> Result<Option<Shard>, AppError> {
    let folder = ShardFolder::new(place.finished)?;
    let shape = TableShape {
        schema: &job.columns.schema,
        partition_by: &job.columns.partition_by,
        label: &job.columns.added.label,
        dropped: &job.columns.dropped,
        errors: &job.columns.added.error,
    };
    let open = Finished::open(folder.path())?;
    let mut writer =
        PartitionedWriter::new(open, folder.path(), shape, place.names).map_err(AppError::Plan)?;
    let (batches, mut waiting) = mpsc::channel::<RecordBatch>(BATCHES_TO_WRITE);
    let writing = tokio::task::spawn_blocking(move || -> DataFusionResult<Vec<WrittenFile>> {
        while let Some(batch) = waiting.blocking_recv() {
            writer.write(&batch)?;
        }
        writer.finish()
    });
    let labelled = send(job, part, cascade, batches, tally).await;
    // The channel is closed by now, whatever happened, so the writer ends; it must before its folder goes.
    let written = writing.await;
    let (mut shard, failures, files) = match (labelled, written) {
        // A full disk closes the channel: then its error is the reason, not the closed channel.
        (_, Ok(Err(error))) => return Err(AppError::Run(error)),
        (_, Err(error)) => {
            return Err(AppError::Run(DataFusionError::External(Box::new(error))));
        }
        (Err(error), Ok(Ok(_))) => return Err(error),
        (Ok((shard, failures)), Ok(Ok(files))) => (shard, failures, files),
    };
    if files.is_empty() {
        return Ok(None);
    }
    if let ShardFolder::Sent(folder) = &folder {
        for file in &files {
            let from = folder.path().join(&file.path);
            place.finished.take(&from, &file.path).await?;
        }
    }
    shard.files = files;
    if !failures.is_empty() {
        let name = place.list;
        let file = tempfile::NamedTempFile::new().map_err(AppError::file("write", &*name))?;
        failures.write(file.path()).map_err(AppError::Run)?;
        let bytes = std::fs::read(file.path()).map_err(AppError::file("read", file.path()))?;
        place.failures.replace(&name, bytes).await?;
        shard.failed = Some(name);
    }
    Ok(Some(shard))
}

/// Sends every labelled batch of a shard to `batches`.
async fn send(
    job: &PreparedJob,
    part: ShardRows<'_>,
    cascade: Option<Arc<Cascade>>,
    batches: mpsc::Sender<RecordBatch>,
    tally: &mut Tally,
) -> Result<(Shard, Failures), AppError> {
    let table = part.rows.shard(part.size).map_err(AppError::Plan)?;
    let context = &job.inference.context;
    let table = context
        .read_table(Arc::new(table))
        .map_err(AppError::Plan)?;
    let (state, plan) = table.into_parts();
    let annotation = job.annotation(part.source, cascade);
    let plan = annotate(&job.inference.engine, plan, &annotation).map_err(AppError::Plan)?;
    let mut labelled = batches::stream(DataFrame::new(state, plan))
        .await
        .map_err(AppError::Run)?;
    let added = &job.columns.added;
    let mut shard = Shard {
        held: vec![0; job.columns.categories.len()],
        ..Shard::default()
    };
    let mut failures = Failures::default();
    let (files, done) = (part.files, part.done);
    while let Some(batch) = labelled.try_next().await.map_err(|e| counted(e, done))? {
        let batch = unwritten::told(job, batch, files)?;
        for (count, name) in shard.held.iter_mut().zip(&added.is) {
            if let Some(column) = batch.column_by_name(name) {
                *count += column.as_boolean().true_count() as u64;
            }
        }
        shard.counts.rows += batch.num_rows() as u64;
        if let Some((file, row)) = last_place(&batch) {
            shard.through = Position { file, row: row + 1 };
        }
        let failed = failures.add(&batch, &added.error, files);
        failed.map_err(AppError::Run)?;
        tally.add(job, &batch);
        tally.check(job, IMAGES_TO_JUDGE)?;
        tracing::debug!(
            rows = batch.num_rows(),
            images = tally.images,
            failures = tally.failures,
            "batch labelled"
        );
        let batch = without_places(job, &batch).map_err(AppError::Run)?;
        let sent = batches.send(batch).await;
        sent.map_err(|_| AppError::Run(exec_datafusion_err!("the output cannot be written")))?;
    }
    Ok((shard, failures))
}

/// What became of a shard, for the logs.
pub(super) fn log(shard: &Shard) {
    let Shard {
        counts, seconds, ..
    } = shard;
    tracing::info!(
        rows = counts.rows,
        images = counts.images,
        failures = counts.failures,
        asked = counts.asked,
        files = shard.files.len(),
        wall = seconds.wall,
        fetch = seconds.fetch,
        decode = seconds.decode,
        model = seconds.model,
        "shard done"
    );
}

/// An error that may name a row, which the operator counts among the rows that it was given.
fn counted(error: DataFusionError, done: u64) -> AppError {
    if done == 0 {
        return AppError::Run(error);
    }
    let text = crate::error::innermost(&error);
    AppError::Run(exec_datafusion_err!(
        "{text} (rows counted after the {done} that are done)"
    ))
}

/// Where a shard's files are written.
enum ShardFolder {
    /// Where they stay until all is published.
    Staged(PathBuf),
    /// Where they wait to be sent to an object store.
    Sent(TempDir),
}

impl ShardFolder {
    fn new(finished: &Finished) -> Result<Self, AppError> {
        Ok(match finished.folder() {
            Some(folder) => Self::Staged(folder),
            None => {
                let folder = tempfile::tempdir();
                Self::Sent(folder.map_err(AppError::file("write in", std::env::temp_dir()))?)
            }
        })
    }

    fn path(&self) -> &std::path::Path {
        match self {
            Self::Staged(path) => path,
            Self::Sent(folder) => folder.path(),
        }
    }
}

/// Columns of a row's place, of what of it could not be read, and of the bytes that go into the image column.
const INTERNAL: [&str; 4] = [FILE_COLUMN, UNREADABLE_COLUMN, ROW_COLUMN, BYTES_COLUMN];

/// The batch as it is written: the columns of the rows' places stand between the table's and the answers.
fn without_places(job: &PreparedJob, batch: &RecordBatch) -> DataFusionResult<RecordBatch> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    let bytes = batch.column_by_name(BYTES_COLUMN);
    let columns = columns
        .filter(|(field, _)| !INTERNAL.contains(&field.name().as_str()))
        .map(|(field, column)| match bytes {
            Some(bytes) if *field.name() == job.tables.image => embedded::column(column, bytes),
            _ => Ok(Arc::clone(column)),
        })
        .collect::<DataFusionResult<_>>()?;
    // The table's metadata is not in DataFusion's schema; the values are the same.
    Ok(RecordBatch::try_new(
        Arc::clone(&job.columns.schema),
        columns,
    )?)
}
