//! Files that are whole or not there, and outlive a crash of the machine.

use std::io::Write;
use std::path::Path;

use crate::error::AppError;

/// Runs work that waits for a disk where it keeps no task waiting.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, AppError> + Send + 'static,
) -> Result<T, AppError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(AppError::Run(datafusion::error::DataFusionError::External(
            Box::new(error),
        ))),
    }
}

/// Writes the local file at `path` as a whole, whatever there is, so that it outlives a crash of the machine.
///
/// # Errors
/// [`AppError::File`].
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<(), AppError> {
    let written = staged(path, bytes)?;
    open_to_others(written.path())?;
    written
        .persist(path)
        .map_err(|error| AppError::file("write", path)(error.error))?;
    synced(path)
}

/// A file beside `path` that holds `bytes`, safe on the disk.
fn staged(path: &Path, bytes: &[u8]) -> Result<tempfile::NamedTempFile, AppError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    let write = || AppError::file("write", path);
    std::fs::create_dir_all(parent).map_err(AppError::file("make the folder", parent))?;
    let mut file = tempfile::Builder::new()
        .prefix(".picsift-")
        .tempfile_in(parent)
        .map_err(write())?;
    file.write_all(bytes).map_err(write())?;
    file.as_file().sync_all().map_err(write())?;
    Ok(file)
}

/// Makes sure that a name in a folder outlives a crash of the machine.
pub(crate) fn synced(path: &Path) -> Result<(), AppError> {
    #[cfg(unix)]
    if let Some(parent) = path.parent() {
        let folder = std::fs::File::open(parent).map_err(AppError::file("open", parent))?;
        folder.sync_all().map_err(AppError::file("write", parent))?;
    }
    Ok(())
}

/// Temporary files and folders are for their owner alone; an output has the rights that the system gives new ones.
pub(crate) fn open_to_others(path: &Path) -> Result<(), AppError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let folder = path.parent().unwrap_or(Path::new("."));
        let probe = tempfile::Builder::new()
            .prefix(".picsift-")
            .permissions(std::fs::Permissions::from_mode(0o666))
            .tempfile_in(folder)
            .map_err(AppError::file("write in", folder))?;
        let usual = probe
            .as_file()
            .metadata()
            .map_err(AppError::file("read", probe.path()))?
            .permissions();
        std::fs::set_permissions(path, usual).map_err(AppError::file("open", path))?;
    }
    Ok(())
}
