//! Filters that ask, pulled_up above the join that DataFusion pushed them below.
//!
//! Below the join they would ask about rows that find no partner. Above it no image is asked more often: what is known of one is
//! not asked again. Only joins that drop rows are worth it, and only sides that they do not pad.

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::utils::{conjunction, split_conjunction_owned};
use datafusion::logical_expr::{
    Expr, Filter, Join, JoinType, LogicalPlan, Projection, SubqueryAlias,
};

use super::Extraction;
use super::calls::has_calls;

impl Extraction {
    /// The join without the conjuncts that ask, and those conjuncts over its columns.
    pub(super) fn pull_up_filters(
        &mut self,
        join: &Join,
    ) -> Result<Option<(LogicalPlan, Vec<Expr>)>> {
        let (left, right) = match join.join_type {
            JoinType::Inner => (true, true),
            JoinType::LeftSemi | JoinType::LeftAnti => (true, false),
            JoinType::RightSemi | JoinType::RightAnti => (false, true),
            _ => return Ok(None),
        };
        let mut pulled_up = Vec::new();
        let mut side = |plan: &LogicalPlan, may: bool| -> Result<LogicalPlan> {
            let plan = plan.clone();
            if !may {
                return Ok(plan);
            }
            let (plan, conjuncts) = self.pull_up_from(plan)?;
            pulled_up.extend(conjuncts);
            Ok(plan)
        };
        let sides = vec![side(&join.left, left)?, side(&join.right, right)?];
        if pulled_up.is_empty() {
            return Ok(None);
        }
        let plan = LogicalPlan::Join(join.clone());
        let plan = plan.with_new_exprs(plan.expressions(), sides)?;
        Ok(Some((plan, pulled_up)))
    }

    fn pull_up_from(&mut self, plan: LogicalPlan) -> Result<(LogicalPlan, Vec<Expr>)> {
        match plan {
            LogicalPlan::Filter(Filter {
                predicate, input, ..
            }) => {
                let (mut pulled_up, plain): (Vec<_>, Vec<_>) = split_conjunction_owned(predicate)
                    .into_iter()
                    .partition(has_calls);
                let (input, more) = self.pull_up_from(unwrapped(input))?;
                pulled_up.extend(more);
                let plan = match conjunction(plain) {
                    Some(plain) => LogicalPlan::Filter(Filter::try_new(plain, input.into())?),
                    None => input,
                };
                Ok((plan, pulled_up))
            }
            LogicalPlan::SubqueryAlias(SubqueryAlias { input, alias, .. }) => {
                let (input, pulled_up) = self.pull_up_from(unwrapped(input))?;
                let plan = SubqueryAlias::try_new(input.into(), alias)?;
                let pulled_up = renamed(pulled_up, &mut |column| {
                    let index = plan.input.schema().index_of_column(column)?;
                    Ok(Column::from(plan.schema.qualified_field(index)))
                })?;
                Ok((LogicalPlan::SubqueryAlias(plan), pulled_up))
            }
            LogicalPlan::Projection(Projection { expr, input, .. }) => {
                let (input, pulled_up) = self.pull_up_from(unwrapped(input))?;
                let mut carried: Vec<(Column, String)> = Vec::new();
                let pulled_up = renamed(pulled_up, &mut |column| {
                    let known = carried.iter().find(|(other, _)| other == column);
                    let name = match known {
                        Some((_, name)) => name.clone(),
                        None => {
                            let name = self.name();
                            carried.push((column.clone(), name.clone()));
                            name
                        }
                    };
                    Ok(Column::new_unqualified(name))
                })?;
                let carried = carried
                    .into_iter()
                    .map(|(column, name)| Expr::Column(column).alias(name));
                let expr = expr.into_iter().chain(carried).collect();
                let plan = Projection::try_new(expr, input.into())?;
                Ok((LogicalPlan::Projection(plan), pulled_up))
            }
            other => Ok((other, Vec::new())),
        }
    }
}

fn unwrapped(plan: std::sync::Arc<LogicalPlan>) -> LogicalPlan {
    std::sync::Arc::unwrap_or_clone(plan)
}

fn renamed(
    conjuncts: Vec<Expr>,
    name: &mut dyn FnMut(&Column) -> Result<Column>,
) -> Result<Vec<Expr>> {
    conjuncts
        .into_iter()
        .map(|conjunct| {
            let renamed = conjunct.transform(|expr| match &expr {
                Expr::Column(column) => Ok(Transformed::yes(Expr::Column(name(column)?))),
                _ => Ok(Transformed::no(expr)),
            })?;
            Ok(renamed.data)
        })
        .collect()
}
