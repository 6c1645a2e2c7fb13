//! The files of an output again, without the rows that were asked again.

use super::active::ActiveRun;
use super::prepare::PreparedJob;
use crate::dataset::finished::Finished;
use crate::dataset::store::OutputStore;
use crate::disk::blocking;
use crate::error::AppError;
use crate::output::rewrite::without_failures as rewrite;
use crate::output::writer::WrittenFile;

/// Writes every file of the published output that has failed rows again without them. The new files, and the names of those
/// that they stand for.
///
/// # Errors
/// When a file cannot be read or written.
pub(super) async fn without_failures(
    job: &PreparedJob,
    work: &ActiveRun,
) -> Result<(Vec<WrittenFile>, Vec<String>), AppError> {
    let (mut written, mut replaced) = (Vec::new(), Vec::new());
    let number = work.first_number() + work.journal.shards.len();
    let files = work.before.iter().flat_map(|manifest| &manifest.files);
    for (index, file) in files.filter(|file| file.failures > 0).enumerate() {
        let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let token = work.token.as_ref().map(|token| format!("-{token}"));
        let token = token.unwrap_or_default();
        let path = format!("{folder}/part-{number:05}{token}-{index}.parquet");
        let path = path.trim_start_matches('/').to_string();
        let scratch = tempfile::tempdir();
        let scratch = scratch.map_err(AppError::file("write in", std::env::temp_dir()))?;
        let from = match &job.output.target {
            OutputStore::Local(folder) => folder.join(&file.path),
            OutputStore::Remote(_) => {
                let bytes = job.output.target.read(&file.path).await?;
                let from = scratch.path().join("from.parquet");
                tokio::fs::write(&from, bytes.unwrap_or_default())
                    .await
                    .map_err(AppError::file("write", &from))?;
                from
            }
        };
        let (folder, name) = match work.finished.folder() {
            Some(folder) => (folder, path.as_str()),
            None => (scratch.path().to_path_buf(), "to.parquet"),
        };
        let to = folder.join(name);
        let (errors, name) = (job.columns.added.error.clone(), name.to_string());
        let (rows, bytes) = blocking(move || {
            let folder = Finished::open(&folder)?;
            rewrite(&from, &folder, &name, &errors).map_err(AppError::Run)
        })
        .await?;
        replaced.push(file.path.clone());
        if rows == 0 {
            continue;
        }
        if work.finished.folder().is_none() {
            work.finished.take(&to, &path).await?;
        }
        written.push(WrittenFile {
            path,
            rows,
            bytes,
            failures: 0,
        });
    }
    Ok((written, replaced))
}
