//! Plans put together around operators: filters that go inside or below them, conditions that leave a join, columns that are
//! dropped again.
//!
//! Nothing here looks for calls to extract; it only knows where they may stand.

use std::sync::Arc;

use datafusion::common::{DFSchemaRef, NullEquality, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Expr, Filter, Join, JoinType, LogicalPlan, Operator, Projection, binary_expr,
};

use super::calls::{has_calls, is_once_only};
use crate::plan::node::Infer;

/// An inner join's condition is a filter's: what asks can wait until the join has dropped what it drops. Keys that ask stay
/// where there are no others, for without keys a join is slow.
pub(super) fn postponed(join: Join) -> Result<LogicalPlan> {
    if join.join_type != JoinType::Inner {
        return Ok(LogicalPlan::Join(join));
    }
    let conjuncts = join.filter.clone().map(split_conjunction_owned);
    let (mut asking, plain): (Vec<_>, Vec<_>) = conjuncts
        .unwrap_or_default()
        .into_iter()
        .partition(has_calls);
    let (asking_keys, keys): (Vec<_>, Vec<_>) = join
        .on
        .iter()
        .cloned()
        .partition(|(left, right)| has_calls(left) || has_calls(right));
    let mut on = join.on.clone();
    if !keys.is_empty() {
        on = keys;
        asking.extend(
            asking_keys
                .into_iter()
                .map(|(left, right)| match join.null_equality {
                    NullEquality::NullEqualsNothing => left.eq(right),
                    NullEquality::NullEqualsNull => {
                        binary_expr(left, Operator::IsNotDistinctFrom, right)
                    }
                }),
        );
    }
    let join = LogicalPlan::Join(Join {
        filter: conjunction(plain),
        on,
        ..join
    });
    Ok(match conjunction(asking) {
        Some(predicate) => LogicalPlan::Filter(Filter::try_new(predicate, join.into())?),
        None => join,
    })
}

/// `plan` under these conjuncts; those that read an operator's answers go into it, the others below it.
pub(super) fn filtered(plan: LogicalPlan, conjuncts: Vec<Expr>) -> Result<LogicalPlan> {
    if conjuncts.is_empty() {
        return Ok(plan);
    }
    if let LogicalPlan::Projection(projection) = &plan
        && Infer::of(beneath(&plan)).is_some()
    {
        let input = filtered(projection.input.as_ref().clone(), conjuncts)?;
        let columns = projection.expr.clone();
        let projection = Projection::try_new(columns, input.into())?;
        return Ok(LogicalPlan::Projection(projection));
    }
    let Some(infer) = Infer::of(&plan) else {
        return Ok(match conjunction(conjuncts) {
            Some(predicate) => LogicalPlan::Filter(Filter::try_new(predicate, plan.into())?),
            None => plan,
        });
    };
    let answers = infer.answer_names();
    let (mut inside, mut below, mut above) = (infer.predicates.clone(), Vec::new(), Vec::new());
    for conjunct in conjuncts {
        if is_once_only(&conjunct) {
            above.push(conjunct);
        } else if conjunct
            .column_refs()
            .iter()
            .any(|column| answers.contains(&column.name))
        {
            inside.push(conjunct);
        } else {
            below.push(conjunct);
        }
    }
    let plan = Infer::new(
        filtered(infer.input.clone(), below)?,
        infer.groups.clone(),
        inside,
        Arc::clone(&infer.quota),
    )?
    .into_plan();
    Ok(match conjunction(above) {
        Some(predicate) => LogicalPlan::Filter(Filter::try_new(predicate, plan.into())?),
        None => plan,
    })
}

/// The plan below a projection that only drops columns, or the plan.
pub(super) fn beneath(plan: &LogicalPlan) -> &LogicalPlan {
    match plan {
        LogicalPlan::Projection(projection)
            if projection.expr.iter().all(|e| matches!(e, Expr::Column(_))) =>
        {
            &projection.input
        }
        plan => plan,
    }
}

/// `plan` with just the columns of `schema`.
pub(crate) fn restored(plan: LogicalPlan, schema: &DFSchemaRef) -> Result<LogicalPlan> {
    let same = plan.schema().fields().len() == schema.fields().len();
    if same && plan.schema().columns() == schema.columns() {
        return Ok(plan);
    }
    let columns = schema.columns().into_iter().map(Expr::Column).collect();
    Ok(LogicalPlan::Projection(Projection::try_new(
        columns,
        plan.into(),
    )?))
}
