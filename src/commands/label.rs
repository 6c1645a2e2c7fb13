//! `picsift label`: a job, its progress and its summary.

use crate::cli::{ImageColumn, LabelArgs, SummaryForm};
use crate::commands::engine;
use crate::commands::printer::{note, say};
use crate::commands::progress::JobProgress;
use crate::commands::signals::Signals;
use crate::commands::summary::Summary;
use crate::commands::units;
use crate::dataset::Manifest;
use crate::error::AppError;
use crate::label::{Cancel, Existing, LabelJob, LabelOptions};

/// Runs the command and prints its summary.
///
/// # Errors
/// [`AppError`]; the output is as it was before then. [`AppError::AllFailed`] after an output without one answer.
pub(super) async fn label(args: LabelArgs) -> Result<(), AppError> {
    let (form, progress) = (args.summary, JobProgress::new(args.progress));
    if let Some(share) = args.share.share() {
        return units::label(options(args)?, share, form, progress).await;
    }
    let job = LabelJob::plan(options(args)?).await?;
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
    judged(&manifest)
}

/// Whether one image at least has an answer.
pub(super) fn judged(manifest: &Manifest) -> Result<(), AppError> {
    let counts = &manifest.counts;
    // What people said of an image is an answer too.
    let corrected = manifest.corrections.as_ref().map_or(0, |by| by.matched);
    match counts.images == counts.failures && counts.images > 0 && corrected == 0 {
        true => Err(AppError::AllFailed(counts.images)),
        false => Ok(()),
    }
}

fn options(args: LabelArgs) -> Result<LabelOptions, AppError> {
    let engine = engine::options(&args.limits, Some(&args.cache), Some(&args.fetch))?;
    Ok(LabelOptions {
        categories: args.categories.options(),
        model: args.model.options(),
        image: args.image,
        digest: args.sha256,
        embedding: args.embedding,
        keep_images: args.image_column == ImageColumn::Keep,
        predicate: args.predicate,
        limit: args.limit,
        partition_by: args.partition_by,
        on_error: args.on_error,
        existing: match (args.overwrite, args.incremental, args.retry_failed) {
            (true, ..) => Existing::Overwrite,
            (_, true, _) => Existing::Incremental,
            (.., true) => Existing::RetryFailed,
            _ => Existing::Resume,
        },
        max_error_ratio: args.max_error_ratio,
        shard_rows: args.shard_rows,
        corrections: args.corrections,
        max_images: args.max_images,
        max_time: args.max_seconds,
        engine,
        ..LabelOptions::new(args.inputs, args.output)
    })
}
