//! Local Parquet files whose row groups are too large to hold, read a page at a time.
//!
//! DataFusion's scan takes the bytes of a whole row group into memory. Writers that cut row groups by rows alone, pyarrow
//! and Polars among them, put a million images into one: many gigabytes. Such files are read here through Parquet's
//! synchronous reader, which holds one page of a column. What is lost is the pruning by statistics; a predicate runs on
//! the rows instead.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchReceiverStream;
use datafusion::physical_plan::streaming::PartitionStream;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

/// Row groups of more bytes than this are not held in memory.
pub const LARGE_ROW_GROUP: u64 = 128 << 20;

/// Batches that wait for the plan above.
const BATCHES_WAITING: usize = 1;

/// Whether a file has a row group larger than [`LARGE_ROW_GROUP`]; `bytes` is the file's size.
///
/// # Errors
/// When the file cannot be opened or its footer is broken.
pub fn has_large_row_group(path: &Path, bytes: u64) -> Result<bool> {
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

/// A table of the files, read one after the other. All must have the columns of `schema`, in its order.
///
/// # Errors
/// DataFusion's, for a schema that makes no table.
pub fn table(files: Vec<PathBuf>, schema: SchemaRef) -> Result<StreamingTable> {
    let pages = Pages {
        files,
        schema: Arc::clone(&schema),
    };
    StreamingTable::try_new(schema, vec![Arc::new(pages)])
}

#[derive(Debug)]
struct Pages {
    files: Vec<PathBuf>,
    schema: SchemaRef,
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
        stream.spawn_blocking(move || {
            for path in files {
                let file = File::open(&path).map_err(|error| unreadable(&path, &error))?;
                let reader = ParquetRecordBatchReaderBuilder::try_new(file)?
                    .with_batch_size(rows)
                    .build()?;
                for batch in reader {
                    let batch = batch.map_err(|error| unreadable(&path, &error))?;
                    let batch = batch.with_schema(Arc::clone(&schema))?;
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

fn unreadable(path: &Path, error: &dyn std::error::Error) -> datafusion::error::DataFusionError {
    exec_datafusion_err!("cannot read '{}' as Parquet: {error}", path.display())
}
