//! Calls that a top-k need not see, moved above it.
//!
//! `SELECT file, ask(image, ..) FROM t ORDER BY file LIMIT 10` is planned with the calls below the sort, where they would be asked
//! of every row. Without a limit they stay: carrying images through a sort costs more than their answers.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection, Sort};

use super::calls::{has_calls, is_once_only};

/// Name of a column that is carried through a sort for a call above it.
const CARRIED: &str = "__picsift_carried_";

/// The sort with the calls of the projection below it moved above, where it has a limit and does not sort by them.
pub(super) fn defer(sort: Sort) -> Result<LogicalPlan> {
    let LogicalPlan::Projection(projection) = sort.input.as_ref() else {
        return Ok(LogicalPlan::Sort(sort));
    };
    let keys: Vec<usize> = sort
        .expr
        .iter()
        .flat_map(|key| key.expr.column_refs())
        .filter_map(|column| projection.schema.maybe_index_of_column(column))
        .collect();
    let deferred = |index: usize, expr: &Expr| {
        has_calls(expr) && !is_once_only(expr) && !keys.contains(&index)
    };
    let some = projection.expr.iter().enumerate();
    if sort.fetch.is_none() || !some.clone().any(|(index, expr)| deferred(index, expr)) {
        return Ok(LogicalPlan::Sort(sort));
    }

    let (mut below, mut carried): (Vec<Expr>, Vec<Column>) = (Vec::new(), Vec::new());
    let mut above = Vec::new();
    for (index, expr) in some {
        let (qualifier, field) = projection.schema.qualified_field(index);
        if !deferred(index, expr) {
            below.push(expr.clone());
            above.push(Expr::Column(Column::from((qualifier, field))));
            continue;
        }
        let moved = expr.clone().unalias_nested().data.transform(|expr| {
            let Expr::Column(column) = expr else {
                return Ok(Transformed::no(expr));
            };
            let place = carried.iter().position(|c| *c == column);
            let place = place.unwrap_or_else(|| {
                carried.push(column);
                carried.len() - 1
            });
            let column = Column::new_unqualified(format!("{CARRIED}{place}"));
            Ok(Transformed::yes(Expr::Column(column)))
        })?;
        above.push(moved.data.alias_qualified(qualifier.cloned(), field.name()));
    }
    below.extend(
        carried
            .into_iter()
            .enumerate()
            .map(|(place, column)| Expr::Column(column).alias(format!("{CARRIED}{place}"))),
    );
    let below = Projection::try_new(below, projection.input.clone())?;
    let sort = Sort {
        input: LogicalPlan::Projection(below).into(),
        ..sort
    };
    let above = Projection::try_new(above, LogicalPlan::Sort(sort).into())?;
    Ok(LogicalPlan::Projection(above))
}
