//! Any bytes as a Parquet table: a sentence, or batches that take no more memory than is stated.
//!
//! Called by the fuzz target with what it finds, and by the tests with what was found.

use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use picsift::tables::{check_bytes, check_pages};

/// Rows that are decoded together.
const ROWS: usize = 1024;

/// Batches that are looked at.
const BATCHES: usize = 4;

/// Bytes that a batch may take whatever the file is: the stated bound, and as much for how arrays grow.
const MOST: usize = 1 << 30;

/// How many times a file's bytes may be in memory, beyond that.
const RATIO: usize = 32;

/// # Panics
/// Where it does not hold.
pub(crate) fn holds(input: &[u8]) {
    let bytes = Bytes::copy_from_slice(input);
    if let Err(refused) = check_bytes(&bytes) {
        return assert!(!refused.to_string().trim().is_empty());
    }
    let Ok(builder) = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()) else {
        return;
    };
    if let Err(refused) = check_pages(&bytes, builder.metadata(), ROWS) {
        return assert!(!refused.trim().is_empty());
    }
    let Ok(reader) = builder.with_batch_size(ROWS).build() else {
        return;
    };
    for batch in reader.take(BATCHES) {
        let Ok(batch) = batch else { return };
        let taken = batch.get_array_memory_size();
        assert!(taken <= MOST + RATIO * input.len(), "{taken} bytes");
    }
}
