//! A folder that appears whole or not at all.
//!
//! Files are written into a hidden folder beside the target and moved into its place in one rename, so a run that is
//! interrupted leaves the target as it was. Local folders only; what is written is the caller's business.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::AppError;

/// The file that marks a folder as picsift's own output; only such a folder is ever replaced.
pub const MANIFEST: &str = "_picsift.json";

/// A target folder and the hidden one that will take its place.
#[derive(Debug)]
pub struct Staging {
    target: PathBuf,
    staged: TempDir,
    replaces: bool,
}

impl Staging {
    /// Checks that `target` may be written and makes the hidden folder beside it.
    ///
    /// # Errors
    /// When the target is a file, holds something and `overwrite` is not given, holds something that picsift did not
    /// write, or its parent cannot be written.
    pub fn new(target: &Path, overwrite: bool) -> Result<Self, AppError> {
        check(target, overwrite)?;
        let target = std::path::absolute(target).map_err(AppError::file("find", target))?;
        let parent = match target.parent() {
            Some(parent) => parent.to_path_buf(),
            None => {
                return Err(AppError::Usage(
                    "the output cannot be the root folder".to_string(),
                ));
            }
        };
        std::fs::create_dir_all(&parent).map_err(AppError::file("make the folder", &parent))?;
        let staged = tempfile::Builder::new()
            .prefix(".picsift-")
            .tempdir_in(&parent)
            .map_err(AppError::file("write in", &parent))?;
        Ok(Self {
            replaces: target.exists(),
            target,
            staged,
        })
    }

    /// Where files are to be written.
    pub fn path(&self) -> &Path {
        self.staged.path()
    }

    /// Moves the hidden folder into the target's place.
    ///
    /// # Errors
    /// The system's, with the target as it was before.
    pub fn publish(self) -> Result<(), AppError> {
        let Self {
            target,
            staged,
            replaces,
        } = self;
        open_to_others(staged.path())?;
        if !replaces {
            return rename(&staged.keep(), &target);
        }
        let parent = target.parent().unwrap_or(Path::new("/"));
        let aside = tempfile::Builder::new()
            .prefix(".picsift-old-")
            .tempdir_in(parent)
            .map_err(AppError::file("write in", parent))?;
        let old = aside.path().join("output");
        rename(&target, &old)?;
        let new = staged.keep();
        if let Err(error) = rename(&new, &target) {
            rename(&old, &target)?;
            return Err(error);
        }
        aside
            .close()
            .map_err(AppError::file("remove the former output beside", &target))
    }
}

/// Whether `target` may be written; nothing is touched.
///
/// # Errors
/// As [`Staging::new`].
pub fn check(target: &Path, overwrite: bool) -> Result<(), AppError> {
    let shown = target.display();
    if !target.exists() {
        return Ok(());
    }
    if !target.is_dir() {
        return Err(AppError::Usage(format!(
            "the output '{shown}' is a file; name a folder"
        )));
    }
    let mut entries = std::fs::read_dir(target).map_err(AppError::file("read", target))?;
    if entries.next().is_none() {
        return Ok(());
    }
    if !overwrite {
        return Err(AppError::Usage(format!(
            "the output '{shown}' exists and is not empty; name another folder or use --overwrite"
        )));
    }
    if !target.join(MANIFEST).is_file() {
        return Err(AppError::Usage(format!(
            "the output '{shown}' has no {MANIFEST}, so picsift did not write it and will not overwrite it; remove it yourself or name another folder"
        )));
    }
    Ok(())
}

/// Temporary folders are for their owner alone; an output has the rights that the system gives new folders.
fn open_to_others(folder: &Path) -> Result<(), AppError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let probe = folder.join(".rights");
        std::fs::create_dir(&probe).map_err(AppError::file("write", &probe))?;
        let usual = std::fs::metadata(&probe)
            .map_err(AppError::file("read", &probe))?
            .permissions();
        std::fs::remove_dir(&probe).map_err(AppError::file("remove", &probe))?;
        let usual = std::fs::Permissions::from_mode(usual.mode());
        std::fs::set_permissions(folder, usual).map_err(AppError::file("open", folder))?;
    }
    Ok(())
}

fn rename(from: &Path, to: &Path) -> Result<(), AppError> {
    std::fs::rename(from, to).map_err(AppError::file("move the output to", to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str) {
        std::fs::write(folder.join(name), name).unwrap();
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_not_published_leaves_nothing() {
        let root = tempfile::tempdir().unwrap();
        let staging = Staging::new(&root.path().join("out"), false).unwrap();
        write(staging.path(), "part");
        drop(staging);
        assert!(names(root.path()).is_empty());
    }

    #[test]
    fn an_empty_folder_is_filled() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("deep/out");
        std::fs::create_dir_all(&out).unwrap();
        let staging = Staging::new(&out, false).unwrap();
        write(staging.path(), "part");
        staging.publish().unwrap();
        assert_eq!(names(&out), ["part"]);
        assert_eq!(names(out.parent().unwrap()), ["out"]);
    }

    #[test]
    fn only_picsifts_own_output_is_overwritten() {
        let root = tempfile::tempdir().unwrap();
        let out = root.path().join("out");
        std::fs::create_dir(&out).unwrap();
        write(&out, "thesis.txt");
        let refused = |overwrite| check(&out, overwrite).unwrap_err().to_string();
        assert!(refused(false).contains("--overwrite"));
        assert!(refused(true).contains("did not write it"));
        write(&out, MANIFEST);
        let staging = Staging::new(&out, true).unwrap();
        write(staging.path(), "new");
        assert_eq!(
            names(&out),
            [MANIFEST, "thesis.txt"],
            "untouched until published"
        );
        staging.publish().unwrap();
        assert_eq!(names(&out), ["new"]);
        assert_eq!(names(root.path()), ["out"]);
    }
}
