//! An executor: asks the scheduler for tasks and does them with one engine, whose models they share.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use arrow_flight::flight_service_server::FlightServiceServer;
use ballista_core::registry::BallistaFunctionRegistry;
use ballista_core::serde::BallistaCodec;
use ballista_core::serde::protobuf::scheduler_grpc_client::SchedulerGrpcClient;
use ballista_core::serde::protobuf::{ExecutorRegistration, ExecutorStoppedParams, PollWorkParams};
use ballista_core::serde::scheduler::{
    ExecutorOperatingSystemSpecification, ExecutorSpecification,
};
use ballista_core::{BALLISTA_PROTOCOL_VERSION, ConfigProducer, RuntimeProducer};
use ballista_executor::execution_engine::DefaultExecutionEngine;
use ballista_executor::execution_loop::poll_loop;
use ballista_executor::executor::Executor;
use ballista_executor::flight_service::BallistaFlightService;
use ballista_executor::health::ExecutorHealth;
use ballista_executor::metrics::LoggingMetricsCollector;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::prelude::SessionContext;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use picsift_udf::{Engine, RunStats};
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::transport::server::TcpIncoming;

use crate::access::Access;
use crate::client::{connect, looked, random};
use crate::engine::TaskEngine;
use crate::error::ClusterError;
use crate::message::Say;
use crate::scheduler::MOST_BYTES;
use crate::slots::Slots;
use crate::units::{Units, UnitsOn};
use crate::{codec, settings};

/// Time for a scheduler to appear that is not there yet: both may be started at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Time between two looks whether the scheduler answers.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What an executor is told.
pub struct ExecutorOptions {
    /// The scheduler's `HOST:PORT`.
    pub scheduler: String,
    /// Who may ask, and what the scheduler wants to be shown.
    pub access: Access,
    /// Name or address by which others reach it; `None` is the address from which the scheduler sees it ask.
    pub host: Option<String>,
    /// Tasks at once; at least one.
    pub tasks: usize,
    /// Stores and memory of its tasks.
    pub runtime: Arc<RuntimeEnv>,
    /// What is done to each plan before it runs.
    pub rules: Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>>,
    /// What does units of jobs.
    pub units: Arc<dyn Units>,
    /// Where parts of queries count.
    pub stats: Arc<RunStats>,
    /// Becomes the number of tasks that are under way.
    pub running: Arc<AtomicI64>,
    /// How an error is said to a person.
    pub say: Say,
    /// Is told whether the scheduler answers, whenever that changes after the first time.
    pub answers: Arc<dyn Fn(bool) + Send + Sync>,
}

/// Runs an executor, whose results are fetched at `listener`, until `ended`. `begun` is called when the scheduler knows it.
///
/// # Errors
/// When the scheduler cannot be reached or refuses it, or it cannot begin.
pub async fn execute(
    listener: TcpListener,
    options: ExecutorOptions,
    engine: &Arc<Engine>,
    begun: impl FnOnce() + Send,
    ended: impl Future<Output = ()> + Send,
) -> Result<(), ClusterError> {
    let address = listener.local_addr().map_err(ClusterError::Serve)?;
    let folder = tempfile::Builder::new().prefix("picsift").tempdir();
    let folder = folder.map_err(ClusterError::Folder)?;
    let work = folder.path().to_string_lossy().into_owned();
    let tasks = options.tasks.max(1);
    let specification = ExecutorSpecification::default().with_vcores(tasks as u32);
    let registration = ExecutorRegistration {
        id: random()?,
        host: options.host.clone(),
        port: address.port().into(),
        grpc_port: address.port().into(),
        specification: Some(specification.into()),
        os_info: Some(ExecutorOperatingSystemSpecification::default().into()),
        ballista_protocol_version: BALLISTA_PROTOCOL_VERSION,
    };
    let slots = Arc::new(Slots::new(tasks));
    let units = UnitsOn {
        units: Arc::clone(&options.units),
        threads: Handle::current(),
        slots: Arc::clone(&slots),
    };
    let codec: BallistaCodec<LogicalPlanNode, PhysicalPlanNode> = BallistaCodec::new(
        codec::logical(engine),
        codec::physical(engine, Some(units), options.say),
    );
    let executor = Arc::new(executor(registration.clone(), &work, &options, engine)?);

    let mut scheduler = registered(&options, &registration).await?;
    begun();
    let health = ExecutorHealth::new();
    health.mark_heartbeat_ok();
    let asks = poll_loop(
        scheduler.clone(),
        executor,
        codec,
        None,
        Some(Arc::clone(&slots.free)),
        health.clone(),
    );
    let flight = FlightServiceServer::new(BallistaFlightService::new(work))
        .max_decoding_message_size(MOST_BYTES)
        .max_encoding_message_size(MOST_BYTES);
    let flight = tonic::transport::Server::builder()
        .add_service(InterceptedService::new(flight, options.access.door()))
        .serve_with_incoming(TcpIncoming::from(listener));
    let done = tokio::select! {
        asked = asks => asked.map_err(ClusterError::Begin),
        served = flight => served.map_err(ClusterError::Flight),
        refused = watch(&health, &options) => Err(refused),
        () = ended => Ok(()),
    };
    let stopped = scheduler.executor_stopped(ExecutorStoppedParams {
        executor_id: registration.id,
        reason: "it was asked to end".to_string(),
    });
    // Whoever is not told finds out.
    let _ = tokio::time::timeout(LOOK_EVERY, stopped).await;
    done
}

fn executor(
    registration: ExecutorRegistration,
    work: &str,
    options: &ExecutorOptions,
    engine: &Arc<Engine>,
) -> Result<Executor, ClusterError> {
    let runtime = Arc::clone(&options.runtime);
    let runtimes: RuntimeProducer = Arc::new(move |_| Ok(Arc::clone(&runtime)));
    let access = options.access.clone();
    let stats = Arc::clone(&options.stats);
    let configs: ConfigProducer =
        Arc::new(move || settings::config(&access).with_extension(Arc::clone(&stats)));
    let context = SessionContext::new();
    picsift_udf::register_all(&context, engine)?;
    let state = context.state();
    let functions = BallistaFunctionRegistry {
        scalar_functions: state.scalar_functions().clone(),
        aggregate_functions: state.aggregate_functions().clone(),
        window_functions: state.window_functions().clone(),
        ..BallistaFunctionRegistry::default()
    };
    Ok(Executor::new(
        registration,
        work,
        runtimes,
        configs,
        Arc::new(functions),
        Arc::new(LoggingMetricsCollector::default()),
        options.tasks.max(1),
        Arc::new(TaskEngine {
            inner: DefaultExecutionEngine::new(),
            rules: options.rules.clone(),
            say: options.say,
            running: Arc::clone(&options.running),
        }),
    ))
}

/// The scheduler, which knows the executor from then on.
async fn registered(
    options: &ExecutorOptions,
    registration: &ExecutorRegistration,
) -> Result<SchedulerGrpcClient<Channel>, ClusterError> {
    let begun = tokio::time::Instant::now();
    let mut scheduler = loop {
        match connect(&options.scheduler, &options.access).await {
            Err(ClusterError::Connect { .. }) if begun.elapsed() < PATIENCE => {
                tokio::time::sleep(LOOK_EVERY).await;
            }
            other => break other?,
        }
    };
    let known = scheduler.poll_work(PollWorkParams {
        metadata: Some(registration.clone()),
        num_free_vcores: 0,
        task_status: Vec::new(),
    });
    let known = known.await;
    known.map_err(|status| ClusterError::of_status(&options.scheduler, status))?;
    Ok(scheduler)
}

/// Tells whether the scheduler answers, until one that was put in its place refuses this executor.
async fn watch(health: &ExecutorHealth, options: &ExecutorOptions) -> ClusterError {
    let mut before = true;
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = health.is_ready();
        let look = || looked(&options.scheduler, &options.access);
        if !now && let Err(error @ ClusterError::Refused { .. }) = look().await {
            return error;
        }
        if now != before {
            (options.answers)(now);
            before = now;
        }
    }
}
