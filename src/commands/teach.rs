//! `picsift teach`: heads, and the report of what was learnt.

use std::io::Write;

use super::engine;
use super::printer::{Lines, note};
use super::signals::{self, Listener};
use crate::cli::{TeachArgs, TeachForm};
use crate::error::AppError;
use crate::requests;
use crate::teach::teach as learn;

/// Runs the command and prints its report.
///
/// # Errors
/// [`AppError`]; the output is as it was before then.
pub(super) async fn teach(args: TeachArgs) -> Result<(), AppError> {
    let (form, output) = (args.format, args.output.clone());
    let options = requests::teach(args, &engine::host())?;
    let report =
        signals::unless_stopped(&mut Listener::new(), learn(&options), "nothing was written")
            .await?;
    for note in &report.notes {
        note!("{note}");
    }
    let text = match form {
        TeachForm::Table => report.table()?,
        TeachForm::Json => report.json()?,
    };
    let mut out = Lines::new(std::io::stdout());
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(AppError::Terminal)?;
    note!(
        "{} rows of {} taught, {} images fetched and {} shown to the model; {} written: label takes it with --heads, SQL with SET picsift.heads",
        report.rows,
        report.labelled,
        report.fetched,
        report.asked,
        output
    );
    Ok(())
}
