//! Calls in the correlated conditions of a subquery, computed below them.
//!
//! DataFusion turns `(SELECT max(y.id) FROM y WHERE x.flag = classify(y.image, 'dog'))` into a join on what the condition compares
//! with the outer row, and takes only columns there. So a call about the subquery's own rows becomes a column below the filter;
//! conditions that ask nothing still go below it, as everywhere.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{Expr, Filter, LogicalPlan, Projection};

use crate::plan::extract::{call_of, has_calls};

/// The filter over its calls as columns, where a condition of it also reads an outer row; `next` numbers the columns.
pub(crate) fn computed_below(filter: Filter, next: &mut usize) -> Result<LogicalPlan> {
    let mut calls: Vec<Expr> = Vec::new();
    let first = *next;
    let conjuncts = split_conjunction_owned(filter.predicate)
        .into_iter()
        .map(|conjunct| {
            if !(conjunct.contains_outer() && has_calls(&conjunct)) {
                return Ok(conjunct);
            }
            let named = conjunct.transform_down(|expr| {
                if call_of(&expr).is_none() {
                    return Ok(Transformed::no(expr));
                }
                if expr.contains_outer() {
                    return Ok(Transformed::new(expr, false, TreeNodeRecursion::Jump));
                }
                let known = calls.iter().position(|call| *call == expr);
                let place = known.unwrap_or_else(|| {
                    calls.push(expr);
                    calls.len() - 1
                });
                let column = Expr::Column(Column::new_unqualified(name(first + place)));
                Ok(Transformed::new(column, true, TreeNodeRecursion::Jump))
            })?;
            Ok(named.data)
        });
    let conjuncts = conjuncts.collect::<Result<Vec<_>>>()?;
    let predicate = conjunction(conjuncts).unwrap_or_else(|| datafusion::logical_expr::lit(true));
    if calls.is_empty() {
        return Ok(LogicalPlan::Filter(Filter::try_new(
            predicate,
            filter.input,
        )?));
    }
    *next += calls.len();
    let own: Vec<Expr> = filter
        .input
        .schema()
        .columns()
        .into_iter()
        .map(Expr::Column)
        .collect();
    let calls = calls.into_iter().enumerate();
    let calls = calls.map(|(place, call)| call.alias(name(first + place)));
    let below = Projection::try_new(own.iter().cloned().chain(calls).collect(), filter.input)?;
    let below = LogicalPlan::Projection(below).into();
    let filter = LogicalPlan::Filter(Filter::try_new(predicate, below)?);
    Ok(LogicalPlan::Projection(Projection::try_new(
        own,
        filter.into(),
    )?))
}

/// Name of a call's column; no column of a table has it.
fn name(number: usize) -> String {
    format!("__picsift_correlated_{number}")
}
