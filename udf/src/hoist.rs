//! Calls out of the nodes in which DataFusion cannot run an async function: GROUP BY, aggregates, ORDER BY, windows.
//!
//! A projection below the node computes them, and the node reads its columns. Purely a matter of shape: it does not know
//! what the calls are.

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr_rewriter::NamePreserver;
use datafusion::logical_expr::{Expr, LogicalPlan, LogicalPlanBuilder};

/// Name of a computed column; none leaves the node, so a number is enough to tell them apart.
const COMPUTED: &str = "__picsift_";

/// `node` with the expressions that are `calls` computed in a projection below it, which `finish` is given; other nodes
/// than the module's are returned as they are.
///
/// # Errors
/// DataFusion's, and those of `finish`.
pub(crate) fn hoist(
    node: LogicalPlan,
    is_call: impl Fn(&Expr) -> bool,
    finish: impl FnOnce(LogicalPlan) -> Result<LogicalPlan>,
) -> Result<LogicalPlan> {
    let input = match &node {
        LogicalPlan::Aggregate(aggregate) => &aggregate.input,
        LogicalPlan::Sort(sort) => &sort.input,
        LogicalPlan::Window(window) => &window.input,
        _ => return Ok(node),
    };
    let mut calls: Vec<Expr> = Vec::new();
    for expr in node.expressions() {
        expr.apply(|expr| {
            if !is_call(expr) {
                return Ok(TreeNodeRecursion::Continue);
            }
            if !calls.contains(expr) {
                calls.push(expr.clone());
            }
            Ok(TreeNodeRecursion::Jump)
        })?;
    }
    if calls.is_empty() {
        return Ok(node);
    }
    let columns = input.schema().columns().into_iter().map(Expr::Column);
    let computed = calls
        .iter()
        .enumerate()
        .map(|(index, call)| call.clone().alias(format!("{COMPUTED}{index}")));
    let below = LogicalPlanBuilder::from(input.as_ref().clone())
        .project(columns.chain(computed))?
        .build()?;
    let below = finish(below)?;

    // Only an aggregate's columns are named after its expressions; what a sort or window adds is dropped below.
    let is_aggregate = matches!(node, LogicalPlan::Aggregate(_));
    let names = NamePreserver::new(&node);
    let expressions = node
        .expressions()
        .into_iter()
        .map(|expr| {
            let name = names.save(&expr);
            let read = expr.transform_down(|expr| {
                Ok(match calls.iter().position(|call| *call == expr) {
                    Some(index) => {
                        let column = Column::from_name(format!("{COMPUTED}{index}"));
                        Transformed::new(Expr::Column(column), true, TreeNodeRecursion::Jump)
                    }
                    None => Transformed::no(expr),
                })
            })?;
            Ok(if is_aggregate {
                name.restore(read.data)
            } else {
                read.data
            })
        })
        .collect::<Result<Vec<_>>>()?;
    let columns: Vec<Expr> = node
        .schema()
        .columns()
        .into_iter()
        .map(Expr::Column)
        .collect();
    let rebuilt = node.with_new_exprs(expressions, vec![below])?;
    if is_aggregate {
        return Ok(rebuilt);
    }
    LogicalPlanBuilder::from(rebuilt).project(columns)?.build()
}
