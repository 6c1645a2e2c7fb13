//! The inference operator in a logical plan.
//!
//! [`Infer`] appends one column per call to its input, and drops the rows of which its predicates are not true. It keeps its
//! expressions to itself: some of them read its own columns, which no rule of DataFusion could make sense of.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::common::{Column, DFSchema, DFSchemaRef, Result, internal_datafusion_err};
use datafusion::logical_expr::{Expr, Extension, LogicalPlan, UserDefinedLogicalNodeCore};

use crate::pipeline::quota::InferenceQuota;
use crate::plan::inference_group::{self, InferenceGroup, answer_fields};

/// Asks about images; see the module.
#[derive(Debug, Clone)]
pub(crate) struct Infer {
    pub(crate) input: LogicalPlan,
    pub(crate) groups: Vec<InferenceGroup<Expr>>,
    /// Conjuncts over the input and the answers.
    pub(crate) predicates: Vec<Expr>,
    /// The input's columns, then the groups' in their order.
    pub(crate) schema: DFSchemaRef,
    /// Shared by all operators of a query; no part of what the node is.
    pub(crate) quota: Arc<InferenceQuota>,
}

impl Infer {
    /// # Errors
    /// When an answer's name is one of the input's.
    pub(crate) fn new(
        input: LogicalPlan,
        groups: Vec<InferenceGroup<Expr>>,
        predicates: Vec<Expr>,
        quota: Arc<InferenceQuota>,
    ) -> Result<Self> {
        let answers = answer_fields(&groups).map(|field| (None, field));
        let fields: Vec<_> = input
            .schema()
            .iter()
            .map(|(qualifier, field)| (qualifier.cloned(), Arc::clone(field)))
            .chain(answers)
            .collect();
        let schema = DFSchema::new_with_metadata(fields, input.schema().metadata().clone())?;
        Ok(Self {
            input,
            groups,
            predicates,
            schema: Arc::new(schema),
            quota,
        })
    }

    /// The node as a plan.
    pub(crate) fn into_plan(self) -> LogicalPlan {
        LogicalPlan::Extension(Extension {
            node: Arc::new(self),
        })
    }

    /// The node of a plan that is one.
    pub(crate) fn of(plan: &LogicalPlan) -> Option<&Self> {
        match plan {
            LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref(),
            _ => None,
        }
    }

    /// Every expression, in the order images and guards, then predicates.
    fn all_expressions(&self) -> impl Iterator<Item = &Expr> {
        let groups = self.groups.iter().flat_map(InferenceGroup::expressions);
        groups.chain(&self.predicates)
    }

    /// Names of the answers' columns.
    pub(crate) fn answer_names(&self) -> HashSet<String> {
        let columns = self.groups.iter().flat_map(|group| &group.columns);
        columns.map(|column| column.name.clone()).collect()
    }
}

impl PartialEq for Infer {
    fn eq(&self, other: &Self) -> bool {
        self.input == other.input
            && self.groups == other.groups
            && self.predicates == other.predicates
    }
}

impl Eq for Infer {}

impl Hash for Infer {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (&self.input, &self.groups, &self.predicates).hash(state);
    }
}

impl PartialOrd for Infer {
    fn partial_cmp(&self, _other: &Self) -> Option<Ordering> {
        None
    }
}

impl UserDefinedLogicalNodeCore for Infer {
    fn name(&self) -> &str {
        "Infer"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        &self.schema
    }

    fn expressions(&self) -> Vec<Expr> {
        Vec::new()
    }

    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        self.answer_names()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("Infer: ")?;
        inference_group::write(f, &self.groups, &self.predicates, true, "; ")
    }

    fn with_exprs_and_inputs(&self, _exprs: Vec<Expr>, inputs: Vec<LogicalPlan>) -> Result<Self> {
        let input = inputs
            .into_iter()
            .next()
            .ok_or_else(|| internal_datafusion_err!("Infer needs an input"))?;
        Self::new(
            input,
            self.groups.clone(),
            self.predicates.clone(),
            Arc::clone(&self.quota),
        )
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        let schema = self.input.schema();
        let mut needed: Vec<usize> = output_columns
            .iter()
            .copied()
            .filter(|index| *index < schema.fields().len())
            .collect();
        for expr in self.all_expressions() {
            needed.extend(
                expr.column_refs()
                    .into_iter()
                    .filter_map(|column: &Column| schema.maybe_index_of_column(column)),
            );
        }
        needed.sort_unstable();
        needed.dedup();
        Some(vec![needed])
    }

    fn supports_limit_pushdown(&self) -> bool {
        self.predicates.is_empty()
    }
}
