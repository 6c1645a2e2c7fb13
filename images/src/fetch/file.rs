//! Local files, held below the folders that may be read.
//!
//! The check and the opening are one step: files are opened relative to an open folder, and the kernel refuses every
//! name, `..` or link that leads out of it, so a link that is swapped in between gains nothing. Comparing paths would
//! leave that gap. Paths are compared only to find the folder in question.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use cap_std::ambient_authority;
#[cfg(unix)]
use cap_std::fs::OpenOptionsExt;
use cap_std::fs::{Dir, Metadata, OpenOptions};
use url::Url;

use crate::error::Cause;
use crate::error::ImageError;
use crate::reference::shown;
use crate::version::Version;

/// A file to read.
pub(super) struct Wanted {
    /// Its absolute path.
    pub(super) path: PathBuf,
    /// The folders that it must be below, as absolute paths; `None` for a path that a person typed.
    pub(super) within: Option<Vec<PathBuf>>,
    /// The version that need not be read again.
    pub(super) known: Option<Version>,
    /// Largest size in bytes.
    pub(super) max_bytes: u64,
}

/// What became of it.
pub(super) enum Content {
    Bytes(Bytes, Option<Version>),
    Unchanged,
    TooLarge(u64),
    NotAFile(&'static str),
    Outside,
}

/// A name in an open folder, and what it leads to there.
struct Found {
    folder: Dir,
    name: PathBuf,
    meta: Metadata,
}

/// Reads a file; blocks.
pub(super) fn read(wanted: &Wanted) -> io::Result<Content> {
    let found = match &wanted.within {
        Some(folders) => find(&wanted.path, folders)?,
        None => {
            let real = wanted.path.canonicalize()?;
            let folder = real.parent().unwrap_or(&real).to_owned();
            find(&real, &[folder])?
        }
    };
    let Some(Found { folder, name, meta }) = found else {
        return Ok(Content::Outside);
    };
    // Asked before opening, which some devices take for an order.
    if meta.is_dir() {
        return Ok(Content::NotAFile("a folder"));
    }
    if !meta.is_file() {
        return Ok(Content::NotAFile("not a regular file"));
    }
    if wanted.known.is_some() && Version::of_file(&meta) == wanted.known {
        return Ok(Content::Unchanged);
    }
    if meta.len() > wanted.max_bytes {
        return Ok(Content::TooLarge(meta.len()));
    }
    let mut file = folder.open_with(&name, &reading())?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Ok(Content::NotAFile("no longer a regular file"));
    }
    let version = Version::of_file(&meta);
    let mut bytes = Vec::with_capacity(meta.len() as usize + 1);
    // The file may grow meanwhile, hence the second check.
    (&mut file)
        .take(wanted.max_bytes.saturating_add(1))
        .read_to_end(&mut bytes)?;
    let size = bytes.len() as u64;
    if size > wanted.max_bytes {
        return Ok(Content::TooLarge(size));
    }
    // A file that was written to meanwhile has no version that these bytes belong to.
    let still = file
        .metadata()
        .ok()
        .and_then(|meta| Version::of_file(&meta));
    let version = version.filter(|version| still.as_ref() == Some(version));
    Ok(Content::Bytes(bytes.into(), version))
}

/// Which of these absolute paths are files below one of the `folders` that are still at their version; blocks. Each folder is opened
/// once. False too for what must be looked at more closely: other spellings of a folder, links to another one, errors.
pub(super) fn unchanged(paths: &[(PathBuf, &Version)], folders: &[PathBuf]) -> Vec<bool> {
    let open = folders.iter().filter_map(|folder| {
        let dir = Dir::open_ambient_dir(folder, ambient_authority()).ok()?;
        Some((folder, dir))
    });
    let open: Vec<_> = open.collect();
    let is_still = |(path, known): &(PathBuf, &Version)| {
        open.iter().any(|(folder, dir)| {
            let Ok(name) = path.strip_prefix(folder) else {
                return false;
            };
            let meta = dir.metadata(name);
            meta.is_ok_and(|meta| {
                meta.is_file() && Version::of_file(&meta).as_ref() == Some(*known)
            })
        })
    };
    paths.iter().map(is_still).collect()
}

/// How files are opened: a pipe that took the file's place since it was asked about must not hang this thread until it has a writer.
fn reading() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true);
    #[cfg(unix)]
    options.custom_flags(libc::O_NONBLOCK);
    options
}

/// Looks for `path` below each of `folders`; `None` if it is below none of them.
fn find(path: &Path, folders: &[PathBuf]) -> io::Result<Option<Found>> {
    for folder in folders {
        if let Ok(name) = path.strip_prefix(folder)
            && let Some(found) = open(folder, name)?
        {
            return Ok(Some(found));
        }
    }
    // The path, or a link on it, is written in another way than the folder, or leads to another allowed folder.
    let Ok(real) = path.canonicalize() else {
        return Ok(None);
    };
    for folder in folders {
        if let Ok(folder) = folder.canonicalize()
            && let Ok(name) = real.strip_prefix(&folder)
            && let Some(found) = open(&folder, name)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// What `name` leads to below `folder`; `None` if it leads out of it.
fn open(folder: &Path, name: &Path) -> io::Result<Option<Found>> {
    let folder = Dir::open_ambient_dir(folder, ambient_authority())?;
    // The folder itself.
    let name = if name.as_os_str().is_empty() {
        PathBuf::from(".")
    } else {
        name.to_owned()
    };
    match folder.metadata(&name) {
        Ok(meta) => Ok(Some(Found { folder, name, meta })),
        // The library's own error, where the system's would have a number.
        Err(error)
            if error.kind() == io::ErrorKind::PermissionDenied
                && error.raw_os_error().is_none() =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// What the system's error means for the image.
pub(super) fn error(url: &Url, error: io::Error) -> ImageError {
    let reference = shown(url.as_str());
    let (kind, reason) = (error.kind(), error.to_string());
    let source: Option<Cause> = Some(Arc::new(error));
    match kind {
        // A path through a file ("a.jpg/b.jpg") does not exist either.
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            ImageError::NotFound { reference, source }
        }
        io::ErrorKind::PermissionDenied => ImageError::PermissionDenied { reference, source },
        _ => ImageError::Unreadable {
            reference,
            reason,
            source,
        },
    }
}
