//! `embed(image)`: an image as a vector.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, FixedSizeListArray, Float32Array};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::{Result, exec_err, plan_datafusion_err};
use datafusion::logical_expr::Documentation;
use datafusion_macros::user_doc;
use picsift_vision::{Embedding, VisionError};

use crate::functions::kernel::Kernel;
use crate::functions::placeholder::{ImageFunction, Operand};
use crate::pipeline::models::ModelHandle;
use crate::pipeline::outcome::{Outcome, value};

/// Key in a field's metadata that says which model its embeddings are of: its name, `@` and its revision.
pub const EMBEDDING_MODEL: &str = "picsift.embedding";

/// `embed(image)`.
#[user_doc(
    doc_section(label = "Image Functions"),
    description = "The image as a vector of unit length, FIXED_SIZE_LIST<FLOAT>, as wide as the model makes them: images that are alike have vectors near each other, and for a model that embeds texts too (siglip2) so have images and what is said of them. NULL for a NULL or unreadable image.",
    syntax_example = "embed(image)",
    sql_example = "```sql\nCOPY (SELECT file, embed(image) AS embedding FROM 'photos/') TO 'embedded.parquet';\n```",
    argument(
        name = "image",
        description = "The image: BINARY (an encoded file), STRUCT<bytes, path>, or a path or URL as text; a relative one is relative to the table's own location."
    ),
    related_udf(name = "similarity"),
    related_udf(name = "embed_text")
)]
#[derive(Debug, Default)]
pub(crate) struct Embed {
    width: usize,
    /// Whose embeddings; empty before a model is named.
    model: String,
}

impl ImageFunction for Embed {
    fn name(&self) -> &'static str {
        "embed"
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.doc()
    }

    fn operand(&self) -> Operand {
        Operand::None
    }

    /// Of width 0 until a model is named.
    fn return_type(&self) -> DataType {
        embedding_type(self.width)
    }

    fn kernel(&self) -> Kernel {
        Kernel::Embeddings(lists, self.width)
    }

    fn of_model(&self, model: &ModelHandle) -> Result<Option<Arc<dyn ImageFunction>>> {
        let embeddings = model.embeddings().ok_or_else(|| {
            let model = model.info().name.clone();
            plan_datafusion_err!("embed: {}", VisionError::CannotEmbed { model })
        })?;
        Ok(Some(Arc::new(Self {
            width: embeddings.width,
            model: model_of(model),
        })))
    }

    fn metadata(&self) -> Option<HashMap<String, String>> {
        Some(metadata(&self.model))
    }
}

/// The metadata of a field of embeddings of this model.
pub(crate) fn metadata(model: &str) -> HashMap<String, String> {
    [(EMBEDDING_MODEL.to_string(), model.to_string())].into()
}

/// What tells the space of a model's embeddings from others: its name and revision.
pub(crate) fn model_of(model: &ModelHandle) -> String {
    let info = model.info();
    format!("{}@{}", info.name, info.revision)
}

/// `FIXED_SIZE_LIST<FLOAT>` with items named `item`, as most readers write it.
pub(crate) fn embedding_type(width: usize) -> DataType {
    // Widths are those of a model's layers, which its loader bounds.
    DataType::FixedSizeList(item(), i32::try_from(width).unwrap_or(i32::MAX))
}

fn item() -> FieldRef {
    Arc::new(Field::new_list_field(DataType::Float32, true))
}

fn lists(rows: &[Outcome<Embedding>], width: usize) -> Result<ArrayRef> {
    column(
        rows.iter().map(|row| value(row).map(Embedding::to_unit)),
        width,
    )
}

/// A column of [`embedding_type`]; `None` gives NULL.
///
/// # Errors
/// For a vector of another width.
pub(crate) fn column(
    rows: impl ExactSizeIterator<Item = Option<Vec<f32>>>,
    width: usize,
) -> Result<ArrayRef> {
    let mut numbers = Vec::with_capacity(rows.len() * width);
    let mut valid = Vec::with_capacity(rows.len());
    for row in rows {
        valid.push(row.is_some());
        match row {
            Some(vector) if vector.len() == width => numbers.extend(vector),
            Some(vector) => {
                return exec_err!(
                    "the model gave an embedding {} wide where its are {width}",
                    vector.len()
                );
            }
            None => numbers.resize(numbers.len() + width, 0.0),
        }
    }
    let DataType::FixedSizeList(item, size) = embedding_type(width) else {
        return exec_err!("embeddings are lists");
    };
    Ok(Arc::new(FixedSizeListArray::try_new(
        item,
        size,
        Arc::new(Float32Array::from(numbers)),
        Some(NullBuffer::from(valid)),
    )?))
}
