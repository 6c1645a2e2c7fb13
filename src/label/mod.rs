//! `picsift label`: tables in, the same tables with answers out.
//!
//! [`job`] checks everything that can be wrong before an image is touched; [`begin`] finds out what of it is done already (the
//! [`journal`] of an unfinished run, the [`manifest`] of a published one, both with the job's [`identity`]); [`run`] moves the
//! rows, and `publish` makes an output of them. Around them: where they go (`destination`), which image [`columns`], what a
//! person sees ([`progress`]), what stops it ([`crate::signals`]) and what failed ([`failures`]).

pub mod begin;
pub mod columns;
mod destination;
pub mod failures;
pub mod identity;
pub mod job;
pub mod journal;
pub mod manifest;
pub mod progress;
mod publish;
mod retry;
pub mod run;
mod sources;
mod summary;

pub(crate) use destination::without_query;

use std::time::Instant;

use crate::cli::LabelArgs;
use crate::error::AppError;
use crate::printer::{note, say};

/// Runs the command and prints its summary.
///
/// # Errors
/// [`AppError`]; the output is as it was before then. [`AppError::AllFailed`] behind an output without one answer.
pub async fn label(args: LabelArgs) -> Result<(), AppError> {
    let started = Instant::now();
    let job = job::Job::resolve(args).await?;
    match begin::begin(&job).await? {
        begin::Plan::Nothing(why) => {
            say!("{why}");
            Ok(())
        }
        begin::Plan::Work(work) => {
            for note in job.notes.iter().chain(&work.notes) {
                note!("{note}");
            }
            let manifest = run::run(&job, *work, started).await?;
            summary::print(&job, &manifest).map_err(AppError::Terminal)?;
            let counts = &manifest.counts;
            // What people said of an image is an answer too.
            let corrected = manifest.corrections.as_ref().map_or(0, |by| by.matched);
            match counts.images == counts.failures && counts.images > 0 && corrected == 0 {
                true => Err(AppError::AllFailed(counts.images)),
                false => Ok(()),
            }
        }
    }
}
