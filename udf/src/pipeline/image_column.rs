//! Which Arrow types are images, and the image of each row.
//!
//! Owns the reading of columns only; it neither fetches nor decodes. Bytes stay where Arrow has them: a row's
//! [`Bytes`] shares the column's buffer wherever the layout allows.

use arrow::array::{Array, ArrayRef, AsArray, GenericByteArray, OffsetSizeTrait};
use arrow::buffer::Buffer;
use arrow::compute::cast;
use arrow::datatypes::{ByteArrayType, DataType, Fields};
use bytes::Bytes;
use datafusion::common::{Result, exec_err};

/// One image as a table holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// The encoded file itself.
    Bytes(Bytes),
    /// A path or URL, absolute or relative to the table's location.
    Reference(String),
}

/// The types that are taken as images, in words for messages.
pub const IMAGE_TYPES: &str = "BINARY, STRUCT<bytes, path> or a path/URL string";

/// Whether a column of this type can hold images.
pub fn is_image_type(data_type: &DataType) -> bool {
    is_binary(data_type)
        || is_text(data_type)
        || matches!(data_type, DataType::Struct(fields) if is_image_struct(fields))
}

/// Whether this is the struct that Hugging Face datasets write for an image: `bytes`, and usually `path`. Of the two one may have no
/// type, as where no row of a table has it.
pub fn is_image_struct(fields: &Fields) -> bool {
    let part = |name: &str| fields.find(name).map(|(_, field)| field.data_type());
    match (part("bytes"), part("path")) {
        (Some(bytes), None) => is_binary(bytes),
        (Some(bytes), Some(path)) if path.is_null() => is_binary(bytes),
        (Some(bytes), Some(path)) => (is_binary(bytes) || bytes.is_null()) && is_text(path),
        (None, _) => false,
    }
}

/// UTF-8 text of any layout, in a dictionary too.
pub fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, value) => is_string(value),
        plain => is_string(plain),
    }
}

/// BINARY of any layout, in a dictionary too.
pub fn is_binary(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(_, value) => is_binary(value),
        plain => matches!(
            plain,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView
        ),
    }
}

/// UTF-8 text of any layout.
pub fn is_string(data_type: &DataType) -> bool {
    matches!(
        data_type,
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View
    )
}

/// The image of each row of `column`; NULL rows give `None`.
///
/// In a struct the bytes win over the path; a struct with neither is NULL too.
///
/// # Errors
/// An execution error for a type that is no image (planning refuses those before).
pub fn image_sources(column: &ArrayRef) -> Result<Vec<Option<ImageSource>>> {
    match column.data_type() {
        DataType::Null => Ok(vec![None; column.len()]),
        DataType::Binary => Ok(shared_bytes(column.as_binary::<i32>())),
        DataType::LargeBinary => Ok(shared_bytes(column.as_binary::<i64>())),
        DataType::BinaryView => Ok(column
            .as_binary_view()
            .iter()
            .map(|v| v.map(|v| ImageSource::Bytes(Bytes::copy_from_slice(v))))
            .collect()),
        DataType::Utf8 => Ok(references(column.as_string::<i32>().iter())),
        DataType::LargeUtf8 => Ok(references(column.as_string::<i64>().iter())),
        DataType::Utf8View => Ok(references(column.as_string_view().iter())),
        DataType::Dictionary(_, value) if is_string(value) || is_binary(value) => {
            image_sources(&cast(column, value)?)
        }
        DataType::Struct(fields) if is_image_struct(fields) => {
            let parts = column.as_struct();
            let mut rows = vec![None; column.len()];
            for name in ["path", "bytes"] {
                if let Some(part) = parts.column_by_name(name) {
                    for (row, source) in rows.iter_mut().zip(image_sources(part)?) {
                        *row = source.or(row.take());
                    }
                }
            }
            for (index, row) in rows.iter_mut().enumerate() {
                if parts.is_null(index) {
                    *row = None;
                }
            }
            Ok(rows)
        }
        other => exec_err!("a column of type {other} holds no images; expected {IMAGE_TYPES}"),
    }
}

/// What each row of an image column calls its image: the reference, or the path that stands beside the bytes. `None` for what
/// has no name.
///
/// # Errors
/// An execution error for text that cannot be read as such.
pub fn image_names(column: &ArrayRef) -> Result<Vec<Option<String>>> {
    match column.data_type() {
        DataType::Struct(fields) if is_image_struct(fields) => {
            match column.as_struct().column_by_name("path") {
                Some(path) => image_names(path),
                None => Ok(vec![None; column.len()]),
            }
        }
        DataType::Dictionary(_, value) if is_string(value) => image_names(&cast(column, value)?),
        data_type if is_string(data_type) => {
            let texts = cast(column, &DataType::Utf8)?;
            let texts = texts.as_string::<i32>().iter();
            Ok(texts.map(|text| text.map(str::to_string)).collect())
        }
        _ => Ok(vec![None; column.len()]),
    }
}

fn references<'a>(values: impl Iterator<Item = Option<&'a str>>) -> Vec<Option<ImageSource>> {
    values
        .map(|v| v.map(|v| ImageSource::Reference(v.to_string())))
        .collect()
}

/// Lets [`Bytes`] own a part of a column.
struct SharedBuffer(Buffer);

impl AsRef<[u8]> for SharedBuffer {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

fn shared_bytes<T, O>(array: &GenericByteArray<T>) -> Vec<Option<ImageSource>>
where
    T: ByteArrayType<Offset = O>,
    O: OffsetSizeTrait,
{
    let values = array.values();
    array
        .offsets()
        .windows(2)
        .enumerate()
        .map(|(row, range)| {
            array.is_valid(row).then(|| {
                let (start, end) = (range[0].as_usize(), range[1].as_usize());
                let slice = values.slice_with_length(start, end - start);
                ImageSource::Bytes(Bytes::from_owner(SharedBuffer(slice)))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{BinaryArray, Int64Array, StringArray, StructArray};
    use arrow::buffer::NullBuffer;
    use arrow::datatypes::{Field, Int32Type};

    use super::*;

    fn bytes(value: &'static [u8]) -> Option<ImageSource> {
        Some(ImageSource::Bytes(Bytes::from_static(value)))
    }

    fn reference(value: &str) -> Option<ImageSource> {
        Some(ImageSource::Reference(value.to_string()))
    }

    #[test]
    fn binary_layouts_agree_and_keep_nulls() {
        let array: ArrayRef = Arc::new(BinaryArray::from_opt_vec(vec![
            Some(b"one".as_slice()),
            None,
            Some(b"".as_slice()),
            Some(b"four".as_slice()),
        ]));
        let expected = vec![bytes(b"one"), None, bytes(b""), bytes(b"four")];
        for layout in [
            DataType::Binary,
            DataType::LargeBinary,
            DataType::BinaryView,
        ] {
            let column = cast(&array, &layout).unwrap();
            assert_eq!(image_sources(&column).unwrap(), expected, "{layout}");
            let tail = column.slice(1, 3);
            assert_eq!(
                image_sources(&tail).unwrap(),
                expected[1..],
                "{layout} sliced"
            );
        }
    }

    #[test]
    fn bytes_share_the_columns_memory() {
        let array = BinaryArray::from_vec(vec![b"pixels".as_slice()]);
        let start = array.value_data().as_ptr();
        let column: ArrayRef = Arc::new(array);
        let sources = image_sources(&column).unwrap();
        let Some(ImageSource::Bytes(image)) = &sources[0] else {
            panic!("no bytes")
        };
        assert_eq!(image.as_ptr(), start);
    }

    #[test]
    fn struct_prefers_bytes_then_path_then_null() {
        let column: ArrayRef = Arc::new(StructArray::new(
            Fields::from(vec![
                Field::new("bytes", DataType::Binary, true),
                Field::new("path", DataType::Utf8, true),
            ]),
            vec![
                Arc::new(BinaryArray::from_opt_vec(vec![
                    Some(b"x"),
                    None,
                    None,
                    Some(b"y"),
                ])),
                Arc::new(StringArray::from(vec![
                    Some("a"),
                    Some("b"),
                    None,
                    Some("c"),
                ])),
            ],
            Some(NullBuffer::from(vec![true, true, true, false])),
        ));
        assert_eq!(
            image_sources(&column).unwrap(),
            vec![bytes(b"x"), reference("b"), None, None]
        );
    }

    #[test]
    fn a_struct_whose_paths_or_bytes_have_no_type_holds_images() {
        let nothing: ArrayRef = Arc::new(arrow::array::NullArray::new(1));
        let bytes_of: ArrayRef = Arc::new(BinaryArray::from_vec(vec![b"x"]));
        let path: ArrayRef = Arc::new(StringArray::from(vec!["a"]));
        let image = |bytes: &ArrayRef, path: &ArrayRef| -> ArrayRef {
            let field =
                |name: &str, part: &ArrayRef| Field::new(name, part.data_type().clone(), true);
            Arc::new(StructArray::new(
                Fields::from(vec![field("bytes", bytes), field("path", path)]),
                vec![Arc::clone(bytes), Arc::clone(path)],
                None,
            ))
        };
        for (column, found) in [
            (image(&bytes_of, &nothing), bytes(b"x")),
            (image(&nothing, &path), reference("a")),
        ] {
            assert!(is_image_type(column.data_type()), "{}", column.data_type());
            assert_eq!(image_sources(&column).unwrap(), [found]);
        }
        assert!(!is_image_type(image(&nothing, &nothing).data_type()));
    }

    #[test]
    fn dictionary_of_paths_is_a_reference_column() {
        let array: arrow::array::DictionaryArray<Int32Type> =
            vec![Some("a.jpg"), None, Some("a.jpg")]
                .into_iter()
                .collect();
        let column: ArrayRef = Arc::new(array);
        assert!(is_image_type(column.data_type()));
        assert_eq!(
            image_sources(&column).unwrap(),
            vec![reference("a.jpg"), None, reference("a.jpg")]
        );
    }

    #[test]
    fn bytes_may_stand_in_a_dictionary_and_in_a_struct_with_one() {
        let plain: ArrayRef = Arc::new(BinaryArray::from_opt_vec(vec![Some(b"x"), None]));
        for layout in [
            DataType::Binary,
            DataType::LargeBinary,
            DataType::BinaryView,
        ] {
            let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(layout));
            let column = cast(&plain, &dictionary).unwrap();
            assert!(is_image_type(&dictionary), "{dictionary}");
            assert_eq!(image_sources(&column).unwrap(), [bytes(b"x"), None]);
            let fields = Fields::from(vec![Field::new("bytes", dictionary, true)]);
            let image: ArrayRef = Arc::new(StructArray::new(fields, vec![column], None));
            assert!(is_image_type(image.data_type()), "{}", image.data_type());
            assert_eq!(image_sources(&image).unwrap(), [bytes(b"x"), None]);
        }
    }

    #[test]
    fn numbers_are_no_images() {
        let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        assert!(!is_image_type(column.data_type()));
        let message = image_sources(&column).unwrap_err().to_string();
        assert!(
            message.contains("Int64") && message.contains("path/URL"),
            "{message}"
        );
    }
}
