//! Which executor gets which task: whoever asks, as Ballista has it, but no unit of a job that it could not do while another executor is
//! there who may.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ballista_core::JobId;
use ballista_core::serde::protobuf::AvailableVcores;
use ballista_core::serde::scheduler::{
    ExecutorData, ExecutorMetadata, ExecutorOperatingSystemSpecification, ExecutorSpecification,
};
use ballista_scheduler::cluster::memory::InMemoryClusterState;
use ballista_scheduler::cluster::{BoundTask, ClusterState, DistributionPolicy};
use ballista_scheduler::config::TaskDistributionPolicy;
use ballista_scheduler::state::task_manager::JobInfoCache;
use datafusion::common::Result;
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::DataFusionError;
use datafusion::physical_plan::ExecutionPlan;

use crate::units::UnitsExec;

/// Deals tasks out, and knows who is there.
pub struct Deal {
    /// Time without a sign of life after which an executor is not there any more.
    pub(crate) timeout: Duration,
    /// When each executor asked last.
    seen: Mutex<HashMap<String, Instant>>,
    /// Queries and waves of units that were under way then.
    running: AtomicUsize,
    /// Tasks that were given away.
    given: AtomicU64,
}

impl fmt::Debug for Deal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deal").finish_non_exhaustive()
    }
}

impl Deal {
    /// To executors that give a sign of life within this time; at least a second.
    pub fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            seen: Mutex::default(),
            running: AtomicUsize::new(0),
            given: AtomicU64::new(0),
        }
    }

    /// Executors that are there.
    pub fn executors(&self) -> usize {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let there = seen.values().filter(|at| at.elapsed() <= self.timeout);
        there.count()
    }

    /// Queries and waves of units that they are at.
    pub fn running(&self) -> usize {
        match self.executors() {
            0 => 0,
            _ => self.running.load(Ordering::Relaxed),
        }
    }

    /// Tasks that were given to them by now.
    pub fn given(&self) -> u64 {
        self.given.load(Ordering::Relaxed)
    }

    /// An executor asks.
    fn see(&self, executor: &str) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.retain(|_, at| at.elapsed() <= self.timeout);
        seen.insert(executor.to_string(), Instant::now());
    }

    /// Whether one of these executors leaves what these could not do to another, which is there.
    fn leaves(&self, executor: &str, not_on: &[String]) -> bool {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let is_one = |executor: &str| not_on.iter().any(|one| one == executor);
        is_one(executor) && seen.keys().any(|other| !is_one(other))
    }

    /// The jobs of which it gets tasks.
    async fn jobs_for(
        &self,
        executor: &str,
        all: &HashMap<JobId, JobInfoCache>,
    ) -> HashMap<JobId, JobInfoCache> {
        let mut jobs = HashMap::new();
        for (id, job) in all {
            let plan = job.execution_graph.read().await.physical_plan();
            if !self.leaves(executor, &not_on(&plan)) {
                jobs.insert(id.clone(), job.clone());
            }
        }
        jobs
    }
}

#[async_trait::async_trait]
impl DistributionPolicy for Deal {
    async fn bind_tasks(
        &self,
        budgets: Vec<&mut AvailableVcores>,
        running_jobs: Arc<HashMap<JobId, JobInfoCache>>,
    ) -> Result<Vec<BoundTask>> {
        self.running.store(running_jobs.len(), Ordering::Relaxed);
        let mut tasks = Vec::new();
        for budget in budgets {
            self.see(&budget.executor_id);
            if budget.vcores == 0 {
                continue;
            }
            let jobs = self.jobs_for(&budget.executor_id, &running_jobs).await;
            let bound = bound(budget, jobs).await;
            tasks.extend(bound.map_err(|error| DataFusionError::External(Box::new(error)))?);
        }
        self.given.fetch_add(tasks.len() as u64, Ordering::Relaxed);
        Ok(tasks)
    }

    fn name(&self) -> &str {
        "picsift"
    }
}

/// Tasks of these jobs for one executor, as Ballista chooses them. It does so only for a state of a cluster, so it is given one.
async fn bound(
    budget: &AvailableVcores,
    jobs: HashMap<JobId, JobInfoCache>,
) -> std::result::Result<Vec<BoundTask>, ballista_core::error::BallistaError> {
    let state = InMemoryClusterState::default();
    let (id, vcores) = (budget.executor_id.clone(), budget.vcores);
    let metadata = ExecutorMetadata {
        id: id.clone(),
        host: String::new(),
        port: 0,
        grpc_port: 0,
        specification: ExecutorSpecification::default().with_vcores(vcores),
        os_info: ExecutorOperatingSystemSpecification::default(),
    };
    let data = ExecutorData {
        executor_id: id,
        total_vcores: vcores,
        available_vcores: vcores,
    };
    state.register_executor(metadata, data).await?;
    let policy = TaskDistributionPolicy::Bias;
    state
        .bind_schedulable_tasks(policy, Arc::new(jobs), None)
        .await
}

/// The executors that the units of a plan are kept from.
fn not_on(plan: &Arc<dyn ExecutionPlan>) -> Vec<String> {
    let mut executors = Vec::new();
    // It has no error of its own.
    let _ = plan.apply(|node| {
        if let Some(units) = node.downcast_ref::<UnitsExec>() {
            executors.extend(units.not_on.iter().cloned());
        }
        Ok(TreeNodeRecursion::Continue)
    });
    executors
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_one_could_not_do_is_left_to_others_while_there_are_any() {
        let deal = Deal::new(Duration::from_secs(3600));
        let both = ["a".to_string(), "b".to_string()];
        deal.see("a");
        assert!(!deal.leaves("a", &both[..1]), "nobody else is there");
        deal.see("b");
        assert!(deal.leaves("a", &both[..1]));
        assert!(!deal.leaves("b", &both[..1]));
        assert_eq!(deal.executors(), 2);
        assert!(!deal.leaves("a", &both), "nobody is left");
        assert!(!deal.leaves("a", &[]));

        let deal = Deal::new(Duration::ZERO);
        deal.see("b");
        std::thread::sleep(Duration::from_millis(1));
        deal.see("a");
        assert!(!deal.leaves("a", &both[..1]), "the other is gone");
    }
}
