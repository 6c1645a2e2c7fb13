//! `picsift export`: a data set, and what is in it.

use indicatif::HumanBytes;

use super::printer::{note, say};
use super::{engine, signals};
use crate::cli::ExportArgs;
use crate::error::AppError;
use crate::export::{ClassSize, ExportOptions, export as write, said};

/// Runs the command.
///
/// # Errors
/// [`AppError`]; the output is as it was before then.
pub(super) async fn export(args: ExportArgs) -> Result<(), AppError> {
    let options = ExportOptions {
        engine: engine::options(&args.limits, None, Some(&args.fetch))?,
        inputs: args.inputs,
        form: args.form.into(),
        output: args.output,
        overwrite: args.overwrite,
        split: args.split,
        seed: args.seed,
        label: args.label,
        keep_unlabelled: args.keep_unlabelled,
        class_size: match (args.max_per_class, args.balance) {
            (Some(most), _) => ClassSize::AtMost(most),
            (None, true) => ClassSize::Balanced,
            (None, false) => ClassSize::All,
        },
        image: args.image,
        base: args.base,
        evaluation: args.evaluation,
        shard_bytes: args.shard_bytes,
    };
    let exported = signals::unless_stopped(write(&options), "nothing was exported").await?;
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
