//! The files of a folder that others may write into, read without following a link.
//!
//! Whoever can write into the folder must not choose what else is read in their place: what a browser is shown, what is taken for corrections: a name leads to a plain
//! file in the folder or to nothing. Names are looked up in the open folder, so that a link that is swapped in meanwhile does not lead out
//! of it either.

use std::io::{Error, ErrorKind, Read, Result};
use std::path::{Component, Path};

use cap_std::ambient_authority;
use cap_std::fs::{Dir, File, OpenOptions};

/// What is in the folder under `name`, at most so many bytes of it.
///
/// # Errors
/// [`ErrorKind::NotFound`] where there is nothing, [`ErrorKind::InvalidInput`] for what is no plain file or is reached by a link,
/// [`ErrorKind::FileTooLarge`], and those of the disk.
pub fn read(folder: &Path, name: &str, most: u64) -> Result<Vec<u8>> {
    let folder = Dir::open_ambient_dir(folder, ambient_authority())?;
    let file = open(&folder, name, OpenOptions::new().read(true))?;
    let size = file.metadata()?.len();
    if size > most {
        return Err(too_large(most));
    }
    let mut bytes = Vec::with_capacity(size as usize + 1);
    // It may grow meanwhile.
    file.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(too_large(most));
    }
    Ok(bytes)
}

/// Opens a file of the folder; with options that make it, the last part of its name may be missing.
///
/// # Errors
/// As [`read`].
pub fn open(folder: &Dir, name: &str, options: &OpenOptions) -> Result<File> {
    let name = Path::new(name);
    if name.as_os_str().is_empty() {
        return Err(not_plain());
    }
    let mut so_far = std::path::PathBuf::new();
    for part in name.components() {
        let Component::Normal(part) = part else {
            return Err(not_plain());
        };
        so_far.push(part);
        let last = so_far == name;
        match folder.symlink_metadata(&so_far) {
            // Asked before opening: to open a pipe that nobody writes to would hang this thread for ever.
            Ok(found) if (last && found.is_file()) || (!last && found.is_dir()) => {}
            Ok(_) => return Err(not_plain()),
            Err(error) if last && error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let file = folder.open_with(name, options)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(not_plain()),
    }
}

fn not_plain() -> Error {
    Error::new(
        ErrorKind::InvalidInput,
        "it is no plain file of the folder, and links are not followed",
    )
}

fn too_large(most: u64) -> Error {
    Error::new(
        ErrorKind::FileTooLarge,
        format!("it has more than {most} bytes"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_leads_to_a_plain_file_of_the_folder() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("gallery");
        std::fs::create_dir_all(folder.join("data")).unwrap();
        std::fs::write(folder.join("data/a.js"), "text").unwrap();
        std::fs::write(root.path().join("secret"), "text").unwrap();
        let kind = |name: &str, most| read(&folder, name, most).map_err(|error| error.kind());
        assert_eq!(kind("data/a.js", 4).unwrap(), b"text");
        assert_eq!(kind("data/a.js", 3), Err(ErrorKind::FileTooLarge));
        for name in ["", ".", "..", "/", "../secret", "data", "data/../data/a.js"] {
            assert_eq!(kind(name, 9), Err(ErrorKind::InvalidInput), "{name}");
        }
        for name in ["b", "data/b", "b/c"] {
            assert_eq!(kind(name, 9), Err(ErrorKind::NotFound), "{name}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn no_link_is_followed() {
        use std::os::unix::fs::symlink;
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("gallery");
        std::fs::create_dir_all(folder.join("data")).unwrap();
        std::fs::write(folder.join("data/a.js"), "text").unwrap();
        std::fs::write(root.path().join("secret"), "text").unwrap();
        symlink(root.path().join("secret"), folder.join("far")).unwrap();
        symlink("data/a.js", folder.join("near")).unwrap();
        symlink("data", folder.join("folder")).unwrap();
        symlink("gone", folder.join("dangling")).unwrap();
        for name in ["far", "near", "folder/a.js", "dangling"] {
            let error = read(&folder, name, 9).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{name}: {error}");
        }
    }
}
