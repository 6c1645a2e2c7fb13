//! Results on standard output: a table for reading, or CSV, JSON lines or Parquet for programs.
//!
//! Programs get every row as it comes, in constant memory. A person gets as many rows as can be read, and images as a note
//! of their size: a screen of hexadecimal helps nobody.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, StructArray};
use arrow::compute::cast;
use arrow::csv;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches_with_options;
use datafusion::common::Result as DataFusionResult;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt};
use indicatif::HumanBytes;
use parquet::arrow::ArrowWriter;
use picsift_images::escaped;

use super::super::printer::plain;
use super::{terminal, unwritable};
use crate::cli::Format;
use crate::error::AppError;
use crate::sql::{distinct, under};

/// Rows of a table that are printed; the query is stopped there.
const TABLE_ROWS: usize = 500;

/// How results are written.
#[derive(Debug, Clone, Copy)]
pub(super) struct Form {
    pub(super) format: Format,
    /// Whether texts in CSV are kept from being formulas.
    pub(super) csv_safe: bool,
}

/// Prints all of `stream`, or what a table shows of it: how many rows that was.
///
/// # Errors
/// The query's, or standard output's.
pub(super) async fn print(
    stream: SendableRecordBatchStream,
    form: Form,
) -> Result<usize, AppError> {
    let stream = match is_plan(&stream.schema()) {
        true => without_secrets(stream),
        false => stream,
    };
    let result = match form.format {
        Format::Table => table(stream).await,
        Format::Csv | Format::Json => lines(stream, form).await,
        Format::Parquet => parquet_file(stream).await,
    };
    match result {
        // `picsift sql ... | head` has read enough.
        Err(AppError::Terminal(error)) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(0),
        other => other,
    }
}

/// Runs a statement that has no result.
///
/// # Errors
/// The statement's.
pub(super) async fn drain(mut stream: SendableRecordBatchStream) -> DataFusionResult<()> {
    while stream.try_next().await?.is_some() {}
    Ok(())
}

/// Whether these are the columns of EXPLAIN.
fn is_plan(schema: &Schema) -> bool {
    let names = schema.fields().iter().map(|field| field.name().as_str());
    names.eq(["plan_type", "plan"])
}

/// A plan whose places have lost their credentials.
fn without_secrets(stream: SendableRecordBatchStream) -> SendableRecordBatchStream {
    let schema = stream.schema();
    let plain = stream.map(|batch| {
        map_columns(&batch?, |column| {
            map_texts(column, |text| picsift_images::redacted(text).into_owned())
        })
    });
    Box::pin(RecordBatchStreamAdapter::new(schema, plain))
}

/// A column of texts with each of them changed; other columns as they are.
fn map_texts(column: &ArrayRef, map: impl Fn(&str) -> String) -> DataFusionResult<ArrayRef> {
    if !picsift_udf::is_text(column.data_type()) {
        return Ok(Arc::clone(column));
    }
    let texts = cast(column, &DataType::LargeUtf8)?;
    let texts = texts.as_string::<i64>().iter();
    let texts: StringArray = texts.map(|text| text.map(&map)).collect();
    cast(&texts, column.data_type()).map_err(Into::into)
}

async fn table(mut stream: SendableRecordBatchStream) -> Result<usize, AppError> {
    let schema = stream.schema();
    let mut batches = Vec::new();
    let mut rows = 0;
    let mut more = false;
    while let Some(batch) = stream.try_next().await.map_err(AppError::Run)? {
        let room = TABLE_ROWS - rows;
        more = batch.num_rows() > room;
        let batch = batch.slice(0, batch.num_rows().min(room));
        rows += batch.num_rows();
        batches.push(readable_batch(&batch).map_err(unwritable)?);
        if more {
            break;
        }
    }
    drop(stream);
    if batches.is_empty() {
        batches.push(readable_batch(&RecordBatch::new_empty(schema)).map_err(unwritable)?);
    }
    let options = FormatOptions::default().with_null("NULL");
    let text = pretty_format_batches_with_options(&batches, &options).map_err(unwritable)?;
    // What stands in lists and names was not escaped before.
    let text = text.to_string();
    let text = escaped(&text);
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").map_err(terminal)?;
    if more {
        writeln!(
            out,
            "the first {TABLE_ROWS} rows; --format csv, json or parquet gives all"
        )
        .map_err(terminal)?;
    }
    out.flush().map_err(terminal)?;
    Ok(rows)
}

async fn lines(mut stream: SendableRecordBatchStream, form: Form) -> Result<usize, AppError> {
    let (mut header, mut rows) = (true, 0);
    let schema = stream.schema();
    let named = distinct(&schema);
    loop {
        let batch = stream.try_next().await.map_err(AppError::Run)?;
        let batch = match batch {
            Some(batch) => batch,
            None if header => RecordBatch::new_empty(Arc::clone(&schema)),
            None => return Ok(rows),
        };
        rows += batch.num_rows();
        let mut text = Vec::new();
        match form.format {
            Format::Csv => {
                let flat = flat_batch(&batch).map_err(unwritable)?;
                let flat = match form.csv_safe {
                    true => inert_batch(&flat).map_err(unwritable)?,
                    false => flat,
                };
                csv::WriterBuilder::new()
                    .with_header(header)
                    .build(&mut text)
                    .write(&flat)
                    .map_err(unwritable)?;
            }
            _ => {
                let mut writer = arrow::json::WriterBuilder::new()
                    .with_explicit_nulls(true)
                    .build::<_, arrow::json::writer::LineDelimited>(&mut text);
                writer
                    .write(&under(&batch, &named).map_err(unwritable)?)
                    .map_err(unwritable)?;
                writer.finish().map_err(unwritable)?;
            }
        }
        header = false;
        if std::io::stdout().is_terminal() {
            // Programs get the values as they are, a terminal nothing to obey.
            text = plain(&String::from_utf8_lossy(&text)).into_bytes();
        }
        let mut out = std::io::stdout().lock();
        out.write_all(&text)
            .and_then(|()| out.flush())
            .map_err(terminal)?;
    }
}

async fn parquet_file(mut stream: SendableRecordBatchStream) -> Result<usize, AppError> {
    if std::io::stdout().is_terminal() {
        return Err(AppError::Usage(
            "Parquet is not for a terminal; add > FILE.parquet, or use COPY (...) TO 'FILE.parquet'".to_string(),
        ));
    }
    let properties = parquet::file::properties::WriterProperties::builder()
        .set_max_row_group_bytes(Some(crate::session::ROW_GROUP_BYTES))
        .build();
    let named = distinct(&stream.schema());
    let mut writer = ArrowWriter::try_new(std::io::stdout(), Arc::clone(&named), Some(properties))
        .map_err(unwritable)?;
    let mut rows = 0;
    while let Some(batch) = stream.try_next().await.map_err(AppError::Run)? {
        rows += batch.num_rows();
        let batch = under(&batch, &named).map_err(unwritable)?;
        writer.write(&batch).map_err(unwritable)?;
    }
    writer.close().map_err(unwritable)?;
    Ok(rows)
}

/// The batch with bytes as a note of their size, at the top and inside structs.
fn readable_batch(batch: &RecordBatch) -> DataFusionResult<RecordBatch> {
    map_columns(batch, readable)
}

fn readable(column: &ArrayRef) -> DataFusionResult<ArrayRef> {
    match column.data_type() {
        data_type if picsift_udf::is_binary(data_type) => {
            let bytes = cast(column, &DataType::LargeBinary)?;
            let notes: StringArray = bytes
                .as_binary::<i64>()
                .iter()
                .map(|value| value.map(|value| format!("<{}>", HumanBytes(value.len() as u64))))
                .collect();
            Ok(Arc::new(notes))
        }
        DataType::Struct(fields) => {
            let parts = column.as_struct();
            let columns = parts
                .columns()
                .iter()
                .map(readable)
                .collect::<DataFusionResult<Vec<_>>>()?;
            let fields = fields
                .iter()
                .zip(&columns)
                .map(|(field, column)| {
                    field
                        .as_ref()
                        .clone()
                        .with_data_type(column.data_type().clone())
                })
                .collect::<Vec<_>>();
            Ok(Arc::new(StructArray::try_new(
                fields.into(),
                columns,
                parts.nulls().cloned(),
            )?))
        }
        DataType::FixedSizeList(item, _) | DataType::List(item)
            if item.data_type().is_numeric() =>
        {
            short_lists(column)
        }
        _ => map_texts(column, |text| escaped(text).into_owned()),
    }
}

/// Numbers of a list that are printed where it has many, as an embedding has.
const FIRST_NUMBERS: usize = 4;
/// Numbers up to which a list is printed whole.
const SHORT_LIST: usize = 16;

/// Lists of numbers as text, long ones with their first numbers and how many there are.
fn short_lists(column: &ArrayRef) -> DataFusionResult<ArrayRef> {
    let lists = cast(column, &DataType::List(Arc::new(item_of(column))))?;
    let lists = lists.as_list::<i32>();
    let options = FormatOptions::default().with_null("NULL");
    let texts = lists.iter().map(|list| {
        let Some(list) = list else { return Ok(None) };
        let formatter = ArrayFormatter::try_new(&list, &options)?;
        let shown = match list.len() {
            few if few <= SHORT_LIST => few,
            _ => FIRST_NUMBERS,
        };
        let mut numbers: Vec<_> = (0..shown)
            .map(|at| formatter.value(at).to_string())
            .collect();
        if shown < list.len() {
            numbers.push(format!("... {} numbers", list.len()));
        }
        Ok(Some(format!("[{}]", numbers.join(", "))))
    });
    let texts: StringArray = texts.collect::<DataFusionResult<_>>()?;
    Ok(Arc::new(texts))
}

fn item_of(column: &ArrayRef) -> Field {
    match column.data_type() {
        DataType::FixedSizeList(item, _) | DataType::List(item) => item.as_ref().clone(),
        other => Field::new_list_field(other.clone(), true),
    }
}

/// The batch with lists, structs and bytes as text, which CSV has no other form for.
fn flat_batch(batch: &RecordBatch) -> DataFusionResult<RecordBatch> {
    map_columns(batch, |column| {
        if !column.data_type().is_nested() && !picsift_udf::is_binary(column.data_type()) {
            return Ok(Arc::clone(column));
        }
        let options = FormatOptions::default();
        let formatter = ArrayFormatter::try_new(column.as_ref(), &options)?;
        let texts: StringArray = (0..column.len())
            .map(|row| {
                column
                    .is_valid(row)
                    .then(|| formatter.value(row).to_string())
            })
            .collect();
        Ok(Arc::new(texts))
    })
}

/// The batch with a `'` before each text, and each column's name, that a spreadsheet would take for a formula.
fn inert_batch(batch: &RecordBatch) -> DataFusionResult<RecordBatch> {
    let inert = |text: &str| match text.starts_with([
        '=', '+', '-', '@', '\t', '\r', '\n', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}',
    ]) {
        true => format!("'{text}"),
        false => text.to_string(),
    };
    let batch = map_columns(batch, |column| map_texts(column, inert))?;
    let fields = batch.schema_ref().fields().iter();
    let fields = fields.map(|field| field.as_ref().clone().with_name(inert(field.name())));
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    under(&batch, &schema)
}

fn map_columns(
    batch: &RecordBatch,
    map: impl Fn(&ArrayRef) -> DataFusionResult<ArrayRef>,
) -> DataFusionResult<RecordBatch> {
    let columns = batch
        .columns()
        .iter()
        .map(map)
        .collect::<DataFusionResult<Vec<_>>>()?;
    let fields: Vec<Field> = batch
        .schema()
        .fields()
        .iter()
        .zip(&columns)
        .map(|(field, column)| {
            field
                .as_ref()
                .clone()
                .with_data_type(column.data_type().clone())
        })
        .collect();
    let options =
        arrow::record_batch::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(
        Arc::new(Schema::new(fields)),
        columns,
        &options,
    )?)
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryArray, Int64Array};
    use arrow::datatypes::Fields;

    use super::*;

    fn image_batch() -> RecordBatch {
        let bytes: ArrayRef = Arc::new(BinaryArray::from_opt_vec(vec![Some(&[7; 2048]), None]));
        let path: ArrayRef = Arc::new(StringArray::from(vec!["a.jpg", "b.jpg"]));
        let fields = Fields::from(vec![
            Field::new("bytes", DataType::Binary, true),
            Field::new("path", DataType::Utf8, true),
        ]);
        let image: ArrayRef = Arc::new(StructArray::new(fields, vec![bytes, path], None));
        let id: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        RecordBatch::try_from_iter([("id", id), ("image", image)]).unwrap()
    }

    #[test]
    fn a_table_shows_the_size_of_an_image() {
        let shown = readable_batch(&image_batch()).unwrap();
        let text = arrow::util::pretty::pretty_format_batches(&[shown])
            .unwrap()
            .to_string();
        assert!(text.contains("{bytes: <2.00 KiB>, path: a.jpg}"), "{text}");
        assert!(text.contains("path: b.jpg"), "{text}");
    }

    #[test]
    fn columns_of_one_name_get_names_of_their_own() {
        let field = |name: &str| Field::new(name, DataType::Int64, true);
        let schema = Schema::new(["id", "id", "id_1", "id", "x"].map(field).to_vec());
        let named = distinct(&Arc::new(schema));
        let names: Vec<_> = named.fields().iter().map(|field| field.name()).collect();
        assert_eq!(names, ["id", "id_2", "id_1", "id_3", "x"]);
    }

    #[test]
    fn texts_are_no_formulas_and_numbers_stay() {
        let texts: ArrayRef = Arc::new(StringArray::from(vec![
            Some("=1+1"),
            Some("@x"),
            Some("a=b"),
            None,
        ]));
        let numbers: ArrayRef = Arc::new(Int64Array::from(vec![-1, 2, 3, 4]));
        let batch = RecordBatch::try_from_iter([("=name", texts), ("n", numbers)]).unwrap();
        let inert = inert_batch(&batch).unwrap();
        assert_eq!(inert.schema().field(0).name(), "'=name");
        let texts = inert.column(0).as_string::<i32>();
        let found: Vec<_> = texts.iter().collect();
        assert_eq!(found, [Some("'=1+1"), Some("'@x"), Some("a=b"), None]);
        assert_eq!(inert.column(1), batch.column(1));
    }

    #[test]
    fn a_plan_is_known_by_its_columns_and_loses_credentials() {
        let schema = |names: [&str; 2]| {
            Schema::new(
                names
                    .map(|name| Field::new(name, DataType::Utf8, true))
                    .to_vec(),
            )
        };
        assert!(is_plan(&schema(["plan_type", "plan"])));
        assert!(!is_plan(&schema(["plan", "plan_type"])));
    }

    #[test]
    fn csv_writes_nested_values_as_text() {
        let flat = flat_batch(&image_batch()).unwrap();
        assert_eq!(flat.schema().field(1).data_type(), &DataType::Utf8);
        assert_eq!(flat.schema().field(0).data_type(), &DataType::Int64);
    }
}
