//! What the store may do with files of its folder: made for its owner alone, and removed only where they are plain files.

use std::fs;
use std::io;
use std::path::Path;

use super::database::companions;
use super::error::StoreError;

/// Makes the folder for its owner alone; those that are there stay as they are.
pub(super) fn make(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt;
        builder.mode(0o700);
    }
    builder.create(path)
}

/// Refuses a folder that another user has, or that everybody may write in.
#[cfg(unix)]
pub(super) fn check_owner(folder: &Path) -> Result<(), StoreError> {
    use std::os::unix::fs::MetadataExt;
    let found = fs::symlink_metadata(folder).map_err(StoreError::file("read", folder))?;
    let refused = |reason: &str| {
        Err(StoreError::Refused {
            folder: folder.to_owned(),
            reason: reason.to_owned(),
        })
    };
    if found.uid() != super::secret::own_user() {
        return refused("it belongs to another user; name one of your own");
    }
    if found.mode() & 0o002 != 0 {
        return refused(
            "every user may write in it; name another one, or take that away (chmod o-w)",
        );
    }
    Ok(())
}

#[cfg(not(unix))]
pub(super) fn check_owner(_: &Path) -> Result<(), StoreError> {
    Ok(())
}

/// Removes a database and what is beside it; the database first, so that no process opens it without the rest.
pub(super) fn remove_family(database: &Path) -> io::Result<()> {
    remove_plain(database)?;
    companions(database).try_for_each(|path| remove_plain(&path))
}

/// Removes a plain file. A folder or link in its place is not this program's.
pub(super) fn remove_plain(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => gone(fs::remove_file(path)),
        Ok(_) => Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "it is no plain file, so this program did not write it",
        )),
        Err(error) => gone(Err(error)),
    }
}

/// What is not there needs no removing.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
