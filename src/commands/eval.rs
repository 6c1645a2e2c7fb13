//! `picsift eval`: the report of an evaluation.

use std::io::Write;

use super::printer::{Lines, note};
use crate::cli::{EvalArgs, ReportForm};
use crate::error::AppError;
use crate::eval::sweep::Goal;
use crate::eval::{EvalOptions, evaluate, figures, keep_thresholds, report};

/// Runs the command and prints its report.
///
/// # Errors
/// [`AppError`]; nothing is written then.
pub(super) async fn eval(args: EvalArgs) -> Result<(), AppError> {
    let options = EvalOptions {
        goal: args.sweep.then(|| goal(&args)),
        inputs: args.inputs,
        truth: args.truth.options(),
        mistakes: args.mistakes,
        seed: args.seed,
    };
    let evaluation = evaluate(&options).await?;
    let text = match args.format {
        ReportForm::Table => report::table(&evaluation)?,
        ReportForm::Markdown => report::markdown(&evaluation),
        ReportForm::Json => report::json(&evaluation)?,
    };
    let mut out = Lines::new(std::io::stdout());
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(AppError::Terminal)?;
    if let Some(path) = &args.categories_file {
        let written = keep_thresholds(path, &evaluation)?;
        note!(
            "{} written to {}; label takes them with --categories-file",
            figures::count(written as u64, "threshold", "thresholds"),
            path.display()
        );
    }
    Ok(())
}

fn goal(args: &EvalArgs) -> Goal {
    match (args.min_precision, args.min_recall) {
        (Some(least), _) => Goal::Precision(least),
        (None, Some(least)) => Goal::Recall(least),
        (None, None) => Goal::BestF1,
    }
}
