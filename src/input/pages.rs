//! Local Parquet files whose row groups are too large to hold, read a page at a time.
//!
//! DataFusion's scan takes the bytes of a whole row group into memory. Writers that cut row groups by rows alone, pyarrow
//! and Polars among them, put a million images into one: many gigabytes. Such files are read here through Parquet's
//! synchronous reader, which holds one page of a column. What is lost is the pruning by statistics; a predicate runs on
//! the rows instead.

use std::fmt;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchReader, UInt32Array, new_null_array};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr_adapter::{BatchAdapter, BatchAdapterFactory};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::PartitionStream;
use object_store::local::LocalFileSystem;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReader};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::files::InputFile;
use super::scan::row_field;
use super::select::Rows;
use crate::tables::{FileTable, Kind, Texts, check_pages, file_reader};

/// Row groups of more bytes than this are not held in memory.
const LARGE_ROW_GROUP: u64 = 128 << 20;

/// Batches that wait for the plan above.
const BATCHES_WAITING: usize = 1;

/// Columns behind the table's: a row's file, what of it cannot be read, and its place.
const PLACE_COLUMNS: usize = 3;

/// A file with the rows that are read of it.
#[derive(Debug, Clone)]
pub(super) struct PagedFile {
    path: PathBuf,
    id: u32,
    rows: Rows,
}

/// The files to be read here, if one of them has a row group of more than 128 MiB and all can be: local Parquet without
/// partition folders.
///
/// # Errors
/// When a file cannot be opened or its footer is broken.
pub(super) async fn needed(
    table: &FileTable,
    files: &[(InputFile, Rows)],
) -> Result<Option<Vec<PagedFile>>> {
    let readable = table.kind() == Kind::Parquet
        && !table.is_pictures()
        && table.partitions().is_empty()
        && table
            .locations()
            .iter()
            .all(|location| location.scheme() == "file");
    if !readable {
        return Ok(None);
    }
    let (mut paged, mut sizes) = (Vec::new(), Vec::new());
    for (file, rows) in files {
        let meta = &file.file.object_meta;
        let path = LocalFileSystem::new().path_to_filesystem(&meta.location)?;
        sizes.push((path.clone(), meta.size));
        paged.push(PagedFile {
            path,
            id: file.id,
            rows: rows.clone(),
        });
    }
    let large = tokio::task::spawn_blocking(move || {
        for (path, bytes) in sizes {
            if has_large_row_group(&path, bytes)? {
                return Ok(true);
            }
        }
        Ok::<_, DataFusionError>(false)
    });
    let large = large
        .await
        .map_err(|e| DataFusionError::External(Box::new(e)))??;
    Ok(large.then_some(paged))
}

fn has_large_row_group(path: &Path, bytes: u64) -> Result<bool> {
    if bytes <= LARGE_ROW_GROUP {
        return Ok(false);
    }
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    let metadata: ParquetMetaData = ParquetMetaDataReader::new()
        .parse_and_finish(&file)
        .map_err(|error| unreadable(path, &error))?;
    Ok(metadata
        .row_groups()
        .iter()
        .any(|group| group.compressed_size() as u64 > LARGE_ROW_GROUP))
}

/// The rows of files, one file after the other, each with its place. Columns are found by their names and cast to the
/// table's types; those that a file lacks are NULL.
#[derive(Debug)]
pub(super) struct Pages {
    files: Vec<PagedFile>,
    /// The table's columns, then a row's file, what of it cannot be read, and its place.
    schema: SchemaRef,
    texts: Texts,
}

impl Pages {
    pub(super) fn new(files: Vec<PagedFile>, schema: SchemaRef, texts: Texts) -> Self {
        Self {
            files,
            schema,
            texts,
        }
    }
}

impl PartitionStream for Pages {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream =
            RecordBatchReceiverStream::builder(Arc::clone(&self.schema), BATCHES_WAITING);
        let sender = stream.tx();
        let files = self.files.clone();
        let schema = Arc::clone(&self.schema);
        let rows = context.session_config().batch_size();
        let texts = self.texts;
        stream.spawn_blocking(move || {
            let width = schema.fields().len().saturating_sub(PLACE_COLUMNS);
            let table = Arc::new(schema.project(&(0..width).collect::<Vec<_>>())?);
            let adapters = BatchAdapterFactory::new(table);
            for paged in files {
                let reader =
                    read(&paged, rows, texts).map_err(|error| unreadable(&paged.path, &error))?;
                let own = own_columns(&reader.schema())?;
                let adapter = adapters
                    .make_adapter(&own)
                    .map_err(|error| unreadable(&paged.path, &error))?;
                for batch in reader {
                    let batch = batch.map_err(|error| unreadable(&paged.path, &error))?;
                    let batch = placed(&batch, &adapter, paged.id, &schema)
                        .map_err(|error| unreadable(&paged.path, &error))?;
                    // Nobody waits any more: a limit is reached, or the job was stopped.
                    if sender.blocking_send(Ok(batch)).is_err() {
                        return Ok(());
                    }
                }
            }
            Ok(())
        });
        stream.build()
    }
}

/// The wanted rows of a file, numbered in their last column.
fn read(paged: &PagedFile, batch_rows: usize, texts: Texts) -> Result<ParquetRecordBatchReader> {
    let file = File::open(&paged.path)?;
    let options = ArrowReaderOptions::new().with_virtual_columns(vec![row_field()])?;
    let pages = file.try_clone()?;
    let builder = file_reader(file, options, texts)?;
    check_pages(&pages, builder.metadata(), batch_rows)
        .map_err(|reason| exec_datafusion_err!("{reason}"))?;
    let total = builder.metadata().file_metadata().num_rows().max(0) as u64;
    let builder = builder.with_batch_size(batch_rows);
    let builder = match paged.rows.is_all() {
        true => builder,
        false => builder.with_row_selection(paged.rows.selection(total)),
    };
    Ok(builder.build()?)
}

/// The columns of a file as they are read, without the numbers of its rows.
fn own_columns(schema: &Schema) -> Result<SchemaRef> {
    let width = schema.fields().len().saturating_sub(1);
    Ok(Arc::new(schema.project(&(0..width).collect::<Vec<_>>())?))
}

/// The table's columns of a batch, then its file, nothing that cannot be read, and the numbers of its rows.
fn placed(
    batch: &RecordBatch,
    adapter: &BatchAdapter,
    file: u32,
    schema: &SchemaRef,
) -> Result<RecordBatch> {
    let width = batch.num_columns().saturating_sub(1);
    let own = batch.project(&(0..width).collect::<Vec<_>>())?;
    let mut columns: Vec<ArrayRef> = adapter.adapt_batch(&own)?.columns().to_vec();
    columns.push(Arc::new(UInt32Array::from_value(file, batch.num_rows())));
    columns.push(new_null_array(&DataType::Utf8, batch.num_rows()));
    columns.push(Arc::clone(batch.column(width)));
    Ok(RecordBatch::try_new(Arc::clone(schema), columns)?)
}

fn unreadable(path: &Path, error: &dyn fmt::Display) -> DataFusionError {
    exec_datafusion_err!("cannot read '{}' as Parquet: {error}", path.display())
}
