//! A job that several programs do together, on any machines, without one that directs them.
//!
//! The first makes a plan (`plan`) and puts it into the work on the output (`join`); each takes units (`taker`), labels them by the same
//! `shard` as a job of one program (`work`), and records them (`records`). Claims with leases (`claims`) only keep them from doing the
//! same. When all units are recorded, any of them publishes ([`publish()`]), and a person may as well; [`status()`] says how far they are.
//! One may also direct others ([`SharedJob::direct`]): it says which units are to be done, and they do them ([`Hand`]).
//!
//! The [`journal`](super::journal) of a job of one program is the same in small: records that are put if there is none, of units that are cut as it
//! goes, since that one may stop in the middle of the input and add to an output. Rows are read, labelled and written by the same code, and
//! what one program has begun several may carry on (`inherit`).

mod claims;
mod direct;
mod hand;
mod inherit;
mod join;
mod plan;
mod publish;
mod records;
#[cfg(test)]
mod simulation;
mod status;
mod taker;
mod work;
mod worker;

use std::time::Duration;

pub use direct::Hands;
pub use hand::{Done, Hand, is_hopeless};
pub(super) use join::{give_way, is_begun, is_shared};
pub use publish::publish;
pub use status::{FailedUnit, Status, UnitAtWork, status};

use super::cancel::Cancel;
use super::destination::open_output;
use super::options::{Existing, LabelOptions};
use super::prepare::PreparedJob;
use super::progress::Progress;
use crate::dataset::Manifest;
use crate::dataset::publish::Output;
use crate::error::AppError;
use join::{Found, Joined, find};
use picsift_udf::{Engine, EngineOptions};
use plan::JobPlan;
use records::JobWork;

/// Which units of a job a program does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Every `of`-th, from the `number`-th on; 1 is the first.
    Shard {
        /// From 1 to `of`.
        number: u32,
        /// How many parts there are.
        of: u32,
    },
    /// Whichever is free, until none is left.
    Free,
}

/// How a program takes part in a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// What it does of it.
    pub part: Part,
    /// Time without a sign of life after which another takes its unit over, as the other measures it.
    pub lease: Duration,
}

/// What came of a program's part.
#[derive(Debug)]
pub enum Outcome {
    /// All units are done, and the output is published.
    Published(Box<Manifest>),
    /// What this program was to do is done; others have units left.
    Left {
        /// Units that are done.
        done: usize,
        /// Units of the job.
        units: usize,
    },
}

/// A part of a shared job that is ready to run.
pub struct SharedJob {
    job: PreparedJob,
    found: Found,
    share: Share,
}

impl SharedJob {
    /// Checks the options, opens the tables, and makes the plan or compares the job with the one that there is. No image is read.
    ///
    /// # Errors
    /// As [`LabelJob::plan`](super::LabelJob::plan); [`AppError::Usage`] also for options that several programs cannot hold together, and by name for what
    /// differs from the plan.
    pub async fn plan(options: LabelOptions, share: Share) -> Result<Self, AppError> {
        check(&options, share)?;
        let job = PreparedJob::new(options).await?;
        job.output.check().await?;
        let found = find(&job).await?;
        Ok(Self { job, found, share })
    }

    /// Why there is nothing to do, in a sentence; `None` where there is.
    pub fn nothing_to_do(&self) -> Option<&str> {
        match &self.found {
            Found::Nothing { why, .. } => Some(why),
            Found::Joined(_) => None,
        }
    }

    /// What a person should know before it runs.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        let joined = match &self.found {
            Found::Nothing { .. } => &[],
            Found::Joined(joined) => joined.notes.as_slice(),
        };
        self.job.notes.iter().chain(joined).map(String::as_str)
    }

    /// The output as a person would write it.
    pub fn output(&self) -> String {
        self.job.output.target.to_string()
    }

    /// The list of failed images, as a person would write it.
    pub fn failures(&self) -> String {
        self.job.output.failures_shown()
    }

    /// The images that this program loses; asked after it ran, it says how many of how many, and why most of them.
    pub fn losses(&self) -> std::sync::Arc<picsift_udf::Losses> {
        std::sync::Arc::clone(&self.job.inference.losses)
    }

    /// Labels its part, and publishes the output if it was the last. `progress` is called several times a second, on another thread.
    ///
    /// # Errors
    /// [`AppError::Cancelled`] when `cancel` ended it, [`AppError::Unfinished`] when units could not be done here; what is recorded stays.
    pub async fn run(
        self,
        progress: impl Fn(&Progress) + Send + Sync + 'static,
        cancel: &Cancel,
    ) -> Result<Outcome, AppError> {
        let outcome = match self.found {
            Found::Nothing { manifest, .. } => Outcome::Published(manifest),
            Found::Joined(joined) => {
                let progress = std::sync::Arc::new(progress);
                work::run(&self.job, *joined, self.share, progress, cancel).await?
            }
        };
        if let Outcome::Published(manifest) = &outcome {
            self.job.remember(manifest).await;
        }
        Ok(outcome)
    }

    /// Has all units done by others and publishes the output; loads no model. `progress` is called about once a second.
    ///
    /// # Errors
    /// As [`SharedJob::run`].
    pub async fn direct(
        self,
        hands: &dyn Hands,
        progress: impl Fn(&Progress) + Send + Sync + 'static,
        cancel: &Cancel,
    ) -> Result<Outcome, AppError> {
        let outcome = match self.found {
            Found::Nothing { manifest, .. } => Outcome::Published(manifest),
            Found::Joined(joined) => {
                let progress = std::sync::Arc::new(progress);
                direct::run(&self.job, *joined, hands, progress, cancel).await?
            }
        };
        if let Outcome::Published(manifest) = &outcome {
            self.job.remember(manifest).await;
        }
        Ok(outcome)
    }
}

/// Refuses what only one program can hold.
fn check(options: &LabelOptions, share: Share) -> Result<(), AppError> {
    let refused = |what: &str| {
        Err(AppError::Usage(format!(
            "{what}, so not with --shard, --workers-share or --cluster"
        )))
    };
    if let Part::Shard { number, of } = share.part
        && !(1..=of).contains(&number)
    {
        return Err(AppError::Usage(format!(
            "--shard {number}/{of}: the parts of {of} are 1 to {of}"
        )));
    }
    if share.lease < Duration::from_millis(100) {
        return Err(AppError::Usage(
            "a lease must be at least a tenth of a second".to_string(),
        ));
    }
    match options.existing {
        Existing::Resume => {}
        Existing::Overwrite => {
            return refused("--overwrite by one program would take the work of the others away");
        }
        Existing::Incremental | Existing::RetryFailed => {
            return refused("what is added to an output is labelled by one program");
        }
    }
    if options.max_images.is_some() || options.max_time.is_some() {
        return refused("--max-images and --max-seconds bound one program");
    }
    if options.cascade.is_some() {
        return refused(
            "the thresholds of --cascade follow from the whole input, which one program samples",
        );
    }
    if options.predicate.is_some() && options.limit.is_some() {
        return refused(
            "which rows --limit leaves of --where is known only when all before them are read",
        );
    }
    Ok(())
}

/// An output by its name alone, for who asks about it or publishes it.
fn named(output: &str) -> Result<Output, AppError> {
    let engine = Engine::new(EngineOptions::default())?;
    open_output(output, &[], &engine)
}

/// How far a job is, in words, for what a person is told when a part of it ends.
fn standing(done: usize, units: usize) -> String {
    format!("{done} of {units} units are done; the same command goes on from there")
}

/// The work on the job of a plan.
fn work_of(output: &Output, plan: &JobPlan) -> JobWork {
    JobWork::new(output, &plan.draft.job.id)
}
