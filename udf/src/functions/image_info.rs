//! `image_info(image)`: what a file's header says of an image.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray, StructArray, UInt8Array, UInt32Array, UInt64Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::Result;
use datafusion::logical_expr::Documentation;
use datafusion_macros::user_doc;
use picsift_images::{ImageInfo as Facts, hex};

use crate::functions::kernel::Kernel;
use crate::functions::placeholder::{ImageFunction, Operand};
use crate::pipeline::outcome::{Outcome, value};

/// `image_info(image)`.
#[user_doc(
    doc_section(label = "Image Functions"),
    description = "A struct of width and height in pixels as the image is displayed, format, channels, bytes of the encoded file, and its SHA-256 in hexadecimal; no pixels are decoded. NULL for a NULL or unreadable image.",
    syntax_example = "image_info(image)",
    sql_example = "```sql\nSELECT file, image_info(image)['width'] FROM 'photos/';\n```",
    argument(
        name = "image",
        description = "The image: BINARY (an encoded file), STRUCT<bytes, path>, or a path or URL as text; a relative one is relative to the table's own location."
    ),
    related_udf(name = "load_image")
)]
#[derive(Debug, Default)]
pub(crate) struct ImageInfo;

impl ImageFunction for ImageInfo {
    fn name(&self) -> &'static str {
        "image_info"
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.doc()
    }

    fn operand(&self) -> Operand {
        Operand::None
    }

    fn return_type(&self) -> DataType {
        DataType::Struct(fields())
    }

    fn kernel(&self) -> Kernel {
        Kernel::Info(info)
    }
}

fn info(rows: &[Outcome<Facts>]) -> Result<ArrayRef> {
    let info = || rows.iter().map(value);
    let widths: UInt32Array = info().map(|i| i.map(|i| i.width)).collect();
    let heights: UInt32Array = info().map(|i| i.map(|i| i.height)).collect();
    let formats: StringArray = info().map(|i| i.map(|i| i.format)).collect();
    let channels: UInt8Array = info().map(|i| i.map(|i| i.channels)).collect();
    let bytes: UInt64Array = info().map(|i| i.map(|i| i.bytes)).collect();
    let hashes: StringArray = info().map(|i| i.map(|i| hex(&i.sha256))).collect();
    let nulls: NullBuffer = info().map(|i| i.is_some()).collect();
    Ok(Arc::new(StructArray::try_new(
        fields(),
        vec![
            Arc::new(widths),
            Arc::new(heights),
            Arc::new(formats),
            Arc::new(channels),
            Arc::new(bytes),
            Arc::new(hashes),
        ],
        Some(nulls),
    )?))
}

fn fields() -> Fields {
    Fields::from(vec![
        Field::new("width", DataType::UInt32, true),
        Field::new("height", DataType::UInt32, true),
        Field::new("format", DataType::Utf8, true),
        Field::new("channels", DataType::UInt8, true),
        Field::new("bytes", DataType::UInt64, true),
        Field::new("sha256", DataType::Utf8, true),
    ])
}
