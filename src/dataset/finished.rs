//! Where the finished files of a job wait until they are published.
//!
//! For other readers a folder with a manifest is whole at every moment, so files that are to come into such a folder wait where none
//! of them looks: on this machine in the hidden folder of the work, in an object store below `_picsift_work` and under
//! names that no pattern for tables matches. Only the first output of an object store is written in place, for there no
//! manifest stands yet and no copy need be paid for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use cap_std::fs::Dir;

use super::inside::{made, opened, synced};
use super::store::OutputStore;
use crate::disk::blocking;
use crate::error::AppError;
use crate::output::writer::WrittenFile;

/// The end of a waiting object's name.
const WAITING: &str = ".waiting";

/// The place of finished files.
#[derive(Debug, Clone)]
pub struct Finished {
    place: OutputStore,
    end: &'static str,
}

impl Finished {
    /// In the folder `data` of the work.
    pub(super) fn in_work(work: &OutputStore) -> Self {
        Self {
            place: work.below("data"),
            end: match work {
                OutputStore::Local(_) => "",
                OutputStore::Remote(_) => WAITING,
            },
        }
    }

    /// In a folder of the work that one try at a part of the job has for itself, and where no other reader looks.
    pub fn of_attempt(place: OutputStore) -> Self {
        Self {
            end: match place {
                OutputStore::Local(_) => "",
                OutputStore::Remote(_) => WAITING,
            },
            place,
        }
    }

    /// In the output itself, where no manifest stands.
    pub(super) fn in_place(target: &OutputStore) -> Self {
        Self {
            place: target.clone(),
            end: "",
        }
    }

    /// The folder of this machine in which they wait under their own names; `None` in an object store.
    pub fn folder(&self) -> Option<PathBuf> {
        match &self.place {
            OutputStore::Local(folder) => Some(folder.clone()),
            OutputStore::Remote(_) => None,
        }
    }

    /// That folder open, which is made if there is none; no name in it leads out.
    ///
    /// # Errors
    /// When it cannot be made, or is a link that leads elsewhere.
    pub fn open(folder: &Path) -> Result<Dir, AppError> {
        made(folder).map_err(AppError::file("write in", folder))
    }

    /// Makes sure that the names of what stands in a local folder outlive a crash of the machine, as the files do.
    ///
    /// # Errors
    /// When a folder cannot be written.
    pub async fn settle(&self, paths: &[WrittenFile]) -> Result<(), AppError> {
        let OutputStore::Local(folder) = &self.place else {
            return Ok(());
        };
        let parent = |file: &WrittenFile| match file.path.rsplit_once('/') {
            Some((parent, _)) => folder.join(parent),
            None => folder.clone(),
        };
        let folders: BTreeSet<PathBuf> = paths.iter().map(parent).collect();
        blocking(move || {
            for folder in folders {
                let settled = opened(&folder).and_then(|dir| synced(&dir, Path::new("")));
                settled.map_err(AppError::file("write", folder))?;
            }
            Ok(())
        })
        .await
    }

    /// Takes a finished local file, whose path in the output is `path`.
    ///
    /// # Errors
    /// When it cannot be read or the place not be written.
    pub async fn take(&self, file: &Path, path: &str) -> Result<(), AppError> {
        self.place.take(file, &self.waiting(path)).await
    }

    /// The paths in the output of all that waits, and in an output itself of all that is there.
    ///
    /// # Errors
    /// When the place cannot be listed.
    pub async fn list(&self) -> Result<Vec<String>, AppError> {
        let names = self.place.list().await?;
        let paths = names.iter().filter_map(|name| name.strip_suffix(self.end));
        Ok(paths.map(str::to_owned).collect())
    }

    /// Removes the file whose path in the output is `path`; none to remove is no error.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn remove(&self, path: &str) -> Result<(), AppError> {
        self.place.remove(&self.waiting(path)).await
    }

    /// Puts a file where it belongs in the output; none there is no error, for it was put there before a crash.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub(super) async fn publish(&self, target: &OutputStore, path: &str) -> Result<(), AppError> {
        target.adopt(&self.place, &self.waiting(path), path).await
    }

    /// Where all of it stands, and what a file is called there.
    pub(super) fn place(&self) -> &OutputStore {
        &self.place
    }

    fn waiting(&self, path: &str) -> String {
        format!("{path}{}", self.end)
    }
}
