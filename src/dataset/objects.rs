//! What `picsift image` printed, an object a line, as a labelled table: its `answers` and `scores` by category become columns.

use arrow::datatypes::{DataType, Fields, Schema};
use datafusion::common::Result;
use datafusion::functions::core::expr_fn::get_field;
use datafusion::logical_expr::{Expr, cast};
use datafusion::prelude::DataFrame;

use super::labels::LabelledCategory;
use crate::tables::plain;

/// The members of such an object.
const ANSWERS: &str = "answers";
const SCORES: &str = "scores";

/// The categories of a table of such objects; none of another table.
pub(super) fn categories(schema: &Schema) -> Vec<LabelledCategory> {
    let parts = |name: &str| match schema.field_with_name(name).map(|field| field.data_type()) {
        Ok(DataType::Struct(fields)) => Some(fields.clone()),
        _ => None,
    };
    let scores = parts(SCORES).unwrap_or_default();
    let answers: Option<Fields> = parts(ANSWERS);
    let answers = answers.iter().flat_map(|answers| answers.iter());
    answers
        .filter(|answer| *answer.data_type() == DataType::Boolean)
        .map(|answer| {
            let name = answer.name();
            let scored = scores.iter().any(|score| score.name() == name);
            LabelledCategory {
                name: name.clone(),
                prompt: None,
                threshold: None,
                is_column: format!("is_{name}"),
                score_column: scored.then(|| format!("score_{name}")),
            }
        })
        .collect()
}

/// The rows with a column for each answer and score.
///
/// # Errors
/// DataFusion's.
pub(super) fn with_columns(frame: DataFrame, categories: &[LabelledCategory]) -> Result<DataFrame> {
    let schema = frame.schema().as_arrow().clone();
    let own = schema.fields().iter().map(|field| plain(field.name()));
    let mut columns: Vec<Expr> = own.collect();
    for category in categories {
        let answer = get_field(plain(ANSWERS), category.name.as_str());
        columns.push(answer.alias(&category.is_column));
        if let Some(column) = &category.score_column {
            let score = get_field(plain(SCORES), category.name.as_str());
            columns.push(cast(score, DataType::Float32).alias(column));
        }
    }
    frame.select(columns)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::Field;

    use super::*;

    #[test]
    fn answers_are_categories_and_a_text_of_that_name_is_none() {
        let answers = Fields::from(vec![
            Field::new("dog", DataType::Boolean, true),
            Field::new("polar bear", DataType::Boolean, true),
        ]);
        let scores = Fields::from(vec![Field::new("dog", DataType::Float64, true)]);
        let schema = Schema::new(vec![
            Field::new("answers", DataType::Struct(answers), true),
            Field::new("scores", DataType::Struct(scores), true),
        ]);
        let found = categories(&schema);
        let columns: Vec<_> = found
            .iter()
            .map(|one| (one.is_column.as_str(), one.score_column.as_deref()))
            .collect();
        assert_eq!(
            columns,
            [("is_dog", Some("score_dog")), ("is_polar bear", None)]
        );
        let texts = Schema::new(vec![Field::new("answers", DataType::Utf8, true)]);
        assert_eq!(categories(&texts), []);
    }
}
