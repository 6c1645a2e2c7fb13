//! Calls that a top-k need not see, moved above it.
//!
//! `SELECT file, ask(image, ..) FROM t ORDER BY file LIMIT 10` is planned with the calls below the sort, where they would be asked
//! of every row; a view or a subquery puts more projections and names between. The sort moves below all of them, for a
//! projection keeps the order of its rows. It stands above them as well, where it says that their order is the query's: DataFusion
//! may spread rows over partitions below a projection, and drops a sort that changes nothing. Without a limit they stay:
//! carrying images through a sort costs more than their answers.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::logical_expr::{Expr, LogicalPlan, Sort};

use super::calls::{has_calls, is_once_only};
use super::pushdown::over_input;

/// The sort below the projections and names under it, where it has a limit and one of them asks.
pub(super) fn pull_up(sort: Sort) -> Result<LogicalPlan> {
    if sort.fetch.is_none() {
        return Ok(LogicalPlan::Sort(sort));
    }
    let mut keys: Vec<Expr> = sort.expr.iter().map(|key| key.expr.clone()).collect();
    let (mut above, mut asks) = (Vec::new(), false);
    let mut input = Arc::clone(&sort.input);
    while let Some(below) = below(&input) {
        let moved = keys.iter().map(|key| over_input(key, &input));
        let Some(moved) = moved.collect::<Option<Vec<_>>>() else {
            break;
        };
        if moved.iter().any(is_once_only) {
            break;
        }
        keys = moved;
        asks |= input.expressions().iter().any(has_calls);
        above.push(std::mem::replace(&mut input, below));
    }
    if !asks {
        return Ok(LogicalPlan::Sort(sort));
    }
    let moved = sort.expr.iter().zip(keys);
    let plan = LogicalPlan::Sort(Sort {
        expr: moved.map(|(key, expr)| key.with_expr(expr)).collect(),
        input,
        fetch: sort.fetch,
    });
    let plan = above.into_iter().rev().try_fold(plan, |plan, node| {
        node.with_new_exprs(node.expressions(), vec![plan])
    })?;
    Ok(LogicalPlan::Sort(Sort {
        input: plan.into(),
        ..sort
    }))
}

/// What a projection or a name stands on.
fn below(plan: &LogicalPlan) -> Option<Arc<LogicalPlan>> {
    match plan {
        LogicalPlan::Projection(projection) => Some(Arc::clone(&projection.input)),
        LogicalPlan::SubqueryAlias(alias) => Some(Arc::clone(&alias.input)),
        _ => None,
    }
}
