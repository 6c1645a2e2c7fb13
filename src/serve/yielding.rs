//! Plans whose joins let others go on.
//!
//! DataFusion's sources let other tasks of a thread go on after so many batches. A join makes any number of batches of one, and a plan of
//! several could hold its thread for minutes, in which it can be neither broken off nor passed. What multiplies rows is therefore put
//! under the node by which sources do it.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::config::ConfigOptions;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::coop::CooperativeExec;

/// Nodes that make many batches of one.
const MULTIPLIERS: [&str; 7] = [
    "CrossJoinExec",
    "NestedLoopJoinExec",
    "HashJoinExec",
    "SortMergeJoinExec",
    "SymmetricHashJoinExec",
    "PiecewiseMergeJoinExec",
    "UnnestExec",
];

/// The rule that puts them under it; to come after all others.
#[derive(Debug)]
pub(super) struct Yielding;

impl PhysicalOptimizerRule for Yielding {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        plan.transform_up(|node| match MULTIPLIERS.contains(&node.name()) {
            true => Ok(Transformed::yes(Arc::new(CooperativeExec::new(node)) as _)),
            false => Ok(Transformed::no(node)),
        })
        .data()
    }

    fn name(&self) -> &str {
        "yielding"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use datafusion::execution::SessionStateBuilder;
    use datafusion::prelude::SessionContext;
    use tokio::time::timeout;

    use super::*;

    // On a thread of its own, whose clock goes on only where the plan lets it.
    #[tokio::test]
    async fn a_join_that_multiplies_rows_can_be_broken_off() {
        let state = SessionStateBuilder::new()
            .with_default_features()
            .with_physical_optimizer_rule(Arc::new(Yielding))
            .build();
        let context = SessionContext::new_with_state(state);
        let sql = "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, \
                   generate_series(1, 100000) c";
        let frame = context.sql(sql).await.unwrap();
        let ended = timeout(Duration::from_millis(100), frame.collect()).await;
        assert!(ended.is_err());
    }
}
