//! The confusion matrix of single labels: what was true against the best label that was answered.

use picsift_udf::metrics::{Interval, wilson};
use serde::Serialize;

use crate::dataset::labels::LabelledCategory;

/// Rows by true label and answered label. The last row is other words of the truth, the last column rows without a label.
#[derive(Debug, Clone, PartialEq)]
pub struct Matrix {
    size: usize,
    weights: Vec<f64>,
}

impl Matrix {
    /// For so many categories.
    pub fn new(categories: usize) -> Self {
        let size = categories + 1;
        Self {
            size,
            weights: vec![0.0; size * size],
        }
    }

    /// Counts a row; `None` is another word, or no label.
    pub fn count(&mut self, truth: Option<usize>, predicted: Option<usize>, weight: f64) {
        let last = self.size - 1;
        let place = truth.unwrap_or(last) * self.size + predicted.unwrap_or(last);
        self.weights[place] += weight;
    }

    /// Adds what others have counted.
    pub fn merge(&mut self, other: &Self) {
        for (weight, more) in self.weights.iter_mut().zip(&other.weights) {
            *weight += more;
        }
    }

    /// The matrix with its names.
    pub fn report(&self, categories: &[LabelledCategory], weighted: bool) -> MatrixReport {
        let names = |last: &str| {
            let names = categories.iter().map(|category| category.name.clone());
            names.chain([last.to_string()]).collect()
        };
        let total: f64 = self.weights.iter().sum();
        // Another word without a label is no hit: nobody asked for it.
        let hits: f64 = (0..self.size - 1)
            .map(|index| self.weights[index * self.size + index])
            .sum();
        let interval = match weighted {
            true => None,
            false => wilson(hits, total),
        };
        MatrixReport {
            truth: names("(other)"),
            predicted: names("(none)"),
            rows: self
                .weights
                .chunks(self.size)
                .map(<[f64]>::to_vec)
                .collect(),
            accuracy: (total > 0.0).then(|| hits / total),
            interval,
        }
    }
}

/// A confusion matrix as it is reported.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MatrixReport {
    /// The true labels, one for each row.
    pub truth: Vec<String>,
    /// The answered labels, one for each column.
    pub predicted: Vec<String>,
    /// Weights of the rows.
    pub rows: Vec<Vec<f64>>,
    /// Share of the rows whose label is the true one.
    pub accuracy: Option<f64>,
    /// Its 95 % interval (Wilson), where rows stand for themselves.
    pub interval: Option<Interval>,
}
