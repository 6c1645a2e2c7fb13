//! `picsift eval`: the report of an evaluation.

use std::io::Write;

use super::printer::{Lines, note};
use crate::cli::{EvalArgs, ReportForm};
use crate::error::AppError;
use crate::eval::{evaluate, figures, keep_thresholds, report};
use crate::requests;

/// Runs the command and prints its report.
///
/// # Errors
/// [`AppError`]; nothing is written then.
pub(super) async fn eval(args: EvalArgs) -> Result<(), AppError> {
    let (format, categories_file) = (args.format, args.categories_file.clone());
    let evaluation = evaluate(&requests::eval(args)).await?;
    let text = match format {
        ReportForm::Table => report::table(&evaluation)?,
        ReportForm::Markdown => report::markdown(&evaluation),
        ReportForm::Json => report::json(&evaluation)?,
    };
    let mut out = Lines::new(std::io::stdout());
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(AppError::Terminal)?;
    if let Some(path) = &categories_file {
        let written = keep_thresholds(path, &evaluation)?;
        note!(
            "{} written to {}; label takes them with --categories-file",
            figures::count(written as u64, "threshold", "thresholds"),
            path.display()
        );
    }
    Ok(())
}
