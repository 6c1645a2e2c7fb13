//! The columns of a table's files, read from the files.
//!
//! Every file is looked at: its footer, its header or its first records. What is wrong with a file is said with its name. How
//! schemas become one is `merge`'s to know.

use std::collections::HashSet;
use std::io::BufReader;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Buf;
use datafusion::catalog::Session;
use datafusion::common::{Result, plan_datafusion_err, plan_err};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::file_format::csv::CsvFormat;
use datafusion::datasource::file_format::json::JsonFormat;
use datafusion::datasource::file_format::parquet::ParquetFormat;
use datafusion::datasource::listing::ListingTableUrl;
use datafusion::datasource::physical_plan::parquet::metadata::DFParquetMetadata;
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use parquet::schema::types::Type as ParquetType;

use super::bounded::footer;
use super::listing::{Found, shown_file};
use super::merge::Merge;
use super::names::Kind;
use super::streams;
use super::text::MarkedStore;
use super::widen::Values;
use crate::error::innermost;

/// Records of a file whose values say the types of its columns, where the format does not.
const RECORDS: usize = 1000;

/// From so many files on fewer records of each are looked at.
const MANY_FILES: usize = 100;

/// Those.
const FEW_RECORDS: usize = 20;

/// Bytes of a file that are looked at: a CSV file's for its header, a JSON file's if a record ends in them.
const BEGINNING: u64 = 1 << 20;

/// Characters of a reader's reason that are told.
const MOST_REASON: usize = 300;

/// Bytes of a JSON file by which it is told whether it is one array.
const OPENING: u64 = 1 << 10;

/// How files of this kind are read.
pub(super) fn format_of(kind: Kind, files: usize) -> Arc<dyn FileFormat> {
    let records = match files > MANY_FILES {
        true => FEW_RECORDS,
        false => RECORDS,
    };
    match kind {
        // What the file has; `views` says which of it a scan gives as views.
        Kind::Parquet => Arc::new(ParquetFormat::default().with_force_view_types(false)),
        Kind::Arrow => Arc::new(ArrowFormat),
        Kind::Csv => Arc::new(CsvFormat::default().with_schema_infer_max_rec(records)),
        Kind::Tsv => Arc::new(
            CsvFormat::default()
                .with_delimiter(b'\t')
                .with_schema_infer_max_rec(records),
        ),
        Kind::Json => Arc::new(JsonFormat::default().with_schema_infer_max_rec(records)),
    }
}

/// How files in the store of `location`, of which `first` is one, are read: as `format` says, and JSON that begins with `[` as one array
/// of records.
///
/// # Errors
/// When the file's beginning cannot be read.
pub(super) async fn fitting(
    state: &dyn Session,
    location: &ListingTableUrl,
    format: Arc<dyn FileFormat>,
    first: Option<&Found>,
) -> Result<Arc<dyn FileFormat>> {
    let Some(json) = format
        .downcast_ref::<JsonFormat>()
        .filter(|json| !json.options().compression.is_compressed())
    else {
        return Ok(format);
    };
    let Some(first) = first else {
        return Ok(format);
    };
    let store = state.runtime_env().object_store(location)?;
    let opening = 0..first.meta.size.min(OPENING);
    let opening = store.get_range(&first.meta.location, opening).await?;
    Ok(match begins_array(&opening) {
        true => {
            let json = JsonFormat::default().with_options(json.options().clone());
            Arc::new(json.with_newline_delimited(false))
        }
        false => format,
    })
}

/// Whether files of this format are JSON arrays.
pub(super) fn is_array(format: &dyn FileFormat) -> bool {
    let json = format.downcast_ref::<JsonFormat>();
    json.is_some_and(|json| !json.is_newline_delimited())
}

/// Whether a JSON file that begins so is one array.
fn begins_array(opening: &[u8]) -> bool {
    let opening = opening.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(opening);
    let sign = opening.iter().find(|byte| !byte.is_ascii_whitespace());
    sign == Some(&b'[')
}

/// A reader's reason, which may repeat the value that it could not read.
fn shortened(reason: String) -> String {
    match reason.char_indices().nth(MOST_REASON) {
        Some((end, _)) => format!("{}...", &reason[..end]),
        None => reason,
    }
}

/// The columns of `files`, which lie at `location` or in its store.
///
/// # Errors
/// A sentence that names the file that cannot be read or does not fit the others.
pub(super) async fn schema_of(
    state: &dyn Session,
    location: &ListingTableUrl,
    kind: Kind,
    format: &Arc<dyn FileFormat>,
    files: &[Found],
) -> Result<SchemaRef> {
    let store = state.runtime_env().object_store(location)?;
    let store: Arc<dyn ObjectStore> = match kind {
        Kind::Parquet | Kind::Arrow => store,
        // A line that is no text is wrong by itself, and its columns are those of the others.
        Kind::Csv | Kind::Tsv | Kind::Json => Arc::new(MarkedStore(store)),
    };
    let name = |place: usize| shown_file(location, &files[place].meta.location);
    let mut merge = Merge::new(match kind {
        Kind::Parquet | Kind::Arrow => Values::Typed,
        Kind::Json => Values::Json,
        Kind::Csv | Kind::Tsv => Values::Text,
    });
    let at_once = state
        .config_options()
        .execution
        .meta_fetch_concurrency
        .get();
    // By their places: a closure over borrowed files has no lifetime that fits all callers.
    let read = (0..files.len()).map(|place| {
        let store = &store;
        async move {
            let meta = &files[place].meta;
            if meta.size == 0 {
                // A CSV or JSON file without a byte has no rows; a Parquet file has a footer.
                return match kind {
                    Kind::Parquet | Kind::Arrow => plan_err!(
                        "'{}' has no bytes, so it is no {} file",
                        shown_file(location, &meta.location),
                        kind.name()
                    ),
                    _ => Ok((place, None)),
                };
            }
            let schema = of_file(state, store, kind, format, meta).await;
            let schema = schema.map_err(|error| {
                plan_datafusion_err!(
                    "cannot read '{}' as {}: {}",
                    shown_file(location, &meta.location),
                    kind.name(),
                    shortened(innermost(&error))
                )
            })?;
            Ok((place, Some(schema)))
        }
    });
    let mut schemas = futures::stream::iter(read).buffered(at_once).boxed();
    let mut header: Option<(usize, SchemaRef)> = None;
    while let Some((place, schema)) = schemas.try_next().await? {
        let Some(schema) = schema else {
            continue;
        };
        merge
            .add(&schema, || name(place))
            .map_err(|error| plan_datafusion_err!("{error}"))?;
        if matches!(kind, Kind::Csv | Kind::Tsv) {
            let (first, names) = header.get_or_insert((place, Arc::clone(&schema)));
            same_header((&name(*first), names), (&name(place), &schema))?;
        }
    }
    let schema = merge.finish();
    Ok(match kind {
        Kind::Csv | Kind::Tsv => with_text(&schema),
        Kind::Parquet | Kind::Arrow | Kind::Json => schema,
    })
}

async fn of_file(
    state: &dyn Session,
    store: &Arc<dyn ObjectStore>,
    kind: Kind,
    format: &Arc<dyn FileFormat>,
    file: &ObjectMeta,
) -> Result<SchemaRef> {
    if kind == Kind::Json
        && let Some(schema) = of_json_beginning(store.as_ref(), format.as_ref(), file).await?
    {
        return Ok(schema);
    }
    match kind {
        Kind::Parquet => footer::check(state, store.as_ref(), file).await?,
        Kind::Arrow => streams::check(store.as_ref(), file).await?,
        Kind::Csv | Kind::Tsv | Kind::Json => {}
    }
    let schema = format
        .infer_schema(state, store, std::slice::from_ref(file))
        .await?;
    // DataFusion makes one column of two with the same name.
    let twice = match kind {
        Kind::Parquet => twice_in_footer(state, store, file, &schema).await?,
        Kind::Csv | Kind::Tsv => twice_in_header(store.as_ref(), format.as_ref(), file).await?,
        Kind::Json | Kind::Arrow => None,
    };
    match twice {
        Some(column) => {
            plan_err!("it has two columns named '{column}'; give each a name of its own")
        }
        None => Ok(schema),
    }
}

/// The columns of a JSON array, or of a large file of records, as its beginning has them, which saves fetching all of it; `None` where
/// it is compressed, small, or no record ends in it.
async fn of_json_beginning(
    store: &dyn ObjectStore,
    format: &dyn FileFormat,
    file: &ObjectMeta,
) -> Result<Option<SchemaRef>> {
    let Some(format) = format.downcast_ref::<JsonFormat>() else {
        return Ok(None);
    };
    if format.options().compression.is_compressed() {
        return Ok(None);
    }
    let records = format.options().schema_infer_max_rec.unwrap_or(RECORDS);
    let is_large = file.size > BEGINNING;
    if !format.is_newline_delimited() {
        let beginning = 0..file.size.min(BEGINNING);
        let beginning = store.get_range(&file.location, beginning).await?;
        let records = first_of_array(&beginning, records, is_large)?;
        return Ok(match records.is_empty() && is_large {
            true => None,
            false => {
                let records = records.into_iter().map(Ok);
                let schema = arrow::json::reader::infer_json_schema_from_iterator(records)?;
                Some(Arc::new(schema))
            }
        });
    }
    if !is_large {
        return Ok(None);
    }
    let beginning = store.get_range(&file.location, 0..BEGINNING).await?;
    let Some(end) = beginning.iter().rposition(|&byte| byte == b'\n') else {
        return Ok(None);
    };
    let (schema, _) =
        arrow::json::reader::infer_json_schema(BufReader::new(&beginning[..end]), Some(records))?;
    Ok(Some(Arc::new(schema)))
}

/// The first records of a JSON array, at most so many; the bytes may end within one where the file `goes_on` behind them.
fn first_of_array(bytes: &[u8], records: usize, goes_on: bool) -> Result<Vec<serde_json::Value>> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let Some(mut rest) = bytes.trim_ascii_start().strip_prefix(b"[") else {
        return plan_err!(
            "it is not one array as another file of the table is; write all files as arrays, or all with a record a line"
        );
    };
    let mut found = Vec::new();
    while found.len() < records {
        rest = rest.trim_ascii_start();
        match rest.first() {
            Some(b']') => break,
            Some(b',') if !found.is_empty() => rest = rest[1..].trim_ascii_start(),
            None if goes_on => break,
            _ => {}
        }
        let mut values = serde_json::Deserializer::from_slice(rest).into_iter();
        match values.next() {
            Some(Ok(value @ serde_json::Value::Object(_))) => found.push(value),
            Some(Ok(_)) => {
                return plan_err!(
                    "record {} of its array is no object; a row is written as {{\"image\": \"https://...\"}}",
                    found.len() + 1
                );
            }
            Some(Err(error)) if error.is_eof() && goes_on => break,
            Some(Err(error)) => {
                return plan_err!(
                    "record {} of its array is no JSON: {error}",
                    found.len() + 1
                );
            }
            None => return plan_err!("its array does not end"),
        }
        rest = &rest[values.byte_offset()..];
    }
    Ok(found)
}

/// A name that two columns or fields of a Parquet file have, of which DataFusion made `columns`.
async fn twice_in_footer(
    state: &dyn Session,
    store: &Arc<dyn ObjectStore>,
    file: &ObjectMeta,
    columns: &Schema,
) -> Result<Option<String>> {
    let cache = state.runtime_env().cache_manager.get_file_metadata_cache();
    let footer = DFParquetMetadata::new(store.as_ref(), file)
        .with_file_metadata_cache(Some(cache))
        .fetch_metadata()
        .await?;
    let schema = footer.file_metadata().schema();
    // Most files have thousands of rows for each column, but some have thousands of columns.
    Ok(match schema.get_fields().len() == columns.fields().len() {
        true => schema
            .get_fields()
            .iter()
            .filter(|field| field.is_group())
            .find_map(|field| Some(format!("{}.{}", field.name(), repeated(field)?))),
        false => repeated(schema),
    })
}

fn repeated(group: &ParquetType) -> Option<String> {
    let mut seen = HashSet::new();
    group.get_fields().iter().find_map(|field| {
        if !seen.insert(field.name()) {
            return Some(field.name().to_string());
        }
        let inner = field.is_group().then(|| repeated(field)).flatten()?;
        Some(format!("{}.{inner}", field.name()))
    })
}

/// A name that two columns of a CSV file have in its header.
async fn twice_in_header(
    store: &dyn ObjectStore,
    format: &dyn FileFormat,
    file: &ObjectMeta,
) -> Result<Option<String>> {
    let Some(options) = format.downcast_ref::<CsvFormat>().map(CsvFormat::options) else {
        return Ok(None);
    };
    if options.compression.is_compressed() || options.has_header == Some(false) {
        return Ok(None);
    }
    let beginning = store
        .get_range(&file.location, 0..file.size.min(BEGINNING))
        .await?;
    let header = arrow::csv::reader::Format::default()
        .with_header(true)
        .with_delimiter(options.delimiter)
        .with_quote(options.quote)
        .infer_schema(beginning.reader(), Some(0));
    let mut seen = HashSet::new();
    // What is wrong otherwise is said when the values are looked at.
    Ok(header.ok().and_then(|(header, _)| {
        let names = header.fields().iter().map(|field| field.name().clone());
        names.into_iter().find(|name| !seen.insert(name.clone()))
    }))
}

/// CSV is read by the places of its columns, so that files with another header would give one column's values to another.
fn same_header(
    (first, ours): (&str, &SchemaRef),
    (file, theirs): (&str, &SchemaRef),
) -> Result<()> {
    let names = |schema: &SchemaRef| -> Vec<String> {
        schema
            .fields()
            .iter()
            .map(|field| field.name().clone())
            .collect()
    };
    let (ours, theirs) = (names(ours), names(theirs));
    match ours == theirs {
        true => Ok(()),
        false => plan_err!(
            "'{file}' has the columns {} but '{first}' has {}; the files of one table need the same header",
            theirs.join(", "),
            ours.join(", ")
        ),
    }
}

/// Columns in which no value was seen are text.
fn with_text(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| match field.data_type() {
        DataType::Null => Arc::new(Field::new(field.name(), DataType::Utf8, true)),
        _ => Arc::clone(field),
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_array_gives_the_records_that_end_in_its_beginning() {
        let count = |text: &str, goes_on| {
            first_of_array(text.as_bytes(), 3, goes_on)
                .map(|records| records.len())
                .map_err(|error| innermost(&error))
        };
        assert_eq!(count(" [ {\"a\": \"],{\"} , {\"a\":1}\n]\n", false), Ok(2));
        assert_eq!(count("[{\"a\":1},{\"a\":2},{\"a\":3},{", false), Ok(3));
        assert_eq!(count("[{\"a\":1},{\"a", true), Ok(1));
        assert_eq!(count("[]", false), Ok(0));
        for (wrong, said) in [
            ("[\"https://a/b.jpg\", \"https://a/c.jpg\"]", "is no object"),
            ("[{\"a\":1},{\"a", "is no JSON"),
            ("[{\"a\":1}", "does not end"),
            ("{\"a\":1}", "not one array"),
        ] {
            let message = count(wrong, false).unwrap_err();
            assert!(message.contains(said), "{message}");
        }
        assert!(begins_array(b"\xEF\xBB\xBF \n[") && !begins_array(b"{\"a\":[]}"));
    }
}
