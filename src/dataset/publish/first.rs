//! The first publication of an output that several programs have made, of which more than one may try to publish it.
//!
//! Whoever is first makes it; the others find it made. Nothing here replaces or removes what stands in the output. On this machine the last
//! step is a rename, which fails where something stands; elsewhere it is a manifest that is put if there is none.

use std::collections::{BTreeSet, HashSet};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use super::{FAILURES, MANIFEST, Output};
use crate::dataset::finished::Finished;
use crate::dataset::inside::{made, moved, moved_folder, opened, synced as synced_names};
use crate::dataset::store::OutputStore;
use crate::disk::{blocking, synced};
use crate::error::AppError;

/// Files of an object store that are put in place at once.
const COPIES: usize = 32;

/// Files that one place holds.
#[derive(Debug, Clone)]
pub struct Gathered {
    /// The place.
    pub from: Finished,
    /// Their paths in the output.
    pub paths: Vec<String>,
}

/// What is to be published.
#[derive(Debug)]
pub struct FirstPublication {
    /// The manifest's text, the same whoever makes it.
    pub manifest: Bytes,
    /// All files of the output, where they wait.
    pub files: Vec<Gathered>,
    /// The list of failures, a local file on the disk of a local output; `None` when nothing failed.
    pub failures: Option<PathBuf>,
}

impl Output {
    /// Makes the output, in which no manifest stands; where another has done so meanwhile, nothing is done.
    ///
    /// # Errors
    /// The system's or the store's, then the same call can be made again; [`AppError::Usage`] where a file is missing that should be published.
    pub async fn publish_first(&self, publication: FirstPublication) -> Result<(), AppError> {
        let FirstPublication {
            manifest,
            files,
            failures,
        } = publication;
        match (&self.target, &self.work) {
            (OutputStore::Local(target), OutputStore::Local(work)) if !work.starts_with(target) => {
                let staged = work.join("data");
                let place = OutputStore::Local(staged.clone());
                gather(files.clone(), staged.clone()).await?;
                place.replace(MANIFEST, manifest).await?;
                if let Some(file) = failures {
                    place.take(&file, FAILURES).await?;
                }
                // Looked for behind the manifest: should another have moved the folder away, the files are not there any more.
                let there: HashSet<String> = place.list().await?.into_iter().collect();
                let paths = files.iter().flat_map(|files| &files.paths);
                if let Some(missing) = paths.into_iter().find(|path| !there.contains(*path)) {
                    return match self.target.exists(MANIFEST).await? {
                        true => Ok(()),
                        false => Err(lost(&place, missing)),
                    };
                }
                let to = target.clone();
                let renamed = blocking(move || {
                    moved_folder(&staged, &to)
                        .map_err(AppError::file("move the output to", &to))?;
                    synced(&to)
                });
                match renamed.await {
                    Err(error) if !self.target.exists(MANIFEST).await? => Err(error),
                    _ => Ok(()),
                }
            }
            (OutputStore::Local(target), _) => {
                gather(files.clone(), target.clone()).await?;
                let there: HashSet<String> = self.target.list().await?.into_iter().collect();
                let paths = files.iter().flat_map(|files| &files.paths);
                if let Some(missing) = paths.into_iter().find(|path| !there.contains(*path)) {
                    return Err(lost(&self.target, missing));
                }
                self.finish(failures, manifest).await
            }
            (OutputStore::Remote(_), _) => {
                let files = files.iter().flat_map(|Gathered { from, paths }| {
                    paths
                        .iter()
                        .map(move |path| from.publish(&self.target, path))
                });
                let mut moves = futures::stream::iter(files).buffer_unordered(COPIES);
                while moves.try_next().await?.is_some() {}
                drop(moves);
                self.finish(failures, manifest).await
            }
        }
    }

    async fn finish(&self, failures: Option<PathBuf>, manifest: Bytes) -> Result<(), AppError> {
        if self.target.exists(MANIFEST).await? {
            return Ok(());
        }
        if let Some(file) = failures {
            self.target.take(&file, FAILURES).await?;
        }
        // Another that was quicker has put the same.
        match &self.target {
            OutputStore::Local(_) => self.target.replace(MANIFEST, manifest).await,
            OutputStore::Remote(_) => self.target.create(MANIFEST, manifest).await.map(drop),
        }
    }
}

fn lost(place: &OutputStore, path: &str) -> AppError {
    AppError::Usage(format!(
        "the file '{path}' is recorded as written and is not in {place}, so the output would not be whole; remove the work and label again"
    ))
}

/// Moves local files to a folder; what is there already was moved before a crash.
async fn gather(files: Vec<Gathered>, to: PathBuf) -> Result<(), AppError> {
    blocking(move || {
        // An output may have no rows and then no files.
        made(&to).map_err(AppError::file("make", &to))?;
        let mut folders = BTreeSet::new();
        for Gathered { from, paths } in &files {
            let OutputStore::Local(folder) = from.place() else {
                continue;
            };
            for path in paths {
                match moved(&folder.join(path), &to, Path::new(path)) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(AppError::file("move a file to", to.join(path))(error));
                    }
                    _ => folders.insert(path.rsplit_once('/').map_or("", |(parent, _)| parent)),
                };
            }
        }
        for folder in folders {
            let folder = to.join(folder);
            let done = opened(&folder).and_then(|dir| synced_names(&dir, Path::new("")));
            done.map_err(AppError::file("write", folder))?;
        }
        Ok(())
    })
    .await
}
