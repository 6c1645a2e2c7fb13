//! What can go wrong between the programs of a cluster.

use ballista_core::error::BallistaError;
use datafusion::error::DataFusionError;
use tonic::{Code, Status};

/// Why something could not be done on a cluster.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A text is no token.
    #[error("a cluster's token is 16 to 512 letters, digits and signs without blanks")]
    Token,
    /// An address is none.
    #[error("'{0}' is no address of a scheduler; write HOST:PORT")]
    Address(String),
    /// Nobody answers at an address.
    #[error("no scheduler answers at {address}: {}", innermost(.source))]
    Connect {
        /// Where.
        address: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// The other program will have nothing to do with this one.
    #[error("the cluster at {address} refuses: {}", .source.message())]
    Refused {
        /// Where.
        address: String,
        /// In its words.
        #[source]
        source: Box<Status>,
    },
    /// The scheduler was there, and does not answer any more.
    #[error("the scheduler at {address} does not answer any more: {}", .source.message())]
    Lost {
        /// Where.
        address: String,
        /// What came instead of an answer.
        #[source]
        source: Box<Status>,
    },
    /// The scheduler was started again, and knows nothing of what it was asked before.
    #[error("the scheduler at {0} was started again and has forgotten what it was asked")]
    Forgotten(String),
    /// The work failed there.
    #[error("{0}")]
    Failed(String),
    /// The scheduler or an executor could not begin.
    #[error("cannot begin: {0}")]
    Begin(#[source] BallistaError),
    /// The port cannot be served.
    #[error("cannot serve clients: {0}")]
    Serve(#[source] std::io::Error),
    /// The same, where Flight is served.
    #[error("cannot serve clients: {0}")]
    Flight(#[source] tonic::transport::Error),
    /// The folder for what is passed between executors cannot be had.
    #[error("cannot make a folder for temporary files: {0}")]
    Folder(#[source] std::io::Error),
    /// No random bits are to be had.
    #[error("the system gives no random bits: {0}")]
    Random(#[source] getrandom::Error),
    /// A plan cannot be sent.
    #[error(transparent)]
    Plan(#[from] DataFusionError),
}

impl ClusterError {
    /// What a scheduler at `address` answered in the place of what it was asked for.
    pub(crate) fn of_status(address: &str, status: Status) -> Self {
        let (address, source) = (address.to_string(), Box::new(status));
        match source.code() {
            Code::Unauthenticated
            | Code::PermissionDenied
            | Code::FailedPrecondition
            | Code::InvalidArgument
            | Code::AlreadyExists => Self::Refused { address, source },
            _ => Self::Lost { address, source },
        }
    }

    /// Whether the person can put it right before trying again.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Token
                | Self::Address(_)
                | Self::Connect { .. }
                | Self::Refused { .. }
                | Self::Plan(_)
        )
    }
}

/// The innermost reason: what is around it repeats that there was one.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
