//! Units that another program says are to be done: an executor of a cluster.
//!
//! Each is labelled and recorded as by a program that takes units itself. Only who is at it is another's to know: whoever directs has given
//! the unit to nobody else, or to one who is taken for dead, so the claims of others are taken over without waiting.

use std::time::{Duration, Instant};

use picsift_udf::{Engine, OnError, RunStats};

use super::claims::Claims;
use super::join::{Joined, join, sweep};
use super::plan::JobPlan;
use super::records::JobWork;
use super::taker::UnitTaker;
use super::work::ModelLabels;
use super::work_of;
use super::worker::Worker;
use crate::error::AppError;
use crate::label::cancel::Cancel;
use crate::label::options::LabelOptions;
use crate::label::prepare::PreparedJob;
use crate::label::tally::{Clock, Tally};

/// Time between whose quarters a unit gives signs of life, for `picsift status` and for programs that take units themselves.
const LEASE: Duration = Duration::from_secs(60);

/// A job of which units are done here, one at a time.
pub struct Hand {
    job: PreparedJob,
    /// `None` once the job is published or given up.
    joined: Option<Box<Joined>>,
    worker: Worker,
}

/// What came of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Done {
    /// It has a record, by whomever, or the job is no more.
    Recorded,
    /// It could not be done here.
    Failed(String),
}

impl Hand {
    /// Checks the job against its plan, which somebody has made. Models are those of `models`.
    ///
    /// # Errors
    /// As [`SharedJob::plan`](super::SharedJob::plan).
    pub async fn new(options: LabelOptions, models: &Engine) -> Result<Self, AppError> {
        let job = PreparedJob::beside(options, Some(models)).await?;
        let joined = match JobPlan::read(&job.output).await? {
            Some(plan) => Some(Box::new(join(&job, plan)?)),
            None => None,
        };
        Ok(Self {
            job,
            joined,
            worker: Worker::this(),
        })
    }

    /// Labels and records a unit, unless that is done or `cancel` stops it.
    ///
    /// # Errors
    /// See [`is_hopeless`].
    pub async fn unit(&self, unit: u32, cancel: &Cancel) -> Result<Done, AppError> {
        let Some(joined) = &self.joined else {
            return Ok(Done::Recorded);
        };
        let work: JobWork = work_of(&self.job.output, &joined.plan);
        let units = joined.plan.units.len() as u32;
        if unit >= units {
            return Err(AppError::Usage(format!(
                "the job on '{}' has {units} units, and unit {unit} is wanted",
                self.job.output.target
            )));
        }
        let labels = ModelLabels {
            clock: Clock::new(&self.job, Instant::now()),
            tally: Tally::default(),
            work: work.clone(),
            job: &self.job,
            joined,
        };
        let claims = Claims::new(&work, self.worker.clone(), LEASE);
        let mut taker = UnitTaker::new(work, units, claims, labels, cancel);
        let done = taker.given(unit).await;
        // What was left here, not knowing that the job was over, goes now or with the next look at the output.
        if let Ok(false) = taker.work.is_open().await
            && let Err(error) = sweep(&self.job.output).await
        {
            tracing::warn!(%error, "files of a job that is over could not be removed");
        }
        match done {
            Err(error) if self.job.options.on_error == OnError::Null && !is_hopeless(&error) => {
                Ok(Done::Failed(error.to_string()))
            }
            done => done,
        }
    }

    /// What was counted of its units, those that failed among them.
    pub fn stats(&self) -> &RunStats {
        &self.job.inference.stats
    }

    /// What a person calls this program.
    pub fn name(&self) -> String {
        self.worker.shown()
    }
}

/// Whether an error says that the job cannot be done by anybody, and not that this machine cannot do a unit: it has no room, no key, no model.
pub fn is_hopeless(error: &AppError) -> bool {
    matches!(
        error,
        AppError::InputChanged { .. } | AppError::TooManyErrors(_) | AppError::Usage(_)
    )
}
