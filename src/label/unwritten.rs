//! Rows that cannot be written as they are: a value that is no text, or one of a partition column that makes no folder. They are the failures
//! of their rows, or the end of the job as `--on-error` says; what ends it is found out before an image is asked where it can be.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, StructArray};
use arrow::compute::{cast as cast_array, nullif};
use arrow::datatypes::{DataType, Int64Type, UInt32Type};
use datafusion::catalog::TableProvider;
use datafusion::common::{Result, exec_datafusion_err, internal_datafusion_err};
use datafusion::logical_expr::cast;
use futures::TryStreamExt;
use picsift_udf::{OnError, is_text};

use super::prepare::PreparedJob;
use crate::batches;
use crate::dataset::store::OutputStore;
use crate::error::AppError;
use crate::input::files::FileEntry;
use crate::input::readable::is_no_text;
use crate::input::{FILE_COLUMN, ROW_COLUMN, UNREADABLE_COLUMN};
use crate::output::writer::hive_folder;
use crate::tables::plain;

/// Bytes of a name in the file systems of Linux, macOS and Windows.
const NAME_BYTES: usize = 255;

/// Bytes of a path in Linux, and of a key in the stores of S3, Google and Azure.
const PATH_BYTES: usize = 4096;
const KEY_BYTES: usize = 1024;

/// Bytes of the folder's name of rows without a value.
const NULL_BYTES: usize = 32;

/// What of a path the names of files and of the folder of work take.
const OWN_BYTES: usize = 160;

/// The stage of a row that makes no folder.
const WRITE: &str = "write";

/// Characters of a value that an error shows.
const SHOWN: usize = 40;

/// Why a row is not written as it is.
#[derive(Debug, Clone)]
struct Reason {
    stage: &'static str,
    kind: &'static str,
    message: String,
}

/// Reads the partition columns that are the table's own, where one of their values may end the job. Which rows a predicate keeps is known only when it is asked, so with one
/// nothing is looked at.
///
/// # Errors
/// [`AppError::Usage`] for a value whose folder's name no file system takes, [`AppError::Run`] when a table cannot be read.
pub(super) async fn check(job: &PreparedJob) -> std::result::Result<(), AppError> {
    let added = &job.columns.added;
    let own = job.columns.partition_by.iter();
    let names: Vec<&String> = own.filter(|name| **name != added.label).collect();
    let fatal = job.options.on_error == OnError::Fail;
    if names.is_empty() || job.options.predicate.is_some() || !fatal {
        return Ok(());
    }
    let room = room(&job.output.target);
    for source in &job.tables.sources {
        let table = Arc::clone(&source.table) as Arc<dyn TableProvider>;
        let columns = names.iter().map(|name| cast(plain(name), DataType::Utf8));
        let rows = job
            .inference
            .context
            .read_table(table)
            .and_then(|rows| rows.select(columns.collect::<Vec<_>>()))
            .map_err(AppError::Plan)?;
        let mut rows = batches::stream(rows).await.map_err(AppError::Run)?;
        loop {
            let batch = match rows.try_next().await {
                Ok(Some(batch)) => batch,
                Ok(None) => break,
                // The run says in which row.
                Err(error) if is_no_text(&error) => break,
                Err(error) => return Err(AppError::Run(error)),
            };
            let folders: Vec<(&str, StringArray)> = names
                .iter()
                .zip(batch.columns())
                .map(|(name, values)| (name.as_str(), values.as_string::<i32>().clone()))
                .collect();
            if let Some(what) = (0..batch.num_rows()).find_map(|row| unfit(&folders, row, room)) {
                return Err(AppError::Usage(what));
            }
        }
    }
    Ok(())
}

/// The batch with failures where a row cannot be written as it is: such a row has no answers, is NULL where it cannot be read, and goes where
/// rows without a value go.
///
/// # Errors
/// What is wrong with the first such row, where it ends the job: [`AppError::Usage`] for a folder's name, [`AppError::Run`] for what is
/// no text, with its place in `files`.
pub(super) fn told(
    job: &PreparedJob,
    batch: RecordBatch,
    files: &[FileEntry],
) -> std::result::Result<RecordBatch, AppError> {
    let fatal = job.options.on_error == OnError::Fail;
    let mut reasons: Vec<Option<Reason>> = Vec::new();
    let unreadable = batch.column_by_name(UNREADABLE_COLUMN);
    if let Some(unreadable) = unreadable.and_then(|column| column.as_string_opt::<i32>())
        && unreadable.null_count() < unreadable.len()
    {
        for (row, what) in unreadable.iter().enumerate() {
            let Some(what) = what else { continue };
            if fatal {
                let place = place(&batch, row, files);
                return Err(AppError::Run(exec_datafusion_err!("{what} in {place}")));
            }
            reasons.resize(batch.num_rows(), None);
            reasons[row] = Some(Reason {
                stage: "read",
                kind: "text",
                message: what.to_string(),
            });
        }
    }
    let folders = folders(job, &batch).map_err(AppError::Run)?;
    let room = room(&job.output.target);
    for row in 0..batch.num_rows() {
        let Some(message) = unfit(&folders, row, room) else {
            continue;
        };
        if fatal {
            return Err(AppError::Usage(message));
        }
        reasons.resize(batch.num_rows(), None);
        // Before what cannot be read: where the row goes hangs on it.
        reasons[row] = Some(Reason {
            stage: WRITE,
            kind: "partition",
            message,
        });
    }
    match reasons.is_empty() {
        true => Ok(batch),
        false => failed(job, &batch, &reasons).map_err(AppError::Run),
    }
}

/// Where a row stands in the input.
fn place(batch: &RecordBatch, row: usize, files: &[FileEntry]) -> String {
    let file = batch
        .column_by_name(FILE_COLUMN)
        .and_then(|files| files.as_primitive_opt::<UInt32Type>());
    let file = file.and_then(|ids| files.get(ids.value(row) as usize));
    let before = batch
        .column_by_name(ROW_COLUMN)
        .and_then(|rows| rows.as_primitive_opt::<Int64Type>());
    format!(
        "row {} of '{}', counted from 0",
        before.map_or(0, |before| before.value(row)),
        file.map_or_else(String::new, |file| picsift_images::shown(&file.url))
    )
}

/// The table's own partition columns of text; of other types no value is long.
fn folders<'a>(job: &'a PreparedJob, batch: &RecordBatch) -> Result<Vec<(&'a str, StringArray)>> {
    let own = job.columns.partition_by.iter();
    let own = own.filter(|name| **name != job.columns.added.label);
    let columns = own.filter_map(|name| Some((name, batch.column_by_name(name)?)));
    columns
        .filter(|(_, column)| is_text(column.data_type()))
        .map(|(name, column)| {
            let texts = cast_array(column, &DataType::Utf8)?;
            Ok((name.as_str(), texts.as_string::<i32>().clone()))
        })
        .collect()
}

/// Bytes that the folders of a row may have together.
fn room(output: &OutputStore) -> usize {
    let (most, before) = match output {
        OutputStore::Local(folder) => {
            let folder = std::path::absolute(folder).unwrap_or_else(|_| folder.clone());
            (PATH_BYTES, folder.as_os_str().len())
        }
        OutputStore::Remote(prefix) => (KEY_BYTES, prefix.path.as_ref().len()),
    };
    most.saturating_sub(before + OWN_BYTES)
}

fn failed(
    job: &PreparedJob,
    batch: &RecordBatch,
    reasons: &[Option<Reason>],
) -> Result<RecordBatch> {
    let added = &job.columns.added;
    let unwritten: BooleanArray = reasons
        .iter()
        .map(|reason| Some(reason.is_some()))
        .collect();
    let rows = [&added.labels, &added.label, &added.answers];
    let answers: Vec<&String> = added
        .is
        .iter()
        .chain(&added.score)
        .chain(rows)
        .chain(&added.source)
        .chain(added.embedding.as_ref().map(|field| field.name()))
        .collect();
    let schema = batch.schema();
    let columns = schema.fields().iter().zip(batch.columns());
    let columns = columns.map(|(field, column)| -> Result<ArrayRef> {
        let name = field.name();
        if *name == added.error {
            return with_reasons(column, reasons);
        }
        if answers.contains(&name) {
            return Ok(nullif(column, &unwritten)?);
        }
        if job.columns.partition_by.contains(name) && is_text(column.data_type()) {
            // A column that may have no NULL has the empty text, which goes the same way.
            let texts = cast_array(column, &DataType::Utf8)?;
            let texts = texts.as_string::<i32>().iter().zip(reasons);
            let texts: StringArray = texts
                .map(|(text, reason)| match reason {
                    Some(reason) if reason.stage == WRITE => Some(""),
                    _ => text,
                })
                .collect();
            return Ok(cast_array(&texts, column.data_type())?);
        }
        Ok(Arc::clone(column))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    // What had failed already is counted.
    let failed = batch.column_by_name(&added.error);
    let failed = |row: usize| failed.is_some_and(|failed| failed.is_valid(row));
    let new = reasons.iter().enumerate();
    let new = new.filter(|(row, reason)| reason.is_some() && !failed(*row));
    job.inference.stats.note_unwritten(new.count() as u64);
    Ok(RecordBatch::try_new(schema, columns)?)
}

/// The column of failures with those of these rows in it.
fn with_reasons(errors: &ArrayRef, reasons: &[Option<Reason>]) -> Result<ArrayRef> {
    let errors = errors
        .as_struct_opt()
        .ok_or_else(|| internal_datafusion_err!("failures are no structs"))?;
    let parts = errors.fields().iter().zip(errors.columns());
    let parts = parts.map(|(field, part)| {
        let texts = part.as_string::<i32>().iter().zip(reasons);
        let texts = texts.map(|(text, reason)| match (reason, field.name().as_str()) {
            (None, _) => text,
            (Some(reason), "stage") => Some(reason.stage),
            (Some(reason), "kind") => Some(reason.kind),
            (Some(reason), "message") => Some(reason.message.as_str()),
            (Some(_), _) => text,
        });
        Arc::new(texts.collect::<StringArray>()) as ArrayRef
    });
    let parts = parts.collect();
    let valid = (0..errors.len()).map(|row| errors.is_valid(row) || reasons[row].is_some());
    let valid: arrow::buffer::NullBuffer = valid.collect::<Vec<bool>>().into();
    Ok(Arc::new(StructArray::try_new(
        errors.fields().clone(),
        parts,
        Some(valid),
    )?))
}

/// What is wrong with the folders of a row, which may have `room` bytes together.
fn unfit(folders: &[(&str, StringArray)], row: usize, room: usize) -> Option<String> {
    let values = |values: &StringArray| values.is_valid(row).then_some(row);
    // No character takes more than three bytes for each of its own.
    let most = folders.iter().map(|(name, texts)| {
        let length = values(texts).map_or(NULL_BYTES, |row| texts.value(row).len());
        3 * (name.len() + length) + 2
    });
    if most.clone().all(|most| most <= NAME_BYTES) && most.sum::<usize>() <= room {
        return None;
    }
    let mut all = 0;
    for (name, texts) in folders {
        let value = values(texts).map(|row| texts.value(row));
        let bytes = hive_folder(name, value).len() + 1;
        all += bytes;
        let value = value.unwrap_or_default();
        if bytes > NAME_BYTES + 1 {
            return Some(format!(
                "--partition-by: the value '{}...' of column '{name}' makes a folder's name of {} bytes; no file system takes more \
                 than {NAME_BYTES}",
                begin(value),
                bytes - 1
            ));
        }
        if all > room {
            return Some(format!(
                "--partition-by: with the value '{}...' of column '{name}' the path of a row's folders has {all} bytes; there is room for {room}",
                begin(value)
            ));
        }
    }
    None
}

fn begin(value: &str) -> String {
    let begin: String = value.chars().take(SHOWN).collect();
    picsift_images::shown(&begin)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(columns: &[(&'static str, String)], room: usize) -> Option<String> {
        let columns: Vec<_> = columns
            .iter()
            .map(|(name, value)| (*name, StringArray::from(vec![value.as_str()])))
            .collect();
        unfit(&columns, 0, room)
    }

    #[test]
    fn a_name_is_measured_as_it_is_written() {
        assert_eq!(said(&[("c", "x".repeat(253))], 4000), None);
        let what = said(&[("c", "x".repeat(254))], 4000).unwrap();
        assert!(
            what.contains("256 bytes") && what.contains("column 'c'"),
            "{what}"
        );
        let what = said(&[("c", "/".repeat(85))], 4000);
        assert!(what.is_some(), "a slash is written as %2F");
    }

    #[test]
    fn the_path_of_several_folders_is_measured_too() {
        let columns = [
            ("a", "x".repeat(200)),
            ("b", "y".repeat(200)),
            ("c", "z".repeat(200)),
        ];
        assert_eq!(said(&columns, 609), None);
        let what = said(&columns, 608).unwrap();
        assert!(
            what.contains("column 'c'") && what.contains("609 bytes"),
            "{what}"
        );
        let short = [("a", "x".to_string()), ("b", "y".to_string())];
        assert_eq!(said(&short, 300), None);
    }
}
