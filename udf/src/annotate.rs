//! A stream of record batches in, the same batches with the answers' columns behind theirs out.
//!
//! Owns the columns that a labelling job adds: their names, types and NULL rules. Where batches come from and go
//! to is the job's business. A few batches are under way at once so that fetch, decode and model overlap; memory is bounded
//! by that number.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float32Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::common::{Result, exec_err, plan_err};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use picsift_vision::Service;
use url::Url;

use crate::columns;
use crate::engine::Engine;
use crate::image_column::{IMAGE_TYPES, ImageSource, image_sources, is_image_type};
use crate::infer::{Inquiry, Outcome, RunStats};
use crate::labelling::{Labelling, answers_json, best_label, labels};
use crate::settings::OnError;

/// Batches of one stream that are under way at once: while one is judged, the next are fetched and decoded.
const BATCHES_IN_FLIGHT: usize = 3;

/// Put before the name of an added column where the table has a column of that name already.
pub const CLASH_PREFIX: &str = "picsift_";

/// Names of the columns that a labelling adds, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedColumns {
    /// BOOLEAN per category: whether it holds.
    pub is: Vec<String>,
    /// FLOAT per category: its score, 0 to 1.
    pub score: Vec<String>,
    /// `LIST<UTF8>`: all categories that hold.
    pub labels: String,
    /// UTF8: the best category that holds, or NULL.
    pub label: String,
    /// UTF8: JSON object of category to boolean.
    pub answers: String,
    /// UTF8: stage and reason of a failure, NULL when all is well.
    pub error: String,
}

impl AddedColumns {
    /// Names for categories whose own column names are `names`, beside the columns of `input`.
    ///
    /// Where the table has a column of that name, ours gets [`CLASH_PREFIX`].
    ///
    /// # Errors
    /// A planning error when two added columns would have one name, or the table has the prefixed name as well.
    pub fn new(names: &[String], input: &Schema) -> Result<Self> {
        let mut used: HashSet<String> = HashSet::new();
        let mut free = |name: String| -> Result<String> {
            let taken = |name: &str| input.column_with_name(name).is_some();
            let chosen = if taken(&name) {
                format!("{CLASH_PREFIX}{name}")
            } else {
                name
            };
            if taken(&chosen) {
                return plan_err!(
                    "the table has columns '{}' and '{chosen}' already; drop or rename one of them",
                    &chosen[CLASH_PREFIX.len()..]
                );
            }
            if !used.insert(chosen.clone()) {
                return plan_err!(
                    "two categories would both be written to column '{chosen}'; give one another column name in the categories file"
                );
            }
            Ok(chosen)
        };
        Ok(Self {
            is: names
                .iter()
                .map(|n| free(format!("is_{n}")))
                .collect::<Result<_>>()?,
            score: names
                .iter()
                .map(|n| free(format!("score_{n}")))
                .collect::<Result<_>>()?,
            labels: free("labels".to_string())?,
            label: free("label".to_string())?,
            answers: free("answers".to_string())?,
            error: free("picsift_error".to_string())?,
        })
    }

    /// The fields, all nullable: `is_` and `score_` of each category in turn, then the row's own.
    pub fn fields(&self) -> Vec<Field> {
        let mut fields = Vec::new();
        for (is, score) in self.is.iter().zip(&self.score) {
            fields.push(Field::new(is, DataType::Boolean, true));
            fields.push(Field::new(score, DataType::Float32, true));
        }
        fields.push(Field::new(&self.labels, columns::text_list_type(), true));
        for name in [&self.label, &self.answers, &self.error] {
            fields.push(Field::new(name, DataType::Utf8, true));
        }
        fields
    }
}

/// What is asked of a stream's images and how the answers are written.
#[derive(Debug, Clone)]
pub struct Annotation {
    /// Name of the column that holds the images.
    pub image: String,
    /// Folder that relative references belong to.
    pub base: Option<Url>,
    /// The categories, checked against the service's model.
    pub labelling: Labelling,
    /// Names of the added columns.
    pub added: AddedColumns,
    /// What a failed image does.
    pub on_error: OnError,
}

/// The stream with the answers' columns added; rows keep their order.
///
/// # Errors
/// At once for an image column that is missing or of another type; in the stream where `on_error` is `fail` and an
/// image failed (the message names the row, counted from 1 within this stream).
pub fn annotate(
    engine: Arc<Engine>,
    service: Service,
    input: SendableRecordBatchStream,
    annotation: Annotation,
    stats: Arc<RunStats>,
) -> Result<SendableRecordBatchStream> {
    let schema = input.schema();
    let Some((index, field)) = schema.column_with_name(&annotation.image) else {
        return plan_err!("the table has no column '{}'", annotation.image);
    };
    if !is_image_type(field.data_type()) {
        return plan_err!(
            "column '{}' is {}; images are {IMAGE_TYPES}",
            annotation.image,
            field.data_type()
        );
    }
    let output = output_schema(&schema, &annotation.added);
    let inquiry = Inquiry {
        engine,
        service,
        base: annotation.base.clone(),
        questions: Arc::clone(annotation.labelling.questions()),
        stats,
    };
    let shared = Arc::new((inquiry, annotation, Arc::clone(&output)));
    let mut first_row = 1;
    let batches = input
        .map(move |batch| {
            let shared = Arc::clone(&shared);
            let start = first_row;
            if let Ok(batch) = &batch {
                first_row += batch.num_rows();
            }
            async move {
                let (inquiry, annotation, output) = &*shared;
                let batch = batch?;
                let images = image_sources(batch.column(index))?;
                let named = names_for_errors(&images);
                let rows = inquiry.scores(images).await;
                if annotation.on_error == OnError::Fail {
                    fail_on_error(&rows, &named, start)?;
                }
                let mut columns = batch.columns().to_vec();
                columns.extend(answer_columns(&rows, &annotation.labelling));
                Ok(RecordBatch::try_new(Arc::clone(output), columns)?)
            }
        })
        .buffered(BATCHES_IN_FLIGHT);
    Ok(Box::pin(RecordBatchStreamAdapter::new(output, batches)))
}

/// The input's fields and metadata with the added fields behind.
pub fn output_schema(input: &SchemaRef, added: &AddedColumns) -> SchemaRef {
    let mut fields: Vec<_> = input.fields().iter().cloned().collect();
    fields.extend(added.fields().into_iter().map(Arc::new));
    Arc::new(Schema::new_with_metadata(fields, input.metadata().clone()))
}

fn names_for_errors(images: &[Option<ImageSource>]) -> Vec<String> {
    images
        .iter()
        .map(|image| match image {
            Some(ImageSource::Reference(reference)) => format!(" ({reference})"),
            _ => String::new(),
        })
        .collect()
}

fn fail_on_error(rows: &[Outcome<Vec<f32>>], named: &[String], start: usize) -> Result<()> {
    for (offset, (row, name)) in rows.iter().zip(named).enumerate() {
        if let Some(Err(error)) = row {
            return exec_err!("row {}{name}: {error}", start + offset);
        }
    }
    Ok(())
}

fn answer_columns(rows: &[Outcome<Vec<f32>>], labelling: &Labelling) -> Vec<ArrayRef> {
    let scores: Vec<Option<&[f32]>> = rows
        .iter()
        .map(|row| Some(row.as_ref()?.as_ref().ok()?.as_slice()))
        .collect();
    let holds: Vec<Option<Vec<bool>>> = scores
        .iter()
        .map(|row| row.map(|scores| labelling.holds(scores)))
        .collect();
    let names = labelling.names();
    let mut columns: Vec<ArrayRef> = Vec::new();
    for category in 0..names.len() {
        let is: BooleanArray = holds
            .iter()
            .map(|row| row.as_ref().map(|h| h[category]))
            .collect();
        let score: Float32Array = scores.iter().map(|row| row.map(|s| s[category])).collect();
        columns.push(Arc::new(is));
        columns.push(Arc::new(score));
    }
    columns.push(columns::text_lists(
        holds
            .iter()
            .map(|row| row.as_ref().map(|held| labels(names, held))),
    ));
    let label: StringArray = holds
        .iter()
        .zip(&scores)
        .map(|(held, scores)| best_label(names, held.as_ref()?, (*scores)?))
        .collect();
    let answers: StringArray = holds
        .iter()
        .map(|held| held.as_ref().map(|held| answers_json(names, held)))
        .collect();
    let errors: StringArray = rows
        .iter()
        .map(|row| row.as_ref()?.as_ref().err().map(ToString::to_string))
        .collect();
    columns.push(Arc::new(label));
    columns.push(Arc::new(answers));
    columns.push(Arc::new(errors));
    columns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(names: &[&str]) -> Schema {
        Schema::new(
            names
                .iter()
                .map(|name| Field::new(*name, DataType::Utf8, true))
                .collect::<Vec<_>>(),
        )
    }

    #[test]
    fn a_name_the_table_has_is_prefixed() {
        let added = AddedColumns::new(&["fish".to_string()], &schema(&["image", "label"])).unwrap();
        assert_eq!(added.label, "picsift_label");
        assert_eq!(
            (added.is[0].as_str(), added.labels.as_str()),
            ("is_fish", "labels")
        );
    }

    #[test]
    fn a_name_taken_twice_over_is_refused() {
        let table = schema(&["label", "picsift_label"]);
        let message = AddedColumns::new(&["fish".to_string()], &table)
            .unwrap_err()
            .to_string();
        assert!(message.contains("'label' and 'picsift_label'"), "{message}");
        let twice = ["fish".to_string(), "fish".to_string()];
        let message = AddedColumns::new(&twice, &schema(&[]))
            .unwrap_err()
            .to_string();
        assert!(message.contains("is_fish"), "{message}");
    }
}
