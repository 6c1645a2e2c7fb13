//! `metadata.csv`, `.jsonl` or `.parquet` in a folder of pictures, as Hugging Face's imagefolder has it: what is known of each picture,
//! by the column `file_name`, a path relative to the file's own folder.
//!
//! Owns which files these are and what they say; whether there are pictures beside them is the listing's to know. They are read
//! whole, within a bound.

use std::collections::HashMap;
use std::io::Cursor;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{cast, concat_batches, take};
use arrow::csv;
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::json;
use bytes::Bytes;
use datafusion::common::{Result, plan_datafusion_err, plan_err};
use datafusion::datasource::listing::ListingTableUrl;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use super::bounded::{check_bytes, check_pages};
use super::listing::{Found, shown_file};
use super::merge::Merge;
use super::names::Kind;
use super::widen::Values;
use crate::error::innermost;

/// The column by which rows are joined with pictures.
const FILE_NAME: &str = "file_name";

/// Bytes of all such files of a folder together: a line about each of a million pictures.
const MOST_BYTES: u64 = 256 << 20;

/// Rows of a Parquet file that are read together.
const ROWS: usize = 8192;

/// What is known of pictures.
#[derive(Debug, Clone)]
pub(super) struct Metadata {
    /// The row of each picture, by its path below the folder.
    rows: HashMap<String, u32>,
    /// The columns beside [`FILE_NAME`].
    values: RecordBatch,
}

/// Whether a file's name says that it tells of the pictures beside it.
pub(super) fn is_metadata(name: &str) -> bool {
    ["metadata.csv", "metadata.jsonl", "metadata.parquet"].contains(&name)
}

impl Metadata {
    /// What these files say; `None` where one of them has no column [`FILE_NAME`], so that it tells of no pictures.
    ///
    /// # Errors
    /// A sentence that names the file that cannot be read, is too large, or names a picture twice.
    pub(super) async fn of(
        store: &dyn ObjectStore,
        location: &ListingTableUrl,
        files: &[Found],
    ) -> Result<Option<Self>> {
        let size: u64 = files.iter().map(|file| file.meta.size).sum();
        if size > MOST_BYTES {
            return plan_err!(
                "the metadata of the pictures in '{}' has {size} bytes, more than the {MOST_BYTES} that are read; name its file as \
                 the table instead",
                super::shown(location)
            );
        }
        let mut parts = Vec::new();
        for file in files {
            let place = shown_file(location, &file.meta.location);
            let named = |error: &dyn std::fmt::Display| {
                plan_datafusion_err!("cannot read '{place}': {error}")
            };
            let bytes = async { store.get(&file.meta.location).await?.bytes().await };
            let bytes = bytes
                .await
                .map_err(|error| named(&innermost(&error.into())))?;
            let Some(part) = Part::of(&place, bytes).map_err(|error| named(&error))? else {
                return Ok(None);
            };
            let below = location.strip_prefix(&file.meta.location);
            let mut folder: Vec<&str> = below.into_iter().flatten().collect();
            folder.pop();
            parts.push((folder.join("/"), place, part));
        }
        join(parts).map(Some)
    }

    /// Its columns.
    pub(super) fn fields(&self) -> impl Iterator<Item = &FieldRef> {
        self.values.schema_ref().fields().iter()
    }

    /// Its columns for these pictures, in their order; NULL for a picture that it does not name.
    ///
    /// # Errors
    /// Arrow's.
    pub(super) fn columns<'a>(
        &self,
        pictures: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<ArrayRef>> {
        let rows: UInt32Array = pictures.map(|path| self.rows.get(path).copied()).collect();
        let columns = self.values.columns().iter();
        Ok(columns
            .map(|column| take(column, &rows, None))
            .collect::<std::result::Result<_, ArrowError>>()?)
    }

    /// How many pictures it names.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it names this picture.
    pub(super) fn names(&self, picture: &str) -> bool {
        self.rows.contains_key(picture)
    }
}

/// One file, of which the columns are known.
struct Part {
    kind: Kind,
    bytes: Bytes,
    schema: SchemaRef,
}

impl Part {
    fn of(place: &str, bytes: Bytes) -> Result<Option<Self>, String> {
        let kind = Kind::of(place).unwrap_or(Kind::Csv);
        let schema = match kind {
            Kind::Parquet => parquet(&bytes)?.schema().as_ref().clone(),
            Kind::Json => {
                let lines = Cursor::new(&bytes);
                let found = json::reader::infer_json_schema(lines, None);
                found.map_err(|error| error.to_string())?.0
            }
            _ => {
                let format = csv::reader::Format::default().with_header(true);
                let found = format.infer_schema(Cursor::new(&bytes), None);
                found.map_err(|error| error.to_string())?.0
            }
        };
        if schema.column_with_name(FILE_NAME).is_none() {
            return Ok(None);
        }
        // A name of digits is a name.
        let fields = schema.fields().iter().map(|field| {
            let data_type = match (field.name().as_str(), field.data_type()) {
                (FILE_NAME, _) | (_, DataType::Null) => DataType::Utf8,
                (_, other) => other.clone(),
            };
            Field::clone(field)
                .with_data_type(data_type)
                .with_nullable(true)
        });
        Ok(Some(Self {
            kind,
            bytes,
            schema: Arc::new(Schema::new(fields.collect::<Vec<_>>())),
        }))
    }

    /// Its rows with the types of `table`.
    fn rows(&self, table: &Schema) -> Result<RecordBatch, String> {
        let typed = |field: &FieldRef| match table.column_with_name(field.name()) {
            Some((_, theirs)) => theirs.clone(),
            None => Field::clone(field),
        };
        let own: Vec<Field> = self.schema.fields().iter().map(typed).collect();
        let own = Arc::new(Schema::new(own));
        let batches: Result<Vec<RecordBatch>, ArrowError> = match self.kind {
            Kind::Parquet => {
                let rows = parquet(&self.bytes)?.with_batch_size(ROWS).build();
                rows.map_err(|error| error.to_string())?.collect()
            }
            Kind::Json => json::ReaderBuilder::new(Arc::clone(&own))
                .build(Cursor::new(&self.bytes))
                .and_then(Iterator::collect),
            _ => csv::ReaderBuilder::new(Arc::clone(&own))
                .with_header(true)
                .build(Cursor::new(&self.bytes))
                .and_then(Iterator::collect),
        };
        let made = || -> Result<RecordBatch, ArrowError> {
            let batches = batches?;
            let schema = batches.first().map_or(own, RecordBatch::schema);
            let batch = concat_batches(&schema, &batches)?;
            let columns =
                table
                    .fields()
                    .iter()
                    .map(|field| match batch.column_by_name(field.name()) {
                        Some(column) => cast(column, field.data_type()),
                        None => Ok(new_null_array(field.data_type(), batch.num_rows())),
                    });
            RecordBatch::try_new(Arc::new(table.clone()), columns.collect::<Result<_, _>>()?)
        };
        made().map_err(|error| error.to_string())
    }
}

/// A Parquet file that may be read whole.
fn parquet(bytes: &Bytes) -> Result<ParquetRecordBatchReaderBuilder<Bytes>, String> {
    check_bytes(bytes).map_err(|error| error.to_string())?;
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let file = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes.clone(), options);
    let file = file.map_err(|error| error.to_string())?;
    check_pages(bytes, file.metadata(), ROWS)?;
    Ok(file)
}

/// The files, with the folders that they lie in, as one.
fn join(parts: Vec<(String, String, Part)>) -> Result<Metadata> {
    let mut merge = Merge::new(
        match parts.iter().any(|(.., part)| part.kind == Kind::Csv) {
            true => Values::Text,
            false => Values::Json,
        },
    );
    for (_, place, part) in &parts {
        merge
            .add(&part.schema, || place.clone())
            .map_err(|error| plan_datafusion_err!("{error}"))?;
    }
    let schema = merge.finish();
    let mut rows = HashMap::new();
    let mut batches = Vec::new();
    let mut before = 0;
    for (folder, place, part) in &parts {
        let batch = part
            .rows(&schema)
            .map_err(|error| plan_datafusion_err!("cannot read '{place}': {error}"))?;
        let names = batch.column_by_name(FILE_NAME);
        let names = names.and_then(|names| names.as_string_opt::<i32>());
        for (name, row) in names.into_iter().flatten().zip(before..) {
            let Some(name) = name else { continue };
            let name = name.trim_start_matches("./");
            let path = match folder.is_empty() {
                true => name.to_string(),
                false => format!("{folder}/{name}"),
            };
            if rows.insert(path, row).is_some() {
                return plan_err!("'{place}' names the picture '{name}' twice");
            }
        }
        before += u32::try_from(batch.num_rows())
            .map_err(|_| plan_datafusion_err!("'{place}' has too many rows"))?;
        batches.push(batch);
    }
    let all = concat_batches(&schema, &batches)?;
    let others = schema.fields().iter().enumerate();
    let others = others.filter(|(_, field)| field.name() != FILE_NAME);
    let others: Vec<usize> = others.map(|(column, _)| column).collect();
    Ok(Metadata {
        rows,
        values: all.project(&others)?,
    })
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Int64Type;

    use super::*;

    fn part(place: &str, text: &str) -> (String, String, Part) {
        let part = Part::of(place, Bytes::copy_from_slice(text.as_bytes()));
        let folder = place.rsplit_once('/').map_or("", |(folder, _)| folder);
        (
            folder.to_string(),
            place.to_string(),
            part.unwrap().unwrap(),
        )
    }

    #[test]
    fn files_of_several_folders_are_one_and_name_pictures_from_their_own() {
        let all = join(vec![
            part("metadata.csv", "file_name,n\n001,1\n./b.jpg,\n"),
            part(
                "train/metadata.jsonl",
                "{\"file_name\":\"b.jpg\",\"n\":3,\"of\":[1]}\n",
            ),
        ])
        .unwrap();
        assert_eq!(all.len(), 3);
        let names: Vec<_> = all.fields().map(|field| field.name().as_str()).collect();
        assert_eq!(names, ["n", "of"]);
        let columns = all
            .columns(["001", "gone", "train/b.jpg"].into_iter())
            .unwrap();
        let numbers: Vec<_> = columns[0].as_primitive::<Int64Type>().iter().collect();
        assert_eq!(numbers, [Some(1), None, Some(3)]);
    }

    #[test]
    fn what_names_no_pictures_is_no_metadata_and_none_is_named_twice() {
        let other = Part::of("metadata.csv", Bytes::from_static(b"file,n\na,1\n"));
        assert!(other.unwrap().is_none());
        let twice = join(vec![part("metadata.csv", "file_name\na\na\n")]);
        let message = innermost(&twice.unwrap_err());
        assert!(message.contains("'a' twice"), "{message}");
    }
}
