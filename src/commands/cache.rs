//! `picsift cache`: the answers that are kept on this machine, looked at, checked and removed.
//!
//! Owns what people see of the store; what is in it is the store's.

use indicatif::{HumanBytes, HumanCount};
use picsift_vision::store::Store;

use super::engine;
use super::printer::say;
use crate::cli::{CacheCommand, CacheCommandArgs};
use crate::error::AppError;
use crate::requests::store_options;

/// Runs the command.
///
/// # Errors
/// When the store cannot be opened or read, and [`AppError::Damaged`] when something in it was.
pub(super) fn cache(args: CacheCommandArgs) -> Result<(), AppError> {
    let store = Store::open(store_options(
        args.cache_dir,
        args.cache_size,
        &engine::host(),
    )?)?;
    match args.command {
        CacheCommand::Info => info(&store),
        CacheCommand::Clear => {
            let before = store.info()?;
            store.clear()?;
            say!(
                "removed the answers about {} images ({}) from {}",
                HumanCount(before.images),
                HumanBytes(before.bytes),
                before.folder.display()
            );
            Ok(())
        }
        CacheCommand::Verify => verify(&store),
    }
}

fn info(store: &Store) -> Result<(), AppError> {
    let info = store.info()?;
    say!(
        "{}: {} of {}",
        info.folder.display(),
        HumanBytes(info.bytes),
        HumanBytes(info.max_bytes)
    );
    say!(
        "{} answers about {} images, {} references, embeddings of {} texts",
        HumanCount(info.answers),
        HumanCount(info.images),
        HumanCount(info.references),
        HumanCount(info.texts)
    );
    for model in &info.models {
        say!(
            "{} at {}: {} answers to {} questions",
            model.model,
            model.revision,
            HumanCount(model.answers),
            HumanCount(model.questions)
        );
    }
    Ok(())
}

fn verify(store: &Store) -> Result<(), AppError> {
    let report = store.verify()?;
    for (path, reason) in &report.damaged_files {
        say!("{}: {reason}; removed", path.display());
    }
    if report.damaged_rows > 0 {
        say!("{} damaged rows; removed", HumanCount(report.damaged_rows));
    }
    say!(
        "{} rows in {} files are as they were written",
        HumanCount(report.rows - report.damaged_rows),
        report.files
    );
    match report.is_whole() {
        true => Ok(()),
        false => Err(AppError::Damaged),
    }
}
