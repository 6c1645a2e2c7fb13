//! Whether the values of partition columns can be names of folders, found out before an image is asked.

use arrow::array::AsArray;
use arrow::datatypes::DataType;
use datafusion::catalog::TableProvider;
use datafusion::logical_expr::cast;
use futures::TryStreamExt;
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

/// Reads the partition columns that are the table's own. Which rows a predicate keeps is known only when it is asked, so with one
/// nothing is looked at.
///
/// # Errors
/// [`AppError::Usage`] for a value whose folder's name no file system takes, [`AppError::Run`] when a table cannot be read.
pub(super) async fn check(job: &PreparedJob) -> Result<(), AppError> {
    let added = &job.columns.added;
    let own = job.columns.partition_by.iter();
    let names: Vec<&String> = own.filter(|name| **name != added.label).collect();
    if names.is_empty() || job.options.predicate.is_some() {
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

fn fits(name: &str, value: &str) -> Result<(), AppError> {
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
