//! Rows for a person: pictures as a note of their format and size, for a screen of hexadecimal helps nobody, and tables that fit the
//! terminal.

use std::fmt::Write as _;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray, StructArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::common::Result as DataFusionResult;
use indicatif::HumanBytes;
use picsift_images::{Limits, escaped};
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::print::{map_columns, map_texts};

/// Characters that a column has at least, where it has as many to show.
const LEAST_WIDTH: usize = 8;

/// What stands for what was cut off.
const CUT: char = '\u{2026}';

/// The batch with bytes as a note of what they are, at the top and inside structs.
pub(super) fn readable_batch(batch: &RecordBatch) -> DataFusionResult<RecordBatch> {
    map_columns(batch, readable)
}

fn readable(column: &ArrayRef) -> DataFusionResult<ArrayRef> {
    match column.data_type() {
        data_type if picsift_udf::is_binary(data_type) => {
            let bytes = cast(column, &DataType::LargeBinary)?;
            let notes: StringArray = bytes
                .as_binary::<i64>()
                .iter()
                .map(|value| value.map(noted))
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

/// Bytes as a note: the format and size of a picture, and how many they are.
fn noted(bytes: &[u8]) -> String {
    let size = HumanBytes(bytes.len() as u64);
    match picsift_images::image_info(bytes, &Limits::default()) {
        Ok(info) => format!(
            "<{} {} x {}, {size}>",
            info.format.to_uppercase(),
            info.width,
            info.height
        ),
        Err(_) => format!("<{size}>"),
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

/// The table within `width` characters: long values are cut, and columns for which there is no room are counted below it.
///
/// # Errors
/// Arrow's, for a value that cannot be shown.
pub(super) fn fitted(batches: &[RecordBatch], width: usize) -> Result<String, ArrowError> {
    let Some(first) = batches.first() else {
        return Ok(String::new());
    };
    let fields = first.schema_ref().fields();
    let mut widths = Vec::new();
    let mut columns = Vec::new();
    for (place, field) in fields.iter().enumerate() {
        let cells = cells(batches, place)?;
        let lines = cells.iter().flat_map(|cell| cell.lines());
        let longest = lines.map(UnicodeWidthStr::width).max();
        let longest = longest.unwrap_or_default().max(field.name().width());
        widths.push(longest.min(width));
        columns.push(cells);
    }
    let shown = fit(&mut widths, width);
    let mut text = String::new();
    rule(&mut text, &widths);
    let names: Vec<&str> = fields.iter().map(|field| field.name().as_str()).collect();
    line(&mut text, &widths, &names[..shown]);
    rule(&mut text, &widths);
    for row in 0..columns.first().map_or(0, Vec::len) {
        let row: Vec<&str> = columns[..shown]
            .iter()
            .map(|cells| cells[row].as_str())
            .collect();
        line(&mut text, &widths, &row);
    }
    rule(&mut text, &widths);
    match fields.len() - shown {
        0 => {}
        1 => text.push_str("and 1 more column; \\x shows all in the shell\n"),
        more => {
            // Writing to a String does not fail.
            let _ = writeln!(text, "and {more} more columns; \\x shows all in the shell");
        }
    }
    text.truncate(text.trim_end().len());
    Ok(text)
}

/// Makes columns narrower, the widest first, until a table of them has `width` characters; drops the last where that does not help. How
/// many are left.
fn fit(widths: &mut Vec<usize>, width: usize) -> usize {
    let total = |widths: &[usize]| widths.iter().map(|one| one + 3).sum::<usize>() + 1;
    while total(widths) > width {
        let Some(widest) = widths.iter_mut().max() else {
            break;
        };
        match *widest > LEAST_WIDTH {
            true => *widest -= 1,
            false if widths.len() > 1 => {
                widths.pop();
            }
            false => break,
        }
    }
    widths.len()
}

fn rule(text: &mut String, widths: &[usize]) {
    for width in widths {
        text.push('+');
        text.extend(std::iter::repeat_n('-', width + 2));
    }
    text.push_str("+\n");
}

/// A row, whose values may have several lines.
fn line(text: &mut String, widths: &[usize], cells: &[&str]) {
    let height = cells.iter().map(|cell| cell.lines().count()).max();
    for part in 0..height.unwrap_or_default().max(1) {
        for (cell, width) in cells.iter().zip(widths) {
            let cell = cut(cell.lines().nth(part).unwrap_or_default(), *width);
            let _ = write!(text, "| {cell}");
            text.extend(std::iter::repeat_n(' ', width - cell.width() + 1));
        }
        text.push_str("|\n");
    }
}

/// The text within so many characters of a terminal.
fn cut(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.to_owned();
    }
    let mut short = String::new();
    let mut used = 1;
    for c in text.chars() {
        used += c.width().unwrap_or_default();
        if used > width {
            break;
        }
        short.push(c);
    }
    short.push(CUT);
    short
}

/// A line for each column of each row; lines behind a value's first stand below it.
///
/// # Errors
/// As [`fitted`].
pub(super) fn expanded(
    batches: &[RecordBatch],
    width: Option<usize>,
) -> Result<String, ArrowError> {
    let Some(first) = batches.first() else {
        return Ok(String::new());
    };
    let fields = first.schema_ref().fields();
    let columns = (0..fields.len()).map(|place| cells(batches, place));
    let columns = columns.collect::<Result<Vec<_>, _>>()?;
    let names = fields.iter().map(|field| field.name().width()).max();
    let names = names.unwrap_or_default();
    let mut text = String::new();
    for row in 0..columns.first().map_or(0, Vec::len) {
        let head = format!("-[ row {} ]", row + 1);
        let _ = writeln!(text, "{head:-<32}");
        for (field, cells) in fields.iter().zip(&columns) {
            let mut name = field.name().as_str();
            let nothing = cells[row].is_empty().then_some("");
            for part in cells[row].lines().chain(nothing) {
                let part = match width {
                    Some(width) => cut(part, width.saturating_sub(names + 3).max(LEAST_WIDTH)),
                    None => part.to_owned(),
                };
                text.push_str(name);
                text.extend(std::iter::repeat_n(' ', names - name.width()));
                let _ = writeln!(text, " | {part}");
                name = "";
            }
        }
    }
    text.truncate(text.trim_end_matches('\n').len());
    Ok(text)
}

/// The values of a column as texts, without what a terminal would obey.
fn cells(batches: &[RecordBatch], place: usize) -> Result<Vec<String>, ArrowError> {
    let options = FormatOptions::default().with_null("NULL");
    let mut cells = Vec::new();
    for batch in batches {
        let formatter = ArrayFormatter::try_new(batch.column(place), &options)?;
        cells.extend((0..batch.num_rows()).map(|row| {
            let text = formatter.value(row).to_string();
            escaped(&text).replace('\t', "    ")
        }));
    }
    Ok(cells)
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
    fn a_table_shows_what_bytes_are() {
        let shown = readable_batch(&image_batch()).unwrap();
        let text = expanded(&[shown], None).unwrap();
        assert!(text.contains("{bytes: <2.00 KiB>, path: a.jpg}"), "{text}");
        assert!(text.contains("path: b.jpg"), "{text}");
        let photo = std::fs::read("datasets/photos/references/images/dog_008.jpg").unwrap();
        let note = noted(&photo);
        assert!(note.starts_with("<JPEG ") && note.contains(" x "), "{note}");
    }

    #[test]
    fn long_values_are_cut_and_columns_without_room_are_counted() {
        let text: ArrayRef = Arc::new(StringArray::from(vec![
            "a".repeat(90),
            "\u{65e5}".repeat(20),
        ]));
        let id: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let batch = RecordBatch::try_from_iter([("id", Arc::clone(&id)), ("text", text)]).unwrap();
        let shown = fitted(std::slice::from_ref(&batch), 40).unwrap();
        assert!(shown.lines().all(|line| line.width() == 40), "{shown}");
        assert!(shown.contains("aaa\u{2026} |"), "{shown}");
        assert!(shown.contains("\u{65e5}\u{2026}"), "{shown}");
        let short = fitted(&[batch.project(&[0]).unwrap()], 40).unwrap();
        assert_eq!(short, "+----+\n| id |\n+----+\n| 1  |\n| 2  |\n+----+");
        let many = (0..9).map(|n| (format!("column_{n}"), Arc::clone(&id)));
        let many = RecordBatch::try_from_iter(many).unwrap();
        let shown = fitted(&[many], 40).unwrap();
        assert!(
            shown.contains("column_2") && !shown.contains("column_3"),
            "{shown}"
        );
        assert!(
            shown.ends_with("and 6 more columns; \\x shows all in the shell"),
            "{shown}"
        );
    }

    #[test]
    fn a_row_may_stand_with_a_line_for_each_column() {
        let text: ArrayRef = Arc::new(StringArray::from(vec!["one\ntwo", ""]));
        let id: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        let batch = RecordBatch::try_from_iter([("id", id), ("text", text)]).unwrap();
        let dashes = "-".repeat(21);
        assert_eq!(
            expanded(&[batch], Some(80)).unwrap(),
            format!(
                "-[ row 1 ]-{dashes}\nid   | 1\ntext | one\n     | two\n-[ row 2 ]-{dashes}\nid   | 2\ntext | "
            )
        );
    }
}
