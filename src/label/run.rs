//! The run of a prepared job: shard after shard through the model, then the output.
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
use tracing::Instrument;

use super::cancel::Cancel;
use super::journal::{Finish, Mode, Shard};
use super::prepare::PreparedJob;
use super::progress::{Progress, Watch};
use super::resume::{ActiveRun, remove_strays};
use super::sources::{check_unchanged, error_of};
use super::{publish, retry, unwritten};
use crate::batches;
use crate::dataset::failures::Failures;
use crate::dataset::finished::Finished;
use crate::dataset::manifest::{Counts, Manifest, Seconds};
use crate::error::AppError;
use crate::input::rows::InputRows;
use crate::input::scan::last_place;
use crate::input::{FILE_COLUMN, Position, ROW_COLUMN, UNREADABLE_COLUMN};
use crate::output::writer::{PartNames, PartitionedWriter, TableShape, WrittenFile};

/// Labelled batches that wait for the disk.
const BATCHES_TO_WRITE: usize = 2;

/// Images from which on the share of failures says something.
const IMAGES_TO_JUDGE: u64 = 100;

/// Does the work and publishes the output. `started` is when the job was planned.
///
/// # Errors
/// [`AppError`]; the output is as it was before then, and what is done is remembered.
pub async fn run(
    job: &PreparedJob,
    active: ActiveRun,
    started: Instant,
    progress: Arc<dyn Fn(&Progress) + Send + Sync>,
    cancel: &Cancel,
) -> Result<Manifest, AppError> {
    let done = active.journal.rows();
    let expected = active.expected_rows(job, done).await?;
    let watch = Watch::start(Arc::clone(&job.inference.stats), done, expected, progress);
    let mut runner = ShardRunner {
        clock: Clock::new(job, started),
        tally: Tally::default(),
        job,
        active,
        cancel,
    };
    let span = tracing::info_span!("job", id = %runner.active.journal.job().id);
    let labelled = runner.run().instrument(span).await;
    watch.stop().await;
    let mut active = runner.active;
    labelled.map_err(|error| resumable(error_of(&job.inference.context, error), &active))?;
    if cancel.is_asked() {
        return Err(AppError::Cancelled {
            state: kept(&active),
        });
    }
    let partial = job.inference.quota.exhausted();
    let partial = partial.map(|end| end.to_string());
    let rows: u64 = active.journal.rows();
    if rows == 0 && partial.is_none() && active.journal.job().mode == Mode::New {
        active.journal.remove().await?;
        job.output.clear_work().await?;
        return Err(AppError::Usage(nothing_chosen(job)));
    }
    if active.journal.finish.is_none() {
        active.journal.finish(Finish { partial }).await?;
    }
    publish::publish(job, active).await
}

/// Why no row was labelled.
fn nothing_chosen(job: &PreparedJob) -> String {
    let inputs = job.tables.shown.join(", ");
    match &job.options.predicate {
        Some(predicate) => format!("no row of {inputs} satisfies --where {predicate}"),
        None => format!("{inputs} has no row"),
    }
}

/// What moves the shards of a job.
struct ShardRunner<'a> {
    job: &'a PreparedJob,
    active: ActiveRun,
    cancel: &'a Cancel,
    clock: Clock,
    tally: Tally,
}

impl ShardRunner<'_> {
    /// Labels what is left, a shard at a time, until there is nothing left or somebody ends it.
    async fn run(&mut self) -> Result<(), AppError> {
        if self.active.journal.finish.is_some() {
            return Ok(());
        }
        let job = self.job;
        let before = self.active.before.iter();
        let before: Vec<String> = before
            .flat_map(|manifest| manifest.files.iter().map(|file| file.path.clone()))
            .collect();
        remove_strays(&self.active.finished, &self.active.journal, &before).await?;
        for (source, files) in std::mem::take(&mut self.active.left) {
            let (limit, stop) = (self.active.may_take(job), self.cancel.finishing());
            let table = &job.tables.sources[source];
            let rows = job.rows_of(table, files, limit, stop).await?;
            while rows.may_go_on().await && !self.is_exhausted() {
                let cancel = self.cancel;
                let number = self.active.journal.shards.len();
                let span = tracing::info_span!("shard", number);
                let labelled = tokio::select! {
                    done = self.shard(source, &rows).instrument(span.clone()) => done?,
                    () = cancel.stopped() => return Err(AppError::Cancelled {
                        state: kept(&self.active),
                    }),
                };
                let Some(mut shard) = labelled else { break };
                (shard.counts, shard.seconds) = self.clock.lap(job, shard.counts.rows);
                span.in_scope(|| log(&shard));
                self.active.journal.shard(shard).await?;
            }
            if self.cancel.is_asked() || self.is_exhausted() {
                return Ok(());
            }
        }
        self.tally.check(job, 1)?;
        check_unchanged(&job.inference.context, &job.tables.sources).await?;
        self.last().await
    }

    fn is_exhausted(&self) -> bool {
        self.job.inference.quota.exhausted().is_some()
    }

    /// Remembers the end of the input, so that files that are added later begin behind it.
    async fn last(&mut self) -> Result<(), AppError> {
        let (job, journal) = (self.job, &self.active.journal);
        let mut last = Shard {
            through: Position {
                file: journal.job().files.len() as u32,
                row: 0,
            },
            held: vec![0; job.columns.categories.len()],
            ..Shard::default()
        };
        (last.counts, last.seconds) = self.clock.lap(job, 0);
        if journal.job().mode == Mode::Retry {
            (last.files, last.replaced) = retry::without_failures(job, &self.active).await?;
        }
        self.active.journal.shard(last).await
    }

    /// Labels and writes the next shard; `None` when there were no rows for it.
    async fn shard(
        &mut self,
        source: usize,
        rows: &Arc<InputRows>,
    ) -> Result<Option<Shard>, AppError> {
        let job = self.job;
        let number = self.active.journal.shards.len();
        let folder = ShardFolder::new(&self.active.finished)?;
        let shape = TableShape {
            schema: &job.columns.schema,
            partition_by: &job.columns.partition_by,
            label: &job.columns.added.label,
            dropped: &job.columns.dropped,
            errors: &job.columns.added.error,
        };
        let names = PartNames {
            shard: self.active.first_number() + number,
            token: self.active.token.clone(),
        };
        let open = Finished::open(folder.path())?;
        let mut writer =
            PartitionedWriter::new(open, folder.path(), shape, names).map_err(AppError::Plan)?;
        let (batches, mut waiting) = mpsc::channel::<RecordBatch>(BATCHES_TO_WRITE);
        let writing = tokio::task::spawn_blocking(move || -> DataFusionResult<Vec<WrittenFile>> {
            while let Some(batch) = waiting.blocking_recv() {
                writer.write(&batch)?;
            }
            writer.finish()
        });
        let labelled = self.rows(source, rows, batches).await;
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
                self.active.finished.take(&from, &file.path).await?;
            }
        }
        shard.files = files;
        if !failures.is_empty() {
            let name = format!("{number:06}.pq");
            let file = tempfile::NamedTempFile::new().map_err(AppError::file("write", &*name))?;
            failures.write(file.path()).map_err(AppError::Run)?;
            let bytes = std::fs::read(file.path()).map_err(AppError::file("read", file.path()))?;
            job.output.failed_shards().replace(&name, bytes).await?;
            shard.failed = Some(name);
        }
        Ok(Some(shard))
    }

    /// Sends every labelled batch of a shard to `batches`.
    async fn rows(
        &mut self,
        source: usize,
        rows: &Arc<InputRows>,
        batches: mpsc::Sender<RecordBatch>,
    ) -> Result<(Shard, Failures), AppError> {
        let job = self.job;
        let table = rows.shard(job.shard_size()).map_err(AppError::Plan)?;
        let context = &job.inference.context;
        let table = context
            .read_table(Arc::new(table))
            .map_err(AppError::Plan)?;
        let (state, plan) = table.into_parts();
        let annotation = job.annotation(&job.tables.sources[source]);
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
        let done = self.active.journal.rows();
        while let Some(batch) = labelled.try_next().await.map_err(|e| counted(e, done))? {
            let files = &self.active.journal.job().files;
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
            self.tally.add(job, &batch);
            self.tally.check(job, IMAGES_TO_JUDGE)?;
            tracing::debug!(
                rows = batch.num_rows(),
                images = self.tally.images,
                failures = self.tally.failures,
                "batch labelled"
            );
            let batch = without_places(job, &batch).map_err(AppError::Run)?;
            let sent = batches.send(batch).await;
            sent.map_err(|_| AppError::Run(exec_datafusion_err!("the output cannot be written")))?;
        }
        Ok((shard, failures))
    }
}

fn log(shard: &Shard) {
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

/// Columns of a row's place, and of what of it could not be read.
const POSITION: [&str; 3] = [FILE_COLUMN, UNREADABLE_COLUMN, ROW_COLUMN];

/// The batch as it is written: the columns of the rows' places stand between the table's and the answers.
fn without_places(job: &PreparedJob, batch: &RecordBatch) -> DataFusionResult<RecordBatch> {
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    let columns = columns
        .filter(|(field, _)| !POSITION.contains(&field.name().as_str()))
        .map(|(_, column)| Arc::clone(column))
        .collect();
    // The table's metadata is not in DataFusion's schema; the values are the same.
    Ok(RecordBatch::try_new(
        Arc::clone(&job.columns.schema),
        columns,
    )?)
}

/// Images of the rows that came out, in the table's order: what failed is known sooner than what the model answers, so that
/// images under way would make the share of failures look larger than it is.
#[derive(Debug, Default)]
struct Tally {
    /// With an outcome.
    images: u64,
    /// Failed among them.
    failures: u64,
}

impl Tally {
    fn add(&mut self, job: &PreparedJob, batch: &RecordBatch) {
        let filled = |name: &str| {
            let column = batch.column_by_name(name);
            column.map_or(0, |column| (column.len() - column.null_count()) as u64)
        };
        let failed = filled(&job.columns.added.error);
        self.failures += failed;
        self.images += failed + job.columns.added.is.first().map_or(0, |is| filled(is));
    }

    /// Stops a job in which too many images fail, once there are `enough` images to say so.
    fn check(&self, job: &PreparedJob, enough: u64) -> Result<(), AppError> {
        let Self { images, failures } = *self;
        match job.options.max_error_ratio {
            Some(most) if images >= enough && failures as f64 > most * images as f64 => {
                Err(AppError::TooManyErrors(format!(
                    "{failures} of {images} images failed, more than --max-error-ratio {most} allows{}",
                    match job.inference.stats.last_failure() {
                        Some(last) => format!(" (the last: {last})"),
                        None => String::new(),
                    }
                )))
            }
            _ => Ok(()),
        }
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
    fn new(job: &PreparedJob, started: Instant) -> Self {
        let model = job.inference.model_stats();
        Self {
            started,
            busy: model.busy,
            panics: model.panics,
            counts: Counts::default(),
            seconds: Seconds::default(),
        }
    }

    /// Counts and times since the last shard, for one that wrote so many rows.
    fn lap(&mut self, job: &PreparedJob, rows: u64) -> (Counts, Seconds) {
        let model = job.inference.model_stats();
        let counts = Counts::of(&job.inference.stats, model.panics - self.panics);
        let busy = model.busy - self.busy;
        let seconds = Seconds::of(&job.inference.stats, self.started.elapsed(), busy);
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
fn kept(active: &ActiveRun) -> String {
    format!(
        "{} rows are labelled and kept; the same command goes on from there",
        HumanCount(active.journal.rows())
    )
}

/// An error of the work with what is left of it.
fn resumable(error: AppError, active: &ActiveRun) -> AppError {
    match error {
        AppError::Cancelled { .. }
        | AppError::Taken(_)
        | AppError::Usage(_)
        | AppError::InputChanged { .. } => error,
        other => AppError::Unfinished {
            source: Box::new(other),
            state: kept(active),
        },
    }
}
