//! `classify_json(image, categories)`: every answer, as a JSON object.

use std::sync::Arc;

use arrow::array::{ArrayRef, StringArray};
use arrow::datatypes::DataType;
use async_trait::async_trait;
use datafusion::common::Result;
use datafusion::logical_expr::Documentation;
use datafusion_macros::user_doc;

use crate::call::Call;
use crate::image_column::ImageSource;
use crate::labelling::answers_json;
use crate::marker::{ImageFunction, Operand};

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

#[async_trait]
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

    async fn run(&self, call: &Call, images: Vec<Option<ImageSource>>) -> Result<ArrayRef> {
        let rows = call.settle(call.scores(images).await?)?;
        let labelling = call.labelling()?;
        let answers: StringArray = rows
            .iter()
            .map(|row| {
                row.as_ref()
                    .map(|scores| answers_json(labelling.names(), &labelling.holds(scores)))
            })
            .collect();
        Ok(Arc::new(answers))
    }
}
