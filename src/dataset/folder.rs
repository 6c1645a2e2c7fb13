//! A local folder that appears whole, and only ever replaces one that picsift made, of which it takes what picsift wrote there.
//!
//! The marker of such a folder lists what of it is picsift's, by the names at its top; the rest is somebody's and stays.
//!
//! The one that is replaced waits under a hidden name until what others put there is in the new one. A program that is killed meanwhile leaves it
//! there, and the next that writes this folder ends what that one began.
//!
//! For what is made of a labelled table (a gallery, an export). A job's own output can go on where it stopped and lies in stores
//! too: that is [`super::publish`].

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::others;
use crate::disk::{self, open_to_others};
use crate::error::AppError;

/// A folder in the making; what is in it is gone unless it is published.
#[derive(Debug)]
pub struct Folder {
    staged: PathBuf,
    target: PathBuf,
    marker: String,
    /// What of the former folder is picsift's.
    former: HashSet<String>,
}

/// The member of a marker that lists the names.
const ENTRIES: &str = "entries";

/// How often a folder whose files are still being written is tried to be removed, and how long between.
const TRIES: (u32, Duration) = (50, Duration::from_millis(20));

impl Drop for Folder {
    fn drop(&mut self) {
        // Writes that nobody waits for any more may be under way, each short. What cannot be removed has a hidden name, and what was
        // published is not there.
        for _ in 0..TRIES.0 {
            match std::fs::remove_dir_all(&self.staged) {
                Err(error) if error.kind() != ErrorKind::NotFound => std::thread::sleep(TRIES.1),
                _ => return,
            }
        }
    }
}

impl Folder {
    /// Prepares to write the folder `target`, in which the file `marker` says that picsift made it.
    ///
    /// # Errors
    /// [`AppError::Usage`] for a URL, for something that picsift did not write, for one of ours without `overwrite`, and for one
    /// whose marker does not say what is picsift's.
    pub fn begin(target: &str, marker: &str, overwrite: bool) -> Result<Self, AppError> {
        if target.contains("://") {
            return Err(AppError::Usage(format!(
                "the output '{target}' must be a local folder"
            )));
        }
        let target = PathBuf::from(target);
        recover(&target, marker)?;
        let former = match check(&target, marker, overwrite)? {
            true => entries(&target, marker)?,
            false => HashSet::new(),
        };
        let parent = match target.parent() {
            Some(parent) if parent != Path::new("") => parent.to_path_buf(),
            _ => PathBuf::from("."),
        };
        std::fs::create_dir_all(&parent).map_err(AppError::file("make", &parent))?;
        let staged = tempfile::Builder::new()
            .prefix(".picsift-")
            .tempdir_in(&parent)
            .map_err(AppError::file("write in", &parent))?;
        Ok(Self {
            staged: staged.keep(),
            target,
            marker: marker.to_string(),
            former,
        })
    }

    /// Where files are written meanwhile.
    pub fn path(&self) -> &Path {
        &self.staged
    }

    /// Puts the folder in its place. What others put into the former one is there again; of that, `taken` is dealt with already.
    ///
    /// # Errors
    /// [`AppError::File`], and [`AppError::Usage`] for somebody's file whose name the new folder has; it is said where it is.
    pub fn publish(mut self, taken: &[&str]) -> Result<(), AppError> {
        list_entries(&self.staged, &self.marker, top(&self.staged)?)?;
        open_to_others_folder(&self.staged)?;
        let former = former(&self.target).filter(|_| self.target.exists());
        if let Some(former) = &former {
            if !self.former.is_empty() {
                let mut ours = std::mem::take(&mut self.former);
                ours.extend(taken.iter().map(|name| name.to_string()));
                // For whoever ends this in the place of this program.
                list_entries(&self.target, &self.marker, ours)?;
            }
            std::fs::rename(&self.target, former)
                .map_err(AppError::file("replace", &self.target))?;
        }
        if let Err(error) = std::fs::rename(&self.staged, &self.target) {
            if let Some(former) = &former {
                std::fs::rename(former, &self.target)
                    .map_err(AppError::file("put back", &self.target))?;
            }
            return Err(AppError::file("write", &self.target)(error));
        }
        match former {
            Some(former) => clear(&former, &self.target, &self.marker),
            None => Ok(()),
        }
    }
}

/// Where the folder that stands at `target` waits while another takes its place; `None` for a path without a name.
fn former(target: &Path) -> Option<PathBuf> {
    let mut name = std::ffi::OsString::from(".picsift-former-");
    name.push(target.file_name()?);
    Some(target.with_file_name(name))
}

/// Ends what a program began that was killed while it put another folder in the place of `target`.
fn recover(target: &Path, marker: &str) -> Result<(), AppError> {
    let Some(former) = former(target) else {
        return Ok(());
    };
    match former.symlink_metadata() {
        Err(_) => return Ok(()),
        // An empty folder was replaced, or all of one has gone back.
        Ok(found) if found.is_dir() && std::fs::remove_dir(&former).is_ok() => return Ok(()),
        Ok(found) if found.is_dir() && former.join(marker).is_file() => {}
        Ok(_) => {
            return Err(AppError::Usage(format!(
                "{} is where {} waits while it is replaced, and it is none of picsift's; move it away",
                former.display(),
                target.display()
            )));
        }
    }
    match target.symlink_metadata() {
        Ok(_) => clear(&former, target, marker),
        Err(_) => std::fs::rename(&former, target).map_err(AppError::file("put back", target)),
    }
}

/// Moves what others put into the former folder into the one in its place, and removes it.
fn clear(former: &Path, target: &Path, marker: &str) -> Result<(), AppError> {
    // An empty folder has none, and what was put into it since is somebody's.
    let ours = match former.join(marker).is_file() {
        true => entries(former, marker)?,
        false => HashSet::new(),
    };
    others::keep(former, target, &ours)?;
    // The marker goes last, as it says what is whose.
    for name in ours.iter().filter(|name| *name != marker) {
        let path = former.join(name);
        let removed = match path.is_dir() && !path.is_symlink() {
            true => std::fs::remove_dir_all(&path),
            false => std::fs::remove_file(&path),
        };
        match removed {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(AppError::file("remove", &path)(error));
            }
            _ => {}
        }
    }
    std::fs::remove_dir_all(former).map_err(AppError::file("remove", former))
}

/// The names at the top of a folder.
fn top(folder: &Path) -> Result<HashSet<String>, AppError> {
    let read = || AppError::file("read", folder);
    let entries = std::fs::read_dir(folder).map_err(read())?;
    let name = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let names = entries.map(|entry| entry.map(name));
    names.collect::<Result<_, _>>().map_err(read())
}

/// Writes into a folder's marker what of the folder is picsift's.
fn list_entries(folder: &Path, marker: &str, names: HashSet<String>) -> Result<(), AppError> {
    let mut names: Vec<_> = names.into_iter().collect();
    names.sort();
    let mut said = marked(folder, marker)?;
    said.insert(ENTRIES.to_string(), json!(names));
    let text = format!("{:#}\n", Value::Object(said));
    disk::replace(&folder.join(marker), text.as_bytes())
}

/// What a folder's marker says.
fn marked(folder: &Path, marker: &str) -> Result<Map<String, Value>, AppError> {
    let path = folder.join(marker);
    let text = std::fs::read(&path).map_err(AppError::file("read", &path))?;
    serde_json::from_slice(&text).map_err(|error| {
        AppError::Usage(format!(
            "{} is no marker of picsift: {error}",
            path.display()
        ))
    })
}

/// The names at the top of a folder of ours that picsift wrote.
fn entries(folder: &Path, marker: &str) -> Result<HashSet<String>, AppError> {
    let said = marked(folder, marker)?;
    let names = said.get(ENTRIES).and_then(Value::as_array);
    let names = names.map(|names| names.iter().filter_map(Value::as_str));
    names
        .map(|names| names.map(str::to_owned).collect())
        .ok_or_else(|| {
            AppError::Usage(format!(
                "the {marker} of {} does not say which files picsift wrote there; remove the folder yourself, or name another",
                folder.display()
            ))
        })
}

/// Whether there is something of ours to be replaced.
///
/// # Errors
/// When `target` is there and may not be replaced.
fn check(target: &Path, marker: &str, overwrite: bool) -> Result<bool, AppError> {
    let Ok(found) = target.symlink_metadata() else {
        return Ok(false);
    };
    let shown = target.display();
    if !found.is_dir() {
        return Err(AppError::Usage(format!(
            "the output {shown} is there and no folder; name another"
        )));
    }
    let mut entries = std::fs::read_dir(target).map_err(AppError::file("read", target))?;
    if entries.next().is_none() {
        return Ok(false);
    }
    match (target.join(marker).is_file(), overwrite) {
        (false, _) => Err(AppError::Usage(format!(
            "the output {shown} is not empty and has no {marker}, so picsift did not write it and will not replace it"
        ))),
        (true, false) => Err(AppError::Usage(format!(
            "the output {shown} is there already; replace it with --overwrite or name another"
        ))),
        (true, true) => Ok(true),
    }
}

fn open_to_others_folder(path: &Path) -> Result<(), AppError> {
    open_to_others(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let found = std::fs::metadata(path).map_err(AppError::file("read", path))?;
        let mode = found.permissions().mode();
        // Who may read a folder may look into it.
        let open = std::fs::Permissions::from_mode(mode | ((mode & 0o444) >> 2));
        std::fs::set_permissions(path, open).map_err(AppError::file("open", path))?;
    }
    Ok(())
}

/// Makes the folder `name`, whose parts are separated by `/`, below `folder`. That one must be there: once it is removed, no late
/// write brings it back.
///
/// # Errors
/// [`AppError::File`].
pub fn make(folder: &Path, name: &str) -> Result<PathBuf, AppError> {
    let mut path = folder.to_path_buf();
    for part in name.split('/') {
        path.push(part);
        match std::fs::create_dir(&path) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(AppError::file("make", &path)(error));
            }
            _ => {}
        }
    }
    Ok(path)
}

/// Writes a file of the folder, and the folders it lies in.
///
/// # Errors
/// [`AppError::File`].
pub fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) -> Result<u64, AppError> {
    let path = folder.join(name);
    if let Some((parent, _)) = name.rsplit_once('/') {
        make(folder, parent)?;
    }
    std::fs::write(&path, bytes.as_ref()).map_err(AppError::file("write", &path))?;
    Ok(bytes.as_ref().len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_appears_whole_and_only_ours_is_replaced() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("gallery");
        let name = target.to_str().unwrap();
        let make = |overwrite| -> Result<(), AppError> {
            let folder = Folder::begin(name, "marker", overwrite)?;
            write(folder.path(), "marker", "{}")?;
            write(folder.path(), "data/x.js", "1")?;
            assert!(overwrite || !target.exists());
            folder.publish(&["taken"])
        };
        make(false).unwrap();
        assert!(target.join("data/x.js").is_file());
        assert!(make(false).is_err());
        for theirs in ["notes.txt", "taken"] {
            std::fs::write(target.join(theirs), theirs).unwrap();
        }
        make(true).unwrap();
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
        assert!(target.join("notes.txt").is_file() && !target.join("taken").exists());
        std::fs::write(target.join("marker"), "{}").unwrap();
        let said = make(true).unwrap_err().to_string();
        assert!(said.contains("does not say which files"), "{said}");
        assert!(target.join("notes.txt").is_file());
        std::fs::remove_file(target.join("marker")).unwrap();
        assert!(make(true).is_err());
        assert!(Folder::begin("s3://bucket/gallery", "marker", false).is_err());
        let never = place.path().join("never");
        let folder = Folder::begin(never.to_str().unwrap(), "marker", false).unwrap();
        let staged = folder.path().to_path_buf();
        drop(folder);
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
        assert!(write(&staged, "data/late.js", "1").is_err());
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_program_began_is_ended_by_the_next() {
        let place = tempfile::tempdir().unwrap();
        let target = place.path().join("gallery");
        let waits = former(&target).unwrap();
        let make = |target: &Path, overwrite| -> Result<(), AppError> {
            let folder = Folder::begin(target.to_str().unwrap(), "marker", overwrite)?;
            write(folder.path(), "marker", "{}")?;
            write(folder.path(), "data/x.js", "1")?;
            folder.publish(&["taken"])
        };
        make(&target, false).unwrap();
        std::fs::write(target.join("notes.txt"), "mine").unwrap();
        // Killed when the former folder was gone and the new one was not there: it is back.
        std::fs::rename(&target, &waits).unwrap();
        let said = make(&target, false).unwrap_err().to_string();
        assert!(said.contains("is there already"), "{said}");
        assert!(target.join("notes.txt").is_file() && !waits.exists());
        // Killed when the new one was there, and what others put into the former was not.
        let ours = ["marker", "data", "taken"].map(str::to_owned);
        std::fs::write(target.join("taken"), "of the former").unwrap();
        list_entries(&target, "marker", ours.into()).unwrap();
        std::fs::rename(&target, &waits).unwrap();
        make(&target, false).unwrap_err();
        std::fs::rename(&target, &waits).unwrap();
        let other = place.path().join("other");
        make(&other, false).unwrap();
        std::fs::rename(&other, &target).unwrap();
        std::fs::write(target.join("taken"), "of the new").unwrap();
        make(&target, true).unwrap();
        assert_eq!(
            std::fs::read_to_string(target.join("notes.txt")).unwrap(),
            "mine"
        );
        assert!(!waits.exists() && !target.join("taken").exists());
        // What is none of picsift's is in the way, and is not touched.
        std::fs::create_dir(&waits).unwrap();
        std::fs::write(waits.join("diary"), "mine").unwrap();
        let said = make(&target, true).unwrap_err().to_string();
        assert!(said.contains("none of picsift's"), "{said}");
        assert!(waits.join("diary").is_file());
    }
}
