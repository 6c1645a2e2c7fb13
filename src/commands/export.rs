//! `picsift export`: a data set, and what is in it.

use indicatif::HumanBytes;

use super::printer::{note, say};
use super::{engine, signals};
use crate::cli::ExportArgs;
use crate::error::AppError;
use crate::export::{export as write, said};
use crate::requests;

/// Runs the command.
///
/// # Errors
/// [`AppError`]; the output is as it was before then.
pub(super) async fn export(args: ExportArgs) -> Result<(), AppError> {
    let options = requests::export(args, &engine::host())?;
    let exported = signals::unless_stopped(
        &mut signals::Listener::new(),
        write(&options),
        "nothing was exported",
    )
    .await?;
    for note in &exported.notes {
        note!("{note}");
    }
    say!(
        "{} pictures in {} classes, {}, written to {}",
        exported.pictures,
        exported.classes.len(),
        HumanBytes(exported.bytes),
        options.output,
    );
    for (split, pictures) in &exported.splits {
        say!("{split}: {pictures}");
    }
    if !exported.left_out.is_empty() {
        say!("left out: {}", said(&exported.left_out));
    }
    Ok(())
}
