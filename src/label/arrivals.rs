//! Pictures that came to a folder since it was labelled.
//!
//! A folder of pictures is one file to a job, whose version is the list of its pictures; another list would be another input. Here the
//! pictures that the output does not have yet become a file of their own behind the known ones, so that `--incremental` labels them
//! alone. That is known from the output's column `file`, so only where the output has every row of its input.

use std::collections::HashSet;
use std::sync::Arc;

use datafusion::catalog::TableProvider;
use futures::TryStreamExt;

use super::options::Existing;
use super::prepare::PreparedJob;
use crate::batches;
use crate::dataset::Manifest;
use crate::dataset::labels::texts;
use crate::error::AppError;
use crate::input::files::{FileEntry, InputFile};
use crate::tables::{self, PICTURE, plain};

/// Puts the known files of a folder of pictures in the place of the whole folder, and behind them what came since the output with the
/// manifest `before` was published. Any other input, and an output that has not every row, is left as it is.
///
/// # Errors
/// [`AppError::Usage`] where pictures came or went and the job is not told what to do then; when the output cannot be read.
pub(super) async fn split(
    job: &PreparedJob,
    before: Option<&Manifest>,
    files: &mut Vec<(usize, InputFile)>,
) -> Result<(), AppError> {
    let options = &job.options;
    let (Some(before), [(source, all)]) = (before, files.as_slice()) else {
        return Ok(());
    };
    let table = &job.tables.sources[*source].table;
    let [location] = table.locations() else {
        return Ok(());
    };
    let known = &before.job.files;
    let is_same = known.as_slice() == std::slice::from_ref(&all.entry);
    let of_folder = |entry: &FileEntry| {
        let rest = entry.url.strip_prefix(&all.entry.url);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('#'))
    };
    let has_all =
        options.predicate.is_none() && options.limit.is_none() && before.partial.is_none();
    if !table.is_pictures()
        || is_same
        || !has_all
        || options.existing == Existing::Overwrite
        || !known.iter().all(of_folder)
    {
        return Ok(());
    }
    let (source, url) = (*source, all.entry.url.clone());
    let labelled = labelled(job).await?;
    let state = job.inference.context.state();
    let since = table.pictures_since(&state, location, &labelled).await;
    let since = since.map_err(AppError::Plan)?;
    let (output, folder) = (&job.output.target, tables::shown(location));
    if let Some(gone) = &since.gone {
        return Err(AppError::Usage(format!(
            "'{output}' has the picture '{gone}', which is not in '{folder}' any more; put it back, name another output or use --overwrite"
        )));
    }
    let (them, pictures) = match since.new {
        1 => ("it", "a picture".to_string()),
        new => ("them", format!("{new} pictures")),
    };
    match options.existing {
        Existing::Resume if since.new > 0 => {
            return Err(AppError::Usage(format!(
                "'{output}' is labelled, and {pictures} came to '{folder}' since; --incremental labels {them} alone, --overwrite all"
            )));
        }
        Existing::RetryFailed => {
            return Err(AppError::Usage(format!(
                "pictures came to '{folder}' since it was first labelled, so --retry-failed cannot tell which failed; use --overwrite: \
                 what is known of a picture is not asked again"
            )));
        }
        _ => {}
    }
    let file = |entry: &FileEntry, file| InputFile {
        id: 0,
        entry: entry.clone(),
        file,
    };
    let mut split: Vec<(usize, InputFile)> = known
        .iter()
        .map(|entry| (source, file(entry, since.none.clone())))
        .collect();
    if since.new > 0 {
        let version = since.file.object_meta.e_tag.clone().unwrap_or_default();
        let entry = FileEntry {
            url: format!("{url}#{version}"),
            bytes: since.file.object_meta.size,
            version,
        };
        split.push((source, file(&entry, since.file)));
    }
    *files = split;
    Ok(())
}

/// The pictures that the output has.
async fn labelled(job: &PreparedJob) -> Result<HashSet<String>, AppError> {
    let context = &job.inference.context;
    let location = tables::locate(&job.options.output).map_err(AppError::Plan)?;
    let output = tables::open(&context.state(), &[location]).await;
    let output: Arc<dyn TableProvider> = output.map_err(AppError::Plan)?;
    let rows = context
        .read_table(output)
        .and_then(|rows| rows.select(vec![plain(PICTURE)]))
        .map_err(AppError::Plan)?;
    let mut rows = batches::stream(rows).await.map_err(AppError::Run)?;
    let mut labelled = HashSet::new();
    while let Some(batch) = rows.try_next().await.map_err(AppError::Run)? {
        let names = texts(batch.column(0)).map_err(AppError::Run)?;
        labelled.extend(names.iter().flatten().map(str::to_owned));
    }
    Ok(labelled)
}
