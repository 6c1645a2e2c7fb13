//! `classify_json(image, categories)`: every answer, as a JSON object.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::Documentation;
use datafusion_macros::user_doc;

use crate::functions::kernel::Kernel;
use crate::functions::labelling::{Labelling, RowPrediction, answers_json};
use crate::functions::placeholder::{ImageFunction, Operand};

/// `classify_json(image, categories)`.
#[user_doc(
    doc_section(label = "Image Functions"),
    description = "A JSON object that says of each category whether it holds, in the order given. NULL for a NULL or unreadable image.",
    syntax_example = "classify_json(image, categories)",
    sql_example = "```sql\nSELECT classify_json(image, ['dog', 'cat']) FROM 'photos/';\n```",
    argument(
        name = "image",
        description = "The image: BINARY (an encoded file), STRUCT<bytes, path>, or a path or URL as text; a relative one is relative to the table's own location."
    ),
    argument(name = "categories", description = "A list of nouns, constant."),
    related_udf(name = "classify_labels")
)]
#[derive(Debug, Default)]
pub(crate) struct ClassifyJson;

impl ImageFunction for ClassifyJson {
    fn name(&self) -> &'static str {
        "classify_json"
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
        Kernel::Scores(json)
    }
}

fn json(labelling: &Labelling, rows: &[RowPrediction]) -> Result<ArrayRef> {
    let answers: StringArray = rows
        .iter()
        .map(|row| {
            let held = row.holds(labelling)?;
            Some(answers_json(labelling.names(), &held))
        })
        .collect();
    Ok(Arc::new(answers))
}
