//! Aggregates over truth and yes or no: five counts, and the figures that follow from them.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, StructArray};
use arrow::compute::sum;
use arrow::datatypes::{DataType, Field, FieldRef, Fields, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::Accumulator;

use crate::metrics::Confusion;

const COUNTS: [&str; 5] = [
    "true_positive",
    "false_positive",
    "false_negative",
    "true_negative",
    "left_out",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Figure {
    Precision,
    Recall,
    F1,
    BalancedAccuracy,
    Counts,
}

impl Figure {
    pub(super) fn data_type(self) -> DataType {
        match self {
            Self::Counts => DataType::Struct(fields()),
            _ => DataType::Float64,
        }
    }
}

fn fields() -> Fields {
    COUNTS
        .iter()
        .map(|name| Field::new(*name, DataType::Int64, false))
        .collect()
}

pub(super) fn state_fields(name: &str) -> Vec<FieldRef> {
    COUNTS
        .iter()
        .map(|count| {
            Arc::new(Field::new(
                format!("{name}[{count}]"),
                DataType::Int64,
                false,
            ))
        })
        .collect()
}

/// Rows by truth and answer, in the order of [`COUNTS`].
#[derive(Debug)]
pub(super) struct Answers {
    figure: Figure,
    counts: [i64; 5],
}

impl Answers {
    pub(super) fn new(figure: Figure) -> Self {
        Self {
            figure,
            counts: [0; 5],
        }
    }
}

impl Accumulator for Answers {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [truth, predicted] = values else {
            return exec_err!("an evaluation takes truth and answer");
        };
        let (truth, predicted) = (truth.as_boolean(), predicted.as_boolean());
        for pair in truth.iter().zip(predicted.iter()) {
            let place = match pair {
                (Some(true), Some(true)) => 0,
                (Some(false), Some(true)) => 1,
                (Some(true), Some(false)) => 2,
                (Some(false), Some(false)) => 3,
                _ => 4,
            };
            self.counts[place] += 1;
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        for (count, state) in self.counts.iter_mut().zip(states) {
            *count += sum(state.as_primitive::<Int64Type>()).unwrap_or(0);
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(self.counts.map(ScalarValue::from).to_vec())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let [
            true_positive,
            false_positive,
            false_negative,
            true_negative,
            _,
        ] = self.counts.map(|count| count as f64);
        let confusion = Confusion {
            true_positive,
            false_positive,
            false_negative,
            true_negative,
        };
        Ok(ScalarValue::Float64(match self.figure {
            Figure::Precision => confusion.precision(),
            Figure::Recall => confusion.recall(),
            Figure::F1 => confusion.f1(),
            Figure::BalancedAccuracy => confusion.balanced_accuracy(),
            Figure::Counts => {
                let columns = self
                    .counts
                    .map(|count| Arc::new(Int64Array::from(vec![count])) as Arc<dyn Array>);
                let row = StructArray::try_new(fields(), columns.to_vec(), None)?;
                return Ok(ScalarValue::Struct(Arc::new(row)));
            }
        }))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
