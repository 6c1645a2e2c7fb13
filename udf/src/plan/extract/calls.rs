//! The calls of an expression, and when each is needed.
//!
//! Purely about expressions: a call inside a branch is needed only where the branch is taken, and the guard says so over the
//! same columns. Leaving a part of a guard out is always right, it only asks more; so what must not be evaluated twice (a
//! volatile function) or cannot be (a subquery) is left out.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::common::{Column, Result};
use datafusion::logical_expr::expr::{Case, ScalarFunction};
use datafusion::logical_expr::{BinaryExpr, Expr, Operator, lit};

use crate::plan::call::{Call, ResolvedFunction};

/// One call in an expression.
#[derive(Debug, Clone)]
pub(crate) struct Found {
    pub(crate) image: Expr,
    pub(crate) call: Arc<Call>,
    /// It is needed where this is true; `None` is everywhere. May hold calls itself.
    pub(crate) guard: Option<Expr>,
}

/// The call that an expression is.
pub(crate) fn call_of(expr: &Expr) -> Option<(&ScalarFunction, &Arc<Call>)> {
    match expr {
        Expr::ScalarFunction(function) => {
            let resolved = function.func.inner().downcast_ref::<ResolvedFunction>()?;
            Some((function, &resolved.call))
        }
        _ => None,
    }
}

/// Whether a call is anywhere in the expression.
pub(crate) fn has_calls(expr: &Expr) -> bool {
    expr.exists(|expr| Ok(call_of(expr).is_some()))
        .unwrap_or(false)
}

/// Whether evaluating the expression a second time could give something else, or cannot be done.
pub(crate) fn is_once_only(expr: &Expr) -> bool {
    let once = |expr: &Expr| {
        let volatile = call_of(expr).is_none() && expr.is_volatile_node();
        let subquery = matches!(
            expr,
            Expr::ScalarSubquery(_)
                | Expr::InSubquery(_)
                | Expr::Exists(_)
                | Expr::SetComparison(_)
        );
        Ok(volatile || subquery)
    };
    expr.exists(once).unwrap_or(true)
}

/// The calls of `expr` whose images need no other call, from left to right, each as often as it occurs.
pub(crate) fn calls(expr: &Expr) -> Vec<Found> {
    let mut found = Vec::new();
    collect(expr, None, &mut found);
    found
}

/// `expr` with each call for which there is a column replaced by it.
pub(crate) fn replace(expr: Expr, column: &dyn Fn(&Expr) -> Option<Column>) -> Result<Expr> {
    let replaced = expr.transform_down(|expr| {
        if call_of(&expr).is_none() {
            return Ok(Transformed::no(expr));
        }
        Ok(match column(&expr) {
            Some(column) => Transformed::new(Expr::Column(column), true, TreeNodeRecursion::Jump),
            None => Transformed::no(expr),
        })
    })?;
    Ok(replaced.data)
}

/// Where `guard` and then `part` are true; `part` is evaluated only where the guard is, as in the expression that it is from.
fn both(guard: Option<Expr>, part: Expr) -> Option<Expr> {
    if is_once_only(&part) {
        return guard;
    }
    Some(match guard {
        None => part,
        Some(guard) => Expr::Case(Case::new(
            None,
            vec![(Box::new(guard), Box::new(part))],
            Some(Box::new(lit(false))),
        )),
    })
}

fn collect(expr: &Expr, guard: Option<Expr>, found: &mut Vec<Found>) {
    if let Some((function, call)) = call_of(expr) {
        let Some(image) = function.args.first() else {
            return;
        };
        if has_calls(image) {
            return collect(image, guard, found);
        }
        found.push(Found {
            image: image.clone(),
            call: Arc::clone(call),
            guard,
        });
        return;
    }
    match expr {
        Expr::Case(case) => collect_case(case, guard, found),
        Expr::BinaryExpr(BinaryExpr {
            op: op @ (Operator::And | Operator::Or),
            ..
        }) => collect_chain(expr, *op, guard, found),
        Expr::ScalarFunction(function) if function.name() == "coalesce" => {
            let mut guard = guard;
            for arg in &function.args {
                collect(arg, guard.clone(), found);
                guard = both(guard, arg.clone().is_null());
            }
        }
        other => {
            // No error can come of it: the closure gives none.
            let _ = other.apply_children(|child| {
                collect(child, guard.clone(), found);
                Ok(TreeNodeRecursion::Continue)
            });
        }
    }
}

fn collect_case(case: &Case, guard: Option<Expr>, found: &mut Vec<Found>) {
    if let Some(value) = &case.expr {
        collect(value, guard.clone(), found);
    }
    let mut guard = guard;
    for (when, then) in &case.when_then_expr {
        collect(when, guard.clone(), found);
        let taken = match &case.expr {
            None => when.as_ref().clone(),
            Some(value) => value.as_ref().clone().eq(when.as_ref().clone()),
        };
        collect(then, both(guard.clone(), taken.clone()), found);
        guard = both(guard, taken.is_not_true());
    }
    if let Some(otherwise) = &case.else_expr {
        collect(otherwise, guard, found);
    }
}

/// AND and OR: what stands before a call can make it needless, and what asks nothing can wherever it stands.
fn collect_chain(expr: &Expr, op: Operator, guard: Option<Expr>, found: &mut Vec<Found>) {
    let mut operands = Vec::new();
    flatten(expr, op, &mut operands);
    let undecided = |operand: &Expr| match op {
        Operator::And => operand.clone().is_not_false(),
        _ => operand.clone().is_not_true(),
    };
    let (asking, cheap): (Vec<&Expr>, Vec<&Expr>) =
        operands.into_iter().partition(|operand| has_calls(operand));
    let mut guard = guard;
    for operand in cheap {
        guard = both(guard, undecided(operand));
    }
    for operand in asking {
        collect(operand, guard.clone(), found);
        guard = both(guard, undecided(operand));
    }
}

fn flatten<'a>(expr: &'a Expr, op: Operator, operands: &mut Vec<&'a Expr>) {
    match expr {
        Expr::BinaryExpr(binary) if binary.op == op => {
            flatten(&binary.left, op, operands);
            flatten(&binary.right, op, operands);
        }
        other => operands.push(other),
    }
}
