//! The run of a checked job: shard after shard through the model, then the output.
//!
//! A shard is read, labelled and written to its end before the next begins; then its files are put where they belong and the
//! journal remembers it. Whatever ends the program between two records costs the work on one shard.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, AsArray, RecordBatch};
use datafusion::common::{DataFusionError, Result as DataFusionResult, exec_datafusion_err};
use datafusion::prelude::DataFrame;
use futures::TryStreamExt;
use indicatif::HumanCount;
use picsift_udf::annotate;
use tempfile::TempDir;
use tokio::sync::mpsc;

use super::begin::{Work, remove_strays};
use super::failures::Failures;
use super::job::Job;
use super::journal::{Finish, Mode, Shard};
use super::manifest::{Counts, Manifest, Seconds};
use super::progress::Progress;
use super::sources::check_unchanged;
use super::{publish, retry};
use crate::batches;
use crate::error::AppError;
use crate::input::rows::InputRows;
use crate::input::scan::last_place;
use crate::input::{FILE_COLUMN, Position, ROW_COLUMN};
use crate::output::writer::{PartNames, PartitionedWriter, TableShape, WrittenFile};
use crate::signals::Signals;

/// Labelled batches that wait for the disk.
const BATCHES_TO_WRITE: usize = 2;

/// Images from which on the share of failures says something.
const IMAGES_TO_JUDGE: u64 = 100;

/// Does the work and publishes the output.
///
/// # Errors
/// [`AppError`]; the output is as it was before then, and what is done is remembered.
pub async fn run(job: &Job, mut work: Work, started: Instant) -> Result<Manifest, AppError> {
    let done = work.journal.rows();
    let signals = Signals::listen();
    let expected = job.expected_rows(&work, done).await?;
    let progress = Progress::start(Arc::clone(&job.stats), done, expected);
    let labelled = label_all(job, &mut work, &signals, started).await;
    progress.stop().await;
    labelled.map_err(|error| resumable(error, &work))?;
    if let Some(signal) = signals.first() {
        return Err(AppError::Interrupted {
            signal,
            state: kept(&work),
        });
    }
    let partial = job.allowance.exhausted().map(|end| end.to_string());
    let rows: u64 = work.journal.rows();
    if rows == 0 && partial.is_none() && work.journal.job().mode == Mode::New {
        let predicate = job.predicate.as_deref().unwrap_or_default();
        let inputs = job.inputs.join(", ");
        work.journal.remove().await?;
        job.output.clear_work().await?;
        return Err(AppError::Usage(format!(
            "no row of {inputs} satisfies --where {predicate}"
        )));
    }
    if work.journal.finish.is_none() {
        work.journal.finish(Finish { partial }).await?;
    }
    publish::publish(job, work).await
}

/// Labels what is left, a shard at a time, until there is nothing left or somebody stops it.
async fn label_all(
    job: &Job,
    work: &mut Work,
    signals: &Signals,
    started: Instant,
) -> Result<(), AppError> {
    if work.journal.finish.is_some() {
        return Ok(());
    }
    let before: Vec<String> = work
        .before
        .iter()
        .flat_map(|manifest| manifest.files.iter().map(|file| file.path.clone()))
        .collect();
    remove_strays(job, &work.journal, &before).await?;
    let mut clock = Clock::new(job, started);
    let mut tally = Tally::default();
    for (source, files) in std::mem::take(&mut work.left) {
        let rows = job.rows_of(&job.sources[source], &files).await?;
        let rows = batches::stream(rows).await.map_err(AppError::Run)?;
        let rows = InputRows::new(rows, job.left(work), signals.stop());
        while rows.may_go_on().await && job.allowance.exhausted().is_none() {
            let labelled = tokio::select! {
                done = label_shard(job, work, source, &rows, &mut tally) => done?,
                signal = signals.second() => return Err(AppError::Interrupted {
                    signal,
                    state: kept(work),
                }),
            };
            let Some(mut shard) = labelled else { break };
            (shard.counts, shard.seconds) = clock.lap(job, shard.counts.rows);
            work.journal.shard(shard).await?;
        }
        if signals.first().is_some() || job.allowance.exhausted().is_some() {
            return Ok(());
        }
    }
    job.check_failures(&tally, 1)?;
    check_unchanged(&job.context, &job.sources).await?;
    // The end of the input, so that files that are added later begin behind it.
    let end = Position {
        file: work.journal.job().files.len() as u32,
        row: 0,
    };
    let mut last = Shard {
        through: end,
        held: vec![0; job.categories.len()],
        ..Shard::default()
    };
    (last.counts, last.seconds) = clock.lap(job, 0);
    if work.journal.job().mode == Mode::Retry {
        (last.files, last.replaced) = retry::without_failures(job, work).await?;
    }
    work.journal.shard(last).await
}

/// Labels and writes the next shard; `None` when there were no rows for it.
async fn label_shard(
    job: &Job,
    work: &Work,
    source: usize,
    rows: &Arc<InputRows>,
    tally: &mut Tally,
) -> Result<Option<Shard>, AppError> {
    let number = work.journal.shards.len();
    let folder = ShardFolder::new(job)?;
    let shape = TableShape {
        schema: &job.schema,
        partition_by: &job.partition_by,
        dropped: &job.dropped,
        errors: &job.added.error,
    };
    let names = PartNames {
        shard: work.first_number() + number,
        token: work.token.clone(),
    };
    let mut writer = PartitionedWriter::new(folder.path(), shape, names).map_err(AppError::Plan)?;
    let (batches, mut waiting) = mpsc::channel::<RecordBatch>(BATCHES_TO_WRITE);
    let writing = tokio::task::spawn_blocking(move || -> DataFusionResult<Vec<WrittenFile>> {
        while let Some(batch) = waiting.blocking_recv() {
            writer.write(&batch)?;
        }
        writer.finish()
    });
    let labelled = label_rows(job, work, source, rows, tally, batches).await;
    // The channel is closed by now, whatever happened, so the writer ends; it must before its folder goes.
    let written = writing.await;
    let (mut shard, failures, files) = match (labelled, written) {
        // A full disk closes the channel: then its error is the reason, not the closed channel.
        (_, Ok(Err(error))) => return Err(AppError::Run(error)),
        (_, Err(error)) => return Err(AppError::Run(DataFusionError::External(Box::new(error)))),
        (Err(error), Ok(Ok(_))) => return Err(error),
        (Ok((shard, failures)), Ok(Ok(files))) => (shard, failures, files),
    };
    if files.is_empty() {
        return Ok(None);
    }
    if let ShardFolder::Sent(folder) = &folder {
        for file in &files {
            job.output
                .target
                .take(&folder.path().join(&file.path), &file.path)
                .await?;
        }
    }
    shard.files = files;
    if !failures.is_empty() {
        let name = format!("{number:06}.parquet");
        let file = tempfile::NamedTempFile::new().map_err(AppError::file("write", &*name))?;
        failures.write(file.path()).map_err(AppError::Run)?;
        let bytes = std::fs::read(file.path()).map_err(AppError::file("read", file.path()))?;
        job.output.failed_shards().replace(&name, bytes).await?;
        shard.failed = Some(name);
    }
    Ok(Some(shard))
}

/// Where a shard's files are written.
enum ShardFolder {
    /// Where they stay until all is published.
    Staged(PathBuf),
    /// Where they wait to be sent to an object store.
    Sent(TempDir),
}

impl ShardFolder {
    fn new(job: &Job) -> Result<Self, AppError> {
        Ok(match job.output.staged() {
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

/// Sends every labelled batch of a shard to `batches`.
async fn label_rows(
    job: &Job,
    work: &Work,
    source: usize,
    rows: &Arc<InputRows>,
    tally: &mut Tally,
    batches: mpsc::Sender<RecordBatch>,
) -> Result<(Shard, Failures), AppError> {
    let table = rows.shard(job.shard).map_err(AppError::Plan)?;
    let table = job
        .context
        .read_table(Arc::new(table))
        .map_err(AppError::Plan)?;
    let (state, plan) = table.into_parts();
    let annotation = job.annotation(&job.sources[source]);
    let plan = annotate(&job.engine, plan, &annotation).map_err(AppError::Plan)?;
    let mut labelled = batches::stream(DataFrame::new(state, plan))
        .await
        .map_err(AppError::Run)?;
    let mut shard = Shard {
        held: vec![0; job.categories.len()],
        ..Shard::default()
    };
    let mut failures = Failures::default();
    let done = work.journal.rows();
    // The operator counts the rows that it was given.
    let counted = |error: DataFusionError| match done {
        0 => AppError::Run(error),
        done => {
            let text = crate::error::innermost(&error);
            AppError::Run(exec_datafusion_err!(
                "{text} (rows counted behind the {done} that are done)"
            ))
        }
    };
    while let Some(batch) = labelled.try_next().await.map_err(counted)? {
        for (count, name) in shard.held.iter_mut().zip(&job.added.is) {
            if let Some(column) = batch.column_by_name(name) {
                *count += column.as_boolean().true_count() as u64;
            }
        }
        shard.counts.rows += batch.num_rows() as u64;
        if let Some((file, row)) = last_place(&batch) {
            shard.through = Position { file, row: row + 1 };
        }
        failures
            .add(&batch, &job.added.error, &work.journal.job().files)
            .map_err(AppError::Run)?;
        tally.add(job, &batch);
        job.check_failures(tally, IMAGES_TO_JUDGE)?;
        let batch = without_places(job, &batch).map_err(AppError::Run)?;
        let sent = batches.send(batch).await;
        sent.map_err(|_| AppError::Run(exec_datafusion_err!("the output cannot be written")))?;
    }
    Ok((shard, failures))
}

/// The batch as it is written: the columns of the rows' places stand between the table's and the answers.
fn without_places(job: &Job, batch: &RecordBatch) -> DataFusionResult<RecordBatch> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    let columns = columns
        .filter(|(field, _)| field.name() != FILE_COLUMN && field.name() != ROW_COLUMN)
        .map(|(_, column)| Arc::clone(column))
        .collect();
    // The table's metadata is not in DataFusion's schema; the values are the same.
    Ok(RecordBatch::try_new(Arc::clone(&job.schema), columns)?)
}

/// Images of the rows that came out, in the table's order: what failed is known sooner than what the model answers, so that
/// images under way would make the share of failures look larger than it is.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// With an outcome.
    pub(super) images: u64,
    /// Failed among them.
    pub(super) failures: u64,
}

impl Tally {
    fn add(&mut self, job: &Job, batch: &RecordBatch) {
        let filled = |name: &str| {
            let column = batch.column_by_name(name);
            column.map_or(0, |column| (column.len() - column.null_count()) as u64)
        };
        let failed = filled(&job.added.error);
        self.failures += failed;
        self.images += failed + job.added.is.first().map_or(0, |is| filled(is));
    }
}

/// What the run has counted and timed up to the last shard.
struct Clock {
    started: Instant,
    busy: std::time::Duration,
    panics: u64,
    counts: Counts,
    seconds: Seconds,
}

impl Clock {
    fn new(job: &Job, started: Instant) -> Self {
        let model = job.service.stats();
        Self {
            started,
            busy: model.busy,
            panics: model.panics,
            counts: Counts::default(),
            seconds: Seconds::default(),
        }
    }

    /// Counts and times since the last shard, for one that wrote so many rows.
    fn lap(&mut self, job: &Job, rows: u64) -> (Counts, Seconds) {
        let model = job.service.stats();
        let counts = Counts::of(&job.stats, model.panics - self.panics);
        let busy = model.busy - self.busy;
        let seconds = Seconds::of(&job.stats, self.started.elapsed(), busy);
        let lap = (
            Counts {
                rows,
                ..counts.since(&self.counts)
            },
            seconds.since(&self.seconds),
        );
        (self.counts, self.seconds) = (counts, seconds);
        lap
    }
}

/// What is there of an unfinished job and how to go on.
fn kept(work: &Work) -> String {
    format!(
        "{} rows are labelled and kept; the same command goes on from there",
        HumanCount(work.journal.rows())
    )
}

/// An error of the work with what is left of it.
fn resumable(error: AppError, work: &Work) -> AppError {
    match error {
        AppError::Interrupted { .. }
        | AppError::Taken(_)
        | AppError::Usage(_)
        | AppError::InputChanged { .. } => error,
        other => AppError::Unfinished {
            source: Box::new(other),
            state: kept(work),
        },
    }
}
