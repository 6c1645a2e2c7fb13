//! `brier(truth, score)`: a sum of squares and a count.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::sum;
use arrow::datatypes::{DataType, Field, FieldRef, Float64Type, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::Accumulator;

use super::truth_and_scores;

pub(super) fn state_fields(name: &str) -> Vec<FieldRef> {
    vec![
        Arc::new(Field::new(format!("{name}[sum]"), DataType::Float64, false)),
        Arc::new(Field::new(format!("{name}[rows]"), DataType::Int64, false)),
    ]
}

#[derive(Debug, Default)]
pub(super) struct Brier {
    squared: f64,
    rows: i64,
}

impl Accumulator for Brier {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let (truth, scores) = truth_and_scores("brier", values)?;
        for (truth, score) in truth.iter().zip(scores.iter()) {
            let (Some(truth), Some(score)) = (truth, score) else {
                continue;
            };
            if !(0.0..=1.0).contains(&score) {
                return exec_err!("brier: the score {score} is not within 0 to 1");
            }
            let gap = f64::from(u8::from(truth)) - score;
            self.squared += gap * gap;
            self.rows += 1;
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [squared, rows] = states else {
            return exec_err!("brier: a partial result has a sum and a count");
        };
        self.squared += sum(squared.as_primitive::<Float64Type>()).unwrap_or(0.0);
        self.rows += sum(rows.as_primitive::<Int64Type>()).unwrap_or(0);
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.squared.into(), self.rows.into()])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        let mean = (self.rows > 0).then(|| self.squared / self.rows as f64);
        Ok(ScalarValue::Float64(mean))
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
