//! The same looks for files that are read without DataFusion: all their pages, before the first is decoded.

use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};
use parquet::file::reader::ChunkReader;

use super::BATCH_BYTES;
use super::pages::{self, Part, Refused};

/// Largest column of a row group that is read to be looked into; of a larger one the beginning is, where its dictionary stands.
const LOOKED_INTO: u64 = 128 << 20;

/// Looks at all pages of a file that will be read `rows` rows at a time.
///
/// # Errors
/// A sentence about a column whose values would take far more memory than the file has for them.
pub fn check_pages(
    file: &impl ChunkReader,
    metadata: &ParquetMetaData,
    rows: usize,
) -> Result<(), String> {
    looked(file, metadata, rows as u64).map_err(|refused| refused.to_string())
}

fn looked(file: &impl ChunkReader, metadata: &ParquetMetaData, rows: u64) -> Result<(), Refused> {
    for group in metadata.row_groups() {
        let mut excess = 0_u64;
        for column in group.columns() {
            let heads = pages::of_file(column, file)?;
            let more = pages::excess(column, &heads, rows, || beginning(column, file));
            excess = excess.saturating_add(more);
            if excess > BATCH_BYTES {
                let column = column.column_path().string();
                return Err(Refused::Much { column });
            }
        }
    }
    Ok(())
}

fn beginning(column: &ColumnChunkMetaData, file: &impl ChunkReader) -> Vec<Part> {
    let (start, length) = column.byte_range();
    let bytes = file.get_bytes(start, length.min(LOOKED_INTO) as usize);
    bytes
        .map(|bytes| Part { start, bytes })
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, ListArray, RecordBatch, StringArray};
    use arrow::datatypes::Int32Type;
    use bytes::Bytes;
    use parquet::arrow::ArrowWriter;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::basic::{Compression, Encoding};
    use parquet::file::properties::WriterProperties;

    use super::*;

    fn checked(column: ArrayRef, properties: WriterProperties, rows: usize) -> Result<(), String> {
        let batch = RecordBatch::try_from_iter([("x", column)]).unwrap();
        let mut bytes = Vec::new();
        let mut writer =
            ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let bytes = Bytes::from(bytes);
        let builder = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).unwrap();
        check_pages(&bytes, builder.metadata(), rows)
    }

    fn properties() -> parquet::file::properties::WriterPropertiesBuilder {
        WriterProperties::builder().set_compression(Compression::ZSTD(Default::default()))
    }

    #[test]
    fn what_tables_have_is_read_however_it_is_written() {
        // One text of a megabyte among thousands that are short, in one dictionary; and many that are used once.
        let long = "x".repeat(1 << 20);
        let texts = (0..8192).map(|row| match row {
            7 => long.clone(),
            row => format!("text {}", row % 50),
        });
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
        assert_eq!(checked(texts, properties().build(), 8192), Ok(()));
        let texts = (0..8192).map(|row| format!("{row}").repeat(2000));
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values(texts));
        let prefixed = properties()
            .set_dictionary_enabled(false)
            .set_encoding(Encoding::DELTA_BYTE_ARRAY);
        for properties in [properties().build(), prefixed.build()] {
            assert_eq!(checked(Arc::clone(&texts), properties, 8192), Ok(()));
        }
        let lists = (0..200_000).map(|row| Some(vec![Some(row % 3); 5]));
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int32Type, _, _>(lists));
        assert_eq!(checked(lists, properties().build(), 8192), Ok(()));
    }

    #[test]
    fn what_would_fill_memory_is_refused() {
        // A text of a megabyte, two thousand times.
        let long = "x".repeat(1 << 20);
        let texts: ArrayRef = Arc::new(StringArray::from(vec![long.as_str(); 2000]));
        let prefixed = properties()
            .set_dictionary_enabled(false)
            .set_encoding(Encoding::DELTA_BYTE_ARRAY);
        for properties in [properties().build(), prefixed.build()] {
            let said = checked(Arc::clone(&texts), properties, 8192).unwrap_err();
            assert!(said.contains("column 'x'"), "{said}");
        }
        // As few as are read together where rows are that long.
        assert_eq!(checked(texts, properties().build(), 100), Ok(()));
    }
}
