//! `picsift sample`: a sample of a labelled table, and what it stands for.

use super::printer::{note, say};
use super::signals::{self, Listener};
use crate::cli::SampleArgs;
use crate::dataset::WEIGHT;
use crate::error::AppError;
use crate::requests;
use crate::sample::sample as draw;

/// Runs the command.
///
/// # Errors
/// [`AppError`]; the output is not there then.
pub(super) async fn sample(args: SampleArgs) -> Result<(), AppError> {
    let options = requests::sample(args);
    let drawn = signals::unless_stopped(
        &mut Listener::new(),
        draw(&options),
        "no sample was written",
    )
    .await?;
    for note in &drawn.notes {
        note!("{note}");
    }
    say!(
        "{} rows of {} written to {}; each stands for {WEIGHT} rows",
        drawn.rows,
        drawn.labelled,
        options.output
    );
    for (category, rows, of) in &drawn.categories {
        say!("{category}: {rows} of {of} rows");
    }
    Ok(())
}
