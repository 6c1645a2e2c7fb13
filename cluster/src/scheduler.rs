//! A scheduler: takes plans, cuts them into tasks, and gives these to executors that ask for them.
//!
//! What it knows is in memory alone. A scheduler that is started again has forgotten its jobs; whoever asked is told so.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;

use arrow_flight::flight_service_server::FlightServiceServer;
use ballista_core::ConfigProducer;
use ballista_core::config::TaskSchedulingPolicy;
use ballista_core::extension::BallistaConfigGrpcEndpoint;
use ballista_core::flight_proxy_service::BallistaFlightProxyService;
use ballista_core::serde::protobuf::scheduler_grpc_server::SchedulerGrpcServer;
use ballista_scheduler::cluster::BallistaCluster;
use ballista_scheduler::config::{SchedulerConfig, TaskDistributionPolicy};
use ballista_scheduler::scheduler_process::create_scheduler;
use ballista_scheduler::scheduler_server::SessionBuilder;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::prelude::SessionContext;
use datafusion_proto::protobuf::{LogicalPlanNode, PhysicalPlanNode};
use picsift_udf::Engine;
use tokio::net::TcpListener;
use tonic::service::RoutesBuilder;
use tonic::service::interceptor::InterceptedService;

use crate::access::Access;
use crate::deal::Deal;
use crate::error::ClusterError;
use crate::message::Say;
use crate::{codec, settings};

/// Bytes of a plan or a message at most.
pub(crate) const MOST_BYTES: usize = 16 << 20;

/// What a scheduler is told.
#[derive(Debug, Clone)]
pub struct SchedulerOptions {
    /// Who may ask.
    pub access: Access,
    /// Gives tasks to executors, and to others those of who is dead.
    pub deal: Arc<Deal>,
    /// The stores that plans name, which are opened with their scans; it reads nothing.
    pub runtime: Arc<RuntimeEnv>,
    /// How an error is said to a person.
    pub say: Say,
}

/// Runs a scheduler at `listener` until `ended`. Its engine describes the models that plans name; it loads none.
///
/// # Errors
/// When it cannot begin.
pub async fn schedule(
    listener: TcpListener,
    options: SchedulerOptions,
    engine: &Arc<Engine>,
    ended: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ClusterError> {
    let address = listener.local_addr().map_err(ClusterError::Serve)?;
    let seconds = options.deal.timeout.as_secs().max(1);
    let access = options.access.clone();
    let producer: ConfigProducer = Arc::new(move || settings::config(&access));
    // Plans come with picsift's functions.
    let functions = Arc::clone(engine);
    let runtime = Arc::clone(&options.runtime);
    let sessions: SessionBuilder = Arc::new(move |config| {
        let context = SessionContext::new_with_config_rt(config, Arc::clone(&runtime));
        picsift_udf::register_all(&context, &functions)?;
        Ok(context.state())
    });
    let config = Arc::new(SchedulerConfig {
        external_host: address.ip().to_string(),
        bind_host: address.ip().to_string(),
        bind_port: address.port(),
        scheduling_policy: TaskSchedulingPolicy::PullStaged,
        task_distribution: TaskDistributionPolicy::Custom(Arc::clone(&options.deal) as _),
        enable_embedded_flight_proxy: true,
        executor_timeout_seconds: seconds,
        expire_dead_executor_interval_seconds: (seconds / 4).max(1),
        no_executors_grace_period_seconds: seconds,
        grpc_server_max_decoding_message_size: MOST_BYTES as u32,
        grpc_server_max_encoding_message_size: MOST_BYTES as u32,
        grpc_client_max_message_size: MOST_BYTES as u32,
        override_config_producer: Some(producer),
        override_session_builder: Some(sessions),
        override_logical_codec: Some(codec::logical(engine)),
        override_physical_codec: Some(codec::physical(engine, None, options.say)),
        override_create_grpc_client_endpoint: Some(options.access.on_endpoints()),
        ..SchedulerConfig::default()
    });
    let cluster = BallistaCluster::new_from_config(&config).await;
    let cluster = cluster.map_err(ClusterError::Begin)?;
    let scheduler = create_scheduler::<LogicalPlanNode, PhysicalPlanNode>(cluster, config).await;
    let scheduler = SchedulerGrpcServer::new(scheduler.map_err(ClusterError::Begin)?)
        .max_decoding_message_size(MOST_BYTES)
        .max_encoding_message_size(MOST_BYTES);
    // So that clients need to reach the scheduler alone.
    let endpoints = BallistaConfigGrpcEndpoint::new(options.access.on_endpoints());
    let proxy =
        BallistaFlightProxyService::new(MOST_BYTES, MOST_BYTES, false, Some(Arc::new(endpoints)));
    let proxy = FlightServiceServer::new(proxy)
        .max_decoding_message_size(MOST_BYTES)
        .max_encoding_message_size(MOST_BYTES);
    let mut routes = RoutesBuilder::default();
    routes.add_service(InterceptedService::new(scheduler, options.access.door()));
    routes.add_service(InterceptedService::new(proxy, options.access.door()));
    // Executors that do not say where they are, are where they ask from.
    let routes = routes.routes().into_axum_router();
    let routes = routes.into_make_service_with_connect_info::<SocketAddr>();
    let served = axum::serve(listener, routes);
    tokio::select! {
        served = served => served.map_err(ClusterError::Serve),
        () = ended => Ok(()),
    }
}
