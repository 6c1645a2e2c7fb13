//! `picsift label`: a job, its progress and its summary.

use crate::cli::{LabelArgs, SummaryForm};
use crate::commands::engine;
use crate::commands::printer::{note, say};
use crate::commands::progress::JobProgress;
use crate::commands::signals::Signals;
use crate::commands::summary::Summary;
use crate::commands::units;
use crate::error::AppError;
use crate::label::{Cancel, LabelJob};
use crate::requests;

/// Runs the command and prints its summary.
///
/// # Errors
/// [`AppError`]; the output is as it was before then. [`AppError::AllFailed`] after an output without one answer.
pub(super) async fn label(args: LabelArgs) -> Result<(), AppError> {
    let (form, progress) = (args.summary, JobProgress::new(args.progress));
    if let Some(share) = args.share.share() {
        let options = requests::label(args, &engine::host())?;
        return units::label(options, share, form, progress).await;
    }
    let job = LabelJob::plan(requests::label(args, &engine::host())?).await?;
    let (summary, losses) = (Summary::of(&job), job.losses());
    if let Some(why) = job.nothing_to_do() {
        match form {
            SummaryForm::Text => say!("{why}"),
            SummaryForm::Json => {
                note!("{why}");
                let manifest = job.run(|_| (), &Cancel::default()).await?;
                say!("{}", summary.object(&manifest));
            }
        }
        return Ok(());
    }
    for note in job.notes() {
        note!("{note}");
    }
    let cancel = Cancel::default();
    let signals = Signals::listen(cancel.clone());
    let shown = progress.clone();
    let labelled = job.run(move |done| shown.show(done), &cancel).await;
    progress.finish();
    let manifest = labelled.map_err(|error| signals.named(error))?;
    match form {
        SummaryForm::Text => summary.print(&manifest).map_err(AppError::Terminal)?,
        SummaryForm::Json => say!("{}", summary.object(&manifest)),
    }
    if let Some(lost) = losses.said() {
        note!("warning: {lost}");
    }
    LabelJob::any_answered(&manifest)
}
