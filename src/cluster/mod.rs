//! picsift on several machines: a scheduler, executors that label units and run parts of queries, and what sends them there.
//!
//! Owns what `picsift-cluster` is handed: which session executors run in, how an order becomes units that are labelled here, where a query of
//! a session goes that is to run elsewhere. How programs speak with each other is that crate's to know.

mod counts;
mod query;
mod units;

use std::future::pending;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use picsift_cluster::{
    Access, Cluster, ClusterError, Deal, ExecutorOptions as Execution,
    SchedulerOptions as Scheduling,
};
use picsift_udf::{Engine, EngineOptions};
use picsift_vision::LoadOptions;
use tokio::net::TcpListener;

use crate::error::{AppError, innermost};
use crate::listen;
use crate::metrics::{self, Measured, Port};
use crate::session;
use counts::Doing;
use units::LabelUnits;

pub use query::run_on;
pub use units::{Directed, hands};

/// Most bytes of a file that has a token.
const TOKEN_BYTES: u64 = 4096;

/// Bytes for sorts, joins and groups of a scheduler, which does none.
const SCHEDULER_BYTES: usize = 64 << 20;

/// Where and for whom a program of a cluster listens.
#[derive(Debug, Clone)]
pub struct Door {
    /// Address and port.
    pub listen: SocketAddr,
    /// File with the cluster's token; `None` lets everybody in who reaches it.
    pub token: Option<PathBuf>,
    /// Whether whoever runs it says that nobody else reads what goes over its network.
    pub is_private: bool,
}

/// What a scheduler is told.
#[derive(Debug, Clone)]
pub struct SchedulerOptions {
    /// Where it listens.
    pub door: Door,
    /// Time without a sign of life after which an executor is taken for dead.
    pub executor_timeout: Duration,
    /// Where `/metrics` and `/healthz` are answered; `None` is nowhere.
    pub metrics: Option<SocketAddr>,
}

/// What an executor is told.
#[derive(Debug, Clone)]
pub struct ExecutorOptions {
    /// Where its results are fetched.
    pub door: Door,
    /// The scheduler's `HOST:PORT`.
    pub scheduler: String,
    /// By what others reach it; `None` is the address that the scheduler sees.
    pub host: Option<String>,
    /// Parts of queries and units at once.
    pub tasks: usize,
    /// Models that are loaded before it asks for work, and how.
    pub models: Vec<(String, LoadOptions)>,
    /// Bytes for sorts, joins and groups of all its tasks.
    pub memory: usize,
    /// Its device, decoding and kept answers.
    pub engine: EngineOptions,
    /// Where `/metrics` and `/healthz` are answered; `None` is nowhere.
    pub metrics: Option<SocketAddr>,
}

/// Where a program of a cluster is to be found, once it is.
#[derive(Debug, Clone, Copy)]
pub struct Opened {
    /// Its own port.
    pub at: SocketAddr,
    /// That of metrics.
    pub metrics: Option<SocketAddr>,
}

/// The cluster whose scheduler is at `address`, for plans that were made with `engine`.
///
/// # Errors
/// [`AppError::Usage`] for a file that has no token.
pub fn at(address: &str, token: Option<&Path>, engine: Arc<Engine>) -> Result<Cluster, AppError> {
    Ok(Cluster::at(address, access(token)?, engine, innermost))
}

/// Runs a scheduler until `ended`; `begun` is told where.
///
/// # Errors
/// [`AppError::Usage`] for an address at which it may not or cannot listen.
pub async fn schedule(
    options: SchedulerOptions,
    begun: impl FnOnce(Opened),
    ended: impl Future<Output = ()> + Send + 'static,
) -> Result<(), AppError> {
    let (listener, access) = options.door.open().await?;
    let watched = Port::open(options.metrics).await?;
    begun(opened(&listener, watched.as_ref())?);
    let engine = Arc::new(Engine::new(EngineOptions::default())?);
    let deal = Arc::new(Deal::new(options.executor_timeout));
    let options = Scheduling {
        access,
        deal: Arc::clone(&deal),
        runtime: session::of_tasks(&engine, SCHEDULER_BYTES).map_err(AppError::Plan)?,
        say: innermost,
    };
    let counted = Arc::new(counts::Scheduling(deal));
    let watching = metrics::answer(watched, counted, Arc::clone(&engine), pending());
    let scheduling = picsift_cluster::schedule(listener, options, &engine, ended);
    tokio::select! {
        scheduled = scheduling => Ok(scheduled?),
        watched = watching => watched.map_err(unwatched),
    }
}

/// Runs an executor until `ended`; `begun` is called when the scheduler knows it, `answers` when that does not answer any more, and when it
/// does again.
///
/// # Errors
/// As [`schedule`]; when the scheduler refuses it or cannot be reached, or a model cannot be loaded.
pub async fn execute(
    options: ExecutorOptions,
    begun: impl FnOnce(Opened) + Send,
    answers: impl Fn(bool) + Send + Sync + 'static,
    ended: impl Future<Output = ()> + Send,
) -> Result<(), AppError> {
    let (listener, access) = options.door.open().await?;
    let watched = Port::open(options.metrics).await?;
    let opened = opened(&listener, watched.as_ref())?;
    let engine = Arc::new(Engine::new(options.engine.clone())?);
    let doing = Arc::new(Doing::default());
    let told = Arc::clone(&doing);
    let counted = Arc::clone(&doing) as Arc<dyn Measured>;
    // It answers while models are loaded, too.
    let watching = metrics::answer(watched, counted, Arc::clone(&engine), pending());
    let executing = async {
        // Before the scheduler knows it: a load takes longer than it waits for a sign of life.
        for (name, load) in &options.models {
            let model = engine.model(name, load)?;
            model.service().map_err(picsift_udf::EngineError::from)?;
        }
        let units = LabelUnits::new(options.tasks, &engine, &options.engine, &doing)?;
        let execution = Execution {
            scheduler: options.scheduler,
            access,
            host: options.host,
            tasks: options.tasks,
            runtime: session::of_tasks(&engine, options.memory).map_err(AppError::Plan)?,
            rules: session::rules_of_tasks(),
            units: Arc::new(units),
            stats: Arc::clone(&doing.queries),
            running: Arc::clone(&doing.running),
            say: innermost,
            answers: Arc::new(move |is_there| {
                told.is_alone.store(!is_there, Ordering::Relaxed);
                answers(is_there);
            }),
        };
        let begun = || begun(opened);
        Ok(picsift_cluster::execute(listener, execution, &engine, begun, ended).await?)
    };
    tokio::select! {
        executed = executing => executed,
        watched = watching => watched.map_err(unwatched),
    }
}

fn opened(listener: &TcpListener, watched: Option<&Port>) -> Result<Opened, AppError> {
    Ok(Opened {
        at: listener.local_addr().map_err(AppError::Terminal)?,
        metrics: watched.map(|port| port.address),
    })
}

fn unwatched(error: std::io::Error) -> AppError {
    AppError::Usage(format!("cannot serve metrics: {error}"))
}

impl Door {
    /// What listens there.
    async fn open(&self) -> Result<(TcpListener, Access), AppError> {
        let access = access(self.token.as_deref())?;
        let at = self.listen;
        if !at.ip().is_loopback() {
            if access.is_open() {
                return Err(AppError::Usage(format!(
                    "{at} can be reached from other machines, and whoever reaches it could have anything read and written here; name a \
                     file with a token by --token-file"
                )));
            }
            if !self.is_private {
                return Err(AppError::Usage(format!(
                    "{at} can be reached from other machines, and nothing between the programs of a cluster is encrypted in this version; \
                     say by --private-network that nobody else reads what goes over it, or lead 127.0.0.1 there by a tunnel"
                )));
            }
        }
        let (listener, _) = listen::bind(at).await?;
        Ok((listener, access))
    }
}

/// Where programs of a cluster listen unless something else is said.
pub const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Who may, by the token of a file.
fn access(token: Option<&Path>) -> Result<Access, AppError> {
    let Some(path) = token else {
        return Ok(Access::default());
    };
    let wrong = |reason: &dyn std::fmt::Display| {
        AppError::Usage(format!("the token in {}: {reason}", path.display()))
    };
    let size = path.metadata().map_err(|error| wrong(&error))?.len();
    if size > TOKEN_BYTES {
        return Err(wrong(&"the file is too large for one"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    Access::by(text.trim()).map_err(|error| wrong(&error))
}

impl From<ClusterError> for AppError {
    fn from(error: ClusterError) -> Self {
        match error {
            ClusterError::Plan(error) => Self::Plan(error),
            error => Self::Cluster {
                is_usage: error.is_usage(),
                source: Box::new(error),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_this_machine_is_served_without_a_token_and_a_private_network() {
        let folder = tempfile::tempdir().unwrap();
        let token = folder.path().join("token");
        std::fs::write(&token, "0123456789abcdef\n").unwrap();
        let door = |at: &str, token: Option<&Path>, is_private| Door {
            listen: at.parse().unwrap(),
            token: token.map(Path::to_path_buf),
            is_private,
        };
        for (at, token, is_private, wanted) in [
            ("0.0.0.0:0", None, true, Some("--token-file")),
            ("0.0.0.0:0", Some(&*token), false, Some("encrypted")),
            ("0.0.0.0:0", Some(&*token), true, None),
            ("127.0.0.1:0", None, false, None),
        ] {
            let opened = door(at, token, is_private).open().await;
            match wanted {
                None => assert!(opened.is_ok(), "{at}"),
                Some(wanted) => {
                    let said = opened.unwrap_err().to_string();
                    assert!(said.contains(wanted), "{said}");
                }
            }
        }
        std::fs::write(&token, "short").unwrap();
        let said = door("127.0.0.1:0", Some(&token), false).open().await;
        let said = said.unwrap_err().to_string();
        assert!(said.contains("16 to 512 letters"), "{said}");
    }
}
