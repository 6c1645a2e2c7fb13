//! Threads that plan and run statements, apart from those that speak with clients.
//!
//! A join computes for as long as it likes between two moments at which it lets others go on. On threads of its own it delays other
//! statements, and neither the door nor the ends of statements nor whoever asks whether the server is well.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use crate::error::AppError;
use crate::session;

/// Threads for each core.
const THREADS_PER_CORE: usize = 4;

/// The threads.
#[derive(Debug)]
pub(super) struct Workers(Option<Runtime>);

/// Work that was begun; dropped, it is broken off where it next lets others go on.
#[derive(Debug)]
pub(super) struct Working<T>(Option<JoinHandle<T>>);

impl Workers {
    /// More than there are cores: where a statement computes long without letting others go on, the system does.
    ///
    /// # Errors
    /// [`AppError::Runtime`].
    pub(super) fn new() -> Result<Self, AppError> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(THREADS_PER_CORE * session::cores())
            .thread_name("picsift-query")
            .enable_all()
            .build()
            .map_err(AppError::Runtime)?;
        Ok(Self(Some(runtime)))
    }

    /// Begins work, whose result is `None` where it panicked.
    pub(super) fn begin<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Working<T> {
        Working(self.0.as_ref().map(|runtime| runtime.spawn(work)))
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        // Nobody waits for what is under way.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl<T> Future for Working<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        match &mut self.0 {
            Some(work) => Pin::new(work).poll(context).map(Result::ok),
            None => Poll::Ready(None),
        }
    }
}

impl<T> Drop for Working<T> {
    fn drop(&mut self) {
        if let Some(work) = &self.0 {
            work.abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_panics_gives_nothing_and_the_rest_goes_on() {
        let workers = Workers::new().unwrap();
        let panics = workers.begin(async {
            if true {
                panic!("on purpose");
            }
        });
        assert_eq!(panics.await, None);
        assert_eq!(workers.begin(async { 7 }).await, Some(7));
        let (send, receive) = tokio::sync::oneshot::channel::<()>();
        let endless = workers.begin(async move {
            let _send = send;
            std::future::pending::<()>().await;
        });
        drop(endless);
        assert!(receive.await.is_err(), "it is broken off");
    }
}
