//! What one program does of a shared job: labels units by the model, and publishes when it finds all of them done.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::common::exec_datafusion_err;
use picsift_udf::OnError;
use tokio::sync::watch;
use tracing::Instrument;

use super::claims::Claims;
use super::publish::publish_units;
use super::records::JobWork;
use super::taker::{Labels, UnitTaker, mine};
use super::worker::Worker;
use super::{Joined, Outcome, Part, Share, standing, work_of};
use crate::dataset::finished::Finished;
use crate::error::AppError;
use crate::input::rows::ShardSize;
use crate::label::cancel::Cancel;
use crate::label::journal::Shard;
use crate::label::prepare::PreparedJob;
use crate::label::progress::{Progress, Watch};
use crate::label::shard::{self, ShardPlace, ShardRows};
use crate::label::sources::{check_files, check_unchanged, error_of};
use crate::label::tally::{Clock, Tally};
use crate::output::writer::PartNames;

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
    let units = joined.plan.units.len();
    let mine = mine(share.part, units as u32);
    let total = match share.part {
        Part::Free => None,
        Part::Shard { .. } => Some(rows_left(&work, &joined, &mine).await?),
    };
    let labels = ModelLabels {
        clock: Clock::new(job, Instant::now()),
        tally: Tally::default(),
        work: work.clone(),
        job,
        joined: &joined,
    };
    let claims = Claims::new(&work, Worker::this(), share.lease);
    let mut taker = UnitTaker::new(work, units as u32, claims, labels, cancel);
    let watch = Watch::start(Arc::clone(&job.inference.stats), 0, total, progress);
    let span = tracing::info_span!("job", id = %joined.plan.draft.job.id);
    let done = taker.run(&mine).instrument(span).await;
    watch.stop().await;
    let done = match done {
        Ok(done) => done,
        Err(error) => {
            let done = taker.work.done().await.map_or(0, |done| done.len());
            return Err(resumable(error, done, units));
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

async fn rows_left(work: &JobWork, joined: &Joined, mine: &[u32]) -> Result<u64, AppError> {
    let done = work.done().await?;
    let left = mine.iter().filter(|unit| !done.contains(unit));
    let rows = left.filter_map(|&unit| joined.plan.units.get(unit as usize));
    Ok(rows.map(|unit| unit.rows).sum())
}

/// The job's model over the job's input.
pub(super) struct ModelLabels<'a> {
    pub(super) job: &'a PreparedJob,
    pub(super) joined: &'a Joined,
    pub(super) work: JobWork,
    pub(super) clock: Clock,
    pub(super) tally: Tally,
}

impl Labels for ModelLabels<'_> {
    async fn label(
        &mut self,
        unit: u32,
        attempt: &str,
        lost: watch::Receiver<bool>,
    ) -> Result<Shard, AppError> {
        let labelled = self.rows(unit, attempt, lost).await;
        labelled.map_err(|error| error_of(&self.job.inference.context, error))
    }

    fn ends_the_program(&self, error: &AppError) -> bool {
        self.job.options.on_error == OnError::Fail
            || matches!(
                error,
                AppError::InputChanged { .. }
                    | AppError::TooManyErrors(_)
                    | AppError::Engine(_)
                    | AppError::Source(_)
                    | AppError::Usage(_)
            )
    }
}

impl ModelLabels<'_> {
    /// Labels the rows of a unit into files of a try's own. Where the unit is lost meanwhile, rows may be missing.
    async fn rows(
        &mut self,
        number: u32,
        attempt: &str,
        lost: watch::Receiver<bool>,
    ) -> Result<Shard, AppError> {
        let (job, plan) = (self.job, &self.joined.plan);
        job.inference.start()?;
        let unit = plan.units[number as usize];
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
        let rows = job.rows_of(source, files, limit, lost.clone()).await?;
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
        let finished = Finished::of_attempt(place.clone());
        let last = plan.units.len().saturating_sub(1);
        let place = ShardPlace {
            finished: &finished,
            names: PartNames {
                shard: number as usize,
                token: Some(attempt.to_string()),
                digits: last.to_string().len(),
            },
            failures: &place,
            list: format!("{:06}.pq", number),
        };
        // What a unit that failed has counted is not this one's.
        self.clock.lap(job, 0);
        let labelled = shard::label(job, part, place, None, &mut self.tally).await?;
        let mut shard = labelled.unwrap_or_else(|| Shard {
            held: vec![0; job.columns.categories.len()],
            ..Shard::default()
        });
        shard.through = unit.to;
        (shard.counts, shard.seconds) = self.clock.lap(job, shard.counts.rows);
        if *lost.borrow() {
            return Ok(shard);
        }
        check_files(&job.inference.context, source, &read).await?;
        if all && shard.counts.rows != unit.rows {
            return Err(AppError::Run(exec_datafusion_err!(
                "{} rows were read of a unit of {}",
                shard.counts.rows,
                unit.rows
            )));
        }
        finished.settle(&shard.files).await?;
        Ok(shard)
    }
}

/// An error of the work with what is left of it.
pub(super) fn resumable(error: AppError, done: usize, units: usize) -> AppError {
    match error {
        AppError::Cancelled { .. } | AppError::Usage(_) | AppError::InputChanged { .. } => error,
        other => AppError::Unfinished {
            source: Box::new(other),
            state: standing(done, units),
        },
    }
}
