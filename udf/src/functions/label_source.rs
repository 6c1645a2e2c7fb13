//! `label_source(image, categories)`: who decided.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::Documentation;
use datafusion_macros::user_doc;

use crate::functions::kernel::Kernel;
use crate::functions::labelling::{Labelling, RowPrediction};
use crate::functions::placeholder::{ImageFunction, Operand};

/// `label_source(image, categories)`.
#[user_doc(
    doc_section(label = "Image Functions"),
    description = "Who decided about the categories: 'person' where a correction says so of at least one of them, else 'model'. NULL for a NULL image, and for one that could not be read and has no correction.",
    syntax_example = "label_source(image, categories)",
    sql_example = "```sql\nSELECT file FROM 'photos/' WHERE label_source(image, ['dog', 'cat']) = 'person';\n```",
    argument(
        name = "image",
        description = "The image: BINARY (an encoded file), STRUCT<bytes, path>, or a path or URL as text; a relative one is relative to the table's own location."
    ),
    argument(
        name = "categories",
        description = "A list of nouns such as ['dog', 'cat']; constant."
    ),
    related_udf(name = "classify_label")
)]
#[derive(Debug, Default)]
pub(crate) struct LabelSource;

impl ImageFunction for LabelSource {
    fn name(&self) -> &'static str {
        "label_source"
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
        Kernel::Scores(sources)
    }
}

fn sources(_labelling: &Labelling, rows: &[RowPrediction]) -> Result<ArrayRef> {
    let sources: StringArray = rows
        .iter()
        .map(|row| match row.scores() {
            _ if row.is_corrected() => Some("person"),
            Some(_) => Some("model"),
            None => None,
        })
        .collect();
    Ok(Arc::new(sources))
}
