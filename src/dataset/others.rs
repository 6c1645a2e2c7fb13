//! What others put into a folder of ours: it outlives the folder's content.
//!
//! Notes, corrections and galleries lie beside what picsift wrote; only what picsift is known to have written goes.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use crate::error::AppError;

/// Moves what is in `former` to the same place in `folder`, but for the files in `ours`, named by their paths with slashes. Can be
/// called again after a crash; nothing to move is no error.
///
/// # Errors
/// [`AppError::File`] of the system, and [`AppError::Usage`] for what is in the way; what was not moved is still in `former`.
pub(super) fn keep(former: &Path, folder: &Path, ours: &HashSet<String>) -> Result<(), AppError> {
    keep_below(former, folder, ours, "")
}

fn keep_below(
    former: &Path,
    folder: &Path,
    ours: &HashSet<String>,
    below: &str,
) -> Result<(), AppError> {
    let entries = match fs::read_dir(former) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(AppError::file("read", former))?,
    };
    for entry in entries {
        let entry = entry.map_err(AppError::file("read", former))?;
        let (from, to) = (entry.path(), folder.join(entry.file_name()));
        // A name that is no text is none of ours.
        let name = entry
            .file_name()
            .to_str()
            .map(|name| format!("{below}{name}"));
        let kind = entry.file_type().map_err(AppError::file("read", &from))?;
        if let Some(name) = name {
            if ours.contains(&name) {
                continue;
            }
            let inside = format!("{name}/");
            if kind.is_dir() && ours.iter().any(|path| path.starts_with(&inside)) {
                keep_below(&from, &to, ours, &inside)?;
                continue;
            }
        }
        if to.symlink_metadata().is_ok() {
            return Err(AppError::Usage(format!(
                "'{}' is not picsift's and cannot go back to {}, where something of that name is now; move it away and run the \
                 command again",
                from.display(),
                folder.display()
            )));
        }
        fs::create_dir_all(folder).map_err(AppError::file("make the folder", folder))?;
        fs::rename(&from, &to).map_err(AppError::file("move back", &to))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }

    #[test]
    fn what_is_not_ours_moves_and_what_is_ours_does_not() {
        let root = tempfile::tempdir().unwrap();
        let (former, folder) = (root.path().join("old"), root.path().join("new"));
        for name in [
            "a=1/part",
            "a=1/mine.txt",
            "a=2/part",
            ".git/HEAD",
            "notes/x",
            "m",
        ] {
            write(&former, name);
        }
        fs::create_dir_all(former.join("empty")).unwrap();
        write(&folder, "m");
        let ours: HashSet<String> = ["a=1/part", "a=2/part", "m"].map(str::to_owned).into();
        for _ in 0..2 {
            keep(&former, &folder, &ours).unwrap();
            for name in ["a=1/mine.txt", ".git/HEAD", "notes/x"] {
                assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), name);
            }
            assert!(folder.join("empty").is_dir());
            assert!(!folder.join("a=1/part").exists() && !folder.join("a=2").exists());
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_move_and_are_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let (former, folder) = (root.path().join("old"), root.path().join("new"));
        write(root.path(), "elsewhere/x");
        fs::create_dir_all(&former).unwrap();
        std::os::unix::fs::symlink(root.path().join("elsewhere"), former.join("link")).unwrap();
        keep(&former, &folder, &HashSet::new()).unwrap();
        assert!(folder.join("link").symlink_metadata().unwrap().is_symlink());
        assert!(root.path().join("elsewhere/x").exists());
    }

    #[test]
    fn what_is_in_the_way_is_named_and_nothing_is_lost() {
        let root = tempfile::tempdir().unwrap();
        let (former, folder) = (root.path().join("old"), root.path().join("new"));
        write(&former, "notes");
        write(&folder, "notes");
        let error = keep(&former, &folder, &HashSet::new())
            .unwrap_err()
            .to_string();
        assert!(error.contains("notes' is not picsift's"), "{error}");
        assert!(former.join("notes").exists());
    }
}
