//! The rows that are learnt from: of each its embedding, what is true, how much it counts and what the model says by itself.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, Float32Type, Float64Type};
use datafusion::common::{Result, exec_datafusion_err, exec_err};
use datafusion::logical_expr::{Expr, cast};
use datafusion::prelude::{DataFrame, SessionContext};
use futures::StreamExt;
use picsift_udf::{EMBEDDING_MODEL, Engine, Lessons, ModelHandle, lessons};
use picsift_vision::learn::Examples;
use url::Url;

use super::truth::Lesson;
use super::zero_shot::ZeroShot;
use crate::batches;
use crate::dataset::{LabelledCategory, Labels, WEIGHT};
use crate::error::AppError;
use crate::eval::words::Words;
use crate::options::ModelOptions;
use crate::tables::{self, plain};

/// The column of embeddings that are asked for.
const EMBEDDING: &str = "picsift_embedding";

/// What is learnt from.
pub(super) struct Reading<'a> {
    pub(super) labelled: &'a Labels,
    /// The categories, by the names of which truth is found.
    pub(super) categories: &'a [LabelledCategory],
    pub(super) lesson: &'a Lesson,
    pub(super) zero_shot: &'a [ZeroShot],
    /// The column of images, where there is one.
    pub(super) image: Option<&'a str>,
    pub(super) base: Option<Url>,
    pub(super) handle: &'a ModelHandle,
    pub(super) model: &'a ModelOptions,
}

/// What was read; lists that are as long as the examples.
pub(super) struct Lines {
    pub(super) examples: Examples,
    /// For each category what is true, 0 to 1; NaN where nothing is known.
    pub(super) truth: Vec<Vec<f32>>,
    /// How many rows each stands for.
    pub(super) weights: Option<Vec<f32>>,
    /// For each category the model's own score, where it has one of its own column; NaN where it has none.
    pub(super) scores: Vec<Option<Vec<f32>>>,
    /// Rows of which something is known, but whose image has no embedding.
    pub(super) lost: usize,
    /// Words of the truth that no category has, most frequent first.
    pub(super) strangers: Vec<String>,
}

/// The column of the table that has this model's embeddings, by what each of its parts says of itself.
async fn own_embeddings(
    context: &SessionContext,
    reading: &Reading<'_>,
) -> std::result::Result<Option<String>, AppError> {
    let info = reading.handle.info();
    let width = reading
        .handle
        .embeddings()
        .map(|embeddings| embeddings.width);
    let width = width.and_then(|width| i32::try_from(width).ok());
    let of = format!("{}@{}", info.name, info.revision);
    let is_list = |field: &&FieldRef| {
        matches!(field.data_type(), DataType::FixedSizeList(item, size)
            if Some(*size) == width && item.data_type().is_floating())
    };
    let mut fields = reading.labelled.schema.fields().iter();
    let Some(list) = fields.find(is_list) else {
        return Ok(None);
    };
    // The schema of several files put together leaves out what each says of its columns.
    for location in reading.labelled.table.locations() {
        let stored = tables::stored_schema(&context.state(), location).await;
        let stored = stored.map_err(AppError::Plan)?;
        let field = stored
            .as_ref()
            .and_then(|s| s.field_with_name(list.name()).ok());
        if field.and_then(|field| field.metadata().get(EMBEDDING_MODEL)) != Some(&of) {
            return Ok(None);
        }
    }
    Ok(Some(list.name().clone()))
}

/// Reads them; asks the model about images only where the table has no embeddings of it.
///
/// # Errors
/// [`AppError::Plan`] for what does not fit, [`AppError::Run`] while reading.
pub(super) async fn read(
    context: &SessionContext,
    engine: &Engine,
    reading: &Reading<'_>,
) -> std::result::Result<Lines, AppError> {
    let names: Vec<String> = reading.categories.iter().map(|c| c.name.clone()).collect();
    let own = own_embeddings(context, reading).await?;
    let (frame, weighted) = selected(engine, reading, &names, own)?;
    let width = reading
        .handle
        .embeddings()
        .map_or(0, |embeddings| embeddings.width);
    let mut lines = Lines {
        examples: Examples::new(width),
        truth: vec![Vec::new(); names.len()],
        weights: weighted.then(Vec::new),
        scores: (reading.zero_shot.iter())
            .map(|zero| zero.is_column().then(Vec::new))
            .collect(),
        lost: 0,
        strangers: Vec::new(),
    };
    let mut words = Words::new(reading.categories);
    let mut stream = batches::stream(frame).await.map_err(AppError::Run)?;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(AppError::Run)?;
        lines
            .add(reading, &names, &batch, &mut words)
            .map_err(AppError::Run)?;
    }
    let mut strangers: Vec<(String, u64)> = words.strangers.into_iter().collect();
    strangers.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    lines.strangers = strangers.into_iter().map(|(word, _)| word).collect();
    Ok(lines)
}

/// Truth, weight, embedding and scores of the rows of which something is known.
fn selected(
    engine: &Engine,
    reading: &Reading<'_>,
    names: &[String],
    own: Option<String>,
) -> std::result::Result<(DataFrame, bool), AppError> {
    let schema = &reading.labelled.schema;
    let mut frame = reading.labelled.frame.clone();
    if let Some(known) = reading.lesson.predicate(names) {
        frame = frame.filter(known).map_err(AppError::Plan)?;
    }
    let score = |place: usize| format!("picsift_score_{place}");
    let asked: Vec<_> = reading
        .zero_shot
        .iter()
        .enumerate()
        .filter_map(|(place, zero)| Some((zero.asked()?.clone(), score(place))))
        .collect();
    if own.is_none() || !asked.is_empty() {
        let Some(image) = reading.image else {
            return Err(AppError::Usage(format!(
                "{} has neither an image column nor embeddings of {}; say which column holds images with --image COLUMN, or label it with \
                 --embedding",
                reading.labelled.shown,
                reading.handle.info().name
            )));
        };
        let wanted = Lessons {
            image: image.to_string(),
            base: reading.base.clone(),
            digest: None,
            model: reading.model.name.clone(),
            load: reading.model.load,
            embedding: own.is_none().then(|| EMBEDDING.to_string()),
            categories: asked,
        };
        let (state, plan) = frame.into_parts();
        let plan = lessons(engine, plan, &wanted).map_err(AppError::Plan)?;
        frame = DataFrame::new(state, plan);
    }
    let mut columns = reading.lesson.columns(names.len());
    let weighted = schema
        .field_with_name(WEIGHT)
        .is_ok_and(|field| field.data_type().is_numeric());
    if weighted {
        columns.push(cast(plain(WEIGHT), DataType::Float64));
    }
    columns.push(plain(own.as_deref().unwrap_or(EMBEDDING)));
    for (place, zero) in reading.zero_shot.iter().enumerate() {
        match zero {
            ZeroShot::Column(column, _) => columns.push(cast(plain(column), DataType::Float32)),
            ZeroShot::Asked(..) => columns.push(plain(&score(place))),
            ZeroShot::Texts(..) | ZeroShot::Unknown => {}
        }
    }
    let named: Vec<Expr> = columns
        .into_iter()
        .enumerate()
        .map(|(place, column)| column.alias(format!("c{place}")))
        .collect();
    Ok((frame.select(named).map_err(AppError::Plan)?, weighted))
}

impl Lines {
    fn add(
        &mut self,
        reading: &Reading<'_>,
        names: &[String],
        batch: &RecordBatch,
        words: &mut Words,
    ) -> Result<()> {
        let rows = batch.num_rows();
        let own = reading.lesson.columns(names.len()).len();
        let truth = reading
            .lesson
            .read(names, &batch.columns()[..own], rows, words)?;
        let mut columns = batch.columns()[own..].iter();
        let mut next = || {
            let column = columns.next();
            column.ok_or_else(|| exec_datafusion_err!("a column of what is taught is missing"))
        };
        let weights = match &self.weights {
            Some(_) => Some(next()?.as_primitive::<Float64Type>().clone()),
            None => None,
        };
        let embeddings = next()?.as_fixed_size_list().clone();
        let numbers = arrow::compute::cast(embeddings.values(), &DataType::Float32)?;
        let numbers = numbers.as_primitive::<Float32Type>();
        let mut scores = Vec::new();
        for place in 0..names.len() {
            scores.push(match &self.scores[place] {
                Some(_) => Some(next()?.as_primitive::<Float32Type>().clone()),
                None => None,
            });
        }
        let width = embeddings.value_length() as usize;
        for row in 0..rows {
            if truth.iter().all(|truth| truth[row].is_nan()) {
                continue;
            }
            if let (Some(all), Some(weights)) = (&mut self.weights, &weights) {
                let weight = weights.is_valid(row).then(|| weights.value(row));
                let Some(weight) = weight.filter(|w| *w > 0.0 && w.is_finite()) else {
                    return exec_err!("a weight of {WEIGHT} is no positive number");
                };
                all.push(weight as f32);
            }
            let start = embeddings.value_offset(row) as usize;
            let vector = &numbers.values()[start..start + width];
            if embeddings.is_null(row) || !self.examples.push_vector(vector) {
                self.lost += 1;
                self.weights.as_mut().map(Vec::pop);
                continue;
            }
            for (all, truth) in self.truth.iter_mut().zip(&truth) {
                all.push(truth[row]);
            }
            for (all, scores) in self.scores.iter_mut().zip(&scores) {
                if let (Some(all), Some(scores)) = (all, scores) {
                    all.push(if scores.is_valid(row) {
                        scores.value(row)
                    } else {
                        f32::NAN
                    });
                }
            }
        }
        Ok(())
    }
}
