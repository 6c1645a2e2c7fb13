//! The rows whose image failed, as a table of its own: where each stands in the input, and why it failed.
//!
//! A job writes one small file for each shard that has some, and one for all of them beside the output. The second is also
//! what `--retry-failed` goes by.

use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::{concat_batches, filter_record_batch, is_not_null};
use arrow::datatypes::{DataType, Field, Int64Type, Schema, SchemaRef, UInt32Type};
use bytes::Bytes;
use datafusion::common::{Result, internal_datafusion_err, plan_datafusion_err, plan_err};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ArrowReaderOptions;

use crate::input::files::FileEntry;
use crate::input::{FILE_COLUMN, ROW_COLUMN};
use crate::tables::{Texts, check_bytes, check_pages, file_reader};

/// Rows that are decoded together.
const ROWS: usize = 1024;

/// Columns taken from `picsift_error`.
const REASONS: [&str; 4] = ["reference", "stage", "kind", "message"];

/// Rows that failed.
#[derive(Debug)]
pub struct Failures {
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
}

impl Default for Failures {
    fn default() -> Self {
        let mut fields = vec![
            Field::new("input_file", DataType::Utf8, false),
            Field::new("row", DataType::Int64, false),
        ];
        fields.extend(REASONS.map(|name| Field::new(name, DataType::Utf8, true)));
        Self {
            schema: Arc::new(Schema::new(fields)),
            batches: Vec::new(),
        }
    }
}

impl Failures {
    /// Adds the rows of a labelled batch that failed: `errors` is the column that says why, `files` the input's.
    ///
    /// # Errors
    /// When a column is not there or not of its type.
    pub fn add(&mut self, batch: &RecordBatch, errors: &str, files: &[FileEntry]) -> Result<()> {
        let column = |batch: &RecordBatch, name: &str| {
            let found = batch.column_by_name(name).map(Arc::clone);
            found.ok_or_else(|| internal_datafusion_err!("a labelled batch has no column {name}"))
        };
        let failed = is_not_null(column(batch, errors)?.as_ref() as &dyn Array)?;
        if failed.true_count() == 0 {
            return Ok(());
        }
        let places = [FILE_COLUMN, ROW_COLUMN, errors].map(|name| batch.schema().index_of(name));
        let places = places
            .into_iter()
            .collect::<std::result::Result<Vec<_>, _>>()?;
        let rows = filter_record_batch(&batch.project(&places)?, &failed)?;
        let file = rows.column(0).as_primitive::<UInt32Type>();
        let urls: StringArray = file
            .values()
            .iter()
            .map(|&file| files.get(file as usize).map(|file| file.url.as_str()))
            .collect();
        let mut columns: Vec<ArrayRef> = vec![Arc::new(urls), Arc::clone(rows.column(1))];
        let reasons = rows.column(2).as_struct_opt();
        for name in REASONS {
            let part = reasons.and_then(|reasons| reasons.column_by_name(name));
            let part = part.ok_or_else(|| internal_datafusion_err!("{errors} has no {name}"))?;
            columns.push(Arc::clone(part));
        }
        self.batches
            .push(RecordBatch::try_new(Arc::clone(&self.schema), columns)?);
        Ok(())
    }

    /// Adds the rows of a file that [`Failures::write`] wrote.
    ///
    /// # Errors
    /// When it is no such file.
    pub fn read(&mut self, bytes: Bytes) -> Result<()> {
        check_bytes(&bytes).map_err(|refused| plan_datafusion_err!("{refused}"))?;
        let reader = file_reader(bytes.clone(), ArrowReaderOptions::new(), Texts::Checked)?;
        check_pages(&bytes, reader.metadata(), ROWS)
            .map_err(|refused| plan_datafusion_err!("{refused}"))?;
        let reader = reader.with_batch_size(ROWS);
        if reader.schema().fields() != self.schema.fields() {
            return plan_err!("the list of failures has other columns than picsift writes");
        }
        for batch in reader.build()? {
            self.batches.push(batch?);
        }
        Ok(())
    }

    /// Whether nothing failed.
    pub fn is_empty(&self) -> bool {
        self.batches.iter().all(|batch| batch.num_rows() == 0)
    }

    /// Lists put together as one file, a part after the other, so that no more than one is in memory; how many rows it has, without any of
    /// which there is no file.
    ///
    /// # Errors
    /// When a part is no such list, or the disk or Parquet refuses.
    pub fn join(parts: impl IntoIterator<Item = Bytes>, path: &Path) -> Result<u64> {
        let mut writer = None;
        let mut rows = 0;
        for part in parts {
            let mut failures = Self::default();
            failures.read(part)?;
            for batch in failures.batches.iter().filter(|batch| batch.num_rows() > 0) {
                let writer = match &mut writer {
                    Some(writer) => writer,
                    none => none.insert(ArrowWriter::try_new(
                        File::create(path)?,
                        Arc::clone(&failures.schema),
                        None,
                    )?),
                };
                writer.write(batch)?;
                rows += batch.num_rows() as u64;
            }
        }
        if let Some(writer) = writer {
            writer.into_inner()?.sync_all()?;
        }
        Ok(rows)
    }

    /// Writes them as Parquet.
    ///
    /// # Errors
    /// When the disk or Parquet refuses.
    pub fn write(&self, path: &Path) -> Result<()> {
        let all = concat_batches(&self.schema, &self.batches)?;
        let mut writer = ArrowWriter::try_new(File::create(path)?, all.schema(), None)?;
        writer.write(&all)?;
        writer.into_inner()?.sync_all()?;
        Ok(())
    }

    /// The rows of each file, ascending, by the file's URL.
    pub fn rows(&self) -> HashMap<String, Vec<u64>> {
        let mut rows: HashMap<String, Vec<u64>> = HashMap::new();
        for batch in &self.batches {
            let urls = batch.column(0).as_string::<i32>();
            let places = batch.column(1).as_primitive::<Int64Type>();
            for (url, &place) in urls.iter().flatten().zip(places.values()) {
                rows.entry(url.to_string()).or_default().push(place as u64);
            }
        }
        for places in rows.values_mut() {
            places.sort_unstable();
            places.dedup();
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StructArray, UInt32Array};
    use arrow::buffer::NullBuffer;

    use super::*;

    fn labelled() -> RecordBatch {
        let text =
            |values: [&str; 3]| -> ArrayRef { Arc::new(StringArray::from_iter_values(values)) };
        let parts = REASONS.map(|name| Arc::new(Field::new(name, DataType::Utf8, true)));
        let errors = StructArray::new(
            parts.to_vec().into(),
            vec![
                text(["", "b.jpg", "c.jpg"]),
                text(["", "fetch", "decode"]),
                text(["", "not_found", "corrupt"]),
                text(["", "'b.jpg' does not exist", "no"]),
            ],
            Some(NullBuffer::from(vec![false, true, true])),
        );
        RecordBatch::try_from_iter([
            (
                FILE_COLUMN,
                Arc::new(UInt32Array::from(vec![0, 0, 1])) as ArrayRef,
            ),
            (ROW_COLUMN, Arc::new(Int64Array::from(vec![3, 9, 0]))),
            ("picsift_error", Arc::new(errors)),
        ])
        .unwrap()
    }

    #[test]
    fn failed_rows_come_back_with_their_places() {
        let entry = |name: &str| FileEntry {
            url: format!("file:///{name}"),
            bytes: 1,
            version: String::new(),
        };
        let files = [entry("x"), entry("y")];
        let mut failures = Failures::default();
        assert!(failures.is_empty());
        failures.add(&labelled(), "picsift_error", &files).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("errors.parquet");
        failures.write(&path).unwrap();
        let mut again = Failures::default();
        let bytes = Bytes::from(std::fs::read(&path).unwrap());
        again.read(bytes.clone()).unwrap();
        let rows = again.rows();
        assert_eq!(rows["file:///x"], [9]);
        assert_eq!(rows["file:///y"], [0]);
        let kinds = again.batches[0]
            .column_by_name("kind")
            .unwrap()
            .as_string::<i32>();
        assert_eq!(
            kinds.iter().flatten().collect::<Vec<_>>(),
            ["not_found", "corrupt"]
        );
        let joined = folder.path().join("joined.parquet");
        let parts = [bytes.clone(), bytes];
        assert_eq!(Failures::join(parts, &joined).unwrap(), 4);
        let mut twice = Failures::default();
        twice.read(std::fs::read(&joined).unwrap().into()).unwrap();
        let all = twice.batches.iter().map(RecordBatch::num_rows);
        assert_eq!(all.sum::<usize>(), 4);
        std::fs::remove_file(&joined).unwrap();
        assert_eq!(Failures::join([], &joined).unwrap(), 0);
        assert!(!joined.exists());
    }
}
