//! `load_image(reference[, folder])`: the bytes of an image file.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray};
use arrow::datatypes::DataType;
use bytes::Bytes;
use datafusion::common::Result;
use datafusion::logical_expr::Documentation;
use datafusion_macros::user_doc;

use crate::functions::kernel::Kernel;
use crate::functions::placeholder::{ImageFunction, Operand};
use crate::pipeline::outcome::{Outcome, value};

/// `load_image(reference[, folder])`.
#[user_doc(
    doc_section(label = "Image Functions"),
    description = "The bytes of the file that a path or URL names, as they are; an image that is bytes already is returned unchanged. NULL for a NULL or unreadable reference.",
    syntax_example = "load_image(reference[, folder])",
    sql_example = "```sql\nSELECT md5(load_image(url)) FROM 'pages.parquet';\nSELECT classify(load_image(file, 'photos/'), 'dog') FROM answers;\n```",
    argument(
        name = "reference",
        description = "A path or URL; a relative one is relative to the table's own location. BINARY and STRUCT<bytes, path> are taken too."
    ),
    argument(
        name = "folder",
        description = "The folder that relative references are relative to, instead of the table's; a constant path or URL, no column. References stay below it."
    ),
    related_udf(name = "image_info")
)]
#[derive(Debug, Default)]
pub(crate) struct LoadImage;

impl ImageFunction for LoadImage {
    fn name(&self) -> &'static str {
        "load_image"
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.doc()
    }

    fn operand(&self) -> Operand {
        Operand::Folder
    }

    fn return_type(&self) -> DataType {
        DataType::Binary
    }

    fn kernel(&self) -> Kernel {
        Kernel::Bytes(bytes)
    }
}

fn bytes(rows: &[Outcome<Bytes>]) -> Result<ArrayRef> {
    let bytes: BinaryArray = rows.iter().map(value).collect();
    Ok(Arc::new(bytes))
}
