//! Whether the values of partition columns can be names of folders: found out before an image is asked where one that cannot ends the job,
//! else the failure of its row.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray, StructArray};
use arrow::compute::{cast as cast_array, nullif};
use arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::logical_expr::cast;
use futures::TryStreamExt;
use picsift_udf::{OnError, is_text};
use std::sync::Arc;

use super::prepare::PreparedJob;
use crate::batches;
use crate::error::AppError;
use crate::output::writer::hive_folder;
use crate::tables::plain;

/// Bytes of a name in the file systems of Linux, macOS and Windows.
const NAME_BYTES: usize = 255;

/// Characters of a value that an error shows.
const SHOWN: usize = 40;

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
        while let Some(batch) = rows.try_next().await.map_err(AppError::Run)? {
            for (name, values) in names.iter().zip(batch.columns()) {
                for value in values.as_string::<i32>().iter().flatten() {
                    fits(name, value)?;
                }
            }
        }
    }
    Ok(())
}

/// The batch with failures where a value of a partition column makes no folder: such a row has no answers and goes where rows without
/// a value go.
///
/// # Errors
/// [`AppError::Usage`] for the first such value, where it ends the job.
pub(super) fn fitting(
    job: &PreparedJob,
    batch: RecordBatch,
) -> std::result::Result<RecordBatch, AppError> {
    let added = &job.columns.added;
    let own = job.columns.partition_by.iter();
    let mut reasons: Vec<Option<String>> = Vec::new();
    for name in own.filter(|name| **name != added.label) {
        let Some(column) = batch.column_by_name(name) else {
            continue;
        };
        // Of other types no value is long.
        if !is_text(column.data_type()) {
            continue;
        }
        let texts = cast_array(column, &DataType::Utf8).map_err(|e| AppError::Run(e.into()))?;
        for (row, value) in texts.as_string::<i32>().iter().enumerate() {
            let Some(Err(error)) = value.map(|value| fits(name, value)) else {
                continue;
            };
            if job.options.on_error == OnError::Fail {
                return Err(error);
            }
            reasons.resize(batch.num_rows(), None);
            reasons[row].get_or_insert_with(|| error.to_string());
        }
    }
    match reasons.is_empty() {
        true => Ok(batch),
        false => failed(job, &batch, &reasons).map_err(AppError::Run),
    }
}

fn failed(
    job: &PreparedJob,
    batch: &RecordBatch,
    reasons: &[Option<String>],
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
                    Some(_) => Some(""),
                    None => text,
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
fn with_reasons(errors: &ArrayRef, reasons: &[Option<String>]) -> Result<ArrayRef> {
    let errors = errors
        .as_struct_opt()
        .ok_or_else(|| internal_datafusion_err!("failures are no structs"))?;
    let parts = errors.fields().iter().zip(errors.columns());
    let parts = parts.map(|(field, part)| {
        let texts = part.as_string::<i32>().iter().zip(reasons);
        let texts = texts.map(|(text, reason)| match (reason, field.name().as_str()) {
            (None, _) => text,
            (Some(_), "stage") => Some("write"),
            (Some(_), "kind") => Some("partition"),
            (Some(reason), "message") => Some(reason.as_str()),
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

fn fits(name: &str, value: &str) -> std::result::Result<(), AppError> {
    // No character takes more than three bytes for each of its own.
    if 3 * (name.len() + value.len()) < NAME_BYTES {
        return Ok(());
    }
    let bytes = hive_folder(name, Some(value)).len();
    if bytes <= NAME_BYTES {
        return Ok(());
    }
    let begin: String = value.chars().take(SHOWN).collect();
    Err(AppError::Usage(format!(
        "--partition-by: the value '{}...' of column '{name}' makes a folder's name of {bytes} bytes; no file system takes more \
         than {NAME_BYTES}",
        picsift_images::shown(&begin)
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_measured_as_it_is_written() {
        assert!(fits("c", &"x".repeat(253)).is_ok());
        let said = fits("c", &"x".repeat(254)).unwrap_err().to_string();
        assert!(
            said.contains("256 bytes") && said.contains("column 'c'"),
            "{said}"
        );
        assert!(
            fits("c", &"/".repeat(85)).is_err(),
            "a slash is written as %2F"
        );
    }
}
