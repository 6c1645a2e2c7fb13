//! Results on standard output: a table for reading, or CSV, JSON lines or Parquet for programs.
//!
//! Programs get every row as it comes, in constant memory. A person gets as many rows as can be read; how those look is `table`'s.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::csv;
use arrow::datatypes::{DataType, Field, Schema};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use arrow::util::pretty::pretty_format_batches_with_options;
use datafusion::common::Result as DataFusionResult;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::{StreamExt, TryStreamExt};
use parquet::arrow::ArrowWriter;
use picsift_images::escaped;

use super::super::printer::plain;
use super::pictures::Found;
use super::table;
use super::working::Working;
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
    /// Whether a table has a line for each column of a row.
    pub(super) expanded: bool,
    /// Whether a person reads it as it is written.
    pub(super) is_terminal: bool,
    /// Characters of a line that a table may take; `None` is no bound.
    pub(super) width: Option<usize>,
}

impl Form {
    /// Results on standard output.
    pub(super) fn of_output(format: Format, csv_safe: bool) -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        let size = is_terminal.then(terminal_size::terminal_size).flatten();
        Self {
            format,
            csv_safe,
            expanded: false,
            is_terminal,
            width: size.map(|(width, _)| usize::from(width.0)),
        }
    }
}

/// Prints all of `stream`, or what a table shows of it, to `out`: how many rows that was. A table ends `working` before it is printed,
/// and notes the pictures of its rows.
///
/// # Errors
/// The query's, or standard output's.
pub(super) async fn print(
    stream: SendableRecordBatchStream,
    form: Form,
    out: &mut (dyn Write + Send),
    working: Option<Working>,
    pictures: Option<&mut Found>,
) -> Result<usize, AppError> {
    let stream = match is_plan(&stream.schema()) {
        true => without_secrets(stream),
        false => stream,
    };
    let result = match form.format {
        Format::Table => table(stream, form, out, working, pictures).await,
        Format::Csv | Format::Json => lines(stream, form, out).await,
        Format::Parquet => parquet_file(stream, form, out).await,
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
pub(super) fn map_texts(
    column: &ArrayRef,
    map: impl Fn(&str) -> String,
) -> DataFusionResult<ArrayRef> {
    if !picsift_udf::is_text(column.data_type()) {
        return Ok(Arc::clone(column));
    }
    let texts = cast(column, &DataType::LargeUtf8)?;
    let texts = texts.as_string::<i64>().iter();
    let texts: StringArray = texts.map(|text| text.map(&map)).collect();
    cast(&texts, column.data_type()).map_err(Into::into)
}

async fn table(
    mut stream: SendableRecordBatchStream,
    form: Form,
    out: &mut (dyn Write + Send),
    working: Option<Working>,
    mut pictures: Option<&mut Found>,
) -> Result<usize, AppError> {
    let schema = stream.schema();
    let mut batches = Vec::new();
    let mut rows = 0;
    let mut more = false;
    while let Some(batch) = stream.try_next().await.map_err(AppError::Run)? {
        let room = TABLE_ROWS - rows;
        more = batch.num_rows() > room;
        let batch = batch.slice(0, batch.num_rows().min(room));
        rows += batch.num_rows();
        if let Some(pictures) = &mut pictures {
            pictures.add(&batch).map_err(AppError::Run)?;
        }
        batches.push(table::readable_batch(&batch).map_err(unwritable)?);
        if more {
            break;
        }
    }
    drop(stream);
    drop(working);
    if batches.is_empty() {
        let none = RecordBatch::new_empty(Arc::clone(&schema));
        batches.push(table::readable_batch(&none).map_err(unwritable)?);
    }
    let text = match (form.width, form.expanded) {
        (width, true) => table::expanded(&batches, width).map_err(unwritable)?,
        // A plan is read line by line, whatever its width.
        (Some(width), false) if !is_plan(&schema) => {
            table::fitted(&batches, width).map_err(unwritable)?
        }
        _ => {
            let options = FormatOptions::default().with_null("NULL");
            let text = pretty_format_batches_with_options(&batches, &options);
            text.map_err(unwritable)?.to_string()
        }
    };
    // What stands in lists and names was not escaped before.
    let text = escaped(&text);
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

async fn lines(
    mut stream: SendableRecordBatchStream,
    form: Form,
    out: &mut (dyn Write + Send),
) -> Result<usize, AppError> {
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
        if form.is_terminal {
            // Programs get the values as they are, a terminal nothing to obey.
            text = plain(&String::from_utf8_lossy(&text)).into_bytes();
        }
        out.write_all(&text)
            .and_then(|()| out.flush())
            .map_err(terminal)?;
    }
}

async fn parquet_file(
    mut stream: SendableRecordBatchStream,
    form: Form,
    out: &mut (dyn Write + Send),
) -> Result<usize, AppError> {
    if form.is_terminal {
        return Err(AppError::Usage(
            "Parquet is not for a terminal; add > FILE.parquet, or use COPY (...) TO 'FILE.parquet'".to_string(),
        ));
    }
    let properties = parquet::file::properties::WriterProperties::builder()
        .set_max_row_group_bytes(Some(crate::session::ROW_GROUP_BYTES))
        .build();
    let named = distinct(&stream.schema());
    let mut writer =
        ArrowWriter::try_new(out, Arc::clone(&named), Some(properties)).map_err(unwritable)?;
    let mut rows = 0;
    while let Some(batch) = stream.try_next().await.map_err(AppError::Run)? {
        rows += batch.num_rows();
        let batch = under(&batch, &named).map_err(unwritable)?;
        writer.write(&batch).map_err(unwritable)?;
    }
    writer.close().map_err(unwritable)?;
    Ok(rows)
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

pub(super) fn map_columns(
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
    use arrow::array::{BinaryArray, Int64Array, StructArray};
    use arrow::datatypes::{Field, Fields};

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
