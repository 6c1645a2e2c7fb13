//! A local folder that appears whole, and only ever replaces one that picsift made, of which it takes what picsift wrote there.
//!
//! The marker of such a folder lists what of it is picsift's, by the names at its top; the rest is somebody's and stays.
//!
//! For what is made of a labelled table (a gallery, an export). A job's own output can go on where it stopped and lies in stores
//! too: that is [`super::publish`].

use std::collections::HashSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::others;
use crate::disk::open_to_others;
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
        self.list_entries()?;
        open_to_others_folder(&self.staged)?;
        let former = self.target.exists().then(|| {
            let mut name = self.staged.clone().into_os_string();
            name.push("-former");
            PathBuf::from(name)
        });
        if let Some(former) = &former {
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
        if let Some(former) = former {
            let mut ours = std::mem::take(&mut self.former);
            ours.extend(taken.iter().map(|name| name.to_string()));
            others::keep(&former, &self.target, &ours)?;
            std::fs::remove_dir_all(&former).map_err(AppError::file("remove", &former))?;
        }
        Ok(())
    }
}

impl Folder {
    /// Writes into the marker what of the folder is picsift's.
    fn list_entries(&self) -> Result<(), AppError> {
        let read = || AppError::file("read", &self.staged);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.staged).map_err(read())? {
            names.push(
                entry
                    .map_err(read())?
                    .file_name()
                    .to_string_lossy()
                    .into_owned(),
            );
        }
        names.sort();
        let mut said = marked(&self.staged, &self.marker)?;
        said.insert(ENTRIES.to_string(), json!(names));
        write(
            &self.staged,
            &self.marker,
            format!("{:#}\n", Value::Object(said)),
        )
        .map(drop)
    }
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
}
