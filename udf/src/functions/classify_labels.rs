//! `classify_labels(image, categories)`: all categories that hold.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::Documentation;
use datafusion_macros::user_doc;

use crate::functions::columns;
use crate::functions::kernel::Kernel;
use crate::functions::labelling::{Labelling, RowPrediction, labels};
use crate::functions::placeholder::{ImageFunction, Operand};

/// `classify_labels(image, categories)`.
#[user_doc(
    doc_section(label = "Image Functions"),
    description = "The categories that the image shows, in the order given; empty when none does. NULL for a NULL or unreadable image.",
    syntax_example = "classify_labels(image, categories)",
    sql_example = "```sql\nSELECT file, classify_labels(image, ['dog', 'cat']) FROM 'photos/';\n```",
    argument(
        name = "image",
        description = "The image: BINARY (an encoded file), STRUCT<bytes, path>, or a path or URL as text; a relative one is relative to the table's own location."
    ),
    argument(name = "categories", description = "A list of nouns, constant."),
    related_udf(name = "classify_label")
)]
#[derive(Debug, Default)]
pub(crate) struct ClassifyLabels;

impl ImageFunction for ClassifyLabels {
    fn name(&self) -> &'static str {
        "classify_labels"
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.doc()
    }

    fn operand(&self) -> Operand {
        Operand::Categories
    }

    fn return_type(&self) -> DataType {
        columns::text_list_type()
    }

    fn kernel(&self) -> Kernel {
        Kernel::Scores(all)
    }
}

fn all(labelling: &Labelling, rows: &[RowPrediction]) -> Result<ArrayRef> {
    Ok(columns::text_lists(rows.iter().map(|row| {
        let held = row.holds(labelling)?;
        Some(labels(labelling.names(), &held))
    })))
}
