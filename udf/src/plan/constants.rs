//! Constant arguments: the questions and folders of a call.
//!
//! A column counts as its constant where a projection below makes it one. DataFusion itself brings that about: in
//! `SELECT 'dog' AS category, .. ORDER BY classify_score(image, 'dog')` it puts the column in the text's place.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, DFSchema, Result, ScalarValue, plan_err};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;

/// `expr` over `inputs` with the columns that hold one literal each replaced by it.
pub(crate) fn with_literals(expr: Expr, inputs: &[LogicalPlan]) -> Result<Expr> {
    let found = expr.transform_down(|expr| {
        let Expr::Column(column) = &expr else {
            return Ok(Transformed::no(expr));
        };
        let literal = inputs.iter().find_map(|input| literal_of(column, input));
        Ok(match literal {
            Some(literal) => Transformed::new(literal, true, TreeNodeRecursion::Jump),
            None => Transformed::no(expr),
        })
    })?;
    Ok(found.data)
}

/// The literal that a column of `plan` is in every row.
fn literal_of(column: &Column, plan: &LogicalPlan) -> Option<Expr> {
    let place = plan.schema().maybe_index_of_column(column)?;
    match plan {
        LogicalPlan::Projection(projection) => {
            match projection.expr.get(place)?.clone().unalias_nested().data {
                literal @ Expr::Literal(..) => Some(literal),
                Expr::Column(column) => literal_of(&column, &projection.input),
                // A list of texts, which the simplifier makes one literal of.
                other => (other.column_refs().is_empty() && !other.is_volatile()).then_some(other),
            }
        }
        LogicalPlan::SubqueryAlias(alias) => {
            let column = Column::from(alias.input.schema().qualified_field(place));
            literal_of(&column, &alias.input)
        }
        LogicalPlan::Filter(_)
        | LogicalPlan::Sort(_)
        | LogicalPlan::Limit(_)
        | LogicalPlan::Repartition(_)
        | LogicalPlan::Distinct(Distinct::All(_)) => {
            literal_of(column, plan.inputs().into_iter().next()?)
        }
        _ => None,
    }
}

/// The texts of a constant argument: one for text, all for a list, `None` for NULL.
pub(crate) fn constant_texts(
    function: &str,
    expr: &Expr,
    why: &str,
) -> Result<Option<Vec<String>>> {
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(DFSchema::empty()))
        .build();
    let constant = match expr.clone().unalias_nested().data {
        Expr::Column(column) => {
            return plan_err!(
                "{function}: argument 2 is the column {column}; it must be a constant, {why}"
            );
        }
        literal @ Expr::Literal(..) => literal,
        other => ExprSimplifier::new(context).simplify(other)?,
    };
    let Expr::Literal(value, _) = constant else {
        return plan_err!("{function}: argument 2 is {expr}; it must be a constant, {why}");
    };
    if value.is_null() {
        return Ok(None);
    }
    let texts = match &value {
        ScalarValue::List(list) => list_items(list.value(0))?,
        ScalarValue::LargeList(list) => list_items(list.value(0))?,
        ScalarValue::FixedSizeList(list) => list_items(list.value(0))?,
        text => vec![text.clone()],
    };
    texts
        .iter()
        .map(|text| match text.try_as_str() {
            Some(Some(text)) => Ok(text.to_string()),
            _ => plan_err!("{function}: argument 2 holds a NULL; name a category such as 'dog'"),
        })
        .collect::<Result<Vec<_>>>()
        .map(Some)
}

fn list_items(items: arrow::array::ArrayRef) -> Result<Vec<ScalarValue>> {
    (0..items.len())
        .map(|index| ScalarValue::try_from_array(&items, index))
        .collect()
}
