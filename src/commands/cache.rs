//! `picsift cache`: the answers that are kept on this machine, looked at, checked and removed.
//!
//! Owns what people see of the store, and how commands open it; what is in it is the store's.

use std::path::PathBuf;
use std::sync::Arc;

use indicatif::{HumanBytes, HumanCount};
use picsift_vision::store::{Store, StoreError, StoreOptions, default_folder};

use super::printer::{note, say};
use crate::cli::{CacheArgs, CacheCommand, CacheCommandArgs};
use crate::error::AppError;

/// Runs the command.
///
/// # Errors
/// When the store cannot be opened or read, and [`AppError::Damaged`] when something in it was.
pub(super) fn cache(args: CacheCommandArgs) -> Result<(), AppError> {
    let store = Store::open(options(args.cache_dir, args.cache_size)?)?;
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
        "{} answers about {} images, {} references",
        HumanCount(info.answers),
        HumanCount(info.images),
        HumanCount(info.references)
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

fn options(folder: Option<PathBuf>, max_bytes: u64) -> Result<StoreOptions, StoreError> {
    Ok(StoreOptions {
        folder: match folder {
            Some(folder) => folder,
            None => default_folder()?,
        },
        max_bytes,
        notice: Arc::new(|sentence| note!("{sentence}")),
    })
}

/// The store of a command that asks about images; `None` where none is wanted, or none can be had, which is said.
///
/// # Errors
/// [`AppError::Store`] when a folder was named and cannot be used.
pub(super) fn open(args: &CacheArgs) -> Result<Option<Store>, AppError> {
    if args.no_cache {
        return Ok(None);
    }
    let named = args.cache_dir.is_some();
    match options(args.cache_dir.clone(), args.cache_size).and_then(Store::open) {
        Ok(store) => Ok(Some(store)),
        Err(error) if named => Err(error.into()),
        Err(error) => {
            note!("answers are not kept: {error}");
            Ok(None)
        }
    }
}
