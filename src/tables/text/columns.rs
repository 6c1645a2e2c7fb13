//! Columns of bytes, or of text with marks in it, as the text that they should be.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, FixedSizeListArray, GenericListArray,
    GenericStringArray, LargeStringArray, MapArray, OffsetSizeTrait, StringArray, StringViewArray,
    StructArray,
};
use arrow::compute::nullif;
use arrow::datatypes::{DataType, Field};
use datafusion::common::{Result, internal_datafusion_err};

use super::marked::MARK;

/// A column of text, and which of its rows held something else. Those are NULL, or empty where the column may have no NULL.
#[derive(Debug)]
pub struct Converted {
    /// The column.
    pub column: ArrayRef,
    /// For each row whether a value in it was no text; `None` where none was.
    pub wrong: Option<Vec<bool>>,
}

/// `column`, which has the type of `field` with bytes in place of text, as text.
///
/// # Errors
/// When it has another type.
pub fn from_bytes(column: &ArrayRef, field: &Field) -> Result<Converted> {
    // It has no text, or comes from a folder's name.
    if column.data_type() == field.data_type() {
        return Ok(right(Arc::clone(column)));
    }
    converted(column, field, &Bytes)
}

/// `column`, which has the type of `field`, without the values that [`MarkedStores`](super::MarkedStores) marked.
///
/// # Errors
/// When it has another type.
pub fn from_marked(column: &ArrayRef, field: &Field) -> Result<Converted> {
    converted(column, field, &Marked)
}

fn converted(column: &ArrayRef, field: &Field, leaf: &dyn Leaf) -> Result<Converted> {
    let Converted { column, wrong } = walk(column, field.data_type(), leaf)?;
    let column = match &wrong {
        Some(rows) if field.is_nullable() => nullif(&column, &BooleanArray::from(rows.clone()))?,
        _ => column,
    };
    Ok(Converted { column, wrong })
}

/// How values become text: a value that is none becomes empty text.
trait Leaf {
    fn short(&self, column: &ArrayRef) -> Option<Converted>;
    fn long(&self, column: &ArrayRef) -> Option<Converted>;
    fn view(&self, column: &ArrayRef) -> Option<Converted>;
}

/// Bytes that should be text.
struct Bytes;

impl Bytes {
    fn plain<O: OffsetSizeTrait>(column: &ArrayRef) -> Option<Converted> {
        let bytes = column.as_binary_opt::<O>()?;
        if let Ok(texts) = GenericStringArray::try_from_binary(bytes.clone()) {
            return Some(right(Arc::new(texts)));
        }
        let (texts, wrong): (Vec<Option<&str>>, Vec<bool>) = bytes.iter().map(text).unzip();
        let texts: GenericStringArray<O> = texts.into_iter().collect();
        Some(found(Arc::new(texts), wrong))
    }
}

impl Leaf for Bytes {
    fn short(&self, column: &ArrayRef) -> Option<Converted> {
        Self::plain::<i32>(column)
    }

    fn long(&self, column: &ArrayRef) -> Option<Converted> {
        Self::plain::<i64>(column)
    }

    fn view(&self, column: &ArrayRef) -> Option<Converted> {
        let bytes = column.as_binary_view_opt()?;
        if let Ok(texts) = bytes.clone().to_string_view() {
            return Some(right(Arc::new(texts)));
        }
        let (texts, wrong): (Vec<Option<&str>>, Vec<bool>) = bytes.iter().map(text).unzip();
        let texts: StringViewArray = texts.into_iter().collect();
        Some(found(Arc::new(texts), wrong))
    }
}

/// A value, and whether it is none.
fn text(bytes: Option<&[u8]>) -> (Option<&str>, bool) {
    match bytes.map(std::str::from_utf8) {
        None => (None, false),
        Some(Ok(text)) => (Some(text), false),
        Some(Err(_)) => (Some(""), true),
    }
}

/// Text in which bytes that were none are marked.
struct Marked;

impl Marked {
    fn split<'a>(
        texts: impl Iterator<Item = Option<&'a str>>,
    ) -> (Vec<Option<&'a str>>, Vec<bool>) {
        texts
            .map(|text| match text {
                Some(text) if text.contains(MARK) => (Some(""), true),
                text => (text, false),
            })
            .unzip()
    }
}

impl Leaf for Marked {
    fn short(&self, column: &ArrayRef) -> Option<Converted> {
        let (texts, wrong) = Self::split(column.as_string_opt::<i32>()?.iter());
        Some(match wrong.contains(&true) {
            false => right(Arc::clone(column)),
            true => found(Arc::new(texts.into_iter().collect::<StringArray>()), wrong),
        })
    }

    fn long(&self, column: &ArrayRef) -> Option<Converted> {
        let (texts, wrong) = Self::split(column.as_string_opt::<i64>()?.iter());
        Some(match wrong.contains(&true) {
            false => right(Arc::clone(column)),
            true => found(
                Arc::new(texts.into_iter().collect::<LargeStringArray>()),
                wrong,
            ),
        })
    }

    fn view(&self, column: &ArrayRef) -> Option<Converted> {
        let (texts, wrong) = Self::split(column.as_string_view_opt()?.iter());
        Some(match wrong.contains(&true) {
            false => right(Arc::clone(column)),
            true => found(
                Arc::new(texts.into_iter().collect::<StringViewArray>()),
                wrong,
            ),
        })
    }
}

fn right(column: ArrayRef) -> Converted {
    Converted {
        column,
        wrong: None,
    }
}

fn found(column: ArrayRef, wrong: Vec<bool>) -> Converted {
    let wrong = wrong.contains(&true).then_some(wrong);
    Converted { column, wrong }
}

/// `column` as `data_type`; wrong are the rows with a wrong value anywhere in them.
fn walk(column: &ArrayRef, data_type: &DataType, leaf: &dyn Leaf) -> Result<Converted> {
    let converted = match data_type {
        DataType::Utf8 => leaf.short(column),
        DataType::LargeUtf8 => leaf.long(column),
        DataType::Utf8View => leaf.view(column),
        DataType::Struct(_) => structs(column, data_type, leaf)?,
        DataType::List(item) => list::<i32>(column, item, leaf)?,
        DataType::LargeList(item) => list::<i64>(column, item, leaf)?,
        DataType::FixedSizeList(item, length) => fixed(column, item, *length, leaf)?,
        DataType::Map(_, _) => map(column, data_type, leaf)?,
        DataType::Dictionary(_, value) => dictionary(column, value, leaf)?,
        _ => Some(right(Arc::clone(column))),
    };
    let converted = converted.filter(|converted| converted.column.data_type() == data_type);
    converted.ok_or_else(|| {
        internal_datafusion_err!("a column of {} is read for {data_type}", column.data_type())
    })
}

fn structs(column: &ArrayRef, data_type: &DataType, leaf: &dyn Leaf) -> Result<Option<Converted>> {
    let (DataType::Struct(fields), Some(structs)) = (data_type, column.as_struct_opt()) else {
        return Ok(None);
    };
    let (mut parts, mut wrong) = (Vec::new(), None);
    for (part, field) in structs.columns().iter().zip(fields) {
        let part = walk(part, field.data_type(), leaf)?;
        wrong = either(wrong, part.wrong);
        parts.push(part.column);
    }
    let made = match parts.is_empty() {
        true => structs.clone(),
        false => StructArray::try_new(fields.clone(), parts, structs.nulls().cloned())?,
    };
    Ok(Some(Converted {
        column: Arc::new(made),
        wrong,
    }))
}

fn either(some: Option<Vec<bool>>, others: Option<Vec<bool>>) -> Option<Vec<bool>> {
    match (some, others) {
        (Some(some), Some(others)) => {
            Some(some.into_iter().zip(others).map(|(a, b)| a || b).collect())
        }
        (some, others) => some.or(others),
    }
}

fn list<O: OffsetSizeTrait>(
    column: &ArrayRef,
    item: &arrow::datatypes::FieldRef,
    leaf: &dyn Leaf,
) -> Result<Option<Converted>> {
    let Some(lists) = column.as_list_opt::<O>() else {
        return Ok(None);
    };
    let values = walk(lists.values(), item.data_type(), leaf)?;
    let wrong = values
        .wrong
        .map(|wrong| within(lists.value_offsets(), &wrong));
    let made = GenericListArray::try_new(
        Arc::clone(item),
        lists.offsets().clone(),
        values.column,
        lists.nulls().cloned(),
    )?;
    Ok(Some(Converted {
        column: Arc::new(made),
        wrong,
    }))
}

/// Which rows have a wrong value, where each row's values begin at its offset.
fn within<O: OffsetSizeTrait>(offsets: &[O], wrong: &[bool]) -> Vec<bool> {
    let rows = offsets.windows(2);
    rows.map(|ends| wrong[ends[0].as_usize()..ends[1].as_usize()].contains(&true))
        .collect()
}

fn fixed(
    column: &ArrayRef,
    item: &arrow::datatypes::FieldRef,
    length: i32,
    leaf: &dyn Leaf,
) -> Result<Option<Converted>> {
    let Some(lists) = column.as_fixed_size_list_opt() else {
        return Ok(None);
    };
    let values = walk(lists.values(), item.data_type(), leaf)?;
    let wrong = values.wrong.map(|wrong| {
        let width = usize::try_from(length).unwrap_or_default().max(1);
        let rows = wrong.chunks(width).map(|row| row.contains(&true));
        rows.collect::<Vec<_>>()
    });
    let made = FixedSizeListArray::try_new(
        Arc::clone(item),
        length,
        values.column,
        lists.nulls().cloned(),
    )?;
    Ok(Some(Converted {
        column: Arc::new(made),
        wrong,
    }))
}

fn map(column: &ArrayRef, data_type: &DataType, leaf: &dyn Leaf) -> Result<Option<Converted>> {
    let (DataType::Map(entries, sorted), Some(maps)) = (data_type, column.as_map_opt()) else {
        return Ok(None);
    };
    let inner: ArrayRef = Arc::new(maps.entries().clone());
    let Converted { column, wrong } = walk(&inner, entries.data_type(), leaf)?;
    let Some(pairs) = column.as_struct_opt() else {
        return Ok(None);
    };
    let wrong = wrong.map(|wrong| within(maps.value_offsets(), &wrong));
    let made = MapArray::try_new(
        Arc::clone(entries),
        maps.offsets().clone(),
        pairs.clone(),
        maps.nulls().cloned(),
        *sorted,
    )?;
    Ok(Some(Converted {
        column: Arc::new(made),
        wrong,
    }))
}

fn dictionary(column: &ArrayRef, value: &DataType, leaf: &dyn Leaf) -> Result<Option<Converted>> {
    let Some(texts) = column.as_any_dictionary_opt() else {
        return Ok(None);
    };
    let values = walk(texts.values(), value, leaf)?;
    let wrong = values.wrong.map(|wrong| {
        let keys = texts.normalized_keys().into_iter().enumerate();
        keys.map(|(row, key)| texts.keys().is_valid(row) && wrong.get(key) == Some(&true))
            .collect::<Vec<_>>()
    });
    Ok(Some(found_or_right(
        texts.with_values(values.column),
        wrong,
    )))
}

fn found_or_right(column: ArrayRef, wrong: Option<Vec<bool>>) -> Converted {
    match wrong {
        Some(wrong) => found(column, wrong),
        None => right(column),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{
        BinaryArray, BinaryViewArray, DictionaryArray, Int32Array, LargeBinaryArray, ListArray,
    };
    use arrow::buffer::OffsetBuffer;
    use arrow::datatypes::Int32Type;

    use super::*;

    const VALUES: [Option<&[u8]>; 4] =
        [Some(b"a"), Some(b"\xff!"), None, Some("\u{fc}".as_bytes())];

    fn checked(column: ArrayRef, data_type: DataType, nullable: bool) -> Converted {
        from_bytes(&column, &Field::new("x", data_type, nullable)).unwrap()
    }

    #[test]
    fn wrong_values_are_null_and_the_others_stay() {
        let wrong = Some(vec![false, true, false, false]);
        for (column, data_type) in [
            (
                Arc::new(BinaryArray::from_iter(VALUES)) as ArrayRef,
                DataType::Utf8,
            ),
            (
                Arc::new(LargeBinaryArray::from_iter(VALUES)),
                DataType::LargeUtf8,
            ),
            (
                Arc::new(BinaryViewArray::from_iter(VALUES)),
                DataType::Utf8View,
            ),
        ] {
            let found = checked(Arc::clone(&column), data_type.clone(), true);
            assert_eq!(found.wrong, wrong, "{data_type}");
            let plain = arrow::compute::cast(&found.column, &DataType::Utf8).unwrap();
            let texts: Vec<_> = plain.as_string::<i32>().iter().collect();
            assert_eq!(
                texts,
                [Some("a"), None, None, Some("\u{fc}")],
                "{data_type}"
            );
            let found = checked(column.slice(2, 2), data_type, true);
            assert_eq!(found.wrong, None);
        }
        let column = Arc::new(BinaryArray::from_iter(VALUES)).slice(0, 2);
        let found = checked(Arc::new(column), DataType::Utf8, false);
        assert_eq!(found.column.as_string::<i32>().value(1), "");
        assert_eq!(found.column.null_count(), 0);
    }

    #[test]
    fn a_row_is_wrong_for_what_is_nested_in_it() {
        let item = Arc::new(Field::new("item", DataType::Binary, true));
        let lists = ListArray::new(
            item,
            OffsetBuffer::from_lengths([1, 0, 2, 1]),
            Arc::new(BinaryArray::from_iter(VALUES)),
            None,
        );
        let text = Arc::new(Field::new("item", DataType::Utf8, true));
        let found = checked(Arc::new(lists), DataType::List(text), true);
        assert_eq!(found.wrong, Some(vec![false, false, true, false]));
        assert!(found.column.is_null(2) && found.column.is_valid(3));

        let keys = Int32Array::from(vec![Some(3), Some(1), None, Some(1), Some(0)]);
        let values = Arc::new(BinaryArray::from_iter(VALUES));
        let texts = DictionaryArray::<Int32Type>::new(keys, values);
        let data_type = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        let inner = Arc::new(Field::new("t", texts.data_type().clone(), true));
        let structs = StructArray::from(vec![(inner, Arc::new(texts) as ArrayRef)]);
        let field = Field::new("t", data_type, true);
        let found = checked(
            Arc::new(structs),
            DataType::Struct(vec![field].into()),
            true,
        );
        assert_eq!(found.wrong, Some(vec![false, true, false, true, false]));
        assert!(found.column.is_null(1) && found.column.is_valid(4));
    }

    #[test]
    fn marks_are_found() {
        let column: ArrayRef = Arc::new(StringArray::from(vec![
            "a",
            &format!("b{MARK}"),
            "\u{fffd}",
        ]));
        let field = Field::new("x", DataType::Utf8, true);
        let found = from_marked(&column, &field).unwrap();
        assert_eq!(found.wrong, Some(vec![false, true, false]));
        assert!(found.column.is_null(1));
        assert_eq!(
            from_marked(&column.slice(0, 1), &field).unwrap().wrong,
            None
        );
    }
}
