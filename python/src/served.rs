//! A gallery that is shown on this machine while its object is there.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use picsift::error::AppError;
use picsift::gallery::serve::serve;
use pyo3::prelude::*;
use tokio::sync::oneshot;

use crate::errors::{Kind, error, raise};
use crate::process::{Own, Task, begin};

/// See `picsift.Served`.
#[pyclass(frozen, module = "picsift._picsift")]
pub(crate) struct Served {
    link: String,
    /// What is at work; nothing once it was stopped.
    work: Mutex<Own<Option<Work>>>,
}

struct Work {
    done: Task<Result<(), AppError>>,
    stop: oneshot::Sender<()>,
}

#[pymethods]
impl Served {
    /// Shows the gallery in `folder`; port 0 is any that is free.
    #[new]
    fn new(py: Python<'_>, folder: PathBuf, port: u16) -> PyResult<Self> {
        let (stop, stopped) = oneshot::channel::<()>();
        let (opened, link) = oneshot::channel();
        let done = begin(async move {
            let tell = |link: &str| {
                // Whoever does not wait for it any more wants no gallery.
                opened.send(link.to_string()).ok();
            };
            let ended = async {
                stopped.await.ok();
            };
            serve(&folder, port, tell, ended).await
        })?;
        // Without a link it ended before it began.
        match begin(link)?.wait(py, |signals| signals)? {
            Ok(link) => Ok(Self {
                link,
                work: Mutex::new(Own::new(Some(Work { done, stop }))),
            }),
            Err(_) => match done.wait(py, |signals| signals)? {
                Err(failed) => Err(error(failed)),
                Ok(()) => Err(raise(Kind::Error, "the gallery was not shown")),
            },
        }
    }

    /// Where it is, with the key that opens it.
    #[getter]
    fn url(&self) -> &str {
        &self.link
    }

    /// Ends it, and waits for the end.
    fn stop(&self, py: Python<'_>) -> PyResult<()> {
        let work = self.work().get_mut().and_then(Option::take);
        let Some(work) = work else {
            return Ok(());
        };
        work.stop.send(()).ok();
        work.done.wait(py, |signals| signals)?.map_err(error)
    }

    /// Whether it is shown, by this process.
    fn running(&self) -> bool {
        self.work().get().is_some_and(Option::is_some)
    }
}

impl Served {
    fn work(&self) -> MutexGuard<'_, Own<Option<Work>>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
