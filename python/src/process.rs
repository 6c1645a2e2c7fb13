//! The threads of this process that do the work, and how a thread of Python waits for it.
//!
//! They begin with the first call and are remade in a process that was forked before it. A process that was forked after it has none of
//! them, nor can have: that is said ([`enter`]).

use std::error::Error;
use std::future::Future;
use std::mem::ManuallyDrop;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pyo3::prelude::*;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::errors::{Kind, raise};

/// Time between two looks whether Ctrl-C was pressed.
pub(crate) const LOOK: Duration = Duration::from_millis(100);

/// The runtime and the process that it is of.
static RUNTIME: Mutex<Option<(u32, Arc<Runtime>)>> = Mutex::new(None);

/// The process that the threads of the models are of; 0 before there are any.
static THREADS: AtomicU32 = AtomicU32::new(0);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes sure that models can work in this process. Before anything that may use their threads.
///
/// # Errors
/// In a process that was forked from one in which picsift was at work.
pub(crate) fn enter() -> PyResult<()> {
    let own = std::process::id();
    if THREADS.load(Ordering::Acquire) == own {
        return Ok(());
    }
    let mut place = lock(&RUNTIME);
    if THREADS.load(Ordering::Acquire) == own {
        return Ok(());
    }
    // They are there once in a process and its children, and cannot be made again: in a child of a process that has them they are not.
    if let Err(error) = rayon::ThreadPoolBuilder::new().build_global() {
        let sentence = match error.source() {
            Some(reason) => format!("cannot start the threads of the models: {reason}"),
            None => "picsift was at work before this process was forked, and its threads are not in it: make the first call after the \
                     fork, or start workers by 'spawn' or 'forkserver'"
                .to_string(),
        };
        return Err(raise(Kind::Error, sentence));
    }
    if let Some((_, former)) = place.take() {
        // Its threads are the parent's: waiting for them would be for ever.
        std::mem::forget(former);
    }
    THREADS.store(own, Ordering::Release);
    Ok(())
}

/// The runtime of this process.
///
/// # Errors
/// As [`enter`]; when the system gives no threads.
pub(crate) fn runtime() -> PyResult<Arc<Runtime>> {
    enter()?;
    let mut place = lock(&RUNTIME);
    if let Some((of, runtime)) = &*place
        && *of == std::process::id()
    {
        return Ok(Arc::clone(runtime));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("picsift")
        .build()
        .map_err(|error| raise(Kind::Error, format!("cannot start the runtime: {error}")))?;
    let runtime = Arc::new(runtime);
    if let Some((_, former)) = place.replace((std::process::id(), Arc::clone(&runtime))) {
        std::mem::forget(former);
    }
    Ok(runtime)
}

/// What a process made and has threads for: in a child that was forked it is neither used nor ended, which would be waiting for threads
/// that are not there.
pub(crate) struct Own<T> {
    process: u32,
    value: ManuallyDrop<T>,
}

impl<T> Own<T> {
    /// Of this process.
    pub(crate) fn new(value: T) -> Self {
        Self {
            process: std::process::id(),
            value: ManuallyDrop::new(value),
        }
    }

    /// It, to be changed, in the process that made it.
    pub(crate) fn get_mut(&mut self) -> Option<&mut T> {
        (self.process == std::process::id()).then_some(&mut *self.value)
    }

    /// It, in the process that made it.
    pub(crate) fn get(&self) -> Option<&T> {
        (self.process == std::process::id()).then_some(&*self.value)
    }

    /// The same.
    ///
    /// # Errors
    /// In another process.
    pub(crate) fn here(&self) -> PyResult<&T> {
        self.get().ok_or_else(|| {
            raise(
                Kind::Error,
                "this was made by the process that this one was forked from: make it again here",
            )
        })
    }
}

impl<T> Drop for Own<T> {
    fn drop(&mut self) {
        if self.process == std::process::id() {
            // SAFETY: it is dropped here and nowhere else.
            unsafe { ManuallyDrop::drop(&mut self.value) };
        }
    }
}

/// Work in the background, which ends when nobody waits for it any more.
pub(crate) struct Task<T> {
    done: JoinHandle<Option<T>>,
    /// Ends it when it is dropped.
    _wanted: oneshot::Sender<()>,
}

/// Does `work` as long as its outcome is wanted.
async fn while_wanted<T>(
    work: impl Future<Output = T>,
    wanted: oneshot::Receiver<()>,
) -> Option<T> {
    tokio::select! {
        done = work => Some(done),
        _ = wanted => None,
    }
}

/// Begins `work` in the background.
///
/// # Errors
/// As [`runtime`].
pub(crate) fn begin<T: Send + 'static>(
    work: impl Future<Output = T> + Send + 'static,
) -> PyResult<Task<T>> {
    let (keep, wanted) = oneshot::channel();
    Ok(Task {
        done: runtime()?.spawn(while_wanted(work, wanted)),
        _wanted: keep,
    })
}

/// The same for work that stays in one thread.
///
/// # Errors
/// As [`runtime`].
pub(crate) fn begin_here<T: Send + 'static, F: Future<Output = T>>(
    work: impl FnOnce() -> F + Send + 'static,
) -> PyResult<Task<T>> {
    let (keep, wanted) = oneshot::channel();
    let runtime = runtime()?;
    let handle = runtime.handle().clone();
    Ok(Task {
        done: runtime.spawn_blocking(move || handle.block_on(while_wanted(work(), wanted))),
        _wanted: keep,
    })
}

impl<T: Send + 'static> Task<T> {
    /// Waits for it with the interpreter free for other threads. Every tenth of a second `look` is called with what Python made of
    /// signals; what it returns ends the wait.
    ///
    /// # Errors
    /// What `look` returns, and an error for work that panicked.
    pub(crate) fn wait(
        mut self,
        py: Python<'_>,
        mut look: impl FnMut(PyResult<()>) -> PyResult<()>,
    ) -> PyResult<T> {
        let runtime = runtime()?;
        loop {
            let handle = &mut self.done;
            let done = py.detach(|| {
                runtime.block_on(async { tokio::time::timeout(LOOK, handle).await.ok() })
            });
            match done {
                Some(Ok(Some(done))) => return Ok(done),
                Some(Ok(None) | Err(_)) => {
                    return Err(raise(Kind::Error, "picsift failed unexpectedly"));
                }
                None => look(py.check_signals())?,
            }
        }
    }
}
