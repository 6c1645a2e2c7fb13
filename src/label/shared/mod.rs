//! A job that several programs do together, on any machines, without one that directs them.
//!
//! The first makes a plan ([`plan`]) and puts it into the work on the output; each takes units ([`work`]), labels them by the same
//! [`shard`](super::shard) as a job of one program, and records them ([`records`]). Claims with leases ([`claims`]) only keep them from doing the
//! same. When all units are recorded, any of them publishes ([`publish`](mod@publish)), and a person may as well; [`status`](mod@status) says how far they are.
//!
//! Beside [`journal`](super::journal), which a job of one program goes by, because that one may cut its shards as it goes, stop in the middle of the
//! input and add to an output. What is told apart here is only what is remembered: rows are read, labelled and written by the same code.

mod claims;
mod plan;
mod publish;
mod records;
mod status;
mod work;
mod worker;

use std::time::Duration;

pub use publish::publish;
pub use status::{FailedUnit, Status, UnitAtWork, status};

use super::cancel::Cancel;
use super::destination::open_output;
use super::journal::Journal;
use super::options::{Existing, LabelOptions};
use super::prepare::PreparedJob;
use super::progress::Progress;
use super::resume::{manifest, numbered};
use super::{identity, unwritten};
use crate::dataset::Manifest;
use crate::dataset::lease::OutputLease;
use crate::dataset::publish::Output;
use crate::error::AppError;
use crate::input::files::{Comparison, InputFile};
use picsift_udf::{Engine, EngineOptions};
use plan::{JobPlan, PLAN};
use records::JobWork;

/// Time between two looks whether another has made the plan, or has published.
const LOOK_EVERY: Duration = Duration::from_millis(500);

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

/// What there is to do.
enum Found {
    Nothing {
        why: String,
        manifest: Box<Manifest>,
    },
    Joined(Box<Joined>),
}

/// A plan that fits the job.
struct Joined {
    plan: JobPlan,
    /// The files of the plan, by their numbers in it, each with its source.
    files: Vec<(usize, InputFile)>,
    notes: Vec<String>,
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
        match self.found {
            Found::Nothing { manifest, .. } => Ok(Outcome::Published(manifest)),
            Found::Joined(joined) => {
                let progress = std::sync::Arc::new(progress);
                work::run(&self.job, *joined, self.share, progress, cancel).await
            }
        }
    }
}

/// Refuses what only one program can hold.
fn check(options: &LabelOptions, share: Share) -> Result<(), AppError> {
    let refused = |what: &str| {
        Err(AppError::Usage(format!(
            "{what}, so not with --shard or --workers-share"
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
    if options.predicate.is_some() && options.limit.is_some() {
        return refused(
            "which rows --limit leaves of --where is known only when all before them are read",
        );
    }
    Ok(())
}

async fn find(job: &PreparedJob) -> Result<Found, AppError> {
    let output = &job.output;
    loop {
        let there = manifest(output.manifest().await?, job)?;
        if let Some(plan) = JobPlan::read(output).await? {
            match there {
                Some(there) if there.job.id == plan.draft.job.id => {
                    clear_published(output).await?;
                    return nothing(job, there);
                }
                _ => return join(job, plan),
            }
        }
        if let Some(there) = there {
            let found = nothing(job, there)?;
            sweep(output).await?;
            return Ok(found);
        }
        if Journal::read(output.journal()).await?.is_some() {
            return Err(AppError::Usage(format!(
                "'{}' is being made by one program; run that command again to finish it, or with --overwrite to begin anew",
                output.target
            )));
        }
        match OutputLease::new(&output.work, &output.target).await {
            Ok(lease) => {
                // Between the looks and the lease another may have been quicker.
                let is_new = !is_begun(output).await? && output.manifest().await?.is_none();
                let made = match is_new && Journal::read(output.journal()).await?.is_none() {
                    true => make(job).await,
                    false => Ok(()),
                };
                lease.release(&output.work).await?;
                made?;
            }
            // By one that makes the plan, or a job of one program whose journal will stand there soon.
            Err(AppError::Taken(_)) => tokio::time::sleep(LOOK_EVERY).await,
            Err(error) => return Err(error),
        }
    }
}

/// Makes the plan, after all that can be wrong with the job and the place of its output is known.
async fn make(job: &PreparedJob) -> Result<(), AppError> {
    unwritten::check(job).await?;
    let plan = JobPlan::new(job).await?;
    job.output.try_out().await?;
    plan.put(&job.output).await?;
    tracing::info!(
        units = plan.units.len(),
        rows = plan.rows(),
        files = plan.draft.job.files.len(),
        "plan made"
    );
    Ok(())
}

fn join(job: &PreparedJob, plan: JobPlan) -> Result<Found, AppError> {
    let mut files = job.files();
    if let Some(what) = plan.other_job(job, &mut files) {
        return Err(AppError::Usage(format!(
            "'{}' is being labelled by several programs, and this one would not do the same: {what}",
            job.output.target
        )));
    }
    let known = plan.draft.job.files.len();
    let mut notes = Vec::new();
    let new = files.iter().filter(|(_, f)| f.id as usize >= known).count();
    if new > 0 {
        notes.push(format!(
            "the input has {new} new file{} that the plan of this job does not know; --incremental labels them when it is done",
            if new == 1 { "" } else { "s" }
        ));
        files.retain(|(_, file)| (file.id as usize) < known);
    }
    files.sort_by_key(|(_, file)| file.id);
    let rows = job.options.shard_rows.get() as u64;
    if rows != plan.unit_rows {
        notes.push(format!(
            "units have at most {} rows, as the plan of this job says, not {rows}",
            plan.unit_rows
        ));
    }
    Ok(Found::Joined(Box::new(Joined { plan, files, notes })))
}

/// What an output that is there already means.
fn nothing(job: &PreparedJob, there: Manifest) -> Result<Found, AppError> {
    let shown = &job.output.target;
    let other = |what: String| {
        Err(AppError::Usage(format!(
            "'{shown}' was labelled by another command: {what}; name another folder"
        )))
    };
    if let Some(what) = identity::difference(&there.job.identity, &job.identity) {
        return other(what);
    }
    let new = match numbered(&there.job.files, &mut job.files()) {
        Comparison::Different(what) => return other(format!("its input is another, {what}")),
        Comparison::Same { new } => new,
    };
    if new > 0 || there.partial.is_some() {
        return Err(AppError::Usage(format!(
            "'{shown}' is published and is not the whole input; what is added to it is labelled by one program, with --incremental"
        )));
    }
    Ok(Found::Nothing {
        why: format!(
            "nothing to do: '{shown}' has all {} rows already",
            indicatif::HumanCount(there.counts.rows)
        ),
        manifest: Box::new(there),
    })
}

/// Whether several programs are at work on an output.
pub(super) async fn is_begun(output: &Output) -> Result<bool, AppError> {
    output.work.exists(PLAN).await
}

/// What a job of one program does about one of several on its output: takes away what is left of a published one, and with `overwrite` any.
/// Whether it did, and with it the caller's lease.
///
/// # Errors
/// [`AppError::Usage`] when there is one.
pub(super) async fn give_way(output: &Output, overwrite: bool) -> Result<bool, AppError> {
    if !is_begun(output).await? {
        return Ok(false);
    }
    if !overwrite && !is_published(output).await? {
        return Err(AppError::Usage(format!(
            "'{0}' is being labelled by several programs; --shard or --workers-share takes part, 'picsift status {0}' says how far \
             they are, and --overwrite gives their work up",
            output.target
        )));
    }
    clear(output).await?;
    Ok(true)
}

/// Whether the output is what the plan was made for.
async fn is_published(output: &Output) -> Result<bool, AppError> {
    let Some(text) = output.manifest().await? else {
        return Ok(false);
    };
    let plan = JobPlan::read(output).await?;
    let id = serde_json::from_slice::<Manifest>(&text).map(|there| there.job.id);
    Ok(plan.is_some_and(|plan| id.is_ok_and(|id| id == plan.draft.job.id)))
}

/// Takes the work away; the plan first, by which every other program sees that the job is over.
async fn clear(output: &Output) -> Result<(), AppError> {
    output.work.remove(PLAN).await?;
    output.clear_work().await
}

/// Takes away what a publication that was broken off has left, unless it is still at it.
async fn clear_published(output: &Output) -> Result<(), AppError> {
    match OutputLease::new(&output.work, &output.target).await {
        Ok(lease) => {
            clear(output).await?;
            lease.release(&output.work).await
        }
        Err(AppError::Taken(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Takes away what late programs have left beside a published output.
async fn sweep(output: &Output) -> Result<(), AppError> {
    match OutputLease::new(&output.work, &output.target).await {
        Ok(lease) => {
            if !is_begun(output).await? && Journal::read(output.journal()).await?.is_none() {
                output.clear_work().await?;
            }
            lease.release(&output.work).await
        }
        Err(AppError::Taken(_)) => Ok(()),
        Err(error) => Err(error),
    }
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
