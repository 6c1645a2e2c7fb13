//! Flags of `picsift serve` and `picsift token`.

use std::net::SocketAddr;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use picsift_images::{AllowedHost, FetchPolicy};
use picsift_udf::EngineOptions;

use super::{CacheArgs, LimitArgs, ModelArgs, seconds};
use crate::serve::{Hourly, Quotas};

/// `picsift serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Address and port where clients come in by Arrow Flight SQL and JSON; beyond this machine it needs --tokens and --tls-cert
    /// [default: 127.0.0.1:8815, or none with --unix]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<SocketAddr>,
    /// Socket of the file system where they come in too, for you alone
    #[arg(long, value_name = "PATH")]
    pub unix: Option<PathBuf>,
    /// Address and port of /metrics and /healthz, for everybody who reaches it
    #[arg(long, default_value = "127.0.0.1:8816", value_name = "ADDRESS")]
    pub metrics: SocketAddr,
    /// File of tokens, which `picsift token` writes [default: every program of this machine may ask]
    #[arg(long, value_name = "FILE")]
    pub tokens: Option<PathBuf>,
    /// Certificate for TLS as PEM, with those that lead to its authority
    #[arg(long, requires = "tls_key", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// Private key of the certificate as PEM
    #[arg(long, requires = "tls_cert", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// Folder whose tables and pictures clients may read, as tables of the schema NAME
    #[arg(long = "allow-folder", value_name = "NAME=DIR")]
    pub folders: Vec<String>,
    /// Bucket, or folder in one, that they may read, with your credentials or those of --bucket-keys: NAME=s3://BUCKET/..., gs://..., az://..., hf://...
    #[arg(long = "allow-bucket", value_name = "NAME=URL")]
    pub buckets: Vec<String>,
    /// File with the credentials of a bucket of --allow-bucket, in the place of yours: lines such as AWS_ACCESS_KEY_ID=...
    #[arg(long = "bucket-keys", value_name = "NAME=FILE")]
    pub bucket_keys: Vec<String>,
    /// Another model that clients may choose by SET picsift.model, beside that of --model
    #[arg(long = "allow-model", value_name = "MODEL")]
    pub models: Vec<String>,
    /// Host that images may be fetched from although it is on this machine or in a private network
    #[arg(long = "allow-host", value_name = "HOST")]
    pub hosts: Vec<AllowedHost>,
    /// Images fetched at once by a tenant
    #[arg(long, default_value_t = NonZeroUsize::new(EngineOptions::default().fetch_concurrency).unwrap_or(NonZeroUsize::MIN), value_name = "IMAGES")]
    pub fetches: NonZeroUsize,
    /// Decode images in the server itself, not in processes of their own: faster where every picture is your own
    #[arg(long, conflicts_with = "sandbox")]
    pub no_sandbox: bool,
    /// Bytes of memory for sorts, joins and groups of all statements together; what needs more goes to the disk
    #[arg(long, default_value_t = MEMORY, value_name = "BYTES")]
    pub memory: NonZeroUsize,
    /// What a statement may take.
    #[command(flatten)]
    pub quotas: QuotaArgs,
    /// What a token may take in an hour.
    #[command(flatten)]
    pub hourly: HourlyArgs,
    /// The model that answers, and how it and the others are loaded.
    #[command(flatten)]
    pub model: ModelArgs,
    /// Limits on one image.
    #[command(flatten)]
    pub limits: LimitArgs,
    /// What is kept, for each tenant by itself.
    #[command(flatten)]
    pub cache: CacheArgs,
}

/// [`ServeArgs::memory`] unless it is set.
const MEMORY: NonZeroUsize = NonZeroUsize::MIN.saturating_add((2 << 30) - 1);

/// What a statement of a client may take.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits on one statement")]
pub struct QuotaArgs {
    /// Images that a model is asked about
    #[arg(long, default_value_t = NonZeroU64::new(Quotas::default().images).unwrap_or(NonZeroU64::MIN), value_name = "IMAGES")]
    pub max_images: NonZeroU64,
    /// Seconds from its start until its last row is taken
    #[arg(long, default_value = "3600", value_parser = seconds, value_name = "SECONDS")]
    pub max_seconds: Duration,
    /// Bytes of encoded images that are read for it
    #[arg(long, default_value_t = Quotas::default().bytes, value_name = "BYTES")]
    pub max_bytes: u64,
    /// Rows that it gives
    #[arg(long, default_value_t = Quotas::default().rows, value_name = "ROWS")]
    pub max_rows: u64,
    /// Statements that a token runs at once
    #[arg(long, default_value_t = NonZeroUsize::new(Quotas::default().at_once).unwrap_or(NonZeroUsize::MIN), value_name = "STATEMENTS")]
    pub max_statements: NonZeroUsize,
}

/// What a token may take in an hour.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits on one token in an hour")]
pub struct HourlyArgs {
    /// Images that a model is asked about for it in an hour [default: no limit]
    #[arg(long, value_name = "IMAGES")]
    pub hourly_images: Option<NonZeroU64>,
    /// Seconds that its statements may take together in an hour, planning and waiting included [default: no limit]
    #[arg(long, value_parser = seconds, value_name = "SECONDS")]
    pub hourly_seconds: Option<Duration>,
    /// Bytes of encoded images that are read for it in an hour [default: no limit]
    #[arg(long, value_name = "BYTES")]
    pub hourly_bytes: Option<NonZeroU64>,
    /// Rows that it is given in an hour [default: no limit]
    #[arg(long, value_name = "ROWS")]
    pub hourly_rows: Option<NonZeroU64>,
}

impl HourlyArgs {
    /// What they allow.
    pub fn hourly(&self) -> Hourly {
        Hourly {
            images: self.hourly_images.map(NonZeroU64::get),
            time: self.hourly_seconds,
            bytes: self.hourly_bytes.map(NonZeroU64::get),
            rows: self.hourly_rows.map(NonZeroU64::get),
        }
    }
}

impl QuotaArgs {
    /// What they allow.
    pub fn quotas(&self) -> Quotas {
        Quotas {
            images: self.max_images.get(),
            time: self.max_seconds,
            bytes: self.max_bytes,
            rows: self.max_rows,
            at_once: self.max_statements.get(),
        }
    }
}

impl ServeArgs {
    /// What references may reach beside the places of their tenant.
    pub fn policy(&self) -> FetchPolicy {
        FetchPolicy {
            hosts: self.hosts.clone(),
            ..FetchPolicy::default()
        }
    }
}

/// `picsift token`.
#[derive(Debug, Args)]
#[command(
    after_help = "The token is printed once and kept nowhere: the file has its hash. A tenant's tokens share kept answers and a part of \
                  the model; take a token away by removing its line, which the server sees within seconds."
)]
pub struct TokenArgs {
    /// What the token is called in logs, and the user of those who show it as a password
    pub name: String,
    /// File of tokens, which is made if it is not there
    #[arg(long, value_name = "FILE")]
    pub tokens: PathBuf,
    /// Whose token it is
    #[arg(long, default_value = "default", value_name = "NAME")]
    pub tenant: String,
}
