//! Running the hub's client, which waits without end, so that this does not reach the caller.
//!
//! Each call runs on a thread of its own that reports what comes in: a silent one is left to itself, a panic is an error. The thread that is left behind ends with its connection or with the process; until then it holds the
//! file's lock, and another attempt is told so.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use hf_hub::api::sync::ApiError;

use super::error::SourceError;
use super::settings::HubSettings;

/// Reports that may wait for the caller, some kilobytes of a download each.
const REPORTS: usize = 64;

/// Reports the bytes of a download to the thread that waits for it.
#[derive(Debug)]
pub(super) struct Relay {
    bytes: SyncSender<usize>,
}

impl Relay {
    /// So many bytes have come.
    pub(super) fn advanced(&self, bytes: usize) {
        // Nobody listens once the wait was given up.
        let _ = self.bytes.send(bytes);
    }
}

/// How a call of the client ended without an outcome.
#[derive(Debug)]
pub(super) enum Ended {
    /// Nothing came for as long as the settings allow.
    Silent,
    /// It panicked, or its thread could not be started.
    Panicked(String),
}

/// Runs `work` on its own thread and gives what it returns. `advanced` is told of each piece that comes in, on this thread.
pub(super) fn run<T: Send + 'static>(
    patience: Duration,
    advanced: impl Fn(u64),
    work: impl FnOnce(Relay) -> T + Send + 'static,
) -> Result<T, Ended> {
    let (bytes, reports) = sync_channel(REPORTS);
    let relay = Relay { bytes };
    let thread = std::thread::Builder::new()
        .name("picsift-fetch".to_owned())
        .spawn(move || work(relay))
        .map_err(|error| Ended::Panicked(format!("no thread could be started: {error}")))?;
    loop {
        match reports.recv_timeout(patience) {
            Ok(bytes) => advanced(bytes as u64),
            Err(RecvTimeoutError::Timeout) => return Err(Ended::Silent),
            // The work has let go of its relay.
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    thread.join().map_err(|panic| {
        let message = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied());
        Ended::Panicked(message.unwrap_or("no message").to_owned())
    })
}

/// A failed attempt.
#[derive(Debug)]
pub(super) struct Failure {
    /// What to tell the person.
    pub(super) error: SourceError,
    /// Whether the same may go well in a moment.
    pub(super) may_pass: bool,
    /// Whether it brought the file further.
    pub(super) brought: bool,
}

impl From<SourceError> for Failure {
    /// A failure that stays.
    fn from(error: SourceError) -> Self {
        Self {
            error,
            may_pass: false,
            brought: false,
        }
    }
}

/// What was being done when the client failed.
#[derive(Debug)]
pub(super) struct Doing<'a> {
    /// The settings.
    pub(super) settings: &'a HubSettings,
    /// The file, with its repository.
    pub(super) file: String,
    /// Whether the hub was reached before, so that a connection that cannot be made may be a short trouble.
    pub(super) reached: bool,
    /// Bytes of the whole file, 0 before that is known.
    pub(super) total: u64,
    /// Bytes of it that are on this machine.
    pub(super) received: u64,
}

impl Doing<'_> {
    /// What a client's end without outcome means.
    pub(super) fn ended(self, ended: Ended) -> Failure {
        let file = self.file;
        Failure::from(match ended {
            Ended::Silent => SourceError::Silent {
                file,
                received: self.received,
                seconds: self.settings.patience.as_secs(),
            },
            Ended::Panicked(message) => SourceError::Panicked { file, message },
        })
    }

    /// What a client's error means, and whether it may pass.
    pub(super) fn failed(self, error: ApiError) -> Failure {
        match &error {
            ApiError::RequestError(request) => match **request {
                ureq::Error::StatusCode(status) => self.status(status),
                ureq::Error::Io(ref io) => {
                    // A connection that was made and lost is another matter than one that never was.
                    let lost = matches!(
                        io.kind(),
                        ErrorKind::ConnectionReset
                            | ErrorKind::ConnectionAborted
                            | ErrorKind::BrokenPipe
                            | ErrorKind::UnexpectedEof
                    );
                    let may_pass = lost || self.reached;
                    self.no_network(error, may_pass)
                }
                ureq::Error::HostNotFound
                | ureq::Error::ConnectionFailed
                | ureq::Error::Timeout(_) => {
                    let may_pass = self.reached;
                    self.no_network(error, may_pass)
                }
                ureq::Error::Protocol(_)
                | ureq::Error::Http(_)
                | ureq::Error::BadUri(_)
                | ureq::Error::TooManyRedirects => self.not_a_hub(error.to_string()).into(),
                _ => self.no_network(error, false),
            },
            ApiError::IoError(io) => match io.kind() {
                ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                    SourceError::DiskFull {
                        file: self.file,
                        total: self.total,
                        cache: self.settings.cache.clone(),
                        source: Arc::new(error),
                    }
                    .into()
                }
                // The client gives errors of its files and of its connection alike; these are no connection's.
                ErrorKind::PermissionDenied
                | ErrorKind::ReadOnlyFilesystem
                | ErrorKind::NotFound
                | ErrorKind::NotADirectory
                | ErrorKind::IsADirectory
                | ErrorKind::AlreadyExists
                | ErrorKind::InvalidFilename
                | ErrorKind::InvalidInput => {
                    let path = &self.settings.cache;
                    SourceError::file("write below", path)(std::io::Error::new(
                        io.kind(),
                        io.to_string(),
                    ))
                    .into()
                }
                _ => Failure {
                    error: SourceError::BrokeOff {
                        file: self.file,
                        received: self.received,
                        total: self.total,
                        source: Arc::new(error),
                    },
                    may_pass: true,
                    brought: false,
                },
            },
            ApiError::LockAcquisition(lock) => SourceError::Busy {
                file: self.file,
                lock: lock.clone(),
            }
            .into(),
            _ => self.not_a_hub(error.to_string()).into(),
        }
    }

    fn status(self, status: u16) -> Failure {
        let endpoint = self.settings.endpoint.clone();
        let file = self.file;
        let error = match status {
            401 | 403 => SourceError::Denied {
                file,
                status,
                help: if self.settings.token.is_some() {
                    "the token that was sent may not read it, so ask for access on the repository's page or \
                     set HF_TOKEN to another one"
                } else {
                    "no token was sent, so set HF_TOKEN to one that may read it"
                },
            },
            404 => SourceError::NotFound { file, endpoint },
            _ => SourceError::Status {
                file,
                endpoint,
                status,
            },
        };
        Failure {
            error,
            may_pass: matches!(status, 408 | 429 | 500..=599),
            brought: false,
        }
    }

    fn no_network(self, error: ApiError, may_pass: bool) -> Failure {
        Failure {
            error: SourceError::NoNetwork {
                file: self.file,
                endpoint: self.settings.endpoint.clone(),
                source: Arc::new(error),
            },
            may_pass,
            brought: false,
        }
    }

    /// The error of an answer that no hub gives.
    pub(super) fn not_a_hub(self, reason: String) -> SourceError {
        SourceError::NotAHub {
            file: self.file,
            endpoint: self.settings.endpoint.clone(),
            reason,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_full_disk_is_said_with_what_is_needed() {
        let settings = HubSettings::new("http://hub", Path::new("/cache")).unwrap();
        for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded] {
            let doing = Doing {
                settings: &settings,
                file: "model.safetensors of owner/name".to_owned(),
                reached: true,
                total: 300_000,
                received: 7,
            };
            let failure = doing.failed(ApiError::IoError(kind.into()));
            let error = failure.error.to_string();
            for part in [
                "no room for model.safetensors",
                "300000 bytes",
                "/cache",
                "HF_HOME",
            ] {
                assert!(error.contains(part), "{error}");
            }
            assert!(!failure.may_pass);
        }
    }
}
