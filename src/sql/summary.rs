//! `SUMMARIZE x`: what the columns of a table or query hold, a row for each.
//!
//! All columns are read in one pass. Of pictures and other bytes it is counted how many there are.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray, UInt64Array,
};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use datafusion::common::{Column, Result};
use datafusion::functions_aggregate::expr_fn::{approx_distinct, avg, count, max, min};
use datafusion::logical_expr::{Expr, cast as cast_expr};
use datafusion::prelude::{DataFrame, SessionContext};
use picsift_udf::is_text;

use crate::{batches, tables};

/// A row for each column of `frame`: `column_name`, `column_type`, `count` of values that are no NULL, `nulls`, about how many are
/// `distinct`, `min`, `max` and `mean`; NULL where a type has no such thing.
///
/// # Errors
/// The query's.
pub(super) async fn of(context: &SessionContext, frame: DataFrame) -> Result<DataFrame> {
    let schema = frame.schema().clone();
    let mut asked = vec![count(datafusion::prelude::lit(1_i64)).alias("rows")];
    for (place, (qualifier, field)) in schema.iter().enumerate() {
        let column = Expr::Column(Column::from((qualifier, field)));
        let named = |expr: Expr, what: &str| expr.alias(format!("{place} {what}"));
        asked.push(named(count(column.clone()), "count"));
        let kind = field.data_type();
        if is_ordered(kind) {
            asked.push(named(min(column.clone()), "min"));
            asked.push(named(max(column.clone()), "max"));
        }
        if kind.is_numeric() {
            asked.push(named(
                avg(cast_expr(column.clone(), DataType::Float64)),
                "mean",
            ));
        }
        if is_countable(kind) {
            asked.push(named(approx_distinct(column), "distinct"));
        }
    }
    let frame = frame.aggregate(Vec::new(), asked)?;
    let mut rows = batches::stream(frame).await?;
    let mut found: Option<RecordBatch> = None;
    while let Some(batch) = futures::TryStreamExt::try_next(&mut rows).await? {
        if batch.num_rows() > 0 {
            found = Some(batch);
        }
    }
    let values = Values(found);
    let places = 0..schema.fields().len();
    let total = values.count("rows").unwrap_or_default();
    let counts: Vec<i64> = places
        .clone()
        .map(|place| values.count(&format!("{place} count")).unwrap_or_default())
        .collect();
    let texts = |what: &str| -> StringArray {
        let all = places.clone();
        all.map(|place| values.text(&format!("{place} {what}")))
            .collect()
    };
    let plain = tables::plain_columns(&Arc::new(schema.as_arrow().clone()));
    let fields = plain.fields();
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "column_name",
            Arc::new(
                fields
                    .iter()
                    .map(|f| Some(f.name().as_str()))
                    .collect::<StringArray>(),
            ),
        ),
        (
            "column_type",
            Arc::new(
                fields
                    .iter()
                    .map(|f| Some(f.data_type().to_string()))
                    .collect::<StringArray>(),
            ),
        ),
        ("count", Arc::new(Int64Array::from(counts.clone()))),
        (
            "nulls",
            Arc::new(
                counts
                    .iter()
                    .map(|count| total - count)
                    .collect::<Int64Array>(),
            ),
        ),
        (
            "distinct",
            Arc::new(
                places
                    .clone()
                    .map(|place| values.distinct(&format!("{place} distinct")))
                    .collect::<UInt64Array>(),
            ),
        ),
        ("min", Arc::new(texts("min"))),
        ("max", Arc::new(texts("max"))),
        (
            "mean",
            Arc::new(
                places
                    .clone()
                    .map(|place| values.mean(&format!("{place} mean")))
                    .collect::<Float64Array>(),
            ),
        ),
    ];
    context.read_batch(RecordBatch::try_from_iter(columns)?)
}

/// Whether a least and a largest value mean something.
fn is_ordered(kind: &DataType) -> bool {
    is_text(kind) || kind.is_numeric() || kind.is_temporal() || *kind == DataType::Boolean
}

/// Whether the engine counts distinct values of the type.
fn is_countable(kind: &DataType) -> bool {
    is_text(kind) || kind.is_integer()
}

/// The one row of what was asked, by name.
struct Values(Option<RecordBatch>);

impl Values {
    fn column(&self, name: &str) -> Option<&ArrayRef> {
        let column = self.0.as_ref()?.column_by_name(name)?;
        column.is_valid(0).then_some(column)
    }

    fn count(&self, name: &str) -> Option<i64> {
        Some(self.column(name)?.as_primitive_opt::<Int64Type>()?.value(0))
    }

    fn distinct(&self, name: &str) -> Option<u64> {
        Some(
            self.column(name)?
                .as_primitive_opt::<UInt64Type>()?
                .value(0),
        )
    }

    fn mean(&self, name: &str) -> Option<f64> {
        Some(
            self.column(name)?
                .as_primitive_opt::<Float64Type>()?
                .value(0),
        )
    }

    fn text(&self, name: &str) -> Option<String> {
        let text = cast(self.column(name)?, &DataType::Utf8).ok()?;
        Some(text.as_string_opt::<i32>()?.value(0).to_owned())
    }
}
