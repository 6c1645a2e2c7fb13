//! `picsift tune`: the frontier of quality against price.

use std::io::Write;

use super::engine;
use super::printer::{Lines, note};
use super::signals::{self, Listener};
use crate::cli::{TeachForm, TuneArgs};
use crate::error::AppError;
use crate::requests;
use crate::tune::tune as try_all;

/// Runs the command and prints its report.
///
/// # Errors
/// [`AppError`]; the output is as it was before then.
pub(super) async fn tune(args: TuneArgs) -> Result<(), AppError> {
    let (form, output) = (args.format, args.output.clone());
    let options = requests::tune(args, &engine::host())?;
    let report = signals::unless_stopped(
        &mut Listener::new(),
        try_all(&options),
        "nothing was written; what models have answered is kept, and the same command goes on from there",
    )
    .await?;
    for note in &report.notes {
        note!("{note}");
    }
    let text = match form {
        TeachForm::Table => report.table(),
        TeachForm::Json => report.json()?,
    };
    let mut out = Lines::new(std::io::stdout());
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(AppError::Terminal)?;
    let kept = match report.kept {
        0 => String::new(),
        kept => format!("; of {kept} more everything was kept"),
    };
    note!(
        "models were shown {} images for answers and {} to be timed{kept}",
        report.asked,
        report.timed
    );
    if let Some(output) = output {
        note!("{output} written: label takes it with --categories-file");
    }
    Ok(())
}
