//! The pictures themselves in the output, as `--embed` asks: the image column becomes STRUCT&lt;bytes, path&gt;, as Hugging Face
//! `datasets` has images, so that the output needs no folder beside it.
//!
//! Which bytes those are the plan finds out beside the answers, from one fetch; here they are put in their place.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, StringArray, StructArray, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Schema, SchemaRef};
use datafusion::common::Result;
use picsift_udf::is_text;

use crate::output::huggingface;

/// The column of the bytes between the plan and the writer.
pub(super) const BYTES_COLUMN: &str = "__picsift_bytes";

fn parts() -> Fields {
    Fields::from(vec![
        Field::new("bytes", DataType::Binary, true),
        Field::new("path", DataType::Utf8, true),
    ])
}

/// `schema`, of an output without the columns `absent`, with pictures in the column `image`.
pub(super) fn schema(schema: &SchemaRef, image: &str, absent: &[String]) -> SchemaRef {
    let fields = schema
        .fields()
        .iter()
        .map(|field| match field.name() == image {
            true => Arc::new(Field::new(image, DataType::Struct(parts()), true)),
            false => Arc::clone(field),
        });
    let fields: Vec<FieldRef> = fields.collect();
    let schema = Schema::new_with_metadata(fields, schema.metadata().clone());
    huggingface::with_images(&Arc::new(schema), image, absent)
}

/// The image column with the bytes of the pictures in it; NULL for an image that is NULL. Of one that could not be read the path is left.
///
/// # Errors
/// For an image column of another type than images have.
pub(super) fn column(image: &ArrayRef, bytes: &ArrayRef) -> Result<ArrayRef> {
    let paths = match image.data_type() {
        DataType::Struct(_) => image.as_struct().column_by_name("path").cloned(),
        kind if is_text(kind) => Some(Arc::clone(image)),
        _ => None,
    };
    let paths = match paths {
        // A picture that is written in its reference would stand there twice.
        Some(paths) => without_inline(&cast(&paths, &DataType::Utf8)?),
        None => new_null_array(&DataType::Utf8, image.len()),
    };
    let bytes = cast(bytes, &DataType::Binary)?;
    let nulls = image.logical_nulls();
    Ok(Arc::new(StructArray::try_new(
        parts(),
        vec![bytes, paths],
        nulls,
    )?))
}

fn without_inline(paths: &ArrayRef) -> ArrayRef {
    let paths = paths.as_string::<i32>().iter();
    let paths: StringArray = paths
        .map(|path| path.filter(|path| !path.starts_with("data:")))
        .collect();
    Arc::new(paths)
}

#[cfg(test)]
mod tests {
    use arrow::array::BinaryArray;

    use super::*;

    #[test]
    fn bytes_stand_beside_their_path() {
        let image: ArrayRef = Arc::new(StringArray::from(vec![
            Some("a.jpg"),
            Some("gone.jpg"),
            None,
            Some("data:image/png;base64,AA"),
        ]));
        let bytes: ArrayRef = Arc::new(BinaryArray::from_opt_vec(vec![
            Some(b"a"),
            None,
            None,
            Some(b"\0"),
        ]));
        let made = column(&image, &bytes).unwrap();
        let made = made.as_struct();
        let paths: Vec<_> = made.column(1).as_string::<i32>().iter().collect();
        assert_eq!(paths, [Some("a.jpg"), Some("gone.jpg"), None, None]);
        assert!(made.is_null(2) && made.is_valid(1) && made.column(0).is_null(1));
        assert_eq!(made.column(0).as_binary::<i32>().value(3), b"\0");
    }
}
