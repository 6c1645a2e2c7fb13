//! The store's folder: which databases there are, how large they are, and how they come and go.
//!
//! Each generation of the store is one database, `answers-NUMBER-TAG.db`, with SQLite's `-wal` and `-shm` beside it while it is
//! in use. The tag is a checksum of the number under the store's key: whatever else is in the folder is other people's, is not
//! looked into and never removed (but for databases that say that they are picsift's, of another version or key). A file rather than a table, because removing a file gives its room back at once and costs nothing, and because
//! damage in one leaves the others whole. A number is never used twice: another process may still have a removed database
//! open, and its files must not meet those of a new one. That process goes on with what it has open until it looks
//! again, and loses at most answers.
//!
//! A database appears whole, by renaming, while the file `lock` is held. Removing needs no lock. The folder must be this user's alone to
//! write, for the key stands in it.

use std::collections::HashSet;
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::database::{self, COMPANIONS, companions};
use super::error::{Fault, StoreError};
use super::files::{check_owner, make, remove_family, remove_plain};
use super::secret::Secret;

/// Receives, in a sentence, what a person should know: damage, or a store that keeps nothing any more.
pub type Notice = Arc<dyn Fn(&str) + Send + Sync>;

/// Generations that share the store's room.
pub(super) const GENERATIONS: u64 = 4;

/// How long another process may hold the lock; it does so for milliseconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks at a lock that another holds.
const PAUSE: Duration = Duration::from_millis(5);

/// How the name of a database begins.
const DATABASE: &str = "answers";

/// How it does while the database is made.
const UNFINISHED: &str = "unfinished";

/// The folder, and what all threads of this process know of it.
pub(super) struct Folder {
    pub(super) path: PathBuf,
    pub(super) max_bytes: u64,
    /// Whether files can be written, as far as was seen when the store was opened.
    writable: bool,
    secret: Secret,
    notice: Notice,
    /// Changes whenever this process adds or removes a database.
    epoch: AtomicU64,
    off: AtomicBool,
    damaged: AtomicU64,
    /// Databases that can be neither used nor removed.
    ignored: Mutex<HashSet<u64>>,
}

/// What remains to be done about a fault.
#[derive(Debug)]
pub(super) enum Remedy {
    /// The file is out of the way.
    Again,
    /// Wait for the other process.
    Wait,
    /// Nothing helps, for this reason.
    GiveUp(String),
}

/// The lock of the folder, until it is dropped.
pub(super) struct Lock(
    #[expect(dead_code, reason = "the lock lasts as long as the open file")] File,
);

impl Folder {
    /// The folder, made if need be. One that cannot be written is read only, and that is said.
    pub(super) fn open(path: &Path, max_bytes: u64, notice: Notice) -> Result<Self, StoreError> {
        let path = std::path::absolute(path).map_err(StoreError::file("find", path))?;
        let made = make(&path);
        if !path.is_dir() {
            made.map_err(StoreError::file("make", &path))?;
        }
        // From here on no link is followed.
        let path = path
            .canonicalize()
            .map_err(StoreError::file("find", &path))?;
        check_owner(&path)?;
        let secret = Secret::read(&path)?;
        let known = secret.is_some();
        let mut folder = Self {
            secret: match secret {
                Some(secret) => secret,
                None => Secret::random()?,
            },
            path,
            max_bytes,
            writable: true,
            notice,
            epoch: AtomicU64::new(0),
            off: AtomicBool::new(false),
            damaged: AtomicU64::new(0),
            ignored: Mutex::default(),
        };
        match folder.begin_first(known) {
            Err(StoreError::File { source, .. }) => {
                folder.writable = false;
                let reason = format!("{} cannot be written ({source})", folder.path.display());
                folder.turn_off(&reason);
            }
            Err(StoreError::Database { reason, .. }) => folder.turn_off(&reason),
            other => other?,
        }
        Ok(folder)
    }

    /// Begins the first generation, and removes what is beyond the limit or was left by a killed process or an older picsift.
    fn begin_first(&mut self, known: bool) -> Result<(), StoreError> {
        let lock = self.lock()?;
        if !known {
            // Another process may have made it meanwhile.
            self.secret = match Secret::read(&self.path)? {
                Some(secret) => secret,
                None => Secret::make(&self.path)?,
            };
        }
        self.remove_strange()?;
        let files = self.generations()?;
        self.sweep(&files)?;
        if files.is_empty() {
            return self.create(&lock);
        }
        self.shrink(self.max_bytes)
    }

    pub(super) fn notify(&self, sentence: &str) {
        (self.notice)(sentence);
    }

    /// Changes whenever this process adds or removes a database, or writes to another one.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Has readers look at the folder again.
    pub(super) fn changed(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// The key of the store.
    pub(super) fn secret(&self) -> Secret {
        self.secret
    }

    pub(super) fn writable(&self) -> bool {
        self.writable
    }

    /// Whether nothing is kept any more.
    pub(super) fn is_off(&self) -> bool {
        self.off.load(Ordering::Acquire)
    }

    /// Keeps nothing from now on, and says so once.
    pub(super) fn turn_off(&self, reason: &str) {
        if !self.off.swap(true, Ordering::AcqRel) {
            self.notify(&format!("answers are not kept any more: {reason}"));
        }
    }

    /// Rows found damaged by this process.
    pub(super) fn damaged(&self) -> u64 {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Counts damaged rows that were met while looking something up; the first one is said.
    pub(super) fn count_damaged(&self, number: u64, rows: u64) {
        if rows > 0 && self.damaged.fetch_add(rows, Ordering::Relaxed) == 0 {
            self.notify(&format!(
                "the store of answers has a damaged row in {}; it is removed and what it said is asked again",
                self.database(number).display()
            ));
        }
    }

    /// A fresh generation's share of the room in bytes.
    pub(super) fn share(&self) -> u64 {
        self.max_bytes / GENERATIONS
    }

    /// The database of this number.
    pub(super) fn database(&self, number: u64) -> PathBuf {
        self.named(DATABASE, number)
    }

    fn named(&self, kind: &str, number: u64) -> PathBuf {
        let tag = self.tag(kind, number);
        self.path.join(format!("{kind}-{number:020}-{tag}.db"))
    }

    fn tag(&self, kind: &str, number: u64) -> String {
        let parts: [&[u8]; 2] = [kind.as_bytes(), &number.to_le_bytes()];
        let tag = u64::from_be_bytes(self.secret.checksum(b'n', &parts));
        format!("{tag:016x}")
    }

    /// The number in the name of a database of this store.
    fn number_of(&self, kind: &str, name: &str) -> Option<u64> {
        let (number, tag) = parts(kind, name)?;
        (tag == Some(&self.tag(kind, number))).then_some(number)
    }

    /// The numbers of the databases that can be used, oldest first.
    pub(super) fn generations(&self) -> Result<Vec<u64>, StoreError> {
        let ignored = self.ignored.lock().unwrap_or_else(PoisonError::into_inner);
        let mut numbers: Vec<_> = self
            .names()?
            .iter()
            .filter_map(|name| self.number_of(DATABASE, name))
            .filter(|number| !ignored.contains(number))
            .collect();
        numbers.sort_unstable();
        Ok(numbers)
    }

    fn names(&self) -> Result<Vec<String>, StoreError> {
        let wrong = || StoreError::file("list", &self.path);
        fs::read_dir(&self.path)
            .map_err(wrong())?
            .map(|entry| Ok(entry.map_err(wrong())?.file_name()))
            .filter_map(|name| name.map(|name| name.into_string().ok()).transpose())
            .collect()
    }

    /// The databases with what each takes on the disk, oldest first.
    pub(super) fn sizes(&self) -> Result<Vec<(u64, u64)>, StoreError> {
        let size = |path: PathBuf| fs::symlink_metadata(path).map_or(0, |found| found.len());
        let sized = |number| {
            let database = self.database(number);
            let beside: u64 = companions(&database).map(size).sum();
            (number, size(database) + beside)
        };
        Ok(self.generations()?.into_iter().map(sized).collect())
    }

    /// Takes the lock, waiting for other processes and threads.
    pub(super) fn lock(&self) -> Result<Lock, StoreError> {
        let path = self.path.join("lock");
        if fs::symlink_metadata(&path).is_ok_and(|found| !found.is_file()) {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "it is no plain file");
            return Err(StoreError::file("open", &path)(error));
        }
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(StoreError::file("open", &path))?;
        let started = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Lock(file)),
                Err(TryLockError::Error(error)) => {
                    return Err(StoreError::file("lock", &path)(error));
                }
                Err(TryLockError::WouldBlock) if started.elapsed() > PATIENCE => {
                    return Err(StoreError::Busy {
                        folder: self.path.clone(),
                        seconds: PATIENCE.as_secs(),
                    });
                }
                Err(TryLockError::WouldBlock) => thread::sleep(PAUSE),
            }
        }
    }

    /// Begins a generation after this one, or the first one, unless another process has done so meanwhile; the oldest
    /// ones make room for it.
    pub(super) fn begin_after(&self, newest: Option<u64>) -> Result<(), StoreError> {
        let lock = self.lock()?;
        let files = self.generations()?;
        if files.last().copied() > newest {
            self.changed();
            return Ok(());
        }
        self.sweep(&files)?;
        self.shrink(self.max_bytes - self.share())?;
        self.create(&lock)
    }

    /// Removes the oldest generations until the store has at most so many bytes.
    fn shrink(&self, bytes: u64) -> Result<(), StoreError> {
        let sizes = self.sizes()?;
        let mut total: u64 = sizes.iter().map(|(_, size)| size).sum();
        for (number, size) in sizes {
            if total <= bytes {
                break;
            }
            self.remove(number)?;
            total -= size;
        }
        Ok(())
    }

    /// Makes an empty database under its own name, then gives it the name of the newest.
    fn create(&self, _: &Lock) -> Result<(), StoreError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.map_or(0, |now| now.as_micros() as u64);
        let newest = self
            .names()?
            .iter()
            .filter_map(|name| self.number_of(DATABASE, name))
            .max();
        let number = now.max(newest.map_or(0, |number| number + 1));
        let path = self.database(number);
        let unfinished = self.named(UNFINISHED, number);
        remove_family(&unfinished).map_err(StoreError::file("remove", &unfinished))?;
        database::create(&unfinished, &self.secret).map_err(|fault| match fault {
            Fault::Busy => StoreError::Busy {
                folder: self.path.clone(),
                seconds: PATIENCE.as_secs(),
            },
            Fault::Damaged(reason)
            | Fault::CannotOpen(reason)
            | Fault::ReadOnly(reason)
            | Fault::Disk(reason) => StoreError::Database {
                folder: self.path.clone(),
                reason,
            },
        })?;
        fs::rename(&unfinished, &path).map_err(StoreError::file("write", &path))?;
        self.changed();
        Ok(())
    }

    /// Removes files beside databases that are gone (another process opened one at the moment it was removed), and databases that
    /// nobody finished.
    fn sweep(&self, numbers: &[u64]) -> Result<(), StoreError> {
        for name in self.names()? {
            let database = COMPANIONS.iter().find_map(|end| name.strip_suffix(end));
            let left = database
                .and_then(|name| self.number_of(DATABASE, name))
                .is_some_and(|number| !numbers.contains(&number));
            let unfinished = self.number_of(UNFINISHED, database.unwrap_or(&name));
            if left || unfinished.is_some() {
                let path = self.path.join(&name);
                remove_plain(&path).map_err(StoreError::file("remove", &path))?;
            }
        }
        Ok(())
    }

    /// Removes databases that say that they are picsift's and are not of this version and key, and says so.
    fn remove_strange(&self) -> Result<(), StoreError> {
        let mut removed = false;
        for name in self.names()? {
            let path = self.path.join(&name);
            let strange = parts(DATABASE, &name).is_some()
                && self.number_of(DATABASE, &name).is_none()
                && database::is_ours(&path);
            if strange {
                remove_family(&path).map_err(StoreError::file("remove", &path))?;
                removed = true;
            }
        }
        if removed {
            self.notify(&format!(
                "the store of answers in {} was of an older version or another key; it is begun anew, so its answers are asked again",
                self.path.display()
            ));
        }
        Ok(())
    }

    fn remove(&self, number: u64) -> Result<(), StoreError> {
        let path = self.database(number);
        remove_family(&path).map_err(StoreError::file("remove", &path))?;
        self.changed();
        Ok(())
    }

    /// Removes all generations and begins a first one.
    pub(super) fn clear(&self) -> Result<(), StoreError> {
        let lock = self.lock()?;
        for number in self.generations()? {
            self.remove(number)?;
        }
        self.sweep(&[])?;
        self.create(&lock)
    }

    /// Does what helps against a fault of this database.
    pub(super) fn remedy(&self, number: u64, fault: Fault) -> Remedy {
        let path = self.database(number);
        match fault {
            Fault::Busy => Remedy::Wait,
            Fault::Disk(reason) => Remedy::GiveUp(reason),
            Fault::CannotOpen(_) if fs::symlink_metadata(&path).is_err() => {
                // Another process has removed it.
                self.changed();
                Remedy::Again
            }
            // A damaged file can look like one that may not be written; then others still can.
            Fault::CannotOpen(reason) | Fault::ReadOnly(reason) => match self.lock() {
                Ok(_) => self.set_aside(number, &reason),
                Err(error) => Remedy::GiveUp(error.to_string()),
            },
            Fault::Damaged(reason) => self.set_aside(number, &reason),
        }
    }

    /// Removes a damaged database and says so. One that cannot be removed is not used any more.
    fn set_aside(&self, number: u64, reason: &str) -> Remedy {
        let path = self.database(number);
        if fs::symlink_metadata(&path).is_err() {
            // Another thread or process was first.
            self.changed();
            return Remedy::Again;
        }
        match self.remove(number) {
            Ok(()) => self.notify(&format!(
                "a part of the store of answers was damaged and is begun anew, so its answers are asked again: {} \
                 ({reason})",
                path.display()
            )),
            Err(error) => self.ignore(number, &format!("{reason}; {error}")),
        }
        Remedy::Again
    }

    /// Uses this database no more in this process, and says so.
    pub(super) fn ignore(&self, number: u64, reason: &str) {
        let mut ignored = self.ignored.lock().unwrap_or_else(PoisonError::into_inner);
        if ignored.insert(number) {
            drop(ignored);
            self.changed();
            self.notify(&format!(
                "a part of the store of answers cannot be used: {} ({reason})",
                self.database(number).display()
            ));
        }
    }
}

/// Number and tag in the name of a database of any store; older versions had no tag.
fn parts<'a>(kind: &str, name: &'a str) -> Option<(u64, Option<&'a str>)> {
    let name = name
        .strip_prefix(kind)?
        .strip_prefix('-')?
        .strip_suffix(".db")?;
    let (digits, tag) = match name.split_once('-') {
        Some((digits, tag)) => (digits, Some(tag)),
        None => (name, None),
    };
    let number: u64 = digits.parse().ok()?;
    // Microseconds since 1970 are far below, and there is room for the next one.
    (digits.len() == 20 && number < u64::MAX / 2).then_some((number, tag))
}

#[cfg(test)]
mod tests;
