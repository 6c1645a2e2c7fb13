//! `classify_label(image, categories)`: the best category that holds.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::Documentation;
use datafusion_macros::user_doc;

use crate::functions::kernel::Kernel;
use crate::functions::labelling::{Labelling, RowPrediction};
use crate::functions::placeholder::{ImageFunction, Operand};

/// `classify_label(image, categories)`.
#[user_doc(
    doc_section(label = "Image Functions"),
    description = "The category with the highest score among those that hold, or NULL when none does. NULL for a NULL or unreadable image.",
    syntax_example = "classify_label(image, categories)",
    sql_example = "```sql\nSELECT classify_label(image, ['dog', 'cat']) AS label, count(*) FROM 'photos/' GROUP BY label;\n```",
    argument(
        name = "image",
        description = "The image: BINARY (an encoded file), STRUCT<bytes, path>, or a path or URL as text; a relative one is relative to the table's own location."
    ),
    argument(name = "categories", description = "A list of nouns, constant."),
    related_udf(name = "classify_labels")
)]
#[derive(Debug, Default)]
pub(crate) struct ClassifyLabel;

impl ImageFunction for ClassifyLabel {
    fn name(&self) -> &'static str {
        "classify_label"
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.doc()
    }

    fn operand(&self) -> Operand {
        Operand::Categories
    }

    fn return_type(&self) -> DataType {
        DataType::Utf8
    }

    fn kernel(&self) -> Kernel {
        Kernel::Scores(best)
    }
}

fn best(labelling: &Labelling, rows: &[RowPrediction]) -> Result<ArrayRef> {
    let best: StringArray = rows.iter().map(|row| row.best(labelling)).collect();
    Ok(Arc::new(best))
}
