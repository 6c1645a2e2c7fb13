//! Keys that ask inside ROLLUP, CUBE and GROUPING SETS.
//!
//! What an aggregate groups by is part of its columns' names, and a grouping set has no room for others. So such keys are
//! computed by a projection below, under the names that they have as keys, before anything about them changes; the aggregate
//! groups by those columns. Plain keys need none of this: they are renamed where they stand.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Aggregate, Expr, LogicalPlan, Projection};

/// The aggregate with the keys of its grouping sets that ask computed below it; `asks` says which do.
pub(crate) fn computed_below(
    aggregate: Aggregate,
    has_calls: impl Fn(&Expr) -> bool,
) -> Result<Aggregate> {
    let asks = |expr: &Expr| matches!(expr, Expr::GroupingSet(_)) && has_calls(expr);
    if !aggregate.group_expr.iter().any(asks) {
        return Ok(aggregate);
    }
    let mut computed: Vec<Expr> = Vec::new();
    let mut name_keys = |set: Expr| {
        set.transform_down(|expr| {
            if matches!(expr, Expr::GroupingSet(_)) {
                return Ok(Transformed::no(expr));
            }
            if !has_calls(&expr) {
                return Ok(Transformed::new(expr, false, TreeNodeRecursion::Jump));
            }
            let name = expr.schema_name().to_string();
            let named = expr.alias(&name);
            if !computed.contains(&named) {
                computed.push(named);
            }
            let column = Expr::Column(Column::new_unqualified(name));
            Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
        })
    };
    let keys = aggregate
        .group_expr
        .into_iter()
        .map(|key| match asks(&key) {
            true => Ok(name_keys(key)?.data),
            false => Ok(key),
        });
    let keys = keys.collect::<Result<Vec<_>>>()?;
    let columns = aggregate.input.schema().columns();
    let columns = columns.into_iter().map(Expr::Column).chain(computed);
    let input = Projection::try_new(columns.collect(), aggregate.input)?;
    let input = LogicalPlan::Projection(input).into();
    Aggregate::try_new(input, keys, aggregate.aggr_expr)
}
