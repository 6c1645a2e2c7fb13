//! `ask(image, question)`: the model's own words.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::Result;
use datafusion::logical_expr::Documentation;
use datafusion_macros::user_doc;

use crate::functions::kernel::Kernel;
use crate::functions::placeholder::{ImageFunction, Operand};
use crate::pipeline::outcome::{Outcome, value};

/// `ask(image, question)`.
#[user_doc(
    doc_section(label = "Image Functions"),
    description = "The model's answer in its own words; planning fails for a model that cannot talk. NULL for a NULL or unreadable image.",
    syntax_example = "ask(image, question)",
    sql_example = "```sql\nSELECT file, ask(image, 'What is in this picture?') FROM 'photos/';\n```",
    argument(
        name = "image",
        description = "The image: BINARY (an encoded file), STRUCT<bytes, path>, or a path or URL as text; a relative one is relative to the table's own location."
    ),
    argument(name = "question", description = "The question, in words; constant."),
    related_udf(name = "ask_classes")
)]
#[derive(Debug, Default)]
pub(crate) struct Ask;

impl ImageFunction for Ask {
    fn name(&self) -> &'static str {
        "ask"
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.doc()
    }

    fn operand(&self) -> Operand {
        Operand::Question
    }

    fn return_type(&self) -> DataType {
        DataType::Utf8
    }

    fn kernel(&self) -> Kernel {
        Kernel::Texts(texts)
    }
}

fn texts(rows: &[Outcome<String>]) -> Result<ArrayRef> {
    let texts: StringArray = rows.iter().map(value).collect();
    Ok(Arc::new(texts))
}
