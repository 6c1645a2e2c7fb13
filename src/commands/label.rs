//! `picsift label`: a job, its progress and its summary.

use std::io::Write;

use indicatif::HumanCount;

use crate::cli::{LabelArgs, SummaryForm};
use crate::commands::engine;
use crate::commands::estimates;
use crate::commands::printer::{Lines, note, say};
use crate::commands::progress::JobProgress;
use crate::commands::signals::Signals;
use crate::commands::summary::Summary;
use crate::commands::units;
use crate::error::AppError;
use crate::label::{Cancel, LabelJob, Survey, survey};
use crate::requests;

/// Runs the command and prints its summary.
///
/// # Errors
/// [`AppError`]; the output is as it was before then. [`AppError::AllFailed`] after an output without one answer.
pub(super) async fn label(args: LabelArgs) -> Result<(), AppError> {
    let (form, progress) = (args.summary, JobProgress::new(args.progress));
    if args.dry_run || args.estimate {
        let estimate = args.estimate;
        let survey = survey(requests::label(args, &engine::host())?, estimate).await?;
        for note in &survey.notes {
            note!("{note}");
        }
        return print(&survey, estimate);
    }
    if let Some(address) = args.cluster.cluster.clone() {
        if args.share.share().is_some() {
            return Err(AppError::Usage(
                "--shard and --workers-share label here, and --cluster has others do it; give one of them".to_string(),
            ));
        }
        let token = args.cluster.token_file.clone();
        let options = requests::label(args, &engine::host())?;
        return units::direct(options, &address, token.as_deref(), form, progress).await;
    }
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

/// Says what a job would do.
fn print(survey: &Survey, with_estimate: bool) -> Result<(), AppError> {
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    say!(
        "would label {} row{} of {} file{}: {}",
        HumanCount(survey.rows),
        plural(survey.rows as usize),
        survey.files,
        plural(survey.files),
        survey.inputs.join(", ")
    );
    if let Some(predicate) = &survey.predicate {
        say!("  where   {predicate}");
    }
    if let Some(limit) = survey.limit {
        say!("  limit   {} rows", HumanCount(limit as u64));
    }
    say!("  image   column {}", survey.image);
    say!(
        "  asks    {}: {}",
        survey.model,
        survey.categories.join(", ")
    );
    say!("  output  {}", survey.output);
    if let Some(standing) = &survey.standing {
        say!("          {standing}");
    }
    say!("  columns {}", survey.added.join(", "));
    if with_estimate {
        let mut out = Lines::new(std::io::stdout().lock());
        for estimate in &survey.estimates {
            estimates::write(&mut out, estimate, survey.limit).map_err(AppError::Terminal)?;
        }
        if let Some(cascade) = &survey.cascade {
            estimates::write_cascade(&mut out, survey, cascade).map_err(AppError::Terminal)?;
        }
        out.flush().map_err(AppError::Terminal)?;
    }
    say!("nothing was written");
    Ok(())
}
