//! A folder, here or in an object store, in which files appear whole.
//!
//! Owns durability: what a call has returned survives a crash of the program, and on a local disk of the machine. It knows
//! nothing of what the files are.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::{Path as StorePath, PathPart};
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, WriteMultipart};

use super::inside::{self, opened};
use crate::disk::blocking;
use crate::error::AppError;

/// Bytes of a part; a larger file is sent in several. S3 takes no smaller ones.
const PART_BYTES: usize = 5 << 20;

/// Parts of one file under way at once.
const PARTS_AT_ONCE: usize = 4;

/// Files that are removed at once.
const REMOVALS: usize = 32;

/// A folder.
#[derive(Debug, Clone)]
pub enum OutputStore {
    /// On this machine.
    Local(PathBuf),
    /// In an object store.
    Remote(RemotePrefix),
}

/// A prefix in an object store.
#[derive(Clone)]
pub struct RemotePrefix {
    /// The store.
    pub store: Arc<dyn ObjectStore>,
    /// The prefix in it.
    pub path: StorePath,
    /// The prefix as a person would write it, without credentials.
    pub shown: String,
}

impl fmt::Debug for RemotePrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Display for OutputStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(path) => path.display().fmt(f),
            Self::Remote(folder) => f.write_str(&folder.shown),
        }
    }
}

impl OutputStore {
    /// The place of that name below this one; `name` may have slashes.
    pub fn below(&self, name: &str) -> Self {
        match self {
            Self::Local(path) => Self::Local(path.join(name)),
            Self::Remote(folder) => Self::Remote(RemotePrefix {
                store: Arc::clone(&folder.store),
                path: folder.object(name),
                shown: format!("{}/{name}", folder.shown),
            }),
        }
    }

    /// Writes a file unless there is one; whether it did. Of several that try at once, one does.
    ///
    /// # Errors
    /// When the place cannot be written.
    pub async fn create(&self, name: &str, bytes: impl Into<Bytes>) -> Result<bool, AppError> {
        let bytes = bytes.into();
        match self {
            Self::Local(folder) => {
                let (folder, name) = (folder.clone(), name.to_string());
                blocking(move || {
                    let written = inside::created(&folder, Path::new(&name), &bytes);
                    written.map_err(AppError::file("write", folder.join(&name)))
                })
                .await
            }
            Self::Remote(folder) => {
                let options = PutOptions::from(PutMode::Create);
                let path = folder.object(name);
                let put = folder.store.put_opts(&path, bytes.into(), options).await;
                match put {
                    Ok(_) => Ok(true),
                    Err(
                        object_store::Error::AlreadyExists { .. }
                        | object_store::Error::Precondition { .. },
                    ) => Ok(false),
                    Err(error) => Err(self.failed("write", name, error)),
                }
            }
        }
    }

    /// Writes a file, whatever there is.
    ///
    /// # Errors
    /// When the place cannot be written.
    pub async fn replace(&self, name: &str, bytes: impl Into<Bytes>) -> Result<(), AppError> {
        let bytes = bytes.into();
        match self {
            Self::Local(folder) => {
                let (folder, name) = (folder.clone(), name.to_string());
                blocking(move || {
                    let written = inside::replaced(&folder, Path::new(&name), &bytes);
                    written.map_err(AppError::file("write", folder.join(&name)))
                })
                .await
            }
            Self::Remote(folder) => {
                let path = folder.object(name);
                let put = folder.store.put(&path, bytes.into()).await;
                put.map(drop)
                    .map_err(|error| self.failed("write", name, error))
            }
        }
    }

    /// The bytes of a file; `None` if there is none.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn read(&self, name: &str) -> Result<Option<Bytes>, AppError> {
        match self {
            Self::Local(folder) => {
                let (folder, name) = (folder.clone(), name.to_string());
                let read = move || match opened(&folder).and_then(|dir| dir.read(&name)) {
                    Ok(bytes) => Ok(Some(bytes.into())),
                    Err(error) if is_missing(&error) => Ok(None),
                    Err(error) => Err(AppError::file("read", folder.join(name))(error)),
                };
                blocking(read).await
            }
            Self::Remote(folder) => {
                let read = async { folder.store.get(&folder.object(name)).await?.bytes().await };
                match read.await {
                    Ok(bytes) => Ok(Some(bytes)),
                    Err(object_store::Error::NotFound { .. }) => Ok(None),
                    Err(error) => Err(self.failed("read", name, error)),
                }
            }
        }
    }

    /// Whether there is such a file.
    ///
    /// # Errors
    /// When the place cannot be asked.
    pub async fn exists(&self, name: &str) -> Result<bool, AppError> {
        match self {
            Self::Local(folder) => {
                let (folder, name) = (folder.clone(), name.to_string());
                let look = move || match opened(&folder).and_then(|dir| dir.symlink_metadata(&name))
                {
                    Ok(found) => Ok(found.is_file()),
                    Err(error) if is_missing(&error) => Ok(false),
                    Err(error) => Err(AppError::file("read", folder.join(name))(error)),
                };
                blocking(look).await
            }
            Self::Remote(folder) => match folder.store.head(&folder.object(name)).await {
                Ok(_) => Ok(true),
                Err(object_store::Error::NotFound { .. }) => Ok(false),
                Err(error) => Err(self.failed("read", name, error)),
            },
        }
    }

    /// Paths of all files below, relative to here, sorted; none if there is no such place.
    ///
    /// # Errors
    /// When it cannot be listed.
    pub async fn list(&self) -> Result<Vec<String>, AppError> {
        let mut names = match self {
            Self::Local(folder) => {
                let folder = folder.clone();
                blocking(move || files_below(&folder)).await?
            }
            Self::Remote(folder) => {
                let listed: Vec<_> = folder
                    .store
                    .list(Some(&folder.path))
                    .try_collect()
                    .await
                    .map_err(|error| self.failed("list", "", error))?;
                let name = |path: &StorePath| {
                    let parts: Vec<_> = path.prefix_match(&folder.path)?.collect();
                    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
                    Some(parts.join("/"))
                };
                listed
                    .iter()
                    .filter_map(|meta| name(&meta.location))
                    .collect()
            }
        };
        names.sort();
        Ok(names)
    }

    /// Removes a file; none to remove is no error.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub async fn remove(&self, name: &str) -> Result<(), AppError> {
        match self {
            Self::Local(folder) => {
                let (folder, name) = (folder.clone(), name.to_string());
                let remove = move || match opened(&folder).and_then(|dir| dir.remove_file(&name)) {
                    Err(error) if !is_missing(&error) => {
                        Err(AppError::file("remove", folder.join(name))(error))
                    }
                    _ => Ok(()),
                };
                blocking(remove).await
            }
            Self::Remote(folder) => match folder.store.delete(&folder.object(name)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                Err(error) => Err(self.failed("remove", name, error)),
            },
        }
    }

    /// Removes several files, in no order; none to remove is no error.
    ///
    /// # Errors
    /// When one cannot be removed.
    pub async fn remove_all(&self, names: Vec<String>) -> Result<(), AppError> {
        let removals = names
            .into_iter()
            .map(|name| async move { self.remove(&name).await });
        let mut removals = futures::stream::iter(removals).buffer_unordered(REMOVALS);
        while removals.try_next().await?.is_some() {}
        Ok(())
    }

    /// Moves a local file here, over whatever there is: renamed where that is possible, else sent, large ones in parts.
    ///
    /// # Errors
    /// When it cannot be read or the place not be written.
    pub async fn take(&self, file: &Path, name: &str) -> Result<(), AppError> {
        match self {
            Self::Local(folder) => {
                let (from, folder) = (file.to_path_buf(), folder.clone());
                let name = name.to_string();
                blocking(move || {
                    let moved = inside::moved(&from, &folder, Path::new(&name))
                        .and_then(|()| inside::synced(&opened(&folder)?, Path::new(&name)));
                    moved.map_err(AppError::file("move a file to", folder.join(&name)))
                })
                .await
            }
            Self::Remote(folder) => self.send(folder, file, name).await,
        }
    }

    /// Moves the file `waiting` of another place of the same kind here, as `name`; nothing is done where there is no such file.
    ///
    /// # Errors
    /// When it cannot be moved.
    pub(super) async fn adopt(
        &self,
        from: &Self,
        waiting: &str,
        name: &str,
    ) -> Result<(), AppError> {
        match (self, from) {
            (Self::Remote(to), Self::Remote(from)) => {
                let (source, target) = (from.object(waiting), to.object(name));
                if source == target {
                    return Ok(());
                }
                match to.store.copy(&source, &target).await {
                    Err(object_store::Error::NotFound { .. }) => Ok(()),
                    Err(error) => Err(self.failed("write", name, error)),
                    Ok(()) => match to.store.delete(&source).await {
                        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
                        Err(error) => Err(self.failed("remove", waiting, error)),
                    },
                }
            }
            (_, Self::Local(folder)) => {
                let file = folder.join(waiting);
                match file.exists() {
                    true => self.take(&file, name).await,
                    false => Ok(()),
                }
            }
            (Self::Local(_), Self::Remote(_)) => Ok(()),
        }
    }

    async fn send(&self, folder: &RemotePrefix, file: &Path, name: &str) -> Result<(), AppError> {
        use tokio::io::AsyncReadExt;
        let read = || AppError::file("read", file);
        let mut from = tokio::fs::File::open(file).await.map_err(read())?;
        let size = from.metadata().await.map_err(read())?.len();
        if size <= PART_BYTES as u64 {
            let mut bytes = Vec::with_capacity(size as usize);
            from.read_to_end(&mut bytes).await.map_err(read())?;
            self.replace(name, bytes).await?;
        } else {
            let failed = |error| self.failed("write", name, error);
            let path = folder.object(name);
            let upload = folder.store.put_multipart(&path).await.map_err(failed)?;
            let mut parts = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
            loop {
                let mut part = Vec::with_capacity(PART_BYTES);
                let limit = &mut (&mut from).take(PART_BYTES as u64);
                if limit.read_to_end(&mut part).await.map_err(read())? == 0 {
                    break;
                }
                if let Err(error) = parts.wait_for_capacity(PARTS_AT_ONCE).await {
                    // What was sent would be paid for until somebody finds it; this error is the one to tell.
                    let _ = parts.abort().await;
                    return Err(failed(error));
                }
                parts.put(part.into());
            }
            parts.finish().await.map_err(failed)?;
        }
        tokio::fs::remove_file(file)
            .await
            .map_err(AppError::file("remove", file))
    }

    fn failed(&self, action: &'static str, name: &str, source: object_store::Error) -> AppError {
        AppError::Object {
            action,
            place: match name {
                "" => self.to_string(),
                name => format!("{self}/{name}"),
            },
            source,
        }
    }
}

impl RemotePrefix {
    fn object(&self, name: &str) -> StorePath {
        let parts = name.split('/').filter(|part| !part.is_empty());
        parts.fold(self.path.clone(), |path, part| {
            // The writer's names are escaped already, as Hive does it; escaping them again would change them.
            match PathPart::parse(part) {
                Ok(part) => path.join(part),
                Err(_) => path.join(part),
            }
        })
    }
}

fn is_missing(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
    )
}

fn files_below(folder: &Path) -> Result<Vec<String>, AppError> {
    let mut names = Vec::new();
    for entry in walkdir::WalkDir::new(folder) {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if error.io_error().is_some_and(is_missing) => continue,
            Err(error) => return Err(AppError::file("list", folder)(error.into())),
        };
        if entry.file_type().is_file()
            && let Ok(name) = entry.path().strip_prefix(folder)
        {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use object_store::memory::InMemory;

    use super::*;

    async fn keeps_its_promises(place: OutputStore) {
        assert!(place.list().await.unwrap().is_empty());
        assert!(place.read("a/1").await.unwrap().is_none());
        assert!(place.create("a/1", "one").await.unwrap());
        assert!(!place.create("a/1", "two").await.unwrap(), "there is one");
        assert_eq!(place.read("a/1").await.unwrap().unwrap(), "one");
        assert!(place.exists("a/1").await.unwrap());
        assert!(!place.exists("a/2").await.unwrap() && !place.exists("b/1").await.unwrap());
        place.replace("a/1", "three").await.unwrap();
        assert_eq!(place.below("a").read("1").await.unwrap().unwrap(), "three");
        let folder = tempfile::tempdir_in(std::env::temp_dir()).unwrap();
        let file = folder.path().join("big");
        let bytes = vec![7; PART_BYTES * 2 + 5];
        std::fs::write(&file, &bytes).unwrap();
        place.take(&file, "b=%2F/2").await.unwrap();
        assert!(!file.exists());
        assert_eq!(place.list().await.unwrap(), ["a/1", "b=%2F/2"]);
        assert_eq!(place.read("b=%2F/2").await.unwrap().unwrap(), bytes);
        place.remove("a/1").await.unwrap();
        place.remove("a/1").await.unwrap();
        assert_eq!(place.list().await.unwrap(), ["b=%2F/2"]);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn no_link_in_a_local_folder_leads_out() {
        let folder = tempfile::tempdir_in(std::env::temp_dir()).unwrap();
        let (inside, outside) = (folder.path().join("in"), folder.path().join("out"));
        for made in [&inside, &outside] {
            std::fs::create_dir(made).unwrap();
        }
        std::fs::write(outside.join("x"), "theirs").unwrap();
        std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
        std::os::unix::fs::symlink(outside.join("x"), inside.join("file")).unwrap();
        let place = OutputStore::Local(inside.clone());
        assert!(place.read("link/x").await.is_err());
        assert!(place.read("file").await.is_err());
        assert!(place.remove("link/x").await.is_err());
        let file = folder.path().join("new");
        std::fs::write(&file, "ours").unwrap();
        assert!(place.take(&file, "link/x").await.is_err());
        assert_eq!(std::fs::read(outside.join("x")).unwrap(), b"theirs");
    }

    #[tokio::test]
    async fn a_local_folder() {
        let folder = tempfile::tempdir_in(std::env::temp_dir()).unwrap();
        keeps_its_promises(OutputStore::Local(folder.path().join("new"))).await;
    }

    #[tokio::test]
    async fn an_object_store() {
        let folder = RemotePrefix {
            store: Arc::new(InMemory::new()),
            path: StorePath::from("out"),
            shown: "memory:///out".to_string(),
        };
        keeps_its_promises(OutputStore::Remote(folder)).await;
    }
}
