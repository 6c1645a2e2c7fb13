//! How many bytes the values of a column have, row by row, as whoever copies them writes them.
//!
//! What several rows share, a view's text or a dictionary's value, counts for each of them.

use arrow::array::{Array, ArrayRef, AsArray, OffsetSizeTrait};
use arrow::datatypes::DataType;
use datafusion::logical_expr::ColumnarValue;

/// Bytes of a value that is no text and no list, at most.
const PLAIN: u64 = 32;

/// The lengths of an argument.
pub(super) enum Lengths {
    /// All rows have this.
    Same(u64),
    Rows(Vec<u64>),
}

impl Lengths {
    pub(super) fn of(value: &ColumnarValue) -> Self {
        match value {
            ColumnarValue::Array(array) => Self::Rows(lengths(array)),
            // A value that has no array is none that a function takes.
            ColumnarValue::Scalar(value) => Self::Same(match value.to_array() {
                Ok(array) => total(&array),
                Err(_) => PLAIN,
            }),
        }
    }

    pub(super) fn get(&self, row: usize) -> u64 {
        match self {
            Self::Same(length) => *length,
            Self::Rows(lengths) => lengths.get(row).copied().unwrap_or(0),
        }
    }
}

/// The bytes of all rows.
pub(super) fn total(array: &ArrayRef) -> u64 {
    lengths(array).into_iter().fold(0, u64::saturating_add)
}

fn lengths(array: &ArrayRef) -> Vec<u64> {
    match array.data_type() {
        DataType::Utf8 => between(array.as_string::<i32>().value_offsets()),
        DataType::LargeUtf8 => between(array.as_string::<i64>().value_offsets()),
        DataType::Binary => between(array.as_binary::<i32>().value_offsets()),
        DataType::LargeBinary => between(array.as_binary::<i64>().value_offsets()),
        // The length is in a view's lowest bits.
        DataType::Utf8View => array.as_string_view().views().iter().map(of_view).collect(),
        DataType::BinaryView => array.as_binary_view().views().iter().map(of_view).collect(),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            inside(list.value_offsets(), list.values())
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            inside(list.value_offsets(), list.values())
        }
        DataType::Map(_, _) => {
            let map = array.as_map();
            let entries = lengths_of(map.entries().columns(), map.entries().len());
            summed(map.value_offsets(), &entries)
        }
        DataType::FixedSizeList(_, size) => {
            let list = array.as_fixed_size_list();
            let size = usize::try_from(*size).unwrap_or(0);
            let all = lengths(list.values());
            let first = list.value_offset(0).unsigned_abs() as usize;
            (0..list.len())
                .map(|row| {
                    let from = first + row * size;
                    all.get(from..from + size).unwrap_or_default().iter().sum()
                })
                .collect()
        }
        DataType::Struct(_) => lengths_of(array.as_struct().columns(), array.len()),
        DataType::Dictionary(_, _) => {
            let dictionary = array.as_any_dictionary();
            let values = lengths(dictionary.values());
            let keys = match values.is_empty() {
                true => vec![0; array.len()],
                false => dictionary.normalized_keys(),
            };
            let length = |key: usize| values.get(key).copied().unwrap_or(0);
            keys.into_iter().map(length).collect()
        }
        other if other.is_nested() => vec![array.get_array_memory_size() as u64; array.len()],
        _ => vec![PLAIN; array.len()],
    }
}

fn of_view(view: &u128) -> u64 {
    (*view as u32).into()
}

fn between<O: OffsetSizeTrait>(offsets: &[O]) -> Vec<u64> {
    let length = |pair: &[O]| (pair[1] - pair[0]).as_usize() as u64;
    offsets.windows(2).map(length).collect()
}

fn inside<O: OffsetSizeTrait>(offsets: &[O], values: &ArrayRef) -> Vec<u64> {
    summed(offsets, &lengths(values))
}

/// The lengths of lists, each of whose elements takes at least a byte, whatever it is.
fn summed<O: OffsetSizeTrait>(offsets: &[O], elements: &[u64]) -> Vec<u64> {
    let list = |pair: &[O]| {
        let elements = elements.get(pair[0].as_usize()..pair[1].as_usize());
        let elements = elements.unwrap_or_default();
        elements
            .iter()
            .fold(elements.len() as u64, |all, one| all.saturating_add(*one))
    };
    offsets.windows(2).map(list).collect()
}

fn lengths_of(columns: &[ArrayRef], rows: usize) -> Vec<u64> {
    let mut all = vec![0_u64; rows];
    for column in columns {
        for (sum, one) in all.iter_mut().zip(lengths(column)) {
            *sum = sum.saturating_add(one);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        DictionaryArray, FixedSizeListArray, Int32Array, ListArray, StringArray, StringViewArray,
        StructArray,
    };
    use arrow::datatypes::{Field, Int32Type};

    use super::*;

    #[test]
    fn a_row_has_the_bytes_of_its_values_however_they_lie() {
        let texts = ["", "abc", "a longer text than a view holds", "é"];
        let expected = vec![0, 3, 31, 2];
        let plain: ArrayRef = Arc::new(StringArray::from(texts.to_vec()));
        let views: ArrayRef = Arc::new(StringViewArray::from(texts.to_vec()));
        assert_eq!(lengths(&plain), expected);
        assert_eq!(lengths(&views), expected);
        assert_eq!(lengths(&plain.slice(1, 2)), [3, 31]);
        let keys = Int32Array::from(vec![Some(2), Some(2), None, Some(1)]);
        let shared: ArrayRef =
            Arc::new(DictionaryArray::<Int32Type>::new(keys, Arc::clone(&plain)));
        let shared = lengths(&shared);
        assert_eq!((shared[0], shared[1], shared[3]), (31, 31, 3));
        let field = Arc::new(Field::new("a", DataType::Utf8, true));
        let columns = vec![Arc::clone(&plain), Arc::clone(&plain)];
        let fields = vec![
            Arc::clone(&field),
            Arc::new(Field::new("b", DataType::Utf8, true)),
        ];
        let both: ArrayRef = Arc::new(StructArray::new(fields.into(), columns, None));
        assert_eq!(lengths(&both), [0, 6, 62, 4]);
        let pairs = FixedSizeListArray::new(field, 2, plain, None);
        let pairs: ArrayRef = Arc::new(pairs);
        assert_eq!(lengths(&pairs), [3, 33]);
        assert_eq!(lengths(&pairs.slice(1, 1)), [33]);
        let lists = ListArray::from_iter_primitive::<Int32Type, _, _>(vec![
            Some(vec![Some(1), None]),
            None,
            Some(vec![]),
        ]);
        let lists: ArrayRef = Arc::new(lists);
        assert_eq!(lengths(&lists), [2 * (PLAIN + 1), 0, 0]);
        assert_eq!(total(&lists), 2 * (PLAIN + 1));
    }
}
