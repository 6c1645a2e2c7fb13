//! A session's queries on a cluster: which go there, and what is refused because it would be wrong there.
//!
//! Plans are made here, files and all, and cut into parts there. What this program alone has is in no plan: tables in memory that were made of
//! folders of pictures, corrections, and allowances, of which each part would have one of its own.

use std::path::Path;
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::datasource::physical_plan::FileScanConfig;
use datafusion::datasource::sink::DataSinkExec;
use datafusion::datasource::source::DataSourceExec;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::aggregates::AggregateExec;
use datafusion::physical_plan::analyze::AnalyzeExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::prelude::SessionConfig;
use picsift_cluster::Cluster;
use picsift_udf::InferExec;

use crate::error::AppError;
use crate::sql::{Elsewhere, Fit, Session};
use crate::tables::{MADE, without_names};

/// Parts that a query is cut into at most; each executor takes one after the other.
const PARTS: usize = 32;

/// Has the queries of a session run by the cluster whose scheduler is at `address`.
///
/// # Errors
/// [`AppError::Usage`] for a file that has no token.
pub fn run_on(session: Session, address: &str, token: Option<&Path>) -> Result<Session, AppError> {
    let cluster = super::at(address, token, session.shared_engine())?;
    {
        let state = session.context().state_ref();
        let mut state = state.write();
        let config = picsift_cluster::planned(state.config().clone());
        *state.config_mut() = config.with_target_partitions(PARTS);
    }
    Ok(session.elsewhere(Arc::new(Remote(cluster))))
}

/// A cluster that runs the queries of a session.
struct Remote(Cluster);

#[async_trait::async_trait]
impl Elsewhere for Remote {
    fn fit(&self, plan: &Arc<dyn ExecutionPlan>) -> Result<Fit, AppError> {
        let refused = |what: &str| Err(AppError::Usage(format!("{what}, so not with --cluster")));
        if plan.is::<AnalyzeExec>() {
            return refused("EXPLAIN ANALYZE measures a run on this machine");
        }
        let mut found = Found::default();
        plan.apply(|node| Ok(found.look(node)))
            .map_err(AppError::Plan)?;
        if found.writes {
            return refused("COPY and INSERT write from one machine");
        }
        match found {
            Found {
                files: false,
                asks: false,
                ..
            } => Ok(Fit::Here),
            Found { pictures: true, .. } => refused(
                "a folder of pictures is made a table by this program for itself; label it, or write a table of it by COPY, and name that",
            ),
            Found {
                is_bounded: true, ..
            } => refused("picsift.max_images and picsift.max_seconds bound one machine"),
            Found { asks: true, .. } if stops_early(plan) => Ok(Fit::Whole),
            _ => Ok(Fit::Parts),
        }
    }

    async fn run(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &SessionConfig,
    ) -> Result<SendableRecordBatchStream, AppError> {
        // Executors name the files for themselves.
        let plan = without_names(plan).map_err(AppError::Plan)?;
        Ok(self.0.query(plan, config).await?)
    }
}

/// What there is in a plan.
#[derive(Default)]
struct Found {
    files: bool,
    pictures: bool,
    asks: bool,
    is_bounded: bool,
    writes: bool,
}

impl Found {
    fn look(&mut self, node: &Arc<dyn ExecutionPlan>) -> TreeNodeRecursion {
        self.writes |= node.is::<DataSinkExec>();
        if let Some(infer) = node.downcast_ref::<InferExec>() {
            self.asks = true;
            self.is_bounded |= infer.is_bounded();
        }
        if let Some(scan) = node.downcast_ref::<DataSourceExec>() {
            let scan = scan.data_source().as_ref() as &dyn std::any::Any;
            if let Some(scan) = scan.downcast_ref::<FileScanConfig>() {
                self.files = true;
                self.pictures |= scan.object_store_url.as_str() == MADE;
            }
        }
        TreeNodeRecursion::Continue
    }
}

/// Whether a limit ends the plan before all its images are asked about. Each part would go on until it has as many rows by itself.
fn stops_early(plan: &Arc<dyn ExecutionPlan>) -> bool {
    if plan.is::<SortExec>() || plan.is::<AggregateExec>() {
        return plan.children().into_iter().any(stops_early);
    }
    let asks = || {
        let mut asks = false;
        // It has no error of its own.
        let _ = plan.apply(|node| {
            if node.is::<SortExec>() || node.is::<AggregateExec>() {
                return Ok(TreeNodeRecursion::Jump);
            }
            asks |= node.is::<InferExec>();
            Ok(TreeNodeRecursion::Continue)
        });
        asks
    };
    let is_limit = plan.fetch().is_some() && !plan.is::<DataSourceExec>();
    (is_limit && asks()) || plan.children().into_iter().any(stops_early)
}
