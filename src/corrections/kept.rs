//! The corrections that a gallery keeps in its folder: of each image and category the last word, in JSON lines.
//!
//! What people said outlives the gallery it was said in: a new one in the same place takes the file over. Several programs may write
//! it (two servers, a server and the making of a new gallery), so who writes holds a lock.

use std::collections::{HashMap, HashSet};
use std::fs::{File, TryLockError};
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, OpenOptions};
use serde::{Deserialize, Serialize};

use crate::disk::{self, plain};
use crate::error::AppError;

/// The file's name.
pub const CORRECTIONS: &str = "corrections.jsonl";

/// The file that is locked while that one is written.
pub const LOCK: &str = ".corrections.lock";

/// How long another program may hold the lock: it writes one file, or moves one folder.
const PATIENCE: Duration = Duration::from_secs(30);

/// How often the lock is tried.
const PAUSE: Duration = Duration::from_millis(5);

/// Most bytes of the file: the last words about millions of images.
const MOST_BYTES: u64 = 1 << 30;

/// The right to write the corrections of a folder, until it is dropped.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

/// Waits for the right to write the corrections of the gallery in `folder`; blocks, but not for ever.
///
/// # Errors
/// [`AppError::File`].
pub fn lock(folder: &Path) -> Result<Lock, AppError> {
    let path = folder.join(LOCK);
    let started = Instant::now();
    loop {
        let opened = Dir::open_ambient_dir(folder, ambient_authority()).and_then(|folder| {
            let mut options = OpenOptions::new();
            options.create(true).truncate(false).write(true);
            plain::open(&folder, LOCK, &options)
        });
        let file = opened.map_err(AppError::file("open", &path))?.into_std();
        while let Err(error) = file.try_lock() {
            match error {
                TryLockError::WouldBlock if started.elapsed() < PATIENCE => {
                    std::thread::sleep(PAUSE);
                }
                TryLockError::WouldBlock => {
                    let reason =
                        format!("another program has held it for {} s", PATIENCE.as_secs());
                    let error = Error::new(ErrorKind::TimedOut, reason);
                    return Err(AppError::file("lock", &path)(error));
                }
                TryLockError::Error(error) => return Err(AppError::file("lock", &path)(error)),
            }
        }
        let lock = Lock {
            file,
            path: path.clone(),
        };
        // While it was waited for, another gallery may have come into the place of this one.
        if lock.stands()? {
            return Ok(lock);
        }
    }
}

impl Lock {
    /// Whether the locked file is the one that has its name.
    fn stands(&self) -> Result<bool, AppError> {
        let failed = || AppError::file("read", &self.path);
        let ours = identity(&self.file.metadata().map_err(failed())?);
        match std::fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            found => Ok(identity(&found.map_err(failed())?) == ours),
        }
    }

    /// What tells one gallery from a later one in its place.
    ///
    /// # Errors
    /// [`AppError::File`].
    pub fn gallery(&self) -> Result<u64, AppError> {
        let found = self.file.metadata();
        Ok(identity(
            &found.map_err(AppError::file("read", &self.path))?,
        ))
    }
}

#[cfg(unix)]
fn identity(found: &std::fs::Metadata) -> u64 {
    use std::os::unix::fs::MetadataExt;
    found.ino()
}

/// Elsewhere an open file's folder cannot be replaced.
#[cfg(not(unix))]
fn identity(_: &std::fs::Metadata) -> u64 {
    0
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Correction {
    /// What the table calls the image.
    pub key: String,
    /// Its row in the gallery; `None` where the gallery does not show it.
    pub row: Option<u64>,
    /// The category.
    pub category: String,
    /// What the table said.
    pub was: Option<bool>,
    /// What is true; `None` takes back what was said before, and never stands in the file.
    pub is: Option<bool>,
    /// Who said so.
    pub who: String,
    /// When, as RFC 3339 has it.
    pub when: String,
}

/// Reads the file in `folder`; nothing where there is none.
///
/// # Errors
/// [`AppError::File`], and [`AppError::Usage`] for a line that is no correction.
pub fn read(folder: &Path) -> Result<Vec<Correction>, AppError> {
    let path = folder.join(CORRECTIONS);
    let text = match plain::read(folder, CORRECTIONS, MOST_BYTES) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        read => read.map_err(AppError::file("read", &path))?,
    };
    let text = String::from_utf8(text).map_err(|error| {
        AppError::file("read", &path)(Error::new(ErrorKind::InvalidData, error))
    })?;
    let lines = text.lines().enumerate();
    let lines = lines.map(|(number, line)| {
        let wrong = |reason: &str| {
            AppError::Usage(format!(
                "line {} of {} is no correction: {reason}; correct it, or move the file away",
                number + 1,
                path.display()
            ))
        };
        match serde_json::from_str(line) {
            Ok(Correction { is: None, .. }) => Err(wrong("it has no 'is'")),
            Ok(Correction { when, .. }) if super::time(&when).is_none() => {
                Err(wrong(&format!("{when:?} is no time")))
            }
            Ok(one) => Ok(one),
            // It may repeat what stands in the file, which is not for a terminal to obey.
            Err(error) => Err(wrong(&error.to_string().replace(char::is_control, "?"))),
        }
    });
    lines.collect()
}

/// Writes the file in `folder`, replaced as a whole.
///
/// # Errors
/// [`AppError::File`].
pub fn write(folder: &Path, all: &[Correction]) -> Result<(), AppError> {
    let mut text = String::new();
    for one in all {
        text += &serde_json::to_string(one).map_err(AppError::json)?;
        text.push('\n');
    }
    disk::replace(&folder.join(CORRECTIONS), text.as_bytes())
}

/// Adds to those in `folder`, said of the gallery that was in it when its [`Lock::gallery`] was `gallery`: in another one their images
/// have other rows.
///
/// # Errors
/// As [`lock`], [`read`] and [`write()`].
pub fn add(folder: &Path, gallery: u64, mut new: Vec<Correction>) -> Result<(), AppError> {
    let lock = lock(folder)?;
    let mut all = read(folder)?;
    if lock.gallery()? != gallery {
        let rows: HashMap<String, Option<u64>> =
            all.iter().map(|one| (one.key.clone(), one.row)).collect();
        for one in &mut new {
            one.row = rows.get(&one.key).copied().flatten();
        }
    }
    all.extend(new);
    write(folder, &last(all))
}

/// Of each image and category the last, without those that were taken back.
fn last(all: Vec<Correction>) -> Vec<Correction> {
    let mut seen = HashSet::new();
    let mut kept: Vec<_> = all
        .into_iter()
        .rev()
        .filter(|one| seen.insert((one.key.clone(), one.category.clone())))
        .filter(|one| one.is.is_some())
        .collect();
    kept.reverse();
    kept
}

/// Takes the corrections in the folder `former` over into `folder`, where images have these rows.
///
/// # Errors
/// As [`read`] and [`write()`].
pub fn take_over(
    former: &Path,
    folder: &Path,
    rows: &HashMap<String, usize>,
) -> Result<usize, AppError> {
    let mut all = read(former)?;
    for one in &mut all {
        one.row = rows.get(&one.key).map(|row| *row as u64);
    }
    if !all.is_empty() {
        write(folder, &all)?;
    }
    Ok(all.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(key: &str, category: &str, is: Option<bool>) -> Correction {
        Correction {
            key: key.to_string(),
            row: Some(7),
            category: category.to_string(),
            was: None,
            is,
            who: "ada".to_string(),
            when: "2026-01-01T00:00:00Z".to_string(),
        }
    }

    #[test]
    fn the_last_word_is_kept_and_can_be_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let gallery = lock(folder.path()).unwrap().gallery().unwrap();
        let add = |new: &[Correction]| add(folder.path(), gallery, new.to_vec()).unwrap();
        add(&[
            line("a", "dog", Some(true)),
            line("b", "dog", Some(true)),
            line("a", "cat", Some(true)),
        ]);
        add(&[line("a", "dog", Some(false)), line("b", "dog", None)]);
        let expected = [line("a", "cat", Some(true)), line("a", "dog", Some(false))];
        assert_eq!(read(folder.path()).unwrap(), expected);
    }

    #[test]
    fn a_line_that_says_nothing_is_no_correction() {
        let folder = tempfile::tempdir().unwrap();
        for text in [
            "{}",
            "[",
            r#"{"key":"a","category":"b","who":"c","when":"d"}"#,
            r#"{"key":"a","category":"b","is":true,"who":"c","when":"d"}"#,
        ] {
            std::fs::write(folder.path().join(CORRECTIONS), format!("{text}\n")).unwrap();
            let error = read(folder.path()).unwrap_err().to_string();
            assert!(error.contains("line 1 of"), "{error}");
        }
    }

    #[test]
    fn any_bytes_are_corrections_or_a_line_that_is_none() {
        use rand::rngs::StdRng;
        use rand::{Rng, SeedableRng};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(CORRECTIONS);
        write(
            folder.path(),
            &[line("a", "dog", Some(true)), line("b", "cat", Some(false))],
        )
        .unwrap();
        let whole = std::fs::read(&path).unwrap();
        let mut rng = StdRng::seed_from_u64(7);
        let mut refused = 0;
        for _ in 0..2000 {
            let mut bytes = whole.clone();
            for _ in 0..rng.random_range(1..4) {
                let at = rng.random_range(0..bytes.len());
                match rng.random_range(0..3) {
                    0 => bytes[at] = rng.random(),
                    1 => bytes.truncate(at + 1),
                    _ => bytes.insert(at, b"\n\"{}[]:,\\"[rng.random_range(0..9)]),
                }
            }
            std::fs::write(&path, bytes).unwrap();
            match read(folder.path()) {
                Ok(all) => assert!(all.iter().all(|one| one.is.is_some())),
                Err(error) => {
                    let error = error.to_string();
                    assert!(error.contains(CORRECTIONS), "{error}");
                    assert!(!error.contains(char::is_control), "{error:?}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 1000, "{refused}");
    }

    #[test]
    fn many_who_write_at_once_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let gallery = lock(folder.path()).unwrap().gallery().unwrap();
        std::thread::scope(|scope| {
            for writer in 0..4 {
                let folder = folder.path();
                scope.spawn(move || {
                    for number in 0..25 {
                        let one = line(&format!("{writer}-{number}"), "dog", Some(true));
                        add(folder, gallery, vec![one]).unwrap();
                    }
                });
            }
        });
        assert_eq!(read(folder.path()).unwrap().len(), 100);
    }

    #[cfg(unix)]
    #[test]
    fn who_waits_while_the_gallery_is_replaced_writes_to_the_new_one() {
        let root = tempfile::tempdir().unwrap();
        let (place, new) = (root.path().join("gallery"), root.path().join("new"));
        for folder in [&place, &new] {
            std::fs::create_dir(folder).unwrap();
        }
        let replacing = lock(&place).unwrap();
        let gallery = replacing.gallery().unwrap();
        std::thread::scope(|scope| {
            let place = &place;
            let late = scope.spawn(move || {
                let one = line("late", "dog", Some(true));
                add(place, gallery, vec![one]).unwrap();
            });
            std::thread::sleep(std::time::Duration::from_millis(50));
            write(&new, &[line("early", "dog", Some(true))]).unwrap();
            std::fs::rename(place, root.path().join("former")).unwrap();
            std::fs::rename(&new, place).unwrap();
            drop(replacing);
            late.join().unwrap();
        });
        let all = read(&place).unwrap();
        let rows: Vec<_> = all.iter().map(|one| (one.key.as_str(), one.row)).collect();
        assert_eq!(rows, [("early", Some(7)), ("late", None)]);
    }

    #[test]
    fn a_new_gallery_takes_them_over() {
        let (former, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let none = HashMap::new();
        assert_eq!(take_over(former.path(), new.path(), &none).unwrap(), 0);
        assert!(!new.path().join(CORRECTIONS).exists());
        let all = [line("a", "dog", Some(true)), line("b", "dog", Some(true))];
        write(former.path(), &all).unwrap();
        let rows = HashMap::from([("b".to_string(), 2)]);
        assert_eq!(take_over(former.path(), new.path(), &rows).unwrap(), 2);
        let rows: Vec<_> = read(new.path()).unwrap().iter().map(|c| c.row).collect();
        assert_eq!(rows, [None, Some(2)]);
    }
}
