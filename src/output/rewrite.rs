//! A written file again, without the rows that failed.
//!
//! What is asked again is written anew elsewhere; its former rows must go from the file in which they stand.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::Array;
use arrow::compute::{filter_record_batch, is_null};
use datafusion::common::{Result, exec_datafusion_err};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::properties::properties;
use super::writer::cannot_write;
use crate::batches::IMAGE_ROWS;
use crate::tables::{check_file, check_pages};

/// Copies the rows of `from` whose column `errors` is NULL to `to`; how many they are and the new file's size. Where there are
/// none, no file is made.
///
/// # Errors
/// When a file cannot be read or written, or has no such column.
pub fn without_failures(from: &Path, to: &Path, errors: &str) -> Result<(u64, u64)> {
    let unreadable = |error: &dyn std::error::Error| {
        exec_datafusion_err!("cannot read '{}' as Parquet: {error}", from.display())
    };
    let file = File::open(from).map_err(|error| unreadable(&error))?;
    check_file(&file).map_err(|error| unreadable(&error))?;
    let pages = file.try_clone().map_err(|error| unreadable(&error))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(|e| unreadable(&e))?;
    check_pages(&pages, builder.metadata(), IMAGE_ROWS).map_err(|reason| {
        exec_datafusion_err!("cannot read '{}' as Parquet: {reason}", from.display())
    })?;
    // The builder's, because a reader's batches leave the metadata out.
    let schema = Arc::clone(builder.schema());
    let column = schema.index_of(errors)?;
    if let Some(parent) = to.parent() {
        std::fs::create_dir_all(parent).map_err(|error| cannot_write(parent, &error))?;
    }
    let file = File::create(to).map_err(|error| cannot_write(to, &error))?;
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties(&schema)))?;
    let mut rows = 0;
    for batch in builder.with_batch_size(IMAGE_ROWS).build()? {
        let batch = batch.map_err(|error| unreadable(&error))?;
        let batch = batch.with_schema(Arc::clone(&schema))?;
        let kept = is_null(batch.column(column).as_ref() as &dyn Array)?;
        let kept = filter_record_batch(&batch, &kept)?;
        rows += kept.num_rows() as u64;
        writer.write(&kept)?;
    }
    let file = writer.into_inner()?;
    if rows == 0 {
        std::fs::remove_file(to).map_err(|error| cannot_write(to, &error))?;
        return Ok((0, 0));
    }
    file.sync_all().map_err(|error| cannot_write(to, &error))?;
    let bytes = file
        .metadata()
        .map_err(|error| cannot_write(to, &error))?
        .len();
    Ok((rows, bytes))
}
