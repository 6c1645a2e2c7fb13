//! Files of a local folder, reached through the open folder: no name leads out of it, whatever links are put there between a look and its use.
//!
//! Of a folder in the work on an output it is the folder that holds the work which is opened so: what is put in the place of the work, or of
//! a folder in it, leads nowhere.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, OpenOptions};

/// The end of the name of a folder of work.
const WORK: &str = ".picsift";

/// Where the names begin that must not lead out, and the folder from there.
fn split(folder: &Path) -> (PathBuf, PathBuf) {
    let is_work = |name: &OsStr| {
        let name = name.to_string_lossy();
        name.starts_with('.') && name.ends_with(WORK)
    };
    let parts: Vec<_> = folder.components().collect();
    let work = parts.iter().rposition(|part| is_work(part.as_os_str()));
    let work = work.unwrap_or(parts.len());
    let (root, below) = parts.split_at(work);
    let root: PathBuf = root.iter().collect();
    let root = match root == Path::new("") {
        true => PathBuf::from("."),
        false => root,
    };
    (root, below.iter().collect())
}

/// A folder of this machine, in which no name leads out, whatever links are put there meanwhile.
pub(super) fn opened(folder: &Path) -> io::Result<Dir> {
    let (root, below) = split(folder);
    let root = Dir::open_ambient_dir(root, ambient_authority())?;
    match below == Path::new("") {
        true => Ok(root),
        false => root.open_dir(below),
    }
}

/// The same of a folder that is made where there is none.
pub(super) fn made(folder: &Path) -> io::Result<Dir> {
    let (root, below) = split(folder);
    std::fs::create_dir_all(&root)?;
    let root = Dir::open_ambient_dir(root, ambient_authority())?;
    match below == Path::new("") {
        true => Ok(root),
        false => {
            root.create_dir_all(&below)?;
            root.open_dir(below)
        }
    }
}

/// Moves a file to a name in `folder`, whose own folders are made.
pub(super) fn moved(from: &Path, folder: &Path, name: &Path) -> io::Result<()> {
    let to = made(folder)?;
    make_parents(&to, name)?;
    let beside = match from.parent() {
        Some(parent) if parent != Path::new("") => opened(parent)?,
        _ => opened(Path::new("."))?,
    };
    match from.file_name() {
        Some(file) => beside.rename(file, &to, name),
        None => Err(io::ErrorKind::InvalidInput.into()),
    }
}

/// Moves a folder, which is no link.
pub(super) fn moved_folder(from: &Path, to: &Path) -> io::Result<()> {
    let (Some(from_parent), Some(from_name)) = (from.parent(), from.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let (Some(to_parent), Some(to_name)) = (to.parent(), to.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let (from_dir, to_dir) = (opened(from_parent)?, opened(to_parent)?);
    match from_dir.symlink_metadata(from_name)?.is_dir() {
        true => from_dir.rename(from_name, &to_dir, to_name),
        false => Err(io::ErrorKind::NotADirectory.into()),
    }
}

/// Writes a file of `folder` as a whole, whatever there is, so that it outlives a crash of the machine.
pub(super) fn replaced(folder: &Path, name: &Path, bytes: &[u8]) -> io::Result<()> {
    let dir = made(folder)?;
    let staged = staged(&dir, name, bytes, EVERYBODY)?;
    let done = dir.rename(&staged, &dir, name);
    kept(&dir, &staged, done.map(|()| true)).map(drop)
}

/// The same unless there is one; whether it was written. Of several that try at once, one does.
pub(super) fn created(folder: &Path, name: &Path, bytes: &[u8]) -> io::Result<bool> {
    let dir = made(folder)?;
    let staged = staged(&dir, name, bytes, OWNER)?;
    let linked = match dir.hard_link(&staged, &dir, name) {
        // A disk without second names.
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::Unsupported
            ) =>
        {
            match new_file(&dir, name, OWNER) {
                Ok(mut file) => file
                    .write_all(bytes)
                    .and_then(|()| file.sync_all())
                    .map(|()| true),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
                Err(error) => Err(error),
            }
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        linked => linked.map(|()| true),
    };
    let done = kept(&dir, &staged, linked);
    // The other name of the same file, or a file that has come too late.
    match dir.remove_file(&staged) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => done,
    }
}

/// Makes the folders that `name` lies in.
pub(super) fn make_parents(dir: &Dir, name: &Path) -> io::Result<()> {
    match name.parent() {
        Some(folders) if folders != Path::new("") => dir.create_dir_all(folders),
        _ => Ok(()),
    }
}

/// Who may read a new file, within what the system gives new ones.
const EVERYBODY: u32 = 0o666;
const OWNER: u32 = 0o600;

fn new_file(dir: &Dir, name: &Path, mode: u32) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    cap_std::fs::OpenOptionsExt::mode(&mut options, mode);
    #[cfg(not(unix))]
    let _ = mode;
    dir.open_with(name, &options)
}

/// A file beside `name` that holds `bytes`, safe on the disk.
fn staged(dir: &Dir, name: &Path, bytes: &[u8], mode: u32) -> io::Result<PathBuf> {
    make_parents(dir, name)?;
    let mut chance = [0; 8];
    getrandom::getrandom(&mut chance).map_err(io::Error::other)?;
    let staged = name.with_file_name(format!(".picsift-{:016x}", u64::from_le_bytes(chance)));
    let mut file = new_file(dir, &staged, mode)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    kept(dir, &staged, written.map(|()| true)).map(|_| staged)
}

/// `done`, whose file `staged` goes where it failed, and whose folder is written where it did not.
fn kept(dir: &Dir, staged: &Path, done: io::Result<bool>) -> io::Result<bool> {
    match done {
        Ok(done) => synced(dir, staged).map(|()| done),
        Err(error) => {
            // The first error is the one to tell.
            let _ = dir.remove_file(staged);
            Err(error)
        }
    }
}

/// Makes sure that the names beside `name` outlive a crash of the machine.
pub(super) fn synced(dir: &Dir, name: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        let folder = match name.parent() {
            Some(folder) if folder != Path::new("") => dir.open_dir(folder)?,
            _ => dir.try_clone()?,
        };
        // What is opened only to find names in it cannot be waited for.
        folder.open(".")?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_out_begins_at_the_work() {
        for (folder, root, below) in [
            ("/a/lab", "/a/lab", ""),
            ("/a/.lab.picsift", "/a", ".lab.picsift"),
            ("/a/.lab.picsift/data/x=1", "/a", ".lab.picsift/data/x=1"),
            ("/mnt/.picsift/journal", "/mnt", ".picsift/journal"),
            (".lab.picsift/data", ".", ".lab.picsift/data"),
        ] {
            let (found, rest) = split(Path::new(folder));
            assert_eq!((found, rest), (root.into(), below.into()), "{folder}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_in_the_place_of_the_work_leads_nowhere() {
        let place = tempfile::tempdir_in(std::env::temp_dir()).unwrap();
        let (victim, work) = (
            place.path().join("v"),
            place.path().join("out/.lab.picsift"),
        );
        std::fs::create_dir_all(victim.join("data")).unwrap();
        std::fs::create_dir_all(work.join("data")).unwrap();
        let data = work.join("data");
        replaced(&data, Path::new("a/b"), b"1").unwrap();
        assert!(created(&data, Path::new("c"), b"2").unwrap());
        assert!(!created(&data, Path::new("c"), b"3").unwrap());
        assert_eq!(std::fs::read(data.join("c")).unwrap(), b"2");
        assert_eq!(
            std::fs::read_dir(&data).unwrap().count(),
            2,
            "nothing is left over"
        );
        let file = place.path().join("new");
        for swapped in [&data, &work] {
            std::fs::remove_dir_all(swapped).unwrap();
            let to = match swapped == &data {
                true => victim.join("data"),
                false => victim.clone(),
            };
            std::os::unix::fs::symlink(to, swapped).unwrap();
            std::fs::write(&file, "x").unwrap();
            assert!(replaced(&data, Path::new("a"), b"1").is_err());
            assert!(created(&data, Path::new("a"), b"1").is_err());
            assert!(moved(&file, &data, Path::new("a")).is_err());
            assert!(moved_folder(&data, &place.path().join("out/lab")).is_err());
            assert!(made(&data).is_err() && opened(&data).is_err());
            std::fs::remove_file(swapped).unwrap();
            std::fs::create_dir_all(&data).unwrap();
        }
        assert_eq!(std::fs::read_dir(victim.join("data")).unwrap().count(), 0);
    }
}
