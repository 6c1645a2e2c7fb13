//! What a model does not know of a whole query's categories, named at once.
//!
//! Calls are resolved one by one, and the first that is refused ends the analysis; who asks for nine nouns in nine calls would be told
//! of one at a time.

use std::collections::BTreeSet;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DataFusionError, plan_datafusion_err};
use datafusion::logical_expr::{Expr, LogicalPlan};
use picsift_vision::{CategorySpec, VisionError};

use crate::functions::placeholder::{Operand, PlaceholderUdf};
use crate::pipeline::models::ModelHandle;
use crate::plan::constants::{constant_texts, with_literals};

/// The error that names all categories of a query that the model does not know, where they are several.
pub(crate) fn unknown_categories(
    plan: &LogicalPlan,
    model: &ModelHandle,
) -> Option<DataFusionError> {
    let refused = categories(plan)
        .into_iter()
        .filter_map(|text| model.category(&CategorySpec::plain(text).category).err())
        .filter(|error| matches!(error, VisionError::UnknownCategory { .. }));
    match VisionError::together(refused.collect())? {
        several @ VisionError::UnknownCategories { .. } => Some(plan_datafusion_err!("{several}")),
        _ => None,
    }
}

/// The constant categories of all calls, each once. Those that are no constants are another error's subject.
fn categories(plan: &LogicalPlan) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    // The closures give no error.
    let _ = plan.apply_with_subqueries(|node| {
        let inputs: Vec<LogicalPlan> = node.inputs().into_iter().cloned().collect();
        node.apply_expressions(|expr| {
            expr.apply(|part| {
                all.extend(asked(part, &inputs));
                Ok(TreeNodeRecursion::Continue)
            })
        })
    });
    all
}

fn asked(expr: &Expr, inputs: &[LogicalPlan]) -> Vec<String> {
    let Expr::ScalarFunction(call) = expr else {
        return Vec::new();
    };
    let placeholder = call.func.inner().downcast_ref::<PlaceholderUdf>();
    let Some(function) = placeholder.map(PlaceholderUdf::function) else {
        return Vec::new();
    };
    match (function.operand(), call.args.get(1)) {
        (Operand::Category | Operand::Categories, Some(question)) => {
            let question = with_literals(question.clone(), inputs);
            let texts = question.and_then(|text| constant_texts(function.name(), &text, ""));
            texts.ok().flatten().unwrap_or_default()
        }
        _ => Vec::new(),
    }
}
