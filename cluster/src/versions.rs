//! Programs of another version at real doors: each is refused by both names, and nothing runs.

use std::future::pending;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, Int64Array, RecordBatch};
use arrow_flight::Ticket;
use arrow_flight::flight_service_client::FlightServiceClient;
use bytes::Bytes;
use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::runtime_env::RuntimeEnv;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::SessionConfig;
use futures::TryStreamExt;
use picsift_udf::{Engine, EngineOptions};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tonic::transport::Endpoint;

use crate::access::Access;
use crate::client::Cluster;
use crate::deal::Deal;
use crate::error::ClusterError;
use crate::executor::{ExecutorOptions, execute};
use crate::scheduler::{SchedulerOptions, schedule};
use crate::units::Units;

const OWN: &str = env!("CARGO_PKG_VERSION");
const OTHER: &str = "0.0.1";

fn other() -> Access {
    Access::default().of_version(OTHER)
}

fn engine() -> Arc<Engine> {
    Arc::new(Engine::new(EngineOptions::default()).unwrap())
}

/// A scheduler on threads of its own, which end with its connections when it does.
struct Scheduler {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Scheduler {
    fn start(at: &str, access: Access) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let at = at.to_string();
        let thread = std::thread::spawn(move || {
            Runtime::new().unwrap().block_on(async {
                let listener = TcpListener::bind(&at).await.unwrap();
                tell.send(listener.local_addr().unwrap()).unwrap();
                let options = SchedulerOptions {
                    access,
                    runtime: Arc::default(),
                    deal: Arc::new(Deal::new(Duration::from_secs(30))),
                    say: ToString::to_string,
                };
                let ended = async { drop(stopped.await) };
                schedule(listener, options, &engine(), ended).await.unwrap();
            });
        });
        Self {
            address: told.recv().unwrap(),
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    fn client(&self, access: Access) -> Cluster {
        Cluster::at(
            &self.address.to_string(),
            access,
            engine(),
            ToString::to_string,
        )
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Counts the tasks of an executor, of queries and units alike.
#[derive(Debug, Default, Clone)]
struct Tasks(Arc<AtomicUsize>);

impl Tasks {
    fn begun(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl PhysicalOptimizerRule for Tasks {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        self.0.fetch_add(1, Ordering::SeqCst);
        Ok(plan)
    }

    fn name(&self) -> &str {
        "tasks"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// Does every unit.
struct Does;

#[async_trait::async_trait]
impl Units for Does {
    async fn unit(&self, _: &[u8], _: u32) -> std::result::Result<Option<String>, String> {
        Ok(None)
    }
}

/// An executor until it ends; `begun` is told when the scheduler knows it.
async fn executor(
    door: TcpListener,
    scheduler: SocketAddr,
    access: Access,
    tasks: &Tasks,
    begun: oneshot::Sender<()>,
) -> std::result::Result<(), ClusterError> {
    let options = ExecutorOptions {
        scheduler: scheduler.to_string(),
        access,
        host: None,
        tasks: 1,
        runtime: Arc::new(RuntimeEnv::default()),
        rules: vec![Arc::new(tasks.clone())],
        units: Arc::new(Does),
        stats: Arc::default(),
        running: Arc::default(),
        say: ToString::to_string,
        answers: Arc::new(|_| {}),
    };
    let begun = || begun.send(()).unwrap();
    execute(door, options, &engine(), begun, pending()).await
}

fn rows() -> Arc<dyn ExecutionPlan> {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
    let schema = batch.schema();
    MemorySourceConfig::try_new_exec(&[vec![batch]], schema, None).unwrap()
}

async fn query(cluster: &Cluster) -> std::result::Result<usize, ClusterError> {
    let rows = cluster.query(rows(), &SessionConfig::new()).await?;
    let rows: Vec<_> = rows.try_collect().await?;
    Ok(rows.iter().map(RecordBatch::num_rows).sum())
}

async fn job(cluster: &Cluster) -> std::result::Result<usize, ClusterError> {
    let job = Bytes::from_static(b"job");
    let tried = cluster.units(job, &[0, 1], &[]).await?;
    Ok(tried.able.len())
}

/// What a Flight door says to one that shows this.
async fn fetched(door: SocketAddr, access: &Access) -> String {
    let endpoint = Endpoint::from_shared(format!("http://{door}")).unwrap();
    let channel = access.endpoint(endpoint).unwrap().connect().await.unwrap();
    let mut flight = FlightServiceClient::new(channel);
    let asked = flight.do_get(Ticket::default()).await;
    asked.err().unwrap().message().to_string()
}

fn assert_names_both(said: &str) {
    let both = format!("this is picsift {OWN}, and who asks is picsift {OTHER}");
    assert!(said.contains(&both), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_another_version_are_refused_by_scheduler_and_executor() {
    let scheduler = Scheduler::start("127.0.0.1:0", Access::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let door = listener.local_addr().unwrap();
    let (tasks, (begun, known)) = (Tasks::default(), oneshot::channel());
    let executing = executor(
        listener,
        scheduler.address,
        Access::default(),
        &tasks,
        begun,
    );
    let asking = async {
        known.await.unwrap();
        let stranger = scheduler.client(other());
        for refused in [
            stranger.answers().await.err(),
            query(&stranger).await.err(),
            job(&stranger).await.err(),
        ] {
            let refused = refused.expect("it is refused");
            assert!(refused.is_usage());
            let said = refused.to_string();
            assert!(said.contains(&scheduler.address.to_string()), "{said}");
            assert_names_both(&said);
        }
        for door in [door, scheduler.address] {
            assert_names_both(&fetched(door, &other()).await);
            let said = fetched(door, &Access::default()).await;
            assert!(!said.contains("version"), "{said}");
        }
        assert_eq!(tasks.begun(), 0, "nothing ran");

        let friend = scheduler.client(Access::default());
        friend.answers().await.unwrap();
        assert_eq!(query(&friend).await.unwrap(), 3);
        assert_eq!(job(&friend).await.unwrap(), 1, "by one executor");
        assert_eq!(tasks.begun(), 3, "a query and two units");
    };
    tokio::select! {
        ended = executing => panic!("the executor ended: {ended:?}"),
        () = asking => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_of_another_version_is_refused_before_it_gets_a_task() {
    let scheduler = Scheduler::start("127.0.0.1:0", Access::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (tasks, (begun, known)) = (Tasks::default(), oneshot::channel());
    let ended = executor(listener, scheduler.address, other(), &tasks, begun).await;
    assert_names_both(&ended.unwrap_err().to_string());
    assert!(known.await.is_err(), "it was never known");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_ends_when_its_scheduler_is_another_version_suddenly() {
    let first = Scheduler::start("127.0.0.1:0", Access::default());
    let address = first.address;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (tasks, (begun, known)) = (Tasks::default(), oneshot::channel());
    let executing = executor(listener, address, Access::default(), &tasks, begun);
    let replacing = async {
        known.await.unwrap();
        drop(first);
        let _second = Scheduler::start(&address.to_string(), other());
        pending::<()>().await;
    };
    let ended = tokio::select! {
        ended = executing => ended,
        () = replacing => Ok(()),
    };
    let said = ended.unwrap_err().to_string();
    let both = format!("this is picsift {OTHER}, and who asks is picsift {OWN}");
    assert!(said.contains(&both), "{said}");
}
