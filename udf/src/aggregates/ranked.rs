//! Aggregates over the order of scores: every score is kept until the end, eight bytes each, which DataFusion counts against
//! its memory.

use std::iter::Peekable;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array};
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type};
use datafusion::common::utils::SingleRowListArrayBuilder;
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::Accumulator;

use super::truth_and_scores;
use crate::metrics::{Ranking, Tie};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Figure {
    AveragePrecision,
    RocAuc,
}

pub(super) fn state_fields(name: &str) -> Vec<FieldRef> {
    ["true", "false"]
        .map(|class| {
            let data_type = DataType::new_list(DataType::Float64, true);
            Arc::new(Field::new(format!("{name}[{class}]"), data_type, false))
        })
        .to_vec()
}

/// The scores of the true rows and of the false ones.
#[derive(Debug)]
pub(super) struct Ranked {
    name: &'static str,
    figure: Figure,
    positive: Vec<f64>,
    negative: Vec<f64>,
}

impl Ranked {
    pub(super) fn new(name: &'static str, figure: Figure) -> Self {
        Self {
            name,
            figure,
            positive: Vec::new(),
            negative: Vec::new(),
        }
    }
}

impl Accumulator for Ranked {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (truth, scores) = truth_and_scores(self.name, values)?;
        for (truth, score) in truth.iter().zip(scores.iter()) {
            let (Some(truth), Some(score)) = (truth, score) else {
                continue;
            };
            if score.is_nan() {
                return exec_err!("{}: a score is not a number (NaN)", self.name);
            }
            // Zero has two signs, which are one score.
            let score = score + 0.0;
            match truth {
                true => self.positive.push(score),
                false => self.negative.push(score),
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [positive, negative] = states else {
            return exec_err!("{}: a partial result has two lists", self.name);
        };
        for (state, into) in [
            (positive, &mut self.positive),
            (negative, &mut self.negative),
        ] {
            for part in state.as_list::<i32>().iter().flatten() {
                into.extend_from_slice(part.as_primitive::<Float64Type>().values());
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let list = |scores: &mut Vec<f64>| {
            let scores: ArrayRef = Arc::new(Float64Array::from(std::mem::take(scores)));
            SingleRowListArrayBuilder::new(scores).build_list_scalar()
        };
        Ok(vec![list(&mut self.positive), list(&mut self.negative)])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        for scores in [&mut self.positive, &mut self.negative] {
            scores.sort_unstable_by(|a, b| b.total_cmp(a));
        }
        let ranking = Ranking::of(Ties {
            positive: self.positive.iter().copied().peekable(),
            negative: self.negative.iter().copied().peekable(),
        });
        Ok(ScalarValue::Float64(match self.figure {
            Figure::AveragePrecision => ranking.average_precision(),
            Figure::RocAuc => ranking.roc_auc(),
        }))
    }

    fn size(&self) -> usize {
        size_of_val(self) + (self.positive.capacity() + self.negative.capacity()) * size_of::<f64>()
    }
}

/// The ties of two falling sequences, highest score first.
struct Ties<P: Iterator, N: Iterator> {
    positive: Peekable<P>,
    negative: Peekable<N>,
}

impl<P: Iterator<Item = f64>, N: Iterator<Item = f64>> Iterator for Ties<P, N> {
    type Item = Tie;

    fn next(&mut self) -> Option<Tie> {
        let score = match (self.positive.peek(), self.negative.peek()) {
            (Some(a), Some(b)) => a.max(*b),
            (Some(only), None) | (None, Some(only)) => *only,
            (None, None) => return None,
        };
        Some(Tie {
            positive: run(&mut self.positive, score),
            negative: run(&mut self.negative, score),
        })
    }
}

/// Takes what equals `score` off the front; how many.
fn run(scores: &mut Peekable<impl Iterator<Item = f64>>, score: f64) -> f64 {
    let mut rows = 0.0;
    while scores.next_if_eq(&score).is_some() {
        rows += 1.0;
    }
    rows
}
