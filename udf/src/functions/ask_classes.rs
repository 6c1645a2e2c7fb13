//! `ask_classes(image, question)`: the nouns of the model's answer.

use arrow::array::ArrayRef;
use arrow::datatypes::DataType;
use datafusion::common::{Result, exec_datafusion_err};
use datafusion::logical_expr::Documentation;
use datafusion_macros::user_doc;
use picsift_vision::nouns::nouns;

use crate::functions::columns;
use crate::functions::kernel::Kernel;
use crate::functions::placeholder::{ImageFunction, Operand};
use crate::pipeline::outcome::{Outcome, value};

/// `ask_classes(image, question)`.
#[user_doc(
    doc_section(label = "Image Functions"),
    description = "The nouns of the model's answer, singular, without repeats, in order of mention; planning fails for a model that cannot talk. NULL for a NULL or unreadable image.",
    syntax_example = "ask_classes(image, question)",
    sql_example = "```sql\nSELECT file, ask_classes(image, 'What animals are there?') FROM 'photos/';\n```",
    argument(
        name = "image",
        description = "The image: BINARY (an encoded file), STRUCT<bytes, path>, or a path or URL as text; a relative one is relative to the table's own location."
    ),
    argument(name = "question", description = "The question, in words; constant."),
    related_udf(name = "ask")
)]
#[derive(Debug, Default)]
pub(crate) struct AskClasses;

impl ImageFunction for AskClasses {
    fn name(&self) -> &'static str {
        "ask_classes"
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.doc()
    }

    fn operand(&self) -> Operand {
        Operand::Question
    }

    fn return_type(&self) -> DataType {
        columns::text_list_type()
    }

    fn kernel(&self) -> Kernel {
        Kernel::Texts(nouns_of)
    }
}

fn nouns_of(rows: &[Outcome<String>]) -> Result<ArrayRef> {
    let lists = rows
        .iter()
        .map(|row| value(row).map(|text| nouns(text)).transpose())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|e| exec_datafusion_err!("ask_classes: {e}"))?;
    Ok(columns::text_lists(lists))
}
