//! What of the input is left to label: behind what the journal and the output have, or the rows that failed.

use std::collections::HashMap;

use super::journal::{Journal, Mode};
use super::prepare::PreparedJob;
use crate::dataset::failures::Failures;
use crate::dataset::manifest::Manifest;
use crate::error::AppError;
use crate::input::Position;
use crate::input::files::InputFile;
use crate::input::select::Rows;

/// The rows that are left of these files: runs of files of one source, in the order of their numbers.
///
/// # Errors
/// When the list of failed rows, by which they are asked again, cannot be read.
pub(super) async fn left(
    job: &PreparedJob,
    journal: &Journal,
    before: Option<&Manifest>,
    mut files: Vec<(usize, InputFile)>,
) -> Result<Vec<(usize, Vec<(InputFile, Rows)>)>, AppError> {
    files.sort_by_key(|(_, file)| file.id);
    let begun = journal.job();
    let published = match (begun.mode, before) {
        (Mode::Append, Some(manifest)) => manifest.job.through,
        _ => Position::default(),
    };
    let through = journal.through().unwrap_or_default().max(published);
    let failed: Option<HashMap<String, Vec<u64>>> = match begun.mode {
        Mode::Retry => {
            let list = job.output.failures().await?.ok_or_else(|| {
                AppError::Usage(format!(
                    "--retry-failed goes by {}, which is not there any more",
                    job.output.failures_shown()
                ))
            })?;
            let mut failures = Failures::default();
            failures.read(list).map_err(AppError::Plan)?;
            Some(failures.rows())
        }
        _ => None,
    };
    let mut wanted = Vec::new();
    for (source, file) in files {
        let first = match file.id.cmp(&through.file) {
            std::cmp::Ordering::Less => continue,
            std::cmp::Ordering::Equal => through.row,
            std::cmp::Ordering::Greater => 0,
        };
        let rows = match &failed {
            None => Rows::From(first),
            Some(failed) => {
                let rows = failed.get(&file.entry.url).map(Vec::as_slice);
                let rows = rows.unwrap_or_default();
                let left = &rows[rows.partition_point(|&row| row < first)..];
                if left.is_empty() {
                    continue;
                }
                Rows::Only(left.into())
            }
        };
        wanted.push((source, file, rows));
    }
    Ok(runs(wanted))
}

/// Neighbours of one source together.
fn runs(wanted: Vec<(usize, InputFile, Rows)>) -> Vec<(usize, Vec<(InputFile, Rows)>)> {
    let mut runs: Vec<(usize, Vec<(InputFile, Rows)>)> = Vec::new();
    for (source, file, rows) in wanted {
        match runs.last_mut() {
            Some((last, files)) if *last == source => files.push((file, rows)),
            _ => runs.push((source, vec![(file, rows)])),
        }
    }
    runs
}
