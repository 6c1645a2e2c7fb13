//! Tables in, the same tables with answers out, as a job that can be stopped and goes on.
//!
//! [`LabelOptions`] become a [`PreparedJob`]: everything that can be wrong before an image is touched is said there.
//! [`resume`] finds out what of it is done already (the [`journal`] of an unfinished run, the manifest of a published output, both with
//! the job's [`identity`]); [`run`] moves the rows shard by shard, and `publish` makes an output of them. Nothing here prints or
//! listens to signals: who runs a job is called back ([`Progress`]) and holds a handle to end it ([`Cancel`]). A [`Labeler`] does the same
//! for tables in memory and for pictures ([`mod@image`]), which have no output.

pub mod active;
mod arrivals;
mod cancel;
pub mod cascade;
mod chance;
mod columns;
mod destination;
mod embedded;
pub mod identity;
pub mod image;
pub mod journal;
mod labeler;
mod left;
pub mod options;
pub mod order;
pub mod prepare;
pub mod progress;
mod publish;
mod reading;
pub mod resume;
mod retry;
pub mod run;
mod shard;
pub mod shared;
mod sources;
mod survey;
mod tally;
mod unwritten;

use std::sync::Arc;
use std::time::Instant;

pub use cancel::Cancel;
pub use labeler::{Labeler, LabelledTable};
pub use options::{Existing, LabelOptions};
pub use progress::Progress;
pub use survey::{CascadeEstimate, Survey, survey};

use picsift_udf::Losses;

use crate::dataset::Manifest;
use crate::error::AppError;
use active::ActiveRun;
use prepare::PreparedJob;
use resume::ResumePlan;

/// A labelling job that is ready to run.
///
/// ```
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// use picsift::label::{Cancel, LabelJob, LabelOptions};
///
/// # let folder = tempfile::tempdir()?;
/// # let output = folder.path().join("labelled");
/// # let output = output.to_string_lossy();
/// let options = LabelOptions::new(["datasets/photos/references"], output)
///     .with_categories(["dog", "fish"])
///     .with_limit(20);
/// let job = LabelJob::plan(options).await?;
/// let cancel = Cancel::default();
/// let manifest = job.run(|progress| println!("{} rows", progress.rows), &cancel).await?;
/// assert_eq!(manifest.counts.rows, 20);
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
pub struct LabelJob {
    job: PreparedJob,
    plan: Plan,
    started: Instant,
}

/// What is left to do.
enum Plan {
    Nothing {
        why: String,
        manifest: Box<Manifest>,
    },
    Run(Box<ActiveRun>),
}

impl LabelJob {
    /// Checks the options, opens the tables, looks at what the output has already, and loads the model if there is something to do. No
    /// image is read.
    ///
    /// # Errors
    /// [`AppError::Usage`], [`AppError::Plan`] and [`AppError::Engine`] for what the caller can put right, [`AppError::Taken`] when another
    /// program writes the output.
    pub async fn plan(options: LabelOptions) -> Result<Self, AppError> {
        let started = Instant::now();
        let job = PreparedJob::new(options).await?;
        unwritten::check(&job).await?;
        let plan = match resume::begin(&job).await? {
            ResumePlan::Nothing { why, manifest } => Plan::Nothing { why, manifest },
            ResumePlan::Run(run) => Plan::Run(run),
        };
        Ok(Self { job, plan, started })
    }

    /// Why there is nothing to do, in a sentence; `None` where there is.
    pub fn nothing_to_do(&self) -> Option<&str> {
        match &self.plan {
            Plan::Nothing { why, .. } => Some(why),
            Plan::Run(_) => None,
        }
    }

    /// What a person should know before it runs: files left out, corrections that do not fit, rows that are done.
    pub fn notes(&self) -> impl Iterator<Item = &str> {
        let run = match &self.plan {
            Plan::Nothing { .. } => &[],
            Plan::Run(run) => run.notes.as_slice(),
        };
        self.job.notes.iter().chain(run).map(String::as_str)
    }

    /// The output as a person would write it.
    pub fn output(&self) -> String {
        self.job.output.target.to_string()
    }

    /// The list of failed images, as a person would write it; it is there after a run in which some failed.
    pub fn failures(&self) -> String {
        self.job.output.failures_shown()
    }

    /// Names of the columns that the output has beside the table's.
    pub fn added_columns(&self) -> Vec<String> {
        let fields = self.job.columns.added.fields();
        fields.iter().map(|field| field.name().clone()).collect()
    }

    /// The images that a run loses; asked after it, it says how many of how many, and why most of them.
    pub fn losses(&self) -> Arc<Losses> {
        Arc::clone(&self.job.inference.losses)
    }

    /// Whether a job's output has not one answer, of whatever images it has: neither the model's nor a person's.
    ///
    /// # Errors
    /// [`AppError::AllFailed`].
    pub fn any_answered(manifest: &Manifest) -> Result<(), AppError> {
        let counts = &manifest.counts;
        // What people said of an image is an answer too.
        let corrected = manifest.corrections.as_ref().map_or(0, |by| by.matched);
        match counts.images == counts.failures && counts.images > 0 && corrected == 0 {
            true => Err(AppError::AllFailed(counts.images)),
            false => Ok(()),
        }
    }

    /// Labels what is left, publishes the output, and returns its manifest. `progress` is called several times a second, on
    /// another thread.
    ///
    /// # Errors
    /// [`AppError::Cancelled`] when `cancel` ended it, [`AppError::Unfinished`] for a failure behind which it can go on; the output
    /// is as it was before then, and what is done is remembered.
    pub async fn run(
        self,
        progress: impl Fn(&Progress) + Send + Sync + 'static,
        cancel: &Cancel,
    ) -> Result<Manifest, AppError> {
        let manifest = match self.plan {
            Plan::Nothing { manifest, .. } => *manifest,
            Plan::Run(active) => {
                run::run(&self.job, *active, self.started, Arc::new(progress), cancel).await?
            }
        };
        self.job.remember(&manifest).await;
        Ok(manifest)
    }
}
