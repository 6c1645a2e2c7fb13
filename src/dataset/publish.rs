//! An output and the work on it: where both stand, and how one becomes the other.
//!
//! On this machine the work stands in a hidden folder beside the output, and a new output appears whole, by one rename.
//! A folder that cannot be renamed, because a disk is mounted there, has the work inside itself, and files are moved one by one.
//! So they are in an object store, and where files are added: meanwhile [`PUBLISHING`] stands in the manifest's place, so that a folder
//! with a manifest is whole for every reader. Every step can be done again after a crash. What is written is the caller's business.

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;

use super::finished::Finished;
use super::inside::{made, moved_folder};
use super::mounts::is_mounted;
use super::store::{OutputStore, RemotePrefix};
use super::{others, own};
use crate::disk::{blocking, synced};
use crate::error::AppError;
use crate::tables::listed_files;
pub use crate::tables::{MANIFEST, PUBLISHING};

/// The list of failures. Its name ends so that `*.parquet` does not match it.
const FAILURES: &str = "_picsift_errors.pq";

/// The folder of the work on an output in an object store; readers leave out what begins with an underscore.
const REMOTE_WORK: &str = "_picsift_work";

/// What is moved for a trial.
const TRIAL: &str = "trial";

/// How often the work's folder is removed into which others write, and the time between.
const REMOVALS: u32 = 50;
const REMOVAL_PAUSE: Duration = Duration::from_millis(20);

/// The folder of the work on a local output that is a mount, inside it.
const WORK_INSIDE: &str = ".picsift";

/// An output, there or to be.
#[derive(Debug, Clone)]
pub struct Output {
    /// Where the labelled table is to be.
    pub target: OutputStore,
    /// Where the work on it stands while there is some.
    pub work: OutputStore,
}

/// What publishing does to an output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// What picsift wrote there goes, what is new comes; what others put there stays.
    Whole,
    /// What is new comes beside what is there.
    Beside,
}

/// What is to be published.
#[derive(Debug)]
pub struct Publication {
    /// How.
    pub how: How,
    /// The manifest's text.
    pub manifest: Bytes,
    /// The new files, by their paths in the output.
    pub files: Vec<String>,
    /// Files of the former output that go.
    pub removed: Vec<String>,
    /// The list of failures, a local file; `None` when nothing failed.
    pub failures: Option<PathBuf>,
}

impl Output {
    /// The output in a local folder.
    ///
    /// # Errors
    /// When it is the root folder.
    pub fn local(path: &Path) -> Result<Self, AppError> {
        let target = std::path::absolute(path).map_err(AppError::file("find", path))?;
        // Without a slash at the end, behind which a link would be what it leads to.
        let mut target: PathBuf = target.components().collect();
        // A link to a folder stays one: what it leads to is the output.
        if target.is_dir()
            && target
                .symlink_metadata()
                .is_ok_and(|found| found.is_symlink())
        {
            target = target
                .canonicalize()
                .map_err(AppError::file("find", path))?;
        }
        if target.is_dir() && is_mounted(&target) {
            return Ok(Self {
                work: OutputStore::Local(target.join(WORK_INSIDE)),
                target: OutputStore::Local(target),
            });
        }
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(AppError::Usage(
                "the output cannot be the root folder".to_string(),
            ));
        };
        let name = name.to_string_lossy();
        Ok(Self {
            work: OutputStore::Local(parent.join(format!(".{name}.picsift"))),
            target: OutputStore::Local(target.clone()),
        })
    }

    /// The output in a folder of an object store.
    ///
    /// # Errors
    /// When it is the bucket itself.
    pub fn remote(folder: RemotePrefix) -> Result<Self, AppError> {
        if folder.path.parts().next().is_none() {
            return Err(AppError::Usage(format!(
                "the output '{}' is a whole bucket; name a folder in it",
                folder.shown
            )));
        }
        let target = OutputStore::Remote(folder);
        Ok(Self {
            work: target.below(REMOTE_WORK),
            target,
        })
    }

    /// Where the journal is.
    pub fn journal(&self) -> OutputStore {
        self.work.below("journal")
    }

    /// Where the failures of single shards are.
    pub fn failed_shards(&self) -> OutputStore {
        self.work.below("failed")
    }

    /// Where finished files wait to be published; `first` says that the output has no manifest yet.
    pub fn finished(&self, first: bool) -> Finished {
        match (&self.target, first) {
            (OutputStore::Remote(_), true) => Finished::in_place(&self.target),
            _ => Finished::in_work(&self.work),
        }
    }

    /// Whether the output is in an object store.
    pub fn is_remote(&self) -> bool {
        matches!(self.target, OutputStore::Remote(_))
    }

    /// The list of failures of a published output, as a person would write its path.
    pub fn failures_shown(&self) -> String {
        self.target.below(FAILURES).to_string()
    }

    /// The list of failures of a published output; `None` if nothing failed.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn failures(&self) -> Result<Option<Bytes>, AppError> {
        self.target.read(FAILURES).await
    }

    /// The manifest's text, or while files are put in place that of the former one; `None` if there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn manifest(&self) -> Result<Option<Bytes>, AppError> {
        match self.target.read(MANIFEST).await? {
            Some(manifest) => Ok(Some(manifest)),
            None => self.target.read(PUBLISHING).await,
        }
    }

    /// Refuses an output that holds what picsift did not write, even to overwrite it.
    ///
    /// # Errors
    /// A sentence that says what is there.
    pub async fn check(&self) -> Result<(), AppError> {
        let shown = &self.target;
        if let OutputStore::Local(work) = &self.work {
            let work = work.clone();
            blocking(move || own::check_work(&work)).await?;
        }
        let others = match shown {
            // A link that leads nowhere and a device are there too, and a rename would replace them.
            OutputStore::Local(path) if path.symlink_metadata().is_ok() && !path.is_dir() => {
                return Err(AppError::Usage(format!(
                    "the output '{shown}' is {}; name a folder",
                    if path.is_file() {
                        "a file"
                    } else {
                        "no folder"
                    }
                )));
            }
            OutputStore::Local(path) => match std::fs::read_dir(path) {
                Ok(entries) => entries.flatten().any(|entry| {
                    // Of a disk that is mounted here, and of a job that was stopped.
                    let trial = trial_name(Path::new(WORK_INSIDE));
                    let own = [WORK_INSIDE, &trial, "lost+found"];
                    !own.iter().any(|name| entry.file_name() == *name)
                }),
                Err(_) => false,
            },
            OutputStore::Remote(_) => {
                let names = self.target.list().await?;
                let own = format!("{REMOTE_WORK}/");
                // A job that was stopped has left files already; its journal tells them from others'.
                let begun = names.iter().any(|name| name.starts_with(&own));
                !begun && !names.is_empty()
            }
        };
        if others && self.manifest().await?.is_none() {
            return Err(AppError::Usage(format!(
                "the output '{shown}' is not empty and has no {MANIFEST}, so picsift did not write it and will not \
                 overwrite it; remove it yourself or name another folder"
            )));
        }
        Ok(())
    }

    /// Does once, with something small, what publishing will do: writes, moves and removes.
    ///
    /// # Errors
    /// When the place of the output does not take it: then better before the first image than after the last.
    pub async fn try_out(&self) -> Result<(), AppError> {
        match (&self.target, &self.work) {
            (OutputStore::Local(target), OutputStore::Local(work)) => {
                let (target, work) = (target.clone(), work.clone());
                blocking(move || try_moving(&work, &target)).await
            }
            (target, work) => {
                work.replace(TRIAL, TRIAL).await?;
                let moved = format!("{REMOTE_WORK}/{TRIAL}ed");
                target.adopt(work, TRIAL, &moved).await?;
                target.remove(&moved).await
            }
        }
    }

    /// Makes the output of the work.
    ///
    /// # Errors
    /// The system's or the store's; the same call can be made again.
    pub async fn publish(&self, publication: Publication) -> Result<(), AppError> {
        let Publication {
            how,
            manifest,
            files,
            removed,
            failures,
        } = publication;
        match (&self.target, &self.work) {
            (OutputStore::Local(target), OutputStore::Local(work))
                if how == How::Whole && !work.starts_with(target) =>
            {
                let staged = work.join("data");
                let place = OutputStore::Local(staged.clone());
                if files.is_empty() {
                    // A part of a table may have no rows; nothing was written then.
                    made(&staged).map_err(AppError::file("make", &staged))?;
                }
                // Gone: it was moved before a crash.
                if staged.exists() {
                    place.replace(MANIFEST, manifest).await?;
                    if let Some(file) = failures {
                        place.take(&file, FAILURES).await?;
                    }
                }
                let (target, old) = (target.clone(), work.join("old"));
                blocking(move || {
                    swap(&staged, &target, &old)?;
                    keep_others(&old, &target)
                })
                .await?;
            }
            (target, _) => {
                let former = target.read(MANIFEST).await?;
                let finished = self.finished(former.is_none() && !self.is_publishing().await?);
                if let Some(former) = former {
                    target.replace(PUBLISHING, former).await?;
                    target.remove(MANIFEST).await?;
                }
                for file in &files {
                    finished.publish(target, file).await?;
                }
                for file in &removed {
                    target.remove(file).await?;
                }
                match failures {
                    Some(file) => target.take(&file, FAILURES).await?,
                    None => target.remove(FAILURES).await?,
                }
                target.replace(MANIFEST, manifest).await?;
                target.remove(PUBLISHING).await?;
            }
        }
        Ok(())
    }

    async fn is_publishing(&self) -> Result<bool, AppError> {
        Ok(self.target.read(PUBLISHING).await?.is_some())
    }

    /// Removes what is left of the work; `journal` goes by its own way before. What others had put into an output that was replaced
    /// is in the new one then, also where the replacing was broken off.
    ///
    /// # Errors
    /// The system's or the store's.
    pub async fn clear_work(&self) -> Result<(), AppError> {
        match &self.work {
            OutputStore::Local(work) => {
                let work = work.clone();
                let target = match &self.target {
                    OutputStore::Local(target) => Some(target.clone()),
                    OutputStore::Remote(_) => None,
                };
                blocking(move || {
                    if let Some(target) = target {
                        keep_others(&work.join("old"), &target)?;
                    }
                    remove_work(&work)
                })
                .await
            }
            OutputStore::Remote(_) => {
                if self.target.read(MANIFEST).await?.is_some() {
                    self.target.remove(PUBLISHING).await?;
                }
                self.work.remove_all(self.work.list().await?).await
            }
        }
    }
}

/// Removes a folder of work. Other programs of the job that do not know yet that it is over may put a file there meanwhile.
fn remove_work(work: &Path) -> Result<(), AppError> {
    let mut left = REMOVALS;
    loop {
        left = left.saturating_sub(1);
        match std::fs::remove_dir_all(work) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) if error.kind() == ErrorKind::DirectoryNotEmpty && left > 0 => {
                std::thread::sleep(REMOVAL_PAUSE);
            }
            removed => return removed.map_err(AppError::file("remove", work)),
        }
    }
}

/// Moves what others had put into the output that is in `old` now to the one in `target`.
fn keep_others(old: &Path, target: &Path) -> Result<(), AppError> {
    let path = old.join(MANIFEST);
    let mut ours = match std::fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => HashSet::new(),
        read => {
            let text = read.map_err(AppError::file("read", &path))?;
            listed_files(&text).map_err(AppError::json)?
        }
    };
    ours.extend([MANIFEST, PUBLISHING, FAILURES].map(str::to_owned));
    others::keep(old, target, &ours)
}

/// What the folder of a trial is called in the place of an output.
fn trial_name(work: &Path) -> String {
    let name = work.file_name().unwrap_or_default();
    format!("{}-{TRIAL}", name.to_string_lossy())
}

/// Moves a folder from the work to beside or into the output, and writes in the output if it is there.
fn try_moving(work: &Path, target: &Path) -> Result<(), AppError> {
    if target.is_dir() {
        tempfile::Builder::new()
            .prefix(".picsift-")
            .tempfile_in(target)
            .map_err(AppError::file("write in the output", target))?;
    }
    let beside = match work.starts_with(target) {
        true => target,
        false => target.parent().unwrap_or(target),
    };
    let trial = work.join(TRIAL);
    made(&trial).map_err(AppError::file("make the folder", &trial))?;
    // By a name that the next run finds, should this one be killed in between.
    let moved = beside.join(trial_name(work));
    let tried = moved_folder(&trial, &moved);
    tried.map_err(AppError::file(
        "move a folder to the output's place in",
        beside,
    ))?;
    std::fs::remove_dir(&moved).map_err(AppError::file("remove", &moved))
}

/// Puts `staged` in the place of `target`, whose former content goes to `old`.
fn swap(staged: &Path, target: &Path, old: &Path) -> Result<(), AppError> {
    let rename = |from: &Path, to: &Path| {
        moved_folder(from, to).map_err(AppError::file("move the output to", to))
    };
    if !staged.exists() {
        // Done before a crash.
        return Ok(());
    }
    if target.exists() {
        rename(target, old)?;
        if let Err(error) = rename(staged, target) {
            rename(old, target)?;
            return Err(error);
        }
    } else {
        rename(staged, target)?;
    }
    synced(target)
}

mod first;
#[cfg(test)]
mod tests;

pub use first::{FirstPublication, Gathered};
