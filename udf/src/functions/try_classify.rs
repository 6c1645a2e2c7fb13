//! `try_classify(image, category)`: the answer, its score, or why there is none.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float32Array, StringArray, StructArray};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{DataType, Field, Fields};
use datafusion::common::Result;
use datafusion::logical_expr::Documentation;
use datafusion_macros::user_doc;

use crate::functions::kernel::Kernel;
use crate::functions::labelling::{Labelling, RowPrediction};
use crate::functions::placeholder::{ImageFunction, Operand};
use crate::pipeline::outcome::failure;

/// `try_classify(image, category)`.
#[user_doc(
    doc_section(label = "Image Functions"),
    description = "A struct of value (BOOLEAN), score (FLOAT) and error (VARCHAR, stage and reason). It never stops the query, whatever `picsift.on_error` says. NULL for a NULL image.",
    syntax_example = "try_classify(image, category)",
    sql_example = "```sql\nSELECT file, try_classify(image, 'dog')['error'] FROM 'photos/';\n```",
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
pub(crate) struct TryClassify;

impl ImageFunction for TryClassify {
    fn name(&self) -> &'static str {
        "try_classify"
    }

    fn documentation(&self) -> Option<&Documentation> {
        self.doc()
    }

    fn operand(&self) -> Operand {
        Operand::Category
    }

    fn return_type(&self) -> DataType {
        DataType::Struct(fields())
    }

    fn kernel(&self) -> Kernel {
        Kernel::Scores(tried)
    }

    fn tells_errors(&self) -> bool {
        true
    }
}

fn tried(labelling: &Labelling, rows: &[RowPrediction]) -> Result<ArrayRef> {
    let score = |row: &RowPrediction| row.scores()?.first().copied();
    let values: BooleanArray = rows
        .iter()
        .map(|row| *row.holds(labelling)?.first()?)
        .collect();
    let scores: Float32Array = rows.iter().map(score).collect();
    let errors: StringArray = rows.iter().map(|row| failure(row.outcome())).collect();
    let nulls: NullBuffer = rows.iter().map(|row| row.outcome().is_some()).collect();
    Ok(Arc::new(StructArray::try_new(
        fields(),
        vec![Arc::new(values), Arc::new(scores), Arc::new(errors)],
        Some(nulls),
    )?))
}

fn fields() -> Fields {
    Fields::from(vec![
        Field::new("value", DataType::Boolean, true),
        Field::new("score", DataType::Float32, true),
        Field::new("error", DataType::Utf8, true),
    ])
}
