//! An output and the work on it: where both stand, and how one becomes the other.
//!
//! On this machine the work stands in a hidden folder beside the output, and a new output appears whole, by one rename.
//! A folder that cannot be renamed, because a disk is mounted there, has the work inside itself, and files are moved one by one.
//! An object store has no renames: there files appear as they are finished and the manifest comes last, so that a folder
//! with a manifest is whole. Every step can be done again after a crash. What is written is the caller's business.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::mounts::is_mounted;
use super::others;
use super::place::{Place, RemoteFolder, blocking, synced};
use crate::error::AppError;
pub use crate::tables::MANIFEST;
use crate::tables::listed_files;

/// The list of failures. Its name ends so that `*.parquet` does not match it.
const FAILURES: &str = "_picsift_errors.pq";

/// The folder of the work on an output in an object store; readers leave out what begins with an underscore.
const REMOTE_WORK: &str = "_picsift_work";

/// The folder of the work on a local output that is a mount, inside it.
const WORK_INSIDE: &str = ".picsift";

/// An output, there or to be.
#[derive(Debug, Clone)]
pub struct Output {
    /// Where the labelled table is to be.
    pub target: Place,
    /// Where the work on it stands while there is some.
    pub work: Place,
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
                work: Place::Local(target.join(WORK_INSIDE)),
                target: Place::Local(target),
            });
        }
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            return Err(AppError::Usage(
                "the output cannot be the root folder".to_string(),
            ));
        };
        let name = name.to_string_lossy();
        Ok(Self {
            work: Place::Local(parent.join(format!(".{name}.picsift"))),
            target: Place::Local(target.clone()),
        })
    }

    /// The output in a folder of an object store.
    ///
    /// # Errors
    /// When it is the bucket itself.
    pub fn remote(folder: RemoteFolder) -> Result<Self, AppError> {
        if folder.path.parts().next().is_none() {
            return Err(AppError::Usage(format!(
                "the output '{}' is a whole bucket; name a folder in it",
                folder.shown
            )));
        }
        let target = Place::Remote(folder);
        Ok(Self {
            work: target.below(REMOTE_WORK),
            target,
        })
    }

    /// Where the journal is.
    pub fn journal(&self) -> Place {
        self.work.below("journal")
    }

    /// Where the failures of single shards are.
    pub fn failed_shards(&self) -> Place {
        self.work.below("failed")
    }

    /// Where finished files wait to be published; `None` where they stand in the output at once.
    pub fn staged(&self) -> Option<PathBuf> {
        match &self.work {
            Place::Local(work) => Some(work.join("data")),
            Place::Remote(_) => None,
        }
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

    /// The manifest's text; `None` if there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn manifest(&self) -> Result<Option<Bytes>, AppError> {
        self.target.read(MANIFEST).await
    }

    /// Refuses an output that holds what picsift did not write, even to overwrite it.
    ///
    /// # Errors
    /// A sentence that says what is there.
    pub async fn check(&self) -> Result<(), AppError> {
        let shown = &self.target;
        let others = match shown {
            // A link that leads nowhere and a device are there too, and a rename would replace them.
            Place::Local(path) if path.symlink_metadata().is_ok() && !path.is_dir() => {
                return Err(AppError::Usage(format!(
                    "the output '{shown}' is {}; name a folder",
                    if path.is_file() {
                        "a file"
                    } else {
                        "no folder"
                    }
                )));
            }
            Place::Local(path) => match std::fs::read_dir(path) {
                Ok(entries) => entries.flatten().any(|entry| {
                    // Of a disk that is mounted here, and of a job that was stopped.
                    let own = [WORK_INSIDE, "lost+found"];
                    !own.iter().any(|name| entry.file_name() == *name)
                }),
                Err(_) => false,
            },
            Place::Remote(_) => {
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
            (Place::Local(target), Place::Local(work))
                if how == How::Whole && !work.starts_with(target) =>
            {
                let staged = work.join("data");
                let place = Place::Local(staged.clone());
                if files.is_empty() {
                    // A part of a table may have no rows; nothing was written then.
                    std::fs::create_dir_all(&staged).map_err(AppError::file("make", &staged))?;
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
            (target, work) => {
                if let Place::Local(work) = work {
                    for file in &files {
                        let from = work.join("data").join(file);
                        // Not there: it was moved before a crash.
                        if from.exists() {
                            target.take(&from, file).await?;
                        }
                    }
                }
                target.replace(MANIFEST, manifest).await?;
                match failures {
                    Some(file) => target.take(&file, FAILURES).await?,
                    None => target.remove(FAILURES).await?,
                }
                for file in &removed {
                    target.remove(file).await?;
                }
            }
        }
        Ok(())
    }

    /// Removes what is left of the work; `journal` goes by its own way before. What others had put into an output that was replaced
    /// is in the new one then, also where the replacing was broken off.
    ///
    /// # Errors
    /// The system's or the store's.
    pub async fn clear_work(&self) -> Result<(), AppError> {
        match &self.work {
            Place::Local(work) => {
                let work = work.clone();
                let target = match &self.target {
                    Place::Local(target) => Some(target.clone()),
                    Place::Remote(_) => None,
                };
                blocking(move || {
                    if let Some(target) = target {
                        keep_others(&work.join("old"), &target)?;
                    }
                    match std::fs::remove_dir_all(&work) {
                        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                            Err(AppError::file("remove", work)(error))
                        }
                        _ => Ok(()),
                    }
                })
                .await
            }
            Place::Remote(_) => {
                for name in self.work.list().await? {
                    self.work.remove(&name).await?;
                }
                Ok(())
            }
        }
    }
}

/// Moves what others had put into the output that is in `old` now to the one in `target`.
fn keep_others(old: &Path, target: &Path) -> Result<(), AppError> {
    let path = old.join(MANIFEST);
    let mut ours = match std::fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => HashSet::new(),
        read => {
            let text = read.map_err(AppError::file("read", &path))?;
            listed_files(&text).map_err(AppError::json)?
        }
    };
    ours.extend([MANIFEST, FAILURES].map(str::to_owned));
    others::keep(old, target, &ours)
}

/// Puts `staged` in the place of `target`, whose former content goes to `old`.
fn swap(staged: &Path, target: &Path, old: &Path) -> Result<(), AppError> {
    let rename = |from: &Path, to: &Path| {
        std::fs::rename(from, to).map_err(AppError::file("move the output to", to))
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;

    use super::*;

    fn publication(how: How, files: &[&str], removed: &[&str]) -> Publication {
        let owned = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        Publication {
            how,
            manifest: manifest(files).into(),
            files: owned(files),
            removed: owned(removed),
            failures: None,
        }
    }

    fn manifest(files: &[&str]) -> String {
        let files: Vec<_> = files
            .iter()
            .map(|path| serde_json::json!({"path": path}))
            .collect();
        serde_json::json!({"files": files}).to_string()
    }

    fn stage(output: &Output, name: &str) {
        let path = output.staged().unwrap().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, name).unwrap();
    }

    #[tokio::test]
    async fn a_new_output_appears_whole_and_replaces_the_former_one() {
        let root = tempfile::tempdir().unwrap();
        let output = Output::local(&root.path().join("out")).unwrap();
        stage(&output, "a=1/part");
        assert!(output.target.list().await.unwrap().is_empty());
        let first = publication(How::Whole, &["a=1/part"], &[]);
        output.publish(first).await.unwrap();
        assert_eq!(output.target.list().await.unwrap(), [MANIFEST, "a=1/part"]);
        stage(&output, "b");
        output
            .publish(publication(How::Whole, &["b"], &[]))
            .await
            .unwrap();
        assert_eq!(output.target.list().await.unwrap(), [MANIFEST, "b"]);
        output.clear_work().await.unwrap();
        let left: Vec<_> = std::fs::read_dir(root.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }

    /// Killed behind the two renames: the former content stands in the work.
    #[tokio::test]
    async fn a_replacing_that_was_broken_off_loses_nobodys_files() {
        let root = tempfile::tempdir().unwrap();
        let output = Output::local(&root.path().join("out")).unwrap();
        stage(&output, "b");
        let new = publication(How::Whole, &["b"], &[]);
        output.publish(new).await.unwrap();
        let old = root.path().join(".out.picsift/old");
        std::fs::create_dir_all(&old).unwrap();
        for (name, text) in [
            (MANIFEST, manifest(&["a"])),
            ("a", "a".into()),
            ("notes", "mine".into()),
        ] {
            std::fs::write(old.join(name), text).unwrap();
        }
        output.clear_work().await.unwrap();
        assert_eq!(
            output.target.list().await.unwrap(),
            [MANIFEST, "b", "notes"]
        );
    }

    #[tokio::test]
    async fn what_is_added_stands_beside_what_is_there() {
        let root = tempfile::tempdir().unwrap();
        let output = Output::local(&root.path().join("out")).unwrap();
        stage(&output, "a");
        output
            .publish(publication(How::Whole, &["a"], &[]))
            .await
            .unwrap();
        stage(&output, "b");
        for _ in 0..2 {
            // The second time stands for a run after a crash.
            let added = publication(How::Beside, &["b"], &["a"]);
            output.publish(added).await.unwrap();
            assert_eq!(output.target.list().await.unwrap(), [MANIFEST, "b"]);
        }
    }

    #[tokio::test]
    async fn what_others_wrote_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("out");
        let output = Output::local(&path).unwrap();
        output.check().await.unwrap();
        std::fs::create_dir(&path).unwrap();
        output.check().await.unwrap();
        std::fs::write(path.join("thesis.txt"), "").unwrap();
        let refused = output.check().await.unwrap_err().to_string();
        assert!(refused.contains("did not write it"), "{refused}");
        std::fs::write(path.join(MANIFEST), "{}").unwrap();
        output.check().await.unwrap();
    }

    #[tokio::test]
    async fn a_bucket_is_no_folder() {
        let folder = |path: &str| RemoteFolder {
            store: Arc::new(InMemory::new()),
            path: path.into(),
            shown: format!("s3://b/{path}"),
        };
        assert!(Output::remote(folder("")).is_err());
        let output = Output::remote(folder("x/out")).unwrap();
        assert_eq!(output.failures_shown(), "s3://b/x/out/_picsift_errors.pq");
    }
}
