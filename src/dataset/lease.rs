//! The right to write an output, which one program has at a time.
//!
//! On this machine it is a lock that the system takes back when the program ends, however it ends. An object store has no
//! locks: there it is a sign of life, written every few seconds, and who finds an old one may take over. That can err
//! (a program may have been asleep), which costs nothing but work: the journal lets only one of them go on.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::path::Path;
use std::time::Duration;

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use super::store::OutputStore;
use crate::disk::blocking;
use crate::error::AppError;

/// The file that is locked, or that holds the sign of life.
const CLAIM: &str = "owner.json";

/// How often a sign of life is given.
const ALIVE_EVERY: Duration = Duration::from_secs(15);

/// Age from which a sign of life says nothing.
const DEAD_AFTER: Duration = Duration::from_secs(60);

/// Who has an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    process: u32,
    host: String,
    /// Seconds since 1970 by the owner's clock.
    seen: u64,
}

impl Owner {
    fn this() -> Self {
        let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Self {
            process: std::process::id(),
            host: host.trim().to_string(),
            seen: now.unwrap_or_default().as_secs(),
        }
    }

    fn may_live(&self) -> bool {
        let this = Self::this();
        // One from the future, of a clock that was wrong, must not hold the output until then.
        let fresh = this.seen.abs_diff(self.seen) < DEAD_AFTER.as_secs();
        let here =
            !self.host.is_empty() && self.host == this.host && Path::new("/proc/self").exists();
        fresh && (!here || Path::new("/proc").join(self.process.to_string()).exists())
    }

    fn refusal(&self, place: &OutputStore) -> AppError {
        AppError::Taken(format!(
            "another picsift (process {}{}) is writing to {place}; wait until it is done, or name another output",
            self.process,
            match self.host.as_str() {
                "" => String::new(),
                host => format!(" on {host}"),
            }
        ))
    }

    fn text(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The right to write to a place, until it is dropped.
#[derive(Debug)]
pub enum OutputLease {
    /// A locked file.
    Local(File),
    /// A task that gives signs of life.
    Remote(JoinHandle<()>),
}

impl Drop for OutputLease {
    fn drop(&mut self) {
        if let Self::Remote(task) = self {
            task.abort();
        }
    }
}

impl OutputLease {
    /// Claims the output whose work stands at `work`; `target` is how it is called.
    ///
    /// # Errors
    /// [`AppError::Taken`] when another has it.
    pub async fn new(work: &OutputStore, target: &OutputStore) -> Result<Self, AppError> {
        match work {
            OutputStore::Local(folder) => {
                let (folder, target) = (folder.clone(), target.clone());
                blocking(move || lock(&folder, &target)).await
            }
            OutputStore::Remote(_) => {
                if let Some(bytes) = work.read(CLAIM).await?
                    && let Ok(owner) = serde_json::from_slice::<Owner>(&bytes)
                    && owner.may_live()
                {
                    return Err(owner.refusal(target));
                }
                work.replace(CLAIM, Owner::this().text()).await?;
                let place = work.clone();
                Ok(Self::Remote(tokio::spawn(async move {
                    loop {
                        tokio::time::sleep(ALIVE_EVERY).await;
                        // One that is missed is made up for by the next; without any, another may take over, and
                        // the journal tells.
                        let _ = place.replace(CLAIM, Owner::this().text()).await;
                    }
                })))
            }
        }
    }

    /// Gives it back, its file too.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub async fn release(self, work: &OutputStore) -> Result<(), AppError> {
        if let Self::Remote(task) = &self {
            task.abort();
        }
        work.remove(CLAIM).await
    }
}

fn lock(folder: &Path, target: &OutputStore) -> Result<OutputLease, AppError> {
    let path = folder.join(CLAIM);
    loop {
        std::fs::create_dir_all(folder).map_err(AppError::file("make the folder", folder))?;
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        // A link of that name leads nowhere out of the folder.
        let opened = Dir::open_ambient_dir(folder, ambient_authority())
            .and_then(|folder| folder.open_with(CLAIM, &options));
        let mut file = opened.map_err(AppError::file("write", &path))?.into_std();
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                let mut text = String::new();
                let _ = file.read_to_string(&mut text);
                let owner = serde_json::from_str(&text).unwrap_or_else(|_| Owner {
                    process: 0,
                    host: String::new(),
                    seen: 0,
                });
                return Err(owner.refusal(target));
            }
            Err(std::fs::TryLockError::Error(error)) => {
                return Err(AppError::file("lock", &path)(error));
            }
        }
        // The one who had it may have removed it meanwhile; then what is locked is nobody's file any more.
        if !is_at(&file, &path) {
            continue;
        }
        let written = file
            .set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(&Owner::this().text()));
        written.map_err(AppError::file("write", &path))?;
        return Ok(OutputLease::Local(file));
    }
}

#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(theirs)) => ours.ino() == theirs.ino() && ours.dev() == theirs.dev(),
        _ => false,
    }
}

#[cfg(not(unix))]
fn is_at(_file: &File, path: &Path) -> bool {
    // Elsewhere an open file cannot be removed.
    path.exists()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;

    use super::*;
    use crate::dataset::store::RemotePrefix;

    #[tokio::test]
    async fn one_has_a_local_output_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let work = OutputStore::Local(folder.path().join(".out.picsift"));
        let target = OutputStore::Local(folder.path().join("out"));
        let first = OutputLease::new(&work, &target).await.unwrap();
        let refused = OutputLease::new(&work, &target)
            .await
            .unwrap_err()
            .to_string();
        let process = format!("process {}", std::process::id());
        assert!(refused.contains(&process), "{refused}");
        drop(first);
        let second = OutputLease::new(&work, &target).await.unwrap();
        second.release(&work).await.unwrap();
        OutputLease::new(&work, &target).await.unwrap();
    }

    #[tokio::test]
    async fn a_sign_of_life_counts_while_it_is_fresh_and_its_process_lives() {
        let work = OutputStore::Remote(RemotePrefix {
            store: Arc::new(InMemory::new()),
            path: "out".into(),
            shown: "s3://b/out".to_string(),
        });
        let claim = OutputLease::new(&work, &work).await.unwrap();
        let refused = OutputLease::new(&work, &work)
            .await
            .unwrap_err()
            .to_string();
        assert!(refused.contains("s3://b/out"), "{refused}");
        drop(claim);
        let elsewhere = |seen| Owner {
            host: "elsewhere".to_string(),
            seen,
            ..Owner::this()
        };
        let now = Owner::this().seen;
        work.replace(CLAIM, elsewhere(now).text()).await.unwrap();
        assert!(OutputLease::new(&work, &work).await.is_err());
        work.replace(CLAIM, elsewhere(now - 100).text())
            .await
            .unwrap();
        OutputLease::new(&work, &work).await.unwrap();
        work.replace(CLAIM, elsewhere(now + 100_000).text())
            .await
            .unwrap();
        OutputLease::new(&work, &work).await.unwrap();
        let dead = Owner {
            process: u32::MAX,
            ..Owner::this()
        };
        work.replace(CLAIM, dead.text()).await.unwrap();
        OutputLease::new(&work, &work).await.unwrap();
    }
}
