//! Flags of `picsift cluster`, and of commands whose work is done on one.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use picsift_vision::{ComputeDtype, CropPolicy, DeviceChoice, LoadOptions, Quantization};

use super::{CacheArgs, FetchArgs};

/// `picsift cluster`.
#[derive(Debug, Args)]
pub struct ClusterCommandArgs {
    /// What to run.
    #[command(subcommand)]
    pub command: ClusterCommand,
}

/// `picsift cluster ...`.
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    /// Run the scheduler, which gives work to executors
    Scheduler(SchedulerArgs),
    /// Run an executor, one for a machine or a GPU: its tasks share one engine and one loaded model
    Executor(Box<ExecutorArgs>),
}

/// Where a program of a cluster listens, and who may ask it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Who may ask")]
pub struct DoorArgs {
    /// File with the cluster's token, which all its programs and those who ask it are given: whoever knows it can have anything read and
    /// written that its programs can [default: every program of this machine may ask]
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Listen at an address that other machines reach although nothing is encrypted: nobody else reads what goes over this network
    #[arg(long, requires = "token_file")]
    pub private_network: bool,
}

/// `picsift cluster scheduler`.
#[derive(Debug, Args)]
pub struct SchedulerArgs {
    /// Address and port where executors and clients ask; beyond this machine it needs --token-file and --private-network
    #[arg(long, default_value = "127.0.0.1:50050", value_name = "ADDRESS")]
    pub bind: SocketAddr,
    /// Seconds without a sign of life after which an executor is taken for dead, and others do what it was at
    #[arg(long, default_value = "30", value_parser = timeout, value_name = "SECONDS")]
    pub executor_timeout: Duration,
    /// Address and port of /metrics and /healthz, for everybody who reaches it [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<SocketAddr>,
    /// Who may ask.
    #[command(flatten)]
    pub door: DoorArgs,
}

/// `picsift cluster executor`.
#[derive(Debug, Args)]
pub struct ExecutorArgs {
    /// The scheduler
    #[arg(long, value_name = "HOST:PORT")]
    pub scheduler: String,
    /// Address and port where rows of queries are fetched, by the scheduler and other executors; beyond this machine it needs --token-file
    /// and --private-network
    #[arg(long, default_value = "127.0.0.1:0", value_name = "ADDRESS")]
    pub bind: SocketAddr,
    /// Name or address by which the others reach it [default: the address that the scheduler sees]
    #[arg(long, value_name = "HOST")]
    pub advertise: Option<String>,
    /// Units and parts of queries at once: while one waits for its last images another keeps the model busy
    #[arg(long, default_value = "2", value_name = "TASKS")]
    pub tasks: NonZeroUsize,
    /// Bytes of memory for sorts, joins and groups of all parts together; what needs more goes to the disk
    #[arg(long, default_value_t = MEMORY, value_name = "BYTES")]
    pub memory: NonZeroUsize,
    /// Address and port of /metrics and /healthz, for everybody who reaches it [default: nowhere]
    #[arg(long, value_name = "ADDRESS")]
    pub metrics: Option<SocketAddr>,
    /// Models that are loaded before it asks for work [default: each when it is first asked]
    #[arg(
        long,
        value_delimiter = ',',
        value_name = "MODEL,...",
        help_heading = "Model"
    )]
    pub models: Vec<String>,
    /// Where models run: auto, cpu, cuda, cuda:N or cuda:all
    #[arg(
        long,
        default_value = "auto",
        value_name = "DEVICE",
        help_heading = "Model"
    )]
    pub device: DeviceChoice,
    /// Number format of --models
    #[arg(
        long,
        requires = "models",
        hide_short_help = true,
        value_name = "FORMAT",
        help_heading = "Model"
    )]
    pub dtype: Option<ComputeDtype>,
    /// Quantisation of --models
    #[arg(
        long,
        requires = "models",
        hide_short_help = true,
        value_name = "FORMAT",
        help_heading = "Model"
    )]
    pub quantize: Option<Quantization>,
    /// What --models see of large images
    #[arg(long, requires = "models", hide_short_help = true, default_value_t = CropPolicy::Reference, value_name = "WHICH", help_heading = "Model")]
    pub crops: CropPolicy,
    /// Bytes of memory that all images together may take while they are decoded
    #[arg(long, hide_short_help = true, default_value_t = picsift_images::Limits::default().max_memory, value_name = "BYTES")]
    pub max_image_memory: u64,
    /// Decode images in processes of their own that can do nothing else, for pictures by strangers who may know a hole in a decoder
    #[arg(long, hide_short_help = true)]
    pub sandbox: bool,
    /// What is kept.
    #[command(flatten)]
    pub cache: CacheArgs,
    /// What references of queries may reach; jobs say so themselves.
    #[command(flatten)]
    pub fetch: FetchArgs,
    /// Who may ask.
    #[command(flatten)]
    pub door: DoorArgs,
}

/// [`ExecutorArgs::memory`] unless it is set.
const MEMORY: NonZeroUsize = NonZeroUsize::MIN.saturating_add((2 << 30) - 1);

impl ExecutorArgs {
    /// The models that are loaded at first, and how.
    pub fn preloaded(&self) -> Vec<(String, LoadOptions)> {
        let load = LoadOptions {
            device: self.device,
            dtype: self.dtype,
            quantize: self.quantize,
            crops: self.crops,
        };
        self.models
            .iter()
            .map(|name| (name.clone(), load))
            .collect()
    }
}

/// Where work is done that a command asks for.
#[derive(Debug, Args)]
#[command(next_help_heading = "Several programs, one output")]
pub struct ClusterArgs {
    /// Have it done by the cluster whose scheduler is at this address
    #[arg(long, hide_short_help = true, value_name = "HOST:PORT")]
    pub cluster: Option<String>,
    /// File with the cluster's token
    #[arg(
        long,
        hide_short_help = true,
        requires = "cluster",
        value_name = "FILE"
    )]
    pub token_file: Option<PathBuf>,
}

fn timeout(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 2..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("it must be a whole number of seconds from 2 to 86400".to_string()),
    }
}
