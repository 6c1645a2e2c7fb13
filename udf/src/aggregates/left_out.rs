//! `left_out(truth, answer)`: how many rows the other aggregates pass over.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray};
use arrow::compute::{is_null, or, sum};
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type};
use datafusion::common::{Result, ScalarValue, exec_err};
use datafusion::logical_expr::Accumulator;

pub(super) fn state_fields(name: &str) -> Vec<FieldRef> {
    vec![Arc::new(Field::new(
        format!("{name}[rows]"),
        DataType::Int64,
        false,
    ))]
}

#[derive(Debug, Default)]
pub(super) struct LeftOut {
    rows: i64,
}

impl Accumulator for LeftOut {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        let [truth, answer] = values else {
            return exec_err!("left_out takes truth and answer or score");
        };
        let unknown = or(&is_null(truth)?, &is_null(answer)?)?;
        self.rows += unknown.true_count() as i64;
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let [rows] = states else {
            return exec_err!("left_out: a partial result is a count");
        };
        self.rows += sum(rows.as_primitive::<Int64Type>()).unwrap_or(0);
        Ok(())
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        Ok(vec![self.rows.into()])
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(self.rows.into())
    }

    fn size(&self) -> usize {
        size_of_val(self)
    }
}
