//! The table's other columns as texts, for the large view of a picture.
//!
//! Owns which columns are fit to be read and how much of a value is shown. What of them is an answer is `crate::dataset`'s to know.

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use arrow::util::display::{ArrayFormatter, FormatOptions};

use crate::dataset::Labels;

/// Most columns.
pub(super) const MOST_COLUMNS: usize = 64;

/// Most characters of a value.
const MOST_CHARACTERS: usize = 400;

/// Names of the columns of `labelled` that are neither its images, nor answers, nor numbers by the hundred or bytes; in their order.
pub(super) fn columns(labelled: &Labels, image: &str) -> Vec<String> {
    let own = &labelled.columns;
    let about: Vec<&str> = [
        &own.labels,
        &own.label,
        &own.answers,
        &own.source,
        &own.error,
    ]
    .into_iter()
    .flatten()
    .map(String::as_str)
    .chain([image])
    .collect();
    let answers = |name: &str| {
        labelled.categories.iter().any(|category| {
            category.is_column == name || category.score_column.as_deref() == Some(name)
        })
    };
    let fields = labelled.schema.fields().iter();
    fields
        .filter(|field| {
            let name = field.name().as_str();
            !about.contains(&name) && !answers(name) && readable(field.data_type())
        })
        .map(|field| field.name().clone())
        .collect()
}

/// Whether values are for people to read: no bytes, no vectors.
fn readable(kind: &DataType) -> bool {
    let inner = |field: &Field| readable(field.data_type());
    match kind {
        DataType::Binary
        | DataType::LargeBinary
        | DataType::BinaryView
        | DataType::FixedSizeBinary(_) => false,
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _) => !field.data_type().is_floating() && inner(field),
        DataType::Struct(fields) => fields.iter().all(|field| inner(field)),
        DataType::Map(field, _) => inner(field),
        DataType::Dictionary(_, values) => readable(values),
        _ => true,
    }
}

/// For each row of `batch` the values of `columns`; `None` where one is NULL, or not there.
///
/// # Errors
/// [`ArrowError`] for a value that cannot be written as text.
pub(super) fn texts(
    batch: &RecordBatch,
    columns: &[String],
) -> Result<Vec<Vec<Option<String>>>, ArrowError> {
    let options = FormatOptions::default();
    let mut rows = vec![Vec::with_capacity(columns.len()); batch.num_rows()];
    for name in columns {
        let Some(column) = batch.column_by_name(name) else {
            rows.iter_mut().for_each(|row| row.push(None));
            continue;
        };
        let formatter = ArrayFormatter::try_new(column, &options)?;
        for (number, row) in rows.iter_mut().enumerate() {
            row.push(match column.is_null(number) {
                true => None,
                false => Some(shown(formatter.value(number).try_to_string()?)),
            });
        }
    }
    Ok(rows)
}

/// A value as people may see it: an address without what may be a credential, and of long texts the beginning.
fn shown(text: String) -> String {
    let text = match text.contains("://") || text.starts_with("data:") {
        true => picsift_images::shown(&text),
        false => text,
    };
    match text.char_indices().nth(MOST_CHARACTERS) {
        Some((end, _)) => format!("{}\u{2026}", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, ListArray, StringArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    #[test]
    fn values_are_texts_without_credentials_and_of_bounded_length() {
        let long = "ä".repeat(MOST_CHARACTERS + 1);
        let words = StringArray::from(vec![
            Some("https://ada:secret@example.org/a.jpg?token=hunter2"),
            Some(&long),
            None,
        ]);
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
            Some(vec![Some(1), None]),
            Some(vec![]),
            None,
        ]);
        let batch = RecordBatch::try_from_iter([
            ("words", Arc::new(words) as ArrayRef),
            ("numbers", Arc::new(Int64Array::from(vec![1, 2, 3]))),
            ("lists", Arc::new(lists)),
        ])
        .unwrap();
        let names = ["words", "numbers", "lists", "gone"].map(str::to_string);
        let rows = texts(&batch, &names).unwrap();
        let first = rows[0][0].clone().unwrap();
        assert!(first.starts_with("https://example.org/a.jpg"), "{first}");
        assert!(
            !first.contains("secret") && !first.contains("hunter2"),
            "{first}"
        );
        let second = rows[1][0].clone().unwrap();
        assert_eq!(second.chars().count(), MOST_CHARACTERS + 1);
        assert!(second.ends_with("ä\u{2026}"));
        assert_eq!(rows[0][1].as_deref(), Some("1"));
        assert_eq!(rows[0][2].as_deref(), Some("[1, ]"));
        assert_eq!(
            (&rows[2][0], &rows[2][2], &rows[0][3]),
            (&None, &None, &None)
        );
    }

    #[test]
    fn bytes_and_vectors_are_not_for_reading() {
        let list = |kind| DataType::new_list(kind, true);
        for (kind, is) in [
            (DataType::Utf8, true),
            (DataType::Boolean, true),
            (list(DataType::Utf8), true),
            (DataType::Binary, false),
            (list(DataType::Float32), false),
            (
                DataType::new_fixed_size_list(DataType::Float32, 8, true),
                false,
            ),
            (
                DataType::Struct(vec![Field::new("bytes", DataType::Binary, true)].into()),
                false,
            ),
        ] {
            assert_eq!(readable(&kind), is, "{kind}");
        }
    }
}
