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
        let mut signals = Listener::new();
        let listener = tokio::spawn(async move {
            let Some(signal) = signals.next().await else {
                return;
            };
            note!("stopping: what is under way is finished and kept; once more stops at once");
            tell.send_replace(Some(signal));
            cancel.finish();
            if signals.next().await.is_some() {
                cancel.stop();
            }
        });
        Self { listener, first }
    }

    /// The same for a job that others do, which this program stops to wait for at once.
    pub(super) fn listen_at_once(cancel: Cancel) -> Self {
        let (tell, first) = watch::channel(None);
        let mut signals = Listener::new();
        let listener = tokio::spawn(async move {
            if let Some(signal) = signals.next().await {
                tell.send_replace(Some(signal));
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
    signals: &mut Listener,
    work: impl Future<Output = Result<T, AppError>>,
    state: &str,
) -> Result<T, AppError> {
    tokio::select! {
        done = work => done,
        Some(signal) = signals.next() => Err(AppError::Interrupted {
            signal,
            state: state.to_string(),
        }),
    }
}

/// Listens from when it is made, so that a signal is not lost which comes before somebody waits for it: once a program has listened,
/// signals no longer end it by themselves.
#[derive(Debug)]
pub(super) struct Listener {
    #[cfg(unix)]
    streams: Option<[tokio::signal::unix::Signal; 2]>,
}

impl Listener {
    /// Begins to listen.
    pub(super) fn new() -> Self {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let [interrupt, terminate] =
                [SignalKind::interrupt(), SignalKind::terminate()].map(signal);
            Self {
                streams: interrupt.and_then(|i| Ok([i, terminate?])).ok(),
            }
        }
        #[cfg(not(unix))]
        Self {}
    }

    /// The next signal; `None` where the system gives none.
    pub(super) async fn next(&mut self) -> Option<Signal> {
        #[cfg(unix)]
        {
            let [interrupt, terminate] = self.streams.as_mut()?;
            tokio::select! {
                Some(()) = interrupt.recv() => Some(Signal::Interrupt),
                Some(()) = terminate.recv() => Some(Signal::Terminate),
                else => None,
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
}

/// Waits for the first signal, for programs that run until they are told to end; it is listened to from now on.
pub(super) fn ended() -> impl Future<Output = ()> + Send + 'static {
    let mut signals = Listener::new();
    async move {
        // Where no signal can come the program goes on until it is killed.
        if signals.next().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use rustix::process::{Signal as Sent, getpid, kill_process};

    use super::*;

    /// As it is between two things that a command does, of which each waits for signals.
    #[tokio::test]
    async fn a_signal_before_anybody_waits_is_not_lost() {
        let mut listener = Listener::new();
        kill_process(getpid(), Sent::TERM).unwrap();
        assert_eq!(listener.next().await, Some(Signal::Terminate));
        let done = unless_stopped(&mut listener, async { Ok(7) }, "nothing").await;
        assert_eq!(done.unwrap(), 7);
    }
}
