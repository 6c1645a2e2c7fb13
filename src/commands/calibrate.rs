//! `picsift calibrate`: thresholds of a cheap model, and what they promise.

use indicatif::HumanCount;

use super::engine;
use super::printer::{note, say};
use super::signals::Signals;
use crate::cli::{CalibrateArgs, SummaryForm};
use crate::dataset::cascade::{CascadeCategory, CascadeEntry};
use crate::error::AppError;
use crate::label::Cancel;
use crate::label::cascade::calibrate_file;
use crate::requests;

/// Runs the command and prints what came of it.
///
/// # Errors
/// [`AppError`]; the output is as it was before then.
pub(super) async fn calibrate(args: CalibrateArgs) -> Result<(), AppError> {
    let (form, output) = (args.summary, args.output.clone());
    let options = requests::calibrate(args, &engine::host())?;
    let cancel = Cancel::default();
    let signals = Signals::listen(cancel.clone());
    let entry = calibrate_file(options, &cancel).await;
    let entry = entry.map_err(|error| signals.named(error))?;
    match form {
        SummaryForm::Json => {
            let text = serde_json::to_string_pretty(&entry).map_err(AppError::json)?;
            say!("{text}");
        }
        SummaryForm::Text => {
            for line in lines(&entry) {
                say!("{line}");
            }
        }
    }
    note!("{output} written: SQL takes it with SET picsift.cascade = '{output}'");
    Ok(())
}

fn lines(entry: &CascadeEntry) -> Vec<String> {
    let mut lines = vec![format!(
        "{} of {} rows sampled; the dear model will be asked about {:.1} % of the rows of such a table",
        HumanCount(entry.sampled),
        HumanCount(entry.rows),
        100.0 * entry.unsure
    )];
    lines.extend(entry.categories.iter().map(line));
    lines.extend(entry.notes.iter().cloned());
    lines
}

fn line(category: &CascadeCategory) -> String {
    let no = match category.low {
        Some(low) => format!("no below {low:.4}"),
        None => "never no".to_string(),
    };
    let yes = match category.high {
        Some(high) => format!("yes from {high:.4} on"),
        None => "never yes".to_string(),
    };
    format!(
        "{}: {no}, {yes}; recall at least {:.3}, precision at least {:.3} against the dear model",
        category.name, category.recall, category.precision
    )
}
