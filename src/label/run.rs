//! The run of a prepared job: shard after shard through the model, then the output.
//!
//! A shard is read, labelled and written to its end before the next begins; then its files are put where they belong and the
//! journal remembers it. Whatever ends the program between two records costs the work on one shard.

use std::sync::Arc;
use std::time::Instant;

use indicatif::HumanCount;
use tracing::Instrument;

use super::active::{ActiveRun, remove_strays};
use super::cancel::Cancel;
use super::journal::{Finish, Mode, Shard};
use super::prepare::PreparedJob;
use super::progress::{Progress, Watch};
use super::shard::{self, ShardPlace, ShardRows};
use super::sources::{check_unchanged, error_of};
use super::tally::{Clock, Tally};
use super::{cascade, publish, retry};
use crate::dataset::manifest::Manifest;
use crate::error::AppError;
use crate::input::Position;
use crate::input::rows::InputRows;
use crate::output::writer::PartNames;

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
    let is_new = active.journal.shards.is_empty() && active.journal.job().mode == Mode::New;
    let labelled = match labelled {
        // Refused before anything was labelled, it leaves nothing.
        Err(error @ AppError::Usage(_)) if is_new => {
            active.journal.remove().await?;
            job.output.clear_work().await?;
            return Err(error);
        }
        labelled => labelled,
    };
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
pub(super) fn nothing_chosen(job: &PreparedJob) -> String {
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
        if let Some(cheap) = &job.cheap {
            cascade::calibrate(job, cheap, &mut self.active, self.cancel).await?;
            if cheap.options.max_asked.is_some() {
                let journal = &self.active.journal;
                let sampled = journal.calibrated.as_ref().map_or(0, |entry| entry.sampled);
                let before = journal.shards.iter().map(|shard| shard.counts.asked);
                job.inference.quota.spend(sampled + before.sum::<u64>());
            }
        }
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
                let Some(mut done) = labelled else { break };
                (done.counts, done.seconds) = self.clock.lap(job, done.counts.rows);
                if job.cheap.is_some() {
                    done.cascade = Some(job.inference.stats.cascade().take());
                }
                span.in_scope(|| shard::log(&done));
                self.active.journal.shard(done).await?;
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
        let (job, active) = (self.job, &self.active);
        let number = active.journal.shards.len();
        let part = ShardRows {
            source: &job.tables.sources[source],
            rows,
            size: job.shard_size(),
            files: &active.journal.job().files,
            done: active.journal.rows(),
        };
        let cascade = job.cheap.as_ref().zip(active.journal.cascade());
        let cascade = cascade.and_then(|(cheap, entry)| cheap.cascade(&entry));
        let place = ShardPlace {
            finished: &active.finished,
            names: PartNames {
                shard: active.first_number() + number,
                token: active.token.clone(),
                digits: 0,
            },
            failures: &job.output.failed_shards(),
            list: format!("{number:06}.pq"),
        };
        shard::label(job, part, place, cascade, &mut self.tally).await
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
