//! From required calls to an operator: which calls share a group, what their columns are called, and for which rows each is needed.
//!
//! It owns the making of [`Infer`] nodes; where they stand is decided above.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, Result};
use datafusion::logical_expr::{Expr, LogicalPlan, Projection};

use super::Extraction;
use super::calls::{self, Found, has_calls};
use super::pushdown::RequiredCall;
use crate::plan::call::Call;
use crate::plan::inference_group::{AnswerColumn, InferenceGroup};
use crate::plan::node::Infer;

impl Extraction {
    /// `input` with an operator above it for the required calls from `passed` on that nothing below has answered, and for those
    /// before, which nodes above have, about the same images.
    pub(super) fn asked(
        &mut self,
        input: LogicalPlan,
        required: &mut [RequiredCall],
        passed: usize,
    ) -> Result<LogicalPlan> {
        let mut groups: Vec<InferenceGroup<Expr>> = Vec::new();
        let mut known: HashMap<(usize, Arc<Call>), usize> = HashMap::new();
        for own in [true, false] {
            for (place, needed) in required.iter_mut().enumerate() {
                if needed.found.is_some() || (place >= passed) != own {
                    continue;
                }
                let same = groups.iter().position(|group| group.is_about(needed));
                let index = match same {
                    Some(index) => index,
                    None if own => {
                        groups.push(InferenceGroup {
                            image: needed.image.clone(),
                            columns: Vec::new(),
                        });
                        groups.len() - 1
                    }
                    None => continue,
                };
                let columns = &mut groups[index].columns;
                let name = match known.get(&(index, Arc::clone(&needed.call))) {
                    Some(&column) => {
                        let column = &mut columns[column];
                        column.guard = either(column.guard.take(), needed.guard.clone());
                        column.name.clone()
                    }
                    None => {
                        let name = self.name();
                        known.insert((index, Arc::clone(&needed.call)), columns.len());
                        columns.push(AnswerColumn {
                            name: name.clone(),
                            call: Arc::clone(&needed.call),
                            guard: needed.guard.clone(),
                        });
                        name
                    }
                };
                needed.found = Some(Column::new_unqualified(name));
            }
        }
        if groups.is_empty() {
            return Ok(input);
        }
        settle_guards(&mut groups, required)?;
        let input = self.with_subqueries(input, &mut groups)?;
        let infer = Infer::new(input, groups, Vec::new(), Arc::clone(&self.quota))?;
        Ok(infer.into_plan())
    }
}

impl Extraction {
    /// `input` with the images that are subqueries as columns: an operator keeps its expressions to itself, so DataFusion would not plan
    /// those in them.
    fn with_subqueries(
        &mut self,
        input: LogicalPlan,
        groups: &mut [InferenceGroup<Expr>],
    ) -> Result<LogicalPlan> {
        let mut images = Vec::new();
        for group in groups {
            let is_subquery = |part: &Expr| Ok(matches!(part, Expr::ScalarSubquery(_)));
            if group.image.exists(is_subquery)? {
                let name = self.name();
                let column = Expr::Column(Column::new_unqualified(&name));
                images.push(std::mem::replace(&mut group.image, column).alias(name));
            }
        }
        if images.is_empty() {
            return Ok(input);
        }
        let columns = input.schema().columns().into_iter().map(Expr::Column);
        let columns = columns.chain(images).collect();
        let carrying = Projection::try_new(columns, input.into())?;
        Ok(LogicalPlan::Projection(carrying))
    }
}

impl InferenceGroup<Expr> {
    fn is_about(&self, needed: &RequiredCall) -> bool {
        let first = self.columns.first();
        self.image == needed.image
            && first.is_none_or(|column| {
                let (a, b) = (&column.call, &needed.call);
                a.spec.base == b.spec.base
                    && (a.model_spec() == b.model_spec()
                        || a.model_spec().is_none()
                        || b.model_spec().is_none())
                    && (a.spec.cascade == b.spec.cascade || a.cheap.is_none() || b.cheap.is_none())
            })
    }
}

/// The calls as required calls, equal ones once.
pub(super) fn distinct(found: &[Found]) -> Vec<RequiredCall> {
    let mut required: Vec<RequiredCall> = Vec::new();
    let mut known: HashMap<(&Expr, &Arc<Call>), usize> = HashMap::new();
    for Found {
        image, call, guard, ..
    } in found
    {
        match known.get(&(image, call)) {
            Some(&place) => {
                let needed = &mut required[place];
                needed.guard = either(needed.guard.take(), guard.clone());
            }
            None => {
                known.insert((image, call), required.len());
                required.push(RequiredCall {
                    image: image.clone(),
                    call: Arc::clone(call),
                    guard: guard.clone(),
                    found: None,
                });
            }
        }
    }
    required
}

/// Where one of two guards is true.
fn either(a: Option<Expr>, b: Option<Expr>) -> Option<Expr> {
    match (a, b) {
        (Some(a), Some(b)) if a == b => Some(a),
        (Some(a), Some(b)) => Some(a.is_true().or(b.is_true())),
        _ => None,
    }
}

/// The columns that were found for calls.
pub(super) struct Answers(HashMap<(Expr, Arc<Call>), Column>);

impl Answers {
    /// Those of the required calls that have one.
    pub(super) fn of(required: &[RequiredCall]) -> Self {
        let found = required.iter().filter_map(|needed| {
            let column = needed.found.clone()?;
            Some(((needed.image.clone(), Arc::clone(&needed.call)), column))
        });
        Self(found.collect())
    }

    /// `expr` with its calls read from these columns, as far as they are there.
    pub(super) fn read(&self, expr: Expr) -> Result<Expr> {
        calls::replace(expr, &|call| {
            let (function, call) = calls::call_of(call)?;
            let image = function.args.first()?.clone();
            self.0.get(&(image, Arc::clone(call))).cloned()
        })
    }
}

/// Guards with their calls read from columns. One that needs an answer of its own group is dropped, as all are where
/// groups would wait for each other.
fn settle_guards(groups: &mut [InferenceGroup<Expr>], required: &[RequiredCall]) -> Result<()> {
    let answers: Vec<Vec<String>> = groups
        .iter()
        .map(|group| group.columns.iter().map(|c| c.name.clone()).collect())
        .collect();
    let reads = |expr: &Expr, names: &[String]| {
        let columns = expr.column_refs();
        columns.iter().any(|column| names.contains(&column.name))
    };
    let known = Answers::of(required);
    for (index, group) in groups.iter_mut().enumerate() {
        for column in &mut group.columns {
            if let Some(guard) = column.guard.take() {
                let guard = known.read(guard)?;
                column.guard =
                    (!has_calls(&guard) && !reads(&guard, &answers[index])).then_some(guard);
            }
        }
    }
    // A group is ready when those that its guards read are; what never gets ready waits in a circle.
    let mut ready = vec![false; groups.len()];
    while let Some(next) = (0..groups.len()).find(|&index| {
        !ready[index]
            && groups[index].columns.iter().all(|column| {
                column.guard.as_ref().is_none_or(|guard| {
                    (0..answers.len()).all(|other| ready[other] || !reads(guard, &answers[other]))
                })
            })
    }) {
        ready[next] = true;
    }
    for (group, ready) in groups.iter_mut().zip(ready) {
        if !ready {
            for column in &mut group.columns {
                column.guard = None;
            }
        }
    }
    Ok(())
}
