//! Who asks a cluster: plans go to its scheduler, and rows come back through it.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use ballista_core::client::BallistaClient;
use ballista_core::error::BallistaError;
use ballista_core::extension::BallistaConfigGrpcEndpoint;
use ballista_core::serde::protobuf::execute_query_failure_result::Failure;
use ballista_core::serde::protobuf::execute_query_params::Query;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{
    CancelJobParams, ExecuteQueryParams, GetJobStatusParams, KeyValuePair, PartitionLocation,
    RemoveSessionParams, execute_query_result, job_status,
};
use ballista_core::utils::{GrpcClientConfig, create_grpc_client_endpoint};
use ballista_core::version::insert_version_header;
use bytes::Bytes;
use datafusion::common::internal_datafusion_err;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::prelude::SessionConfig;
use datafusion_proto::physical_plan::{AsExecutionPlan, PhysicalExtensionCodec};
use datafusion_proto::protobuf::PhysicalPlanNode;
use futures::{StreamExt, TryStreamExt};
use picsift_udf::Engine;
use tonic::transport::Channel;

use crate::access::Access;
use crate::error::ClusterError;
use crate::message::{Say, said};
use crate::scheduler::MOST_BYTES;
use crate::units::{failed, plan};
use crate::{codec, settings};

/// Time between two questions how far a job is: the first, and the longest.
const FIRST_LOOK: Duration = Duration::from_millis(20);
const LONGEST_LOOK: Duration = Duration::from_millis(500);

/// Questions that may go unanswered one after another.
const UNANSWERED: u32 = 3;

/// What came of units that were given away.
#[derive(Debug, Default)]
pub struct Tried {
    /// Those that could not be done.
    pub failed: Vec<FailedUnit>,
    /// Executors that did one or more.
    pub able: HashSet<String>,
}

/// A unit that could not be done.
#[derive(Debug)]
pub struct FailedUnit {
    /// Its number.
    pub unit: u32,
    /// Why, in a sentence.
    pub why: String,
    /// The executor that could not do it.
    pub executor: String,
}

/// A cluster, by its scheduler.
#[derive(Debug, Clone)]
pub struct Cluster {
    address: String,
    access: Access,
    engine: Arc<Engine>,
    say: Say,
}

impl Cluster {
    /// The one whose scheduler is at `HOST:PORT`. `engine` is what its plans were made with.
    pub fn at(address: &str, access: Access, engine: Arc<Engine>, say: Say) -> Self {
        Self {
            address: address.to_string(),
            access,
            engine,
            say,
        }
    }

    /// The scheduler's address.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Looks whether it is there and has something to do with this program.
    ///
    /// # Errors
    /// [`ClusterError::Address`]; [`ClusterError::Connect`]; [`ClusterError::Refused`].
    pub async fn answers(&self) -> Result<(), ClusterError> {
        looked(&self.address, &self.access).await
    }

    /// Runs a plan there; its rows come when all of them are made, partition by partition.
    ///
    /// # Errors
    /// [`ClusterError`]; of the stream, what came between.
    pub async fn query(
        &self,
        query: Arc<dyn ExecutionPlan>,
        config: &SessionConfig,
    ) -> Result<SendableRecordBatchStream, ClusterError> {
        let schema = query.schema();
        let mut job = self.submit(query, settings::sent(config)).await?;
        let locations = job.done().await?;
        let cluster = self.clone();
        let rows = futures::stream::iter(locations).then(move |location| {
            let cluster = cluster.clone();
            async move {
                cluster
                    .fetch(location)
                    .await
                    .map_err(BallistaError::into_datafusion)
            }
        });
        let rows = rows.try_flatten().map(move |batch| {
            // What was passed on is forgotten with the job.
            let _until_then = &job;
            batch
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }

    /// Has these units of a job done, by none of the executors `not_on` while another is there. When it ends well each was tried; those that
    /// could not be done come back with why, as far as that can still be found out.
    ///
    /// # Errors
    /// [`ClusterError::Failed`] when an executor says that the job is hopeless; when the cluster cannot be asked.
    pub async fn units(
        &self,
        job: Bytes,
        units: &[u32],
        not_on: &[String],
    ) -> Result<Tried, ClusterError> {
        let config = SessionConfig::new();
        let job = self.submit(plan(job, units, not_on)?, settings::sent(&config));
        let mut job = job.await?;
        let mut tried = Tried::default();
        for location in job.done().await? {
            let executor = location.executor_meta.as_ref();
            let executor = executor.map_or_else(String::new, |meta| meta.id.clone());
            let rows = location
                .partition_stats
                .as_ref()
                .map(|stats| stats.num_rows);
            if rows == Some(0) {
                tried.able.insert(executor);
                continue;
            }
            let rows = match self.fetch(location).await {
                Ok(rows) => rows.try_collect::<Vec<_>>().await,
                Err(error) => Err(error.into_datafusion()),
            };
            match rows {
                Ok(rows) => {
                    let failed = rows.iter().flat_map(failed);
                    tried.failed.extend(failed.map(|(unit, why)| FailedUnit {
                        unit,
                        why,
                        executor: executor.clone(),
                    }));
                }
                Err(error) => {
                    tracing::warn!(%error, "why a unit could not be done cannot be found out")
                }
            }
        }
        Ok(tried)
    }

    async fn submit(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        settings: Vec<KeyValuePair>,
    ) -> Result<Job, ClusterError> {
        let codec = codec::physical(&self.engine, None, self.say);
        let bytes = written(plan, &*codec)?;
        let mut scheduler = connect(&self.address, &self.access).await?;
        let session = random()?;
        let mut request = tonic::Request::new(ExecuteQueryParams {
            session_id: session.clone(),
            settings,
            operation_id: random()?,
            query: Some(Query::PhysicalPlan(bytes)),
        });
        insert_version_header(request.metadata_mut());
        let answer = scheduler.execute_query(request).await;
        let answer = answer.map_err(|status| ClusterError::of_status(&self.address, status))?;
        match answer.into_inner().result {
            Some(execute_query_result::Result::Success(begun)) => Ok(Job {
                scheduler,
                address: self.address.clone(),
                id: begun.job_id,
                session,
                is_done: false,
            }),
            Some(execute_query_result::Result::Failure(failure)) => {
                let text = match failure.failure {
                    Some(
                        Failure::PlanParsingFailure(text)
                        | Failure::SessionNotFound(text)
                        | Failure::SqlParsingFailure(text),
                    ) => text,
                    None => "the scheduler refuses the plan".to_string(),
                };
                Err(ClusterError::Failed(said(&text)))
            }
            None => Err(ClusterError::Failed(
                "the scheduler did not say what became of the plan".to_string(),
            )),
        }
    }

    /// Rows of a partition, by way of the scheduler.
    async fn fetch(
        &self,
        location: PartitionLocation,
    ) -> Result<SendableRecordBatchStream, BallistaError> {
        let layout = location.layout();
        let (Some(at), Some(partition)) = (location.executor_meta, location.partition_id) else {
            return Err(BallistaError::Internal(
                "a partition came without its place".to_string(),
            ));
        };
        let (host, port) = parts(&self.address)
            .ok_or_else(|| BallistaError::Internal("no address".to_string()))?;
        let endpoints = BallistaConfigGrpcEndpoint::new(self.access.on_endpoints());
        let retries = GrpcClientConfig::default();
        let mut client = BallistaClient::try_new(
            host,
            port,
            MOST_BYTES,
            false,
            Some(Arc::new(endpoints)),
            retries.io_retries_times,
            retries.io_retry_wait_time_ms,
            0,
            0,
        )
        .await?;
        let (id, file) = (at.id.clone(), location.file_id);
        let from = (at.host.as_str(), at.port as u16);
        let partition = partition.into();
        client
            .fetch_partition_proxied(&id, &partition, file, layout, from.0, from.1, true)
            .await
    }
}

/// Looks whether a scheduler is there and has something to do with this program.
///
/// # Errors
/// As [`Cluster::answers`].
pub(crate) async fn looked(address: &str, access: &Access) -> Result<(), ClusterError> {
    let mut scheduler = connect(address, access).await?;
    let asked = scheduler.remove_session(RemoveSessionParams {
        session_id: random()?,
    });
    // Whatever else it says of a session that there never was, it is there.
    match asked
        .await
        .map_err(|status| ClusterError::of_status(address, status))
    {
        Err(error @ ClusterError::Refused { .. }) => Err(error),
        _ => Ok(()),
    }
}

/// A plan as it is sent.
fn written(
    plan: Arc<dyn ExecutionPlan>,
    codec: &dyn PhysicalExtensionCodec,
) -> Result<Vec<u8>, ClusterError> {
    let node = PhysicalPlanNode::try_from_physical_plan(plan, codec)?;
    let mut bytes = Vec::new();
    node.try_encode(&mut bytes)?;
    match bytes.len() < MOST_BYTES {
        true => Ok(bytes),
        false => Err(ClusterError::Plan(internal_datafusion_err!(
            "the plan has {} bytes, and {MOST_BYTES} can be sent; name fewer files",
            bytes.len()
        ))),
    }
}

/// A connection with the scheduler at `HOST:PORT`.
///
/// # Errors
/// [`ClusterError::Address`]; [`ClusterError::Connect`].
pub(crate) async fn connect(
    address: &str,
    access: &Access,
) -> Result<SchedulerGrpcClient<Channel>, ClusterError> {
    let no_address = || ClusterError::Address(address.to_string());
    parts(address).ok_or_else(no_address)?;
    let endpoint = create_grpc_client_endpoint(
        format!("http://{address}"),
        Some(&GrpcClientConfig::default()),
    );
    let endpoint = endpoint.map_err(|_| no_address())?;
    let endpoint = access.endpoint(endpoint).map_err(|_| no_address())?;
    let channel = endpoint
        .connect()
        .await
        .map_err(|source| ClusterError::Connect {
            address: address.to_string(),
            source,
        })?;
    let client = SchedulerGrpcClient::new(channel);
    Ok(client
        .max_decoding_message_size(MOST_BYTES)
        .max_encoding_message_size(MOST_BYTES))
}

/// Host and port.
fn parts(address: &str) -> Option<(&str, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    let port = port.parse().ok()?;
    let is_plain = !host.is_empty() && !host.contains(['/', '@', ' ', '?', '#']);
    is_plain.then_some((host, port))
}

/// A name that nobody else has.
pub(crate) fn random() -> Result<String, ClusterError> {
    let mut bytes = [0_u8; 16];
    getrandom::getrandom(&mut bytes).map_err(ClusterError::Random)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// What a cluster was asked for. It is given up there when it is dropped before its end.
struct Job {
    scheduler: SchedulerGrpcClient<Channel>,
    address: String,
    id: String,
    session: String,
    is_done: bool,
}

impl Job {
    /// Waits for its end; where its rows are.
    async fn done(&mut self) -> Result<Vec<PartitionLocation>, ClusterError> {
        let (mut pause, mut unanswered, mut was_seen) = (FIRST_LOOK, 0, false);
        loop {
            let asked = self.scheduler.get_job_status(GetJobStatusParams {
                job_id: self.id.clone(),
            });
            let status = match asked.await {
                Ok(status) => status.into_inner().status,
                Err(status) if unanswered < UNANSWERED => {
                    tracing::warn!(%status, "the scheduler did not say how far it is");
                    unanswered += 1;
                    tokio::time::sleep(LONGEST_LOOK).await;
                    continue;
                }
                Err(status) => return Err(ClusterError::of_status(&self.address, status)),
            };
            unanswered = 0;
            match status.and_then(|status| status.status) {
                Some(job_status::Status::Successful(done)) => {
                    self.is_done = true;
                    return Ok(done.partition_location);
                }
                Some(job_status::Status::Failed(failed)) => {
                    self.is_done = true;
                    return Err(ClusterError::Failed(said(&failed.error)));
                }
                None if was_seen => {
                    self.is_done = true;
                    return Err(ClusterError::Forgotten(self.address.clone()));
                }
                None => {}
                Some(_) => was_seen = true,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_LOOK);
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        let (mut scheduler, is_done) = (self.scheduler.clone(), self.is_done);
        let (job_id, session_id) = (self.id.clone(), self.session.clone());
        let Ok(threads) = tokio::runtime::Handle::try_current() else {
            return;
        };
        // Detached: it ends by the connection's time-out, and nobody waits for it.
        threads.spawn(async move {
            if !is_done {
                let _ = scheduler.cancel_job(CancelJobParams { job_id }).await;
            }
            let _ = scheduler
                .remove_session(RemoveSessionParams { session_id })
                .await;
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_host_and_a_port() {
        assert_eq!(parts("localhost:50050"), Some(("localhost", 50050)));
        assert_eq!(parts("[::1]:1"), Some(("[::1]", 1)));
        for wrong in ["localhost", ":1", "a:b", "http://a:1", "me@a:1", "a:70000"] {
            assert_eq!(parts(wrong), None, "{wrong}");
        }
    }
}
