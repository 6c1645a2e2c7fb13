//! From the logical operator to the physical one.

use std::sync::Arc;

use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::{Result, internal_datafusion_err};
use datafusion::execution::context::QueryPlanner;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{Expr, LogicalPlan, UserDefinedLogicalNode};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_planner::{DefaultPhysicalPlanner, ExtensionPlanner, PhysicalPlanner};

use crate::exec::InferExec;
use crate::pipeline::engine::Engine;
use crate::pipeline::quota::InferenceQuota;
use crate::pipeline::stats::RunStats;
use crate::plan::node::Infer;

/// Plans queries as DataFusion does, and picsift's operator with them.
#[derive(Debug)]
pub(crate) struct InferQueryPlanner {
    engine: Arc<Engine>,
}

impl InferQueryPlanner {
    pub(crate) fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

#[async_trait]
impl QueryPlanner for InferQueryPlanner {
    async fn create_physical_plan(
        &self,
        plan: &LogicalPlan,
        session: &dyn Session,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let extension = InferPlanner {
            engine: Arc::clone(&self.engine),
        };
        DefaultPhysicalPlanner::with_extension_planners(vec![Arc::new(extension)])
            .create_physical_plan(plan, session)
            .await
    }
}

/// Plans picsift's operator. For an engine that has a query planner of its own.
#[derive(Debug)]
pub struct InferPlanner {
    engine: Arc<Engine>,
}

impl InferPlanner {
    /// A planner whose operators run on `engine`.
    pub fn new(engine: Arc<Engine>) -> Self {
        Self { engine }
    }
}

#[async_trait]
impl ExtensionPlanner for InferPlanner {
    async fn plan_extension(
        &self,
        planner: &dyn PhysicalPlanner,
        node: &dyn UserDefinedLogicalNode,
        _logical_inputs: &[&LogicalPlan],
        physical_inputs: &[Arc<dyn ExecutionPlan>],
        session: &dyn Session,
        context: &PhysicalPlanningContext,
    ) -> Result<Option<Arc<dyn ExecutionPlan>>> {
        let Some(infer) = node.as_any().downcast_ref::<Infer>() else {
            return Ok(None);
        };
        let input = physical_inputs
            .first()
            .ok_or_else(|| internal_datafusion_err!("Infer needs an input"))?;
        let physical =
            |expr: &Expr| planner.create_physical_expr(expr, &infer.schema, session, context);
        let groups = infer
            .groups
            .iter()
            .map(|group| group.map(physical))
            .collect::<Result<_>>()?;
        let predicates = infer
            .predicates
            .iter()
            .map(physical)
            .collect::<Result<_>>()?;
        // A caller may have put its own counters and quota into the session.
        let stats = session
            .config()
            .get_extension::<RunStats>()
            .unwrap_or_default();
        let quota = session.config().get_extension::<InferenceQuota>();
        let quota = quota.unwrap_or_else(|| Arc::clone(&infer.quota));
        Ok(Some(Arc::new(InferExec::new(
            Arc::clone(input),
            groups,
            predicates,
            Arc::clone(&self.engine),
            quota,
            stats,
        )?)))
    }
}
