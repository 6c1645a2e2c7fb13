//! Files of a local folder, reached through the open folder: no name leads out of it, whatever links are put there between a look and its use.

use std::path::Path;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

/// A folder of this machine, in which no name leads out, whatever links are put there meanwhile.
pub(super) fn opened(folder: &Path) -> std::io::Result<Dir> {
    Dir::open_ambient_dir(folder, ambient_authority())
}

/// Moves a file to a name in `folder`, whose own folders are made.
pub(super) fn moved(from: &Path, folder: &Path, name: &Path) -> std::io::Result<()> {
    let (to, folders) = (opened(folder)?, name.parent());
    if let Some(folders) = folders.filter(|folders| *folders != Path::new("")) {
        to.create_dir_all(folders)?;
    }
    let beside = match from.parent() {
        Some(parent) if parent != Path::new("") => opened(parent)?,
        _ => opened(Path::new("."))?,
    };
    match from.file_name() {
        Some(file) => beside.rename(file, &to, name),
        None => Err(std::io::ErrorKind::InvalidInput.into()),
    }
}
