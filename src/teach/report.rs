//! What was learnt, for a terminal and for programs.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::util::pretty::pretty_format_batches;
use serde::Serialize;

use crate::error::AppError;
use crate::eval::figures::{Figure, decimals};

/// Difference of two average precisions that is worth a word.
pub(super) const NOTABLE: f64 = 0.01;

/// What was learnt of all categories.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Version of picsift.
    pub picsift: String,
    /// The tables as a person would write them.
    pub labelled: String,
    /// The model.
    pub model: String,
    /// Its revision.
    pub revision: String,
    /// Rows that were taught.
    pub rows: u64,
    /// Images that the model was shown for it; what was known of the others was kept, or stands in the table.
    pub asked: u64,
    /// Images that were fetched for it.
    pub fetched: u64,
    /// SHA-256 of truth and embeddings.
    pub taught_from: String,
    /// The categories.
    pub categories: Vec<CategoryReport>,
    /// What a person should know.
    pub notes: Vec<String>,
}

/// What was learnt of one category.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CategoryReport {
    /// Its name.
    pub name: String,
    /// Rows that say yes.
    pub yes: u64,
    /// Rows that say no.
    pub no: u64,
    /// How strong the weights may be, scikit-learn's `C`.
    pub strength: f64,
    /// How good the head is on what it was not taught, by cross-validation.
    pub taught: Quality,
    /// How good the model is by itself on the same rows; `null` where it does not know the category.
    pub zero_shot: Option<Quality>,
    /// What fewer examples give.
    pub curve: Vec<Point>,
    /// Whether the last half of the examples brought so much that more are worth looking for.
    pub more_would_help: bool,
    /// SHA-256 of the head.
    pub head: String,
}

/// Figures with 95 % intervals.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Quality {
    /// Area under precision over recall.
    pub average_precision: Figure,
    /// Probability that a true row scores higher than a false one.
    pub roc_auc: Figure,
    /// Harmonic mean of precision and recall at the threshold.
    pub f1: Figure,
    /// Score from which the category holds.
    pub threshold: f32,
}

/// What a share of the examples gives.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Point {
    /// The share that was taught, of what cross-validation teaches.
    pub share: f64,
    /// What it gives.
    pub average_precision: Option<f64>,
}

impl Report {
    /// As JSON.
    ///
    /// # Errors
    /// Never for figures that are numbers.
    pub fn json(&self) -> Result<String, AppError> {
        let text = serde_json::to_string_pretty(self).map_err(AppError::json)?;
        Ok(text + "\n")
    }

    /// For a terminal.
    ///
    /// # Errors
    /// Arrow's, when a table cannot be laid out.
    pub fn table(&self) -> Result<String, AppError> {
        let header = ["category", "yes", "no", "", "AP", "ROC AUC", "F1"];
        let mut cells: Vec<Vec<String>> = vec![Vec::new(); header.len()];
        let mut row = |values: [String; 7]| {
            for (column, value) in cells.iter_mut().zip(values) {
                column.push(value);
            }
        };
        for one in &self.categories {
            let of = |name: String, yes: String, no: String, what: &str, figures: &Quality| {
                let said = [figures.average_precision, figures.roc_auc, figures.f1].map(said);
                let [ap, auc, f1] = said;
                [name, yes, no, what.to_string(), ap, auc, f1]
            };
            let (yes, no) = (one.yes.to_string(), one.no.to_string());
            row(of(one.name.clone(), yes, no, "taught", &one.taught));
            let none = String::new;
            match &one.zero_shot {
                Some(figures) => row(of(none(), none(), none(), "by itself", figures)),
                None => row([
                    none(),
                    none(),
                    none(),
                    "by itself".to_string(),
                    "not known".to_string(),
                    none(),
                    none(),
                ]),
            }
        }
        let columns = header.iter().zip(cells).map(|(name, cells)| {
            let cells: ArrayRef = Arc::new(StringArray::from(cells));
            (*name, cells)
        });
        let failed = |error| AppError::Run(datafusion::error::DataFusionError::from(error));
        let batch = RecordBatch::try_from_iter(columns).map_err(failed)?;
        let mut text = format!("{}\n", pretty_format_batches(&[batch]).map_err(failed)?);
        for one in &self.categories {
            text += &format!("{}\n", one.sentence());
        }
        Ok(text)
    }
}

impl CategoryReport {
    /// Whether more examples would help, and by what that is said.
    fn sentence(&self) -> String {
        let points: Vec<String> = self
            .curve
            .iter()
            .filter_map(|point| {
                let value = decimals(point.average_precision?, 3);
                Some(match point.share {
                    share if share < 1.0 => format!("{value} of {:.0} %", 100.0 * share),
                    _ => format!("{value} of all"),
                })
            })
            .collect();
        let verdict = match self.more_would_help {
            true => "more examples would help",
            false => "more examples would help little",
        };
        let alone = self
            .zero_shot
            .and_then(|figures| figures.average_precision.value);
        let better = match alone.zip(self.taught.average_precision.value) {
            Some((alone, taught)) if alone >= taught + NOTABLE => {
                "; the model is better by itself: ask it without this head"
            }
            _ => "",
        };
        format!(
            "{}: {verdict} (AP {}){better}",
            self.name,
            points.join(", ")
        )
    }
}

fn said(figure: Figure) -> String {
    let Some(value) = figure.value else {
        return "undefined".to_string();
    };
    let value = decimals(value, 3);
    match figure.low.zip(figure.high) {
        Some((low, high)) => format!("{value} ({} to {})", decimals(low, 3), decimals(high, 3)),
        None => value,
    }
}
