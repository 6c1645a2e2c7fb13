//! A job that one program has begun and several carry on: what it has done becomes units that are done.
//!
//! A journal is the records of a job whose units one program cuts as it goes. Here they become records of a plan, and what is left of the
//! input its other units. From the moment at which the journal says so ([`Journal::hand_over`]) only several may go on, and the program whose
//! job it was finds out at its next record; each step before and after it can be done again.

use std::time::Duration;

use indicatif::HumanCount;

use super::plan::JobPlan;
use super::records::{JobWork, UnitRecord};
use crate::dataset::publish::Output;
use crate::error::AppError;
use crate::input::files::Comparison;
use crate::label::active::remove_strays;
use crate::label::identity::difference;
use crate::label::journal::{Journal, Mode};
use crate::label::prepare::PreparedJob;
use crate::label::resume::{discard, numbered};
use crate::label::unwritten;

/// Time for another that takes the job over at the same moment to say so.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// Makes the plan of what a journal leaves to do; nothing is done where nothing was begun that counts. What a person should know of it.
///
/// # Errors
/// [`AppError::Usage`] when the journal is another job's, or cannot be shared.
pub(super) async fn inherit(
    job: &PreparedJob,
    mut journal: Journal,
) -> Result<Option<String>, AppError> {
    let (output, begun) = (&job.output, journal.job());
    if let Some(what) = other_job(job, &journal) {
        if !journal.shards.is_empty() {
            return Err(AppError::Usage(format!(
                "'{}' is being made by a job of one program that is not finished, and this is another one: {what}; run the earlier \
                 command to finish it, or with --overwrite to begin anew",
                output.target
            )));
        }
        discard(job, journal).await?;
        return Ok(None);
    }
    let own_affair = match (begun.mode, &journal.finish) {
        (Mode::New, None) => None,
        (Mode::New, Some(_)) => {
            Some("all rows are labelled by one program, which publishes them itself")
        }
        (Mode::Append | Mode::Retry, _) => Some("what is added to it is labelled by one program"),
    };
    if let Some(why) = own_affair {
        return Err(AppError::Usage(format!(
            "'{}': {why}; run its command again to finish it",
            output.target
        )));
    }
    unwritten::check(job).await?;
    output.try_out().await?;
    let work = JobWork::new(output, &begun.id);
    remove_strays(&output.finished(true), &journal, &[]).await?;
    for (unit, shard) in (0..).zip(&journal.shards) {
        work.put(&UnitRecord::inherited(unit, &begun.id, shard.clone()))
            .await?;
    }
    journal.hand_over().await?;
    let plan = JobPlan::after(job, &journal).await?;
    plan.put(output).await?;
    tracing::info!(
        units = plan.units.len(),
        done = journal.shards.len(),
        "job of one program taken over"
    );
    Ok(Some(format!(
        "going on with a job that one program has begun: {} rows are done",
        HumanCount(journal.rows())
    )))
}

/// How a job differs from the one that a journal is of, by the name of what differs.
fn other_job(job: &PreparedJob, journal: &Journal) -> Option<String> {
    let begun = journal.job();
    if let Some(what) = difference(&begun.identity, &job.identity) {
        return Some(what);
    }
    match numbered(&begun.files, &mut job.files()) {
        Comparison::Different(what) => Some(format!("its input is another, {what}")),
        Comparison::Same { .. } => None,
    }
}

/// Removes what stands in an output itself of the job that was inherited: where nothing waits elsewhere, it was written in place.
///
/// # Errors
/// When a record cannot be read or a file not be removed.
pub(super) async fn forget(output: &Output, plan: &JobPlan) -> Result<(), AppError> {
    let work = JobWork::new(output, &plan.draft.job.id);
    let units = work.done().await?;
    for record in work.read(units).await? {
        if record.is_inherited() {
            for file in &record.shard.files {
                record.finished(&work).remove(&file.path).await?;
            }
        }
    }
    Ok(())
}
