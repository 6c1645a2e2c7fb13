//! `picsift label`: tables in, the same tables with answers out.
//!
//! [`job`] checks everything that can be wrong before an image is touched; [`run`] moves the rows. Around them: which
//! [`categories`], which image [`columns`], what a person sees ([`progress`]), and what is kept of it ([`manifest`]).

pub mod categories;
pub mod columns;
pub mod job;
pub mod manifest;
pub mod progress;
pub mod run;
mod summary;

use std::time::Instant;

use crate::cli::LabelArgs;
use crate::error::AppError;

/// Runs the command and prints its summary.
///
/// # Errors
/// [`AppError`]; nothing is written then.
pub async fn label(args: LabelArgs) -> Result<(), AppError> {
    let started = Instant::now();
    let job = job::Job::resolve(args).await?;
    let manifest = run::run(&job, started).await?;
    summary::print(&job, &manifest).map_err(AppError::Terminal)
}
