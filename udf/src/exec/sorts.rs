//! Sorts that a plan has below the operator, brought above it.
//!
//! The operator keeps its input's order and says so, which lets DataFusion push a sort of plain columns below it: the sort
//! would then carry images, gigabytes of them, where above it carries answers. A sort with a limit stays below, because
//! the rows that it drops need no answers. This rule only moves sorts; whether one is needed is DataFusion's to decide.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{LexOrdering, PhysicalExpr, PhysicalSortExpr};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::execution_plan::replace_children_if_necessary;
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;

use super::InferExec;

/// Name of DataFusion's rule that pushes sorts down, after which this one runs.
const PUSHES_SORTS: &str = "EnsureRequirements";

/// Brings sorts above the operator; see the module.
#[derive(Debug, Default)]
pub(crate) struct SortsAboveInference;

impl SortsAboveInference {
    /// `rules` with this one after the rule that pushes sorts down.
    pub(crate) fn among(
        rules: &[Arc<dyn PhysicalOptimizerRule + Send + Sync>],
    ) -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
        let mut rules = rules.to_vec();
        let behind = rules.iter().rposition(|rule| rule.name() == PUSHES_SORTS);
        let place = behind.map_or(rules.len(), |place| place + 1);
        rules.insert(place, Arc::new(Self));
        rules
    }
}

impl PhysicalOptimizerRule for SortsAboveInference {
    fn name(&self) -> &str {
        "sorts_above_inference"
    }

    fn schema_check(&self) -> bool {
        true
    }

    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|plan| {
            let [child] = plan.children()[..] else {
                return Ok(Transformed::no(plan));
            };
            let Some(order) = Order::of(child) else {
                return Ok(Transformed::no(plan));
            };
            let lifted = if plan.is::<InferExec>() {
                // Its columns begin with the input's, so they have the same places.
                Some(order.keys.clone())
            } else if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
                order
                    .above_inference()
                    .then(|| order.through(projection))
                    .flatten()
            } else {
                None
            };
            match lifted {
                Some(keys) => order.above(plan, keys).map(Transformed::yes),
                None => Ok(Transformed::no(plan)),
            }
        })
        .data()
    }
}

/// A sort of all rows, with the merge of its partitions where there is one.
struct Order {
    keys: LexOrdering,
    preserve_partitioning: bool,
    merged: bool,
    input: Arc<dyn ExecutionPlan>,
}

impl Order {
    fn of(plan: &Arc<dyn ExecutionPlan>) -> Option<Self> {
        let merge = plan.downcast_ref::<SortPreservingMergeExec>();
        let sort = match merge {
            Some(merge) if merge.fetch().is_none() => merge.input(),
            Some(_) => return None,
            None => plan,
        };
        let sort = sort.downcast_ref::<SortExec>()?;
        // A merge by other keys than the sort's is not this rule's.
        let same = merge.is_none_or(|merge| merge.expr() == sort.expr());
        (sort.fetch().is_none() && same).then(|| Self {
            keys: sort.expr().clone(),
            preserve_partitioning: sort.preserve_partitioning(),
            merged: merge.is_some(),
            input: Arc::clone(sort.input()),
        })
    }

    /// Whether the sort stands right above the operator, where only this rule puts it below a projection.
    fn above_inference(&self) -> bool {
        self.input.is::<InferExec>()
    }

    /// The keys over the columns of a projection; `None` where it drops one of them.
    fn through(&self, projection: &ProjectionExec) -> Option<LexOrdering> {
        let keys = self.keys.iter().map(|key| {
            let expr = renamed(&key.expr, projection)?;
            Some(PhysicalSortExpr::new(expr, key.options))
        });
        LexOrdering::new(keys.collect::<Option<Vec<_>>>()?)
    }

    /// The order above `plan`, which has the sorted input below it.
    fn above(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        keys: LexOrdering,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let unsorted = replace_children_if_necessary(plan, vec![Arc::clone(&self.input)])?;
        let sort = SortExec::new(keys.clone(), unsorted)
            .with_preserve_partitioning(self.preserve_partitioning);
        let sort: Arc<dyn ExecutionPlan> = Arc::new(sort);
        Ok(match self.merged {
            true => Arc::new(SortPreservingMergeExec::new(keys, sort)),
            false => sort,
        })
    }
}

/// `expr` over the columns that a projection gives its input's; `None` where one is not among them.
fn renamed(
    expr: &Arc<dyn PhysicalExpr>,
    projection: &ProjectionExec,
) -> Option<Arc<dyn PhysicalExpr>> {
    let mut all = true;
    let renamed = Arc::clone(expr).transform_down(|expr| {
        let Some(column) = expr.downcast_ref::<Column>() else {
            return Ok(Transformed::no(expr));
        };
        let place = projection.expr().iter().position(|projected| {
            let source = projected.expr.downcast_ref::<Column>();
            source.is_some_and(|source| source.index() == column.index())
        });
        let Some(place) = place else {
            all = false;
            return Ok(Transformed::no(expr));
        };
        let name = &projection.expr()[place].alias;
        Ok(Transformed::new(
            Arc::new(Column::new(name, place)) as _,
            true,
            datafusion::common::tree_node::TreeNodeRecursion::Jump,
        ))
    });
    renamed.ok().map(|renamed| renamed.data).filter(|_| all)
}
