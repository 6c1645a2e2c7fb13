//! A written file again, without the rows that failed.
//!
//! What is asked again is written anew elsewhere; its former rows must go from the file in which they stand.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::Array;
use arrow::compute::{filter_record_batch, is_null};
use cap_std::fs::Dir;
use datafusion::common::{Result, exec_datafusion_err};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ArrowReaderOptions;

use super::properties::properties;
use super::writer::{cannot_write, created};
use crate::batches::IMAGE_ROWS;
use crate::tables::{Texts, check_file, check_pages, file_reader};

/// Copies the rows of `from` whose column `errors` is NULL to a new file at `path` in the folder `to`; how many they are and the new file's size. Where there are
/// none, no file is made.
///
/// # Errors
/// When a file cannot be read or written, or has no such column.
pub fn without_failures(from: &Path, to: &Dir, path: &str, errors: &str) -> Result<(u64, u64)> {
    let unwritten = |error: &std::io::Error| cannot_write(Path::new(path), error);
    let unreadable = |error: &dyn std::error::Error| {
        exec_datafusion_err!("cannot read '{}' as Parquet: {error}", from.display())
    };
    let file = File::open(from).map_err(|error| unreadable(&error))?;
    check_file(&file).map_err(|error| unreadable(&error))?;
    let pages = file.try_clone().map_err(|error| unreadable(&error))?;
    let builder = file_reader(file, ArrowReaderOptions::new(), Texts::Checked)
        .map_err(|error| unreadable(&error))?;
    check_pages(&pages, builder.metadata(), IMAGE_ROWS).map_err(|reason| {
        exec_datafusion_err!("cannot read '{}' as Parquet: {reason}", from.display())
    })?;
    // The builder's, because a reader's batches leave the metadata out.
    let schema = Arc::clone(builder.schema());
    let column = schema.index_of(errors)?;
    let file = created(to, path).map_err(|error| unwritten(&error))?;
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
        to.remove_file(path).map_err(|error| unwritten(&error))?;
        return Ok((0, 0));
    }
    file.sync_all().map_err(|error| unwritten(&error))?;
    let bytes = file.metadata().map_err(|error| unwritten(&error))?.len();
    Ok((rows, bytes))
}
