//! Being asked to stop: a job the first time politely and the second time at once, other commands at once.
//!
//! Ctrl-C and SIGTERM mean the same; who listens is told which it was.

use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::error::{AppError, Signal};
use crate::printer::note;

/// Listens for signals until it is dropped.
#[derive(Debug)]
pub struct Signals {
    listener: JoinHandle<()>,
    first: watch::Receiver<Option<Signal>>,
    stop: watch::Receiver<bool>,
    second: watch::Receiver<Option<Signal>>,
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Signals {
    /// Begins to listen.
    pub fn listen() -> Self {
        let (tell_first, first) = watch::channel(None);
        let (tell_stop, stop) = watch::channel(false);
        let (tell_second, second) = watch::channel(None);
        let listener = tokio::spawn(async move {
            let Some(signal) = next().await else {
                return std::future::pending().await;
            };
            note!("stopping: what is under way is finished and kept; once more stops at once");
            tell_first.send_replace(Some(signal));
            tell_stop.send_replace(true);
            let again = next().await;
            tell_second.send_replace(again);
            // The channels stay open: a closed one would look like a signal.
            std::future::pending().await
        });
        Self {
            listener,
            first,
            stop,
            second,
        }
    }

    /// Becomes true with the first signal.
    pub fn stop(&self) -> watch::Receiver<bool> {
        self.stop.clone()
    }

    /// The first signal, if there was one.
    pub fn first(&self) -> Option<Signal> {
        *self.first.borrow()
    }

    /// Waits for the second signal.
    pub async fn second(&self) -> Signal {
        let mut second = self.second.clone();
        match second.wait_for(Option::is_some).await {
            Ok(signal) => (*signal).unwrap_or(Signal::Interrupt),
            Err(_) => std::future::pending().await,
        }
    }
}

/// Does `work` unless a signal comes: then it is dropped, and `state` is what a person is told of its output.
///
/// # Errors
/// Those of `work`, and [`AppError::Interrupted`].
pub async fn unless_stopped<T>(
    work: impl Future<Output = Result<T, AppError>>,
    state: &str,
) -> Result<T, AppError> {
    tokio::select! {
        done = work => done,
        Some(signal) = next() => Err(AppError::Interrupted {
            signal,
            state: state.to_string(),
        }),
    }
}

/// The next signal; `None` where the system gives none.
pub async fn next() -> Option<Signal> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate()).ok()?;
        tokio::select! {
            done = tokio::signal::ctrl_c() => done.ok().map(|()| Signal::Interrupt),
            _ = terminate.recv() => Some(Signal::Terminate),
        }
    }
    #[cfg(not(unix))]
    {
        tokio::signal::ctrl_c()
            .await
            .ok()
            .map(|()| Signal::Interrupt)
    }
}
