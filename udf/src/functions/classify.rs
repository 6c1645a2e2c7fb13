//! `classify(image, category)`: does the category hold?

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::Documentation;
use datafusion_macros::user_doc;

use crate::functions::kernel::Kernel;
use crate::functions::labelling::{Labelling, RowPrediction};
use crate::functions::placeholder::{ImageFunction, Operand};

/// `classify(image, category)`.
#[user_doc(
    doc_section(label = "Image Functions"),
    description = "Whether the image shows the category: its score reaches the threshold (`picsift.threshold`, else the model's default). NULL for a NULL or unreadable image.",
    syntax_example = "classify(image, category)",
    sql_example = "```sql\nSELECT file, classify(image, 'dog') AS is_dog FROM 'photos/';\n```",
    argument(
        name = "image",
        description = "The image: BINARY (an encoded file), STRUCT<bytes, path>, or a path or URL as text; a relative one is relative to the table's own location."
    ),
    argument(
        name = "category",
        description = "A noun such as 'dog' or 'polar bear'; constant."
    ),
    related_udf(name = "classify_score"),
    related_udf(name = "try_classify")
)]
#[derive(Debug, Default)]
pub(crate) struct Classify;

impl ImageFunction for Classify {
    fn name(&self) -> &'static str {
        "classify"
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.doc()
    }

    fn operand(&self) -> Operand {
        Operand::Category
    }

    fn return_type(&self) -> DataType {
        DataType::Boolean
    }

    fn kernel(&self) -> Kernel {
        Kernel::Scores(positives)
    }
}

fn positives(labelling: &Labelling, rows: &[RowPrediction]) -> Result<ArrayRef> {
    let held: BooleanArray = rows
        .iter()
        .map(|row| *row.holds(labelling)?.first()?)
        .collect();
    Ok(Arc::new(held))
}
