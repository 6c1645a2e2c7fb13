//! What one program does of a shared job: takes units, labels and records them, and publishes when it finds all of them done.
//!
//! A unit that cannot be done here is left to others: it is this machine's disk or key, not the job, that failed. What cannot be done anywhere
//! (an input that has changed, too many images that fail) ends the program.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::Instrument;

use super::claims::{Claims, Held, State};
use super::publish::publish_units;
use super::records::{JobWork, UnitRecord};
use super::worker::Worker;
use super::{Joined, Outcome, Part, Share, standing, work_of};
use crate::error::AppError;
use crate::input::rows::ShardSize;
use crate::label::cancel::Cancel;
use crate::label::chance::token;
use crate::label::journal::Shard;
use crate::label::prepare::PreparedJob;
use crate::label::progress::{Progress, Watch};
use crate::label::shard::{self, ShardPlace, ShardRows};
use crate::label::sources::{check_files, check_unchanged, error_of};
use crate::label::tally::{Clock, Tally};
use crate::output::writer::PartNames;
use picsift_udf::OnError;

/// Units that fail one after another in one program before it takes it that all would.
const FAILURES_IN_A_ROW: u32 = 3;

/// Age of what is known of claims, from which a claim that is refused is a reason to look again.
const FRESH: Duration = Duration::from_secs(5);

/// Does a program's part.
///
/// # Errors
/// [`AppError`]; what is recorded stays.
pub(super) async fn run(
    job: &PreparedJob,
    joined: Joined,
    share: Share,
    progress: Arc<dyn Fn(&Progress) + Send + Sync>,
    cancel: &Cancel,
) -> Result<Outcome, AppError> {
    let work = work_of(&job.output, &joined.plan);
    let worker = Worker::this();
    let mut taker = UnitTaker {
        claims: Claims::new(&work, worker, share.lease),
        clock: Clock::new(job, Instant::now()),
        tally: Tally::default(),
        failed: HashMap::new(),
        in_a_row: 0,
        work,
        job,
        joined: &joined,
        cancel,
    };
    let mine = taker.mine(share.part);
    let total = match share.part {
        Part::Free => None,
        Part::Shard { .. } => Some(taker.rows_left(&mine).await?),
    };
    let watch = Watch::start(Arc::clone(&job.inference.stats), 0, total, progress);
    let span = tracing::info_span!("job", id = %joined.plan.draft.job.id);
    let done = taker.run(&mine).instrument(span).await;
    watch.stop().await;
    let units = joined.plan.units.len();
    let done = match done {
        Ok(done) => done,
        Err(error) => {
            let done = taker.work.done().await.map_or(0, |done| done.len());
            return Err(resumable(
                error_of(&job.inference.context, error),
                done,
                units,
            ));
        }
    };
    match done {
        Some(done) if done < units => Ok(Outcome::Left { done, units }),
        _ => {
            check_unchanged(&job.inference.context, &job.tables.sources).await?;
            let most = job.options.max_error_ratio;
            let manifest = publish_units(&job.output, &joined.plan, most).await?;
            Ok(Outcome::Published(Box::new(manifest)))
        }
    }
}

/// What does one unit after another.
struct UnitTaker<'a> {
    job: &'a PreparedJob,
    joined: &'a Joined,
    work: JobWork,
    claims: Claims,
    cancel: &'a Cancel,
    clock: Clock,
    tally: Tally,
    /// Units that could not be done here, and why.
    failed: HashMap<u32, String>,
    in_a_row: u32,
}

impl UnitTaker<'_> {
    /// The numbers of the units that this program may do, in the order in which it tries them.
    fn mine(&self, part: Part) -> Vec<u32> {
        let units = self.joined.plan.units.len() as u32;
        match part {
            Part::Shard { number, of } => (number - 1..units).step_by(of.max(1) as usize).collect(),
            Part::Free => {
                // Each begins elsewhere, so that they seldom want the same.
                let chance = u32::from_str_radix(&token(7), 16).unwrap_or_default();
                let first = chance.checked_rem(units).unwrap_or_default();
                (first..units).chain(0..first).collect()
            }
        }
    }

    async fn rows_left(&self, mine: &[u32]) -> Result<u64, AppError> {
        let done = self.work.done().await?;
        let left = mine.iter().filter(|unit| !done.contains(unit));
        let rows = left.filter_map(|&unit| self.joined.plan.units.get(unit as usize));
        Ok(rows.map(|unit| unit.rows).sum())
    }

    /// Does units until none of `mine` is left; how many of the job are done then, `None` where the job is over.
    async fn run(&mut self, mine: &[u32]) -> Result<Option<usize>, AppError> {
        loop {
            if !self.work.is_open().await? {
                return Ok(None);
            }
            let done = self.work.done().await?;
            let is_left = |unit: &&u32| !done.contains(unit);
            let left: Vec<u32> = mine.iter().filter(is_left).copied().collect();
            if left.is_empty() {
                return Ok(Some(done.len()));
            }
            let took_free = self.take_free(&left).await?;
            let took = took_free || self.take_over(&left).await?;
            if took {
                continue;
            }
            let done = self.work.done().await?;
            let others = left.iter().filter(|unit| !done.contains(unit));
            let others: HashSet<u32> = others.copied().collect();
            if others.is_empty() {
                continue;
            }
            if let Some((unit, why)) = self.hopeless(&others).await? {
                return Err(AppError::Run(datafusion::common::exec_datafusion_err!(
                    "unit {unit} could not be done here: {why}"
                )));
            }
            self.wait().await?;
        }
    }

    /// Does what nobody has ever claimed; whether there was any.
    async fn take_free(&mut self, left: &[u32]) -> Result<bool, AppError> {
        let (mut claimed, mut seen) = (self.claims.survey().await?, Instant::now());
        let mut took = false;
        for &unit in left {
            if claimed.contains_key(&unit) {
                continue;
            }
            self.stop_if_asked().await?;
            match self.claims.take(unit, 0).await? {
                Some(held) => {
                    took = true;
                    if !self.unit(held).await? {
                        return Ok(true);
                    }
                }
                None if seen.elapsed() > FRESH => {
                    (claimed, seen) = (self.claims.survey().await?, Instant::now());
                }
                None => {}
            }
        }
        Ok(took)
    }

    /// Does one unit of those whose claims bind nobody any more; whether there was one.
    async fn take_over(&mut self, left: &[u32]) -> Result<bool, AppError> {
        let (claimed, done) = (self.claims.survey().await?, self.work.done().await?);
        for unit in left {
            let Some(&number) = claimed.get(unit) else {
                continue;
            };
            if done.contains(unit) || self.failed.contains_key(unit) {
                continue;
            }
            self.stop_if_asked().await?;
            if self.claims.is_free(*unit, number).await?
                && let Some(held) = self.claims.take(*unit, number + 1).await?
            {
                tracing::info!(unit, "taken over");
                self.unit(held).await?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The first of these units and why it failed, where all have failed here and nobody else is at one of them.
    async fn hopeless(&mut self, left: &HashSet<u32>) -> Result<Option<(u32, String)>, AppError> {
        if left.iter().any(|unit| !self.failed.contains_key(unit)) {
            return Ok(None);
        }
        let claimed = self.claims.survey().await?;
        for unit in left {
            if let Some(&number) = claimed.get(unit)
                && !self.claims.is_free(*unit, number).await?
            {
                return Ok(None);
            }
        }
        let first = left.iter().min();
        Ok(first.and_then(|unit| Some((*unit, self.failed.get(unit)?.clone()))))
    }

    async fn stop_if_asked(&self) -> Result<(), AppError> {
        match self.cancel.is_asked() {
            true => Err(self.cancelled().await),
            false => Ok(()),
        }
    }

    async fn cancelled(&self) -> AppError {
        let done = self.work.done().await.map_or(0, |done| done.len());
        AppError::Cancelled {
            state: standing(done, self.joined.plan.units.len()),
        }
    }

    /// Waits until others may have done or given up something.
    async fn wait(&self) -> Result<(), AppError> {
        let mut asked = self.cancel.finishing();
        tokio::select! {
            () = tokio::time::sleep(self.claims.pause()) => Ok(()),
            // The sender lives as long as the job.
            _ = asked.wait_for(|asked| *asked) => self.stop_if_asked().await,
        }
    }

    /// Labels a unit and records it; whether the job is still there.
    async fn unit(&mut self, mut held: Held) -> Result<bool, AppError> {
        let (unit, attempt) = (held.unit, token(8));
        let span = tracing::info_span!("unit", number = unit);
        let cancel = self.cancel;
        let labelled = tokio::select! {
            labelled = self.label(&held, &attempt).instrument(span.clone()) => labelled,
            () = cancel.stopped() => {
                held.end(State::Dropped).await;
                self.forget(&attempt).await;
                return Err(self.cancelled().await);
            }
        };
        if !self.work.is_open().await? {
            held.close().await;
            self.forget(&attempt).await;
            return Ok(false);
        }
        // Rows may be missing from then on.
        let is_lost = *held.lost.borrow();
        match labelled {
            Ok(shard) if !is_lost => {
                let record = UnitRecord {
                    unit,
                    attempt,
                    worker: self.claims.worker.clone(),
                    shard,
                };
                match self.work.put(&record).await? {
                    true => span.in_scope(|| shard::log(&record.shard)),
                    false => self.forget(&record.attempt).await,
                }
                held.close().await;
                self.in_a_row = 0;
            }
            // Another does it.
            Ok(_) => self.forget(&attempt).await,
            Err(_) if is_lost => self.forget(&attempt).await,
            Err(error) => {
                self.forget(&attempt).await;
                let error = error_of(&self.job.inference.context, error);
                let why = error.to_string();
                held.end(State::Failed { why: why.clone() }).await;
                tracing::warn!(unit, %error, "a unit failed");
                self.in_a_row += 1;
                if ends_the_program(self.job, &error) || self.in_a_row >= FAILURES_IN_A_ROW {
                    return Err(error);
                }
                self.failed.insert(unit, why);
            }
        }
        Ok(true)
    }

    /// What is not removed now goes when the job is published.
    async fn forget(&self, attempt: &str) {
        if let Err(error) = self.work.forget(attempt).await {
            tracing::warn!(%error, "files of a try that does not count could not be removed");
        }
    }

    /// Labels the rows of a unit into files of a try's own. Where the unit is lost meanwhile, rows may be missing.
    async fn label(&mut self, held: &Held, attempt: &str) -> Result<Shard, AppError> {
        let (job, plan) = (self.job, &self.joined.plan);
        job.inference.start()?;
        let unit = plan.units[held.unit as usize];
        let parts = unit.of(&self.joined.files);
        let source = parts.first().map_or(0, |(source, ..)| *source);
        let source = &job.tables.sources[source];
        let files: Vec<_> = parts
            .into_iter()
            .map(|(_, file, rows)| (file, rows))
            .collect();
        let read: Vec<_> = files.iter().map(|(file, _)| file.clone()).collect();
        let all = job.options.predicate.is_none();
        let limit = all.then_some(unit.rows as usize);
        let rows = job.rows_of(source, files, limit, held.lost.clone()).await?;
        let part = ShardRows {
            source,
            rows: &rows,
            size: ShardSize {
                rows: usize::MAX,
                bytes: usize::MAX,
                time: Duration::MAX,
            },
            files: &plan.draft.job.files,
            done: 0,
        };
        let place = self.work.attempt(attempt);
        let finished = crate::dataset::finished::Finished::of_attempt(place.clone());
        let last = plan.units.len().saturating_sub(1);
        let place = ShardPlace {
            finished: &finished,
            names: PartNames {
                shard: held.unit as usize,
                token: Some(attempt.to_string()),
                digits: last.to_string().len(),
            },
            failures: &place,
            list: format!("{:06}.pq", held.unit),
        };
        // What a unit that failed has counted is not this one's.
        self.clock.lap(job, 0);
        let labelled = shard::label(job, part, place, &mut self.tally).await?;
        let mut shard = labelled.unwrap_or_else(|| Shard {
            held: vec![0; job.columns.categories.len()],
            ..Shard::default()
        });
        shard.through = unit.to;
        (shard.counts, shard.seconds) = self.clock.lap(job, shard.counts.rows);
        if *held.lost.borrow() {
            return Ok(shard);
        }
        check_files(&job.inference.context, source, &read).await?;
        if all && shard.counts.rows != unit.rows {
            return Err(AppError::Run(datafusion::common::exec_datafusion_err!(
                "{} rows were read of a unit of {}",
                shard.counts.rows,
                unit.rows
            )));
        }
        finished.settle(&shard.files).await?;
        Ok(shard)
    }
}

/// Whether an error says that other units would fail too, here and elsewhere.
fn ends_the_program(job: &PreparedJob, error: &AppError) -> bool {
    job.options.on_error == OnError::Fail
        || matches!(
            error,
            AppError::InputChanged { .. }
                | AppError::TooManyErrors(_)
                | AppError::Engine(_)
                | AppError::Source(_)
                | AppError::Usage(_)
        )
}

/// An error of the work with what is left of it.
fn resumable(error: AppError, done: usize, units: usize) -> AppError {
    match error {
        AppError::Cancelled { .. } | AppError::Usage(_) | AppError::InputChanged { .. } => error,
        other => AppError::Unfinished {
            source: Box::new(other),
            state: standing(done, units),
        },
    }
}
