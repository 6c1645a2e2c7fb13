//! From a table to the rows that count: columns in, a few bytes of each row kept.
//!
//! Each stream of the plan fills its own; they are merged when all are through. Categories are taken a few at a time where the
//! rows of all would not fit.

use arrow::array::{Array, AsArray, Float64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Float64Type};
use datafusion::common::{DataFusionError, Result, exec_datafusion_err};
use datafusion::logical_expr::{Expr, cast};
use datafusion::prelude::DataFrame;
use futures::StreamExt;
use tokio::task::JoinSet;

use super::matrix::Matrix;
use super::mistakes::Worst;
use super::rows::{Packed, Row, Rows};
use super::truth::{Said, Truth, said};
use super::words::Words;
use crate::dataset::LabelledCategory;
use crate::tables::plain;

/// What is read of a table.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The rows, with their truth.
    pub frame: DataFrame,
    /// All categories.
    pub categories: Vec<LabelledCategory>,
    /// Where the truth stands.
    pub truth: Truth,
    /// What a row is called.
    pub key: Option<Expr>,
    /// How many rows one stands for.
    pub weight: Option<String>,
    /// The best label that was answered.
    pub label: Option<String>,
    /// Mistakes that are kept for each category.
    pub mistakes: usize,
}

/// What was read of some categories.
#[derive(Debug)]
pub struct Gathered<K> {
    /// Rows of each category.
    pub rows: Vec<Rows<K>>,
    /// The worst mistakes of each.
    pub worst: Vec<Worst>,
    /// The confusion matrix, where truth and answers are single labels.
    pub matrix: Option<Matrix>,
    /// Words of the truth, and which of them no category has.
    pub words: Words,
    /// Rows that were read.
    pub read: u64,
}

impl<K: Packed> Gathered<K> {
    fn new(reading: &Reading, categories: usize) -> Self {
        let single = matches!(reading.truth, Truth::Label(_)) && reading.label.is_some();
        Self {
            rows: (0..categories).map(|_| Rows::default()).collect(),
            worst: vec![Worst::new(reading.mistakes); categories],
            matrix: single.then(|| Matrix::new(reading.categories.len())),
            words: Words::new(&reading.categories),
            read: 0,
        }
    }

    fn merge(&mut self, other: Self) {
        for (mine, theirs) in self.rows.iter_mut().zip(other.rows) {
            mine.merge(theirs);
        }
        for (mine, theirs) in self.worst.iter_mut().zip(other.worst) {
            mine.merge(theirs);
        }
        if let (Some(mine), Some(theirs)) = (&mut self.matrix, &other.matrix) {
            mine.merge(theirs);
        }
        for (word, rows) in other.words.strangers {
            *self.words.strangers.entry(word).or_default() += rows;
        }
        self.read += other.read;
    }
}

/// Reads the categories of these numbers.
///
/// # Errors
/// DataFusion's while reading, and a weight that is no positive number.
pub async fn gather<K: Packed>(reading: &Reading, categories: &[usize]) -> Result<Gathered<K>> {
    let mut columns = Vec::new();
    for index in categories {
        let category = &reading.categories[*index];
        columns.push(cast(plain(&category.is_column), DataType::Boolean));
        if let Some(score) = &category.score_column {
            columns.push(cast(plain(score), DataType::Float64));
        }
    }
    let truth = reading.truth.columns(categories);
    columns.extend(truth.iter().map(|column| plain(column)));
    if let Some(weight) = &reading.weight {
        columns.push(cast(plain(weight), DataType::Float64));
    }
    if let Some(key) = &reading.key {
        columns.push(cast(key.clone(), DataType::Utf8));
    }
    if let Some(label) = &reading.label {
        columns.push(cast(plain(label), DataType::Utf8));
    }
    let named = columns
        .into_iter()
        .enumerate()
        .map(|(place, column)| column.alias(format!("c{place}")))
        .collect::<Vec<_>>();
    let frame = reading.frame.clone().select(named)?;
    let mut streams = JoinSet::new();
    for mut stream in frame.execute_stream_partitioned().await? {
        let (reading, categories) = (reading.clone(), categories.to_vec());
        streams.spawn(async move {
            let mut gathered = Gathered::<K>::new(&reading, categories.len());
            while let Some(batch) = stream.next().await {
                gathered.add(&reading, &categories, &batch?)?;
            }
            Ok::<_, DataFusionError>(gathered)
        });
    }
    let mut all = Gathered::new(reading, categories.len());
    while let Some(part) = streams.join_next().await {
        all.merge(part.map_err(|error| exec_datafusion_err!("a reader ended early: {error}"))??);
    }
    Ok(all)
}

impl<K: Packed> Gathered<K> {
    fn add(&mut self, reading: &Reading, categories: &[usize], batch: &RecordBatch) -> Result<()> {
        let rows = batch.num_rows();
        self.read += rows as u64;
        let mut columns = batch.columns().iter();
        let mut next = || {
            columns
                .next()
                .ok_or_else(|| exec_datafusion_err!("a column of the evaluation is missing"))
        };
        let mut answers = Vec::with_capacity(categories.len());
        for index in categories {
            let is = next()?.as_boolean().clone();
            let score = match reading.categories[*index].score_column {
                Some(_) => Some(next()?.as_primitive::<Float64Type>().clone()),
                None => None,
            };
            answers.push((is, score));
        }
        let mut truth = Vec::new();
        for _ in reading.truth.columns(categories) {
            truth.push(next()?.clone());
        }
        let weights = match reading.weight {
            Some(_) => Some(checked(next()?.as_primitive::<Float64Type>())?),
            None => None,
        };
        let text = |column: &arrow::array::ArrayRef| column.as_string::<i32>().clone();
        let keys = match reading.key {
            Some(_) => Some(text(next()?)),
            None => None,
        };
        let labels = match reading.label {
            Some(_) => Some(text(next()?)),
            None => None,
        };
        let Said { holds, label } =
            said(&reading.truth, categories, &truth, rows, &mut self.words)?;

        let weight = |row: usize| weights.as_ref().map(|weights| weights.value(row));
        for (place, ((is, scores), holds)) in answers.iter().zip(&holds).enumerate() {
            let (all, worst) = (&mut self.rows[place], &mut self.worst[place]);
            for row in 0..rows {
                let truth = holds.is_valid(row).then(|| holds.value(row));
                let predicted = is.is_valid(row).then(|| is.value(row));
                let score = scores
                    .as_ref()
                    .and_then(|scores| scores.is_valid(row).then(|| scores.value(row)));
                all.push(Row {
                    truth,
                    predicted,
                    score,
                    weight: weight(row),
                });
                if let (Some(truth), Some(predicted)) = (truth, predicted)
                    && truth != predicted
                {
                    let key = || key(keys.as_ref()?, row);
                    worst.push(truth, predicted, score, key);
                }
            }
        }
        if let (Some(matrix), Some(truth), Some(labels)) = (&mut self.matrix, label, labels) {
            // A label that is not among the categories is none of theirs.
            let names = &reading.categories;
            for (row, truth) in truth.into_iter().enumerate() {
                let Some(truth) = truth else { continue };
                let predicted = key(&labels, row)
                    .and_then(|label| names.iter().position(|category| category.name == label));
                matrix.count(truth, predicted, weight(row).unwrap_or(1.0));
            }
        }
        Ok(())
    }
}

fn key(texts: &StringArray, row: usize) -> Option<String> {
    texts.is_valid(row).then(|| texts.value(row).to_string())
}

fn checked(weights: &Float64Array) -> Result<Float64Array> {
    let usable = |weight: Option<f64>| weight.is_some_and(|w| w > 0.0 && w.is_finite());
    match weights.iter().find(|weight| !usable(*weight)) {
        None => Ok(weights.clone()),
        Some(weight) => Err(exec_datafusion_err!(
            "a weight is {}; each row's must be a positive number",
            weight.map_or("NULL".to_string(), |weight| weight.to_string())
        )),
    }
}
