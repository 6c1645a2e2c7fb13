//! `picsift teach`: heads, and the report of what was learnt.

use std::io::Write;

use super::engine;
use super::printer::{Lines, note};
use super::signals;
use crate::cli::{TeachArgs, TeachForm};
use crate::error::AppError;
use crate::options::CategoryOptions;
use crate::teach::{TeachOptions, teach as learn};

/// Runs the command and prints its report.
///
/// # Errors
/// [`AppError`]; the output is as it was before then.
pub(super) async fn teach(args: TeachArgs) -> Result<(), AppError> {
    let options = TeachOptions {
        inputs: args.inputs,
        output: args.output,
        overwrite: args.overwrite,
        truth: args.truth,
        corrections: args.corrections,
        categories: CategoryOptions {
            names: args.categories,
            file: args.categories_file,
            ..CategoryOptions::default()
        },
        model: args.model.options(),
        image: args.image,
        base: args.base,
        seed: args.seed,
        engine: engine::options(&args.limits, Some(&args.cache), Some(&args.fetch))?,
    };
    let report = signals::unless_stopped(learn(&options), "nothing was written").await?;
    for note in &report.notes {
        note!("{note}");
    }
    let text = match args.format {
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
        options.output
    );
    Ok(())
}
