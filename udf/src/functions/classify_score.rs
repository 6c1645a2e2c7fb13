//! `classify_score(image, category)`: how sure the model is.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float32Array};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::Documentation;
use datafusion_macros::user_doc;

use crate::functions::kernel::Kernel;
use crate::functions::labelling::{Labelling, RowPrediction};
use crate::functions::placeholder::{ImageFunction, Operand};

/// `classify_score(image, category)`.
#[user_doc(
    doc_section(label = "Image Functions"),
    description = "The model's score that the image shows the category, 0 to 1. NULL for a NULL or unreadable image.",
    syntax_example = "classify_score(image, category)",
    sql_example = "```sql\nSELECT file FROM 'photos/' ORDER BY classify_score(image, 'dog') DESC LIMIT 10;\n```",
    argument(
        name = "image",
        description = "The image: BINARY (an encoded file), STRUCT<bytes, path>, or a path or URL as text; a relative one is relative to the table's own location."
    ),
    argument(
        name = "category",
        description = "A noun such as 'dog' or 'polar bear'; constant."
    ),
    related_udf(name = "classify")
)]
#[derive(Debug, Default)]
pub(crate) struct ClassifyScore;

impl ImageFunction for ClassifyScore {
    fn name(&self) -> &'static str {
        "classify_score"
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.doc()
    }

    fn operand(&self) -> Operand {
        Operand::Category
    }

    fn return_type(&self) -> DataType {
        DataType::Float32
    }

    fn kernel(&self) -> Kernel {
        Kernel::Scores(score)
    }
}

fn score(_labelling: &Labelling, rows: &[RowPrediction]) -> Result<ArrayRef> {
    let scores: Float32Array = rows
        .iter()
        .map(|row| row.scores()?.first().copied())
        .collect();
    Ok(Arc::new(scores))
}
