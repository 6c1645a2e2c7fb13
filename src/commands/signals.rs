//! Being asked to stop: a job the first time politely and the second time at once, other commands at once.
//!
//! Ctrl-C and SIGTERM mean the same; who listens is told which it was.

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::printer::note;
use crate::error::{AppError, Signal};
use crate::label::Cancel;

/// Ends a job when signals come, until it is dropped.
#[derive(Debug)]
pub(super) struct Signals {
    listener: JoinHandle<()>,
    first: watch::Receiver<Option<Signal>>,
}

impl Drop for Signals {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

impl Signals {
    /// Begins to listen on behalf of the job that `cancel` ends.
    pub(super) fn listen(cancel: Cancel) -> Self {
        let (tell, first) = watch::channel(None);
        let listener = tokio::spawn(async move {
            let Some(signal) = next().await else { return };
            note!("stopping: what is under way is finished and kept; once more stops at once");
            tell.send_replace(Some(signal));
            cancel.finish();
            if next().await.is_some() {
                cancel.stop();
            }
        });
        Self { listener, first }
    }

    /// An error of the job with the signal that was its reason.
    pub(super) fn named(&self, error: AppError) -> AppError {
        match (error, *self.first.borrow()) {
            (AppError::Cancelled { state }, Some(signal)) => {
                AppError::Interrupted { signal, state }
            }
            (error, _) => error,
        }
    }
}

/// Does `work` unless a signal comes: then it is dropped, and `state` is what a person is told of its output.
///
/// # Errors
/// Those of `work`, and [`AppError::Interrupted`].
pub(super) async fn unless_stopped<T>(
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
pub(super) async fn next() -> Option<Signal> {
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
