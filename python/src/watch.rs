//! A job that a person waits for: who is told how far it is, and what Ctrl-C does to it.

use std::sync::{Arc, Mutex, PoisonError};

use picsift::error::{AppError, Signal};
use picsift::label::{Cancel, Progress};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;

use crate::errors::{error, tell};
use crate::process::begin_here;

/// Whom a job tells how far it is.
pub(crate) type Tell = Box<dyn Fn(&Progress) + Send + Sync>;

/// Whoever is told how far a job is: a function of done, total, failed and seconds.
pub(crate) struct Watcher<'py> {
    tell: Option<Bound<'py, PyAny>>,
    last: Option<Progress>,
}

impl<'py> Watcher<'py> {
    /// Of a function of Python, if there is one.
    pub(crate) fn new(tell: Option<Bound<'py, PyAny>>) -> Self {
        Self { tell, last: None }
    }

    /// Tells it, unless nothing came to be done since the last time.
    ///
    /// # Errors
    /// What the function raises.
    pub(crate) fn look(&mut self, now: Option<Progress>) -> PyResult<()> {
        let (Some(tell), Some(now)) = (&self.tell, now) else {
            return Ok(());
        };
        let done = now.before + now.rows;
        if self
            .last
            .as_ref()
            .is_none_or(|last| last.before + last.rows != done)
        {
            tell.call1((done, now.total, now.failures, now.elapsed.as_secs_f64()))?;
            self.last = Some(now);
        }
        Ok(())
    }
}

/// What Python raises while a job runs.
#[derive(Default)]
struct Raised {
    /// How often Ctrl-C was pressed.
    pressed: u32,
    /// The first error that is something else.
    own: Option<PyErr>,
}

impl Raised {
    /// Ends the job: Ctrl-C and errors politely, and Ctrl-C at once the second time.
    fn hear(&mut self, py: Python<'_>, error: PyErr, cancel: &Cancel) {
        if !error.is_instance_of::<PyKeyboardInterrupt>(py) {
            cancel.finish();
            self.own.get_or_insert(error);
            return;
        }
        self.pressed += 1;
        match self.pressed {
            1 => {
                cancel.finish();
                tell(
                    "warning: stopping: what is under way is finished and kept; once more stops at once",
                );
            }
            _ => cancel.stop(),
        }
    }
}

/// Runs a job with an ear for Ctrl-C: once finishes and keeps what is under way, twice stops at once. `run` is given whom to tell and what
/// ends it.
///
/// # Errors
/// The job's; what the function that is told raises, after a polite end.
pub(crate) fn attended<T: Send + 'static, F>(
    py: Python<'_>,
    progress: Option<Bound<'_, PyAny>>,
    run: impl FnOnce(Tell, Cancel) -> F + Send + 'static,
) -> PyResult<T>
where
    F: Future<Output = Result<T, AppError>>,
{
    let cancel = Cancel::default();
    let now: Arc<Mutex<Option<Progress>>> = Arc::default();
    let latest = || now.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let told: Tell = {
        let now = Arc::clone(&now);
        Box::new(move |progress| {
            *now.lock().unwrap_or_else(PoisonError::into_inner) = Some(progress.clone());
        })
    };
    let mut watcher = Watcher::new(progress);
    let mut raised = Raised::default();
    let ended = cancel.clone();
    let done = begin_here(move || run(told, ended))?.wait(py, |signals| {
        if let Err(error) = signals.and_then(|()| watcher.look(latest())) {
            raised.hear(py, error, &cancel);
        }
        Ok(())
    })?;
    if let Some(error) = raised.own {
        return Err(error);
    }
    let done = done.map_err(|failed| {
        error(match failed {
            AppError::Cancelled { state } if raised.pressed > 0 => AppError::Interrupted {
                signal: Signal::Interrupt,
                state,
            },
            failed => failed,
        })
    })?;
    watcher.look(latest())?;
    Ok(done)
}
