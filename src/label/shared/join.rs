//! What a program finds in the place of an output: nothing, a plan to take part in, or a table that is published; and what it takes away.
//!
//! The plan is what a shared job is: it is the last thing to appear when a job begins and the first to go when it ends, so that whoever does not
//! see it any more knows that the job is over.

use std::time::{Duration, Instant};

use super::inherit::{PATIENCE, forget, inherit};
use super::plan::{JobPlan, PLAN};
use crate::dataset::Manifest;
use crate::dataset::lease::OutputLease;
use crate::dataset::publish::Output;
use crate::error::AppError;
use crate::input::files::{Comparison, InputFile};
use crate::label::journal::Journal;
use crate::label::prepare::PreparedJob;
use crate::label::resume::{manifest, nothing_to_do, numbered};
use crate::label::{identity, unwritten};

/// Time between two looks whether another has made the plan, or has published.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// What there is to do.
pub(super) enum Found {
    Nothing {
        why: String,
        manifest: Box<Manifest>,
    },
    Joined(Box<Joined>),
}

/// A plan that fits the job.
pub(super) struct Joined {
    pub(super) plan: JobPlan,
    /// The files of the plan, by their numbers in it, each with its source.
    pub(super) files: Vec<(usize, InputFile)>,
    /// What a person should know.
    pub(super) notes: Vec<String>,
}

/// Finds out what there is to do; makes the plan where there is none.
///
/// # Errors
/// [`AppError::Usage`] when the output belongs to another job, by what differs.
pub(super) async fn find(job: &PreparedJob) -> Result<Found, AppError> {
    let output = &job.output;
    let (begun, mut note) = (Instant::now(), None);
    loop {
        let there = manifest(output.manifest().await?, job)?;
        if let Some(plan) = JobPlan::read(output).await? {
            match there {
                Some(there) if there.job.id == plan.draft.job.id => {
                    clear_published(output).await?;
                    return nothing(job, there);
                }
                _ => {
                    let mut joined = join(job, plan)?;
                    joined.notes.extend(note);
                    return Ok(Found::Joined(Box::new(joined)));
                }
            }
        }
        if let Some(there) = there {
            let found = nothing(job, there)?;
            sweep(output).await?;
            return Ok(found);
        }
        match OutputLease::new(&output.work, &output.target).await {
            Ok(lease) => {
                // Between the looks and the lease another may have been quicker.
                let is_new = !is_begun(output).await? && output.manifest().await?.is_none();
                let journal = Journal::read(output.journal()).await?;
                let is_alone = journal.is_some();
                let made = match journal {
                    _ if !is_new => Ok(None),
                    Some(journal) => inherit(job, journal).await,
                    None => make(job).await.map(|()| None),
                };
                if made.is_err() && !is_alone && !is_begun(output).await? {
                    output.clear_work().await?;
                }
                lease.release(&output.work).await?;
                note = made?.or(note);
            }
            // By one that makes the plan, or by a job of one program.
            Err(AppError::Taken(_)) => {
                // Being taken away, it may be damaged for a moment.
                let journal = Journal::read(output.journal()).await.ok().flatten();
                if journal.is_some_and(|alone| !alone.handed_over) && begun.elapsed() > PATIENCE {
                    return Err(AppError::Usage(format!(
                        "'{}' is being made by one program, which is still at work; end it, and several go on from what it has done",
                        output.target
                    )));
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
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

/// A plan that is there, compared with the job.
///
/// # Errors
/// [`AppError::Usage`] by what differs.
pub(super) fn join(job: &PreparedJob, plan: JobPlan) -> Result<Joined, AppError> {
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
    Ok(Joined { plan, files, notes })
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
        why: nothing_to_do(shown, there.counts.rows),
        manifest: Box::new(there),
    })
}

/// Whether several programs are at work on an output.
pub(in crate::label) async fn is_begun(output: &Output) -> Result<bool, AppError> {
    output.work.exists(PLAN).await
}

/// What a job of one program does about one of several on its output: takes away what is left of a published one, and with `overwrite` any.
/// Whether it did, and with it the caller's lease.
///
/// # Errors
/// [`AppError::Usage`] when there is one.
pub(in crate::label) async fn give_way(output: &Output, overwrite: bool) -> Result<bool, AppError> {
    if !is_begun(output).await? {
        return Ok(false);
    }
    let is_done = is_published(output).await?;
    if !overwrite && !is_done {
        return Err(AppError::Usage(is_shared(output)));
    }
    if !is_done && let Some(plan) = JobPlan::read(output).await? {
        forget(output, &plan).await?;
    }
    clear(output).await?;
    Ok(true)
}

/// What one program says that would label what several do.
pub(in crate::label) fn is_shared(output: &Output) -> String {
    format!(
        "'{0}' is being labelled by several programs; --shard or --workers-share takes part, 'picsift status {0}' says how far \
         they are, and --overwrite gives their work up",
        output.target
    )
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
pub(super) async fn clear(output: &Output) -> Result<(), AppError> {
    output.work.remove(PLAN).await?;
    output.clear_work().await
}

/// Takes away what a publication that was broken off has left, unless it is still at it.
pub(super) async fn clear_published(output: &Output) -> Result<(), AppError> {
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
pub(super) async fn sweep(output: &Output) -> Result<(), AppError> {
    match OutputLease::new(&output.work, &output.target).await {
        Ok(lease) => {
            let alone = Journal::read(output.journal()).await?;
            if !is_begun(output).await? && alone.is_none_or(|alone| alone.handed_over) {
                output.clear_work().await?;
            }
            lease.release(&output.work).await
        }
        Err(AppError::Taken(_)) => Ok(()),
        Err(error) => Err(error),
    }
}
