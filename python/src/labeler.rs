//! The labeller: its options, the engine that those with equal limits share in a process, and its calls.
//!
//! What it holds beside its options is a process's own: in a child that was forked from one it is made anew, and the parent's is left
//! where it is, since its threads are not there to be ended.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use picsift::cli::{Command, LabelArgs};
use picsift::corrections;
use picsift::error::AppError;
use picsift::label;
use picsift::label::image::ImageLabels;
use picsift::{requests, tables};
use picsift_udf::{Engine, EngineOptions, ImageSource, RowError};
use pyo3::prelude::*;
use pyo3::pybacked::{PyBackedBytes, PyBackedStr};
use pyo3::types::{PyDict, PyList};
use tokio::task::AbortHandle;

use crate::arguments::{engine_error, host, parse};
use crate::cdata::stream::Imported;
use crate::errors::{Kind, error, raise, warn};
use crate::jobs::stopped;
use crate::process::{Own, begin, enter, runtime};
use crate::results::Batches;

/// Engines, and with them loaded models, that a process keeps for labellers to come.
const ENGINES: usize = 4;

static KEPT: Mutex<Vec<Kept>> = Mutex::new(Vec::new());

struct Kept {
    options: String,
    engine: Own<Arc<Engine>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The engine of these options, which is made once a process.
fn engine(args: &LabelArgs) -> PyResult<Arc<Engine>> {
    let options = format!("{:?} {:?} {:?}", args.limits, args.cache, args.fetch);
    let mut kept = lock(&KEPT);
    // Those of a parent are not there.
    kept.retain(|one| one.engine.get().is_some());
    let found = kept.iter().position(|one| one.options == options);
    let found = found.map(|place| kept.remove(place));
    let engine = match found.as_ref().and_then(|one| one.engine.get()) {
        Some(engine) => Arc::clone(engine),
        None => {
            let (cache, fetch) = (Some(&args.cache), Some(&args.fetch));
            let options = requests::engine(&args.limits, cache, fetch, &host());
            let engine = Engine::new(options.map_err(error)?);
            Arc::new(engine.map_err(engine_error)?)
        }
    };
    if kept.len() >= ENGINES {
        kept.remove(0);
    }
    kept.push(Kept {
        options,
        engine: Own::new(Arc::clone(&engine)),
    });
    Ok(engine)
}

/// The engine, or one with its models that knows what the file says people said.
fn corrected(engine: Arc<Engine>, file: Option<&str>) -> PyResult<Arc<Engine>> {
    let Some(file) = file else {
        return Ok(engine);
    };
    // Not in the threads of the process, which are not to begin before the first call.
    let apart = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let apart = apart.map_err(|error| raise(Kind::Error, error.to_string()))?;
    let loaded = apart.block_on(corrections::load(file)).map_err(error)?;
    let options = EngineOptions {
        corrections: Some(loaded.corrections),
        ..engine.options().clone()
    };
    Ok(Arc::new(engine.beside(options).map_err(engine_error)?))
}

/// A picture as Python gives it: a path or URL, or its bytes.
#[derive(FromPyObject)]
pub(crate) enum Picture {
    /// Its place.
    Reference(PyBackedStr),
    /// Its file.
    Bytes(PyBackedBytes),
}

impl From<Picture> for ImageSource {
    fn from(picture: Picture) -> Self {
        match picture {
            Picture::Reference(reference) => Self::Reference(reference.to_string()),
            Picture::Bytes(bytes) => Self::Bytes(Bytes::from_owner(bytes)),
        }
    }
}

/// See `picsift.Labeler`.
#[pyclass(frozen, module = "picsift._picsift")]
pub(crate) struct Labeler {
    words: Vec<String>,
    categories: Vec<String>,
    base: Option<String>,
    made: Mutex<Option<Own<Arc<label::Labeler>>>>,
}

#[pymethods]
impl Labeler {
    /// Of the words of `label`; `base` is the folder of relative references in tables.
    #[new]
    fn new(
        py: Python<'_>,
        words: Vec<String>,
        categories: Vec<String>,
        base: Option<String>,
    ) -> PyResult<Self> {
        let labeler = Self {
            words,
            categories,
            base,
            made: Mutex::new(None),
        };
        labeler.made(py)?;
        Ok(labeler)
    }

    /// Loads the model, unless that is done.
    fn load(&self, py: Python<'_>) -> PyResult<()> {
        enter()?;
        let labeler = self.made(py)?;
        let work = async move { tokio::task::block_in_place(|| labeler.load()) };
        done(py, work)
    }

    /// The categories, in the order of their columns.
    fn categories(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        Ok(self.made(py)?.categories().map(str::to_string).collect())
    }

    /// Labels a table.
    fn table(&self, py: Python<'_>, table: &Bound<'_, PyAny>) -> PyResult<Batches> {
        enter()?;
        let mut rows = Imported::of(table)?;
        let labeler = self.made(py)?;
        let base = self.base.as_deref().map(folder).transpose()?;
        let (schema, batches) = py
            .detach(|| {
                let mut batches = Vec::new();
                while let Some(batch) = rows.next()? {
                    batches.push(batch);
                }
                Ok((Arc::clone(rows.schema()), batches))
            })
            .map_err(|error: crate::cdata::BorderError| raise(Kind::Input, error.to_string()))?;
        let work = async move {
            let labelled = labeler.table(schema, batches, base.as_ref()).await?;
            let schema = labelled.rows.schema();
            let rows = labelled.rows.try_collect().await;
            Ok((
                Batches {
                    schema,
                    batches: rows.map_err(AppError::Run)?,
                },
                labelled.losses.said(),
            ))
        };
        let (labelled, lost) = done(py, work)?;
        if let Some(lost) = lost {
            warn(py, &format!("warning: {lost}"))?;
        }
        Ok(labelled)
    }

    /// Labels pictures, several at a time; what was found out of each, in their order.
    fn images<'py>(&self, py: Python<'py>, pictures: Vec<Picture>) -> PyResult<Bound<'py, PyList>> {
        enter()?;
        let labeler = self.made(py)?;
        let found = done(py, all(labeler, pictures, self.base.clone()))?;
        objects(py, found)
    }

    /// Begins to label pictures and returns at once. `tell(found, error)` is called in another thread when they are done, one of the two
    /// being `None`; not after [`Work::cancel`].
    fn begin(&self, py: Python<'_>, pictures: Vec<Picture>, tell: Py<PyAny>) -> PyResult<Work> {
        enter()?;
        let labeler = self.made(py)?;
        let base = self.base.clone();
        let work = runtime()?.spawn(async move {
            let found = all(labeler, pictures, base).await;
            // At the end of the interpreter nobody waits.
            Python::try_attach(|py| {
                let found = found.map_err(error).and_then(|found| objects(py, found));
                let told = match found {
                    Ok(found) => tell.call1(py, (found, py.None())),
                    Err(error) => tell.call1(py, (py.None(), error.into_value(py))),
                };
                if let Err(error) = told {
                    error.write_unraisable(py, None);
                }
            });
        });
        Ok(Work(work.abort_handle()))
    }
}

impl Labeler {
    /// What does the work in this process.
    fn made(&self, py: Python<'_>) -> PyResult<Arc<label::Labeler>> {
        // Whoever holds this lock may wait for the interpreter.
        py.detach(|| {
            let mut made = lock(&self.made);
            if let Some(labeler) = made.as_ref().and_then(Own::get) {
                return Ok(Arc::clone(labeler));
            }
            let Command::Label(mut args) = parse(self.words.clone())? else {
                return Err(raise(Kind::Error, "the arguments are of another command"));
            };
            args.categories.categories = self.categories.clone();
            let engine = corrected(engine(&args)?, args.corrections.as_deref())?;
            // They are the engine's and need not be had a second time.
            args.limits.sandbox = false;
            args.cache.no_cache = true;
            let options = requests::label(*args, &host()).map_err(error)?;
            // Files of a model are looked at by several threads: by other ones than those of the process, which are not to begin before
            // the first call.
            let threads = rayon::ThreadPoolBuilder::new().build();
            let threads = threads.map_err(|error| raise(Kind::Error, error.to_string()))?;
            let labeler = threads.install(|| label::Labeler::new(engine, options));
            let labeler = Arc::new(labeler.map_err(error)?);
            *made = Some(Own::new(Arc::clone(&labeler)));
            Ok(labeler)
        })
    }
}

/// Work in the background.
#[pyclass(frozen, module = "picsift._picsift")]
pub(crate) struct Work(AbortHandle);

#[pymethods]
impl Work {
    /// Ends it.
    fn cancel(&self) {
        self.0.abort();
    }
}

/// The folder that relative references belong to.
pub(crate) fn folder(base: &str) -> PyResult<url::Url> {
    let base = match base.ends_with('/') {
        true => base.to_string(),
        false => format!("{base}/"),
    };
    let located = tables::locate(&base).map_err(|failed| error(AppError::Plan(failed)))?;
    picsift_udf::table_base(&located)
        .ok_or_else(|| raise(Kind::Input, format!("'{base}' is no folder")))
}

async fn all(
    labeler: Arc<label::Labeler>,
    pictures: Vec<Picture>,
    base: Option<String>,
) -> Result<Vec<Result<ImageLabels, RowError>>, AppError> {
    let pictures = pictures.into_iter().map(ImageSource::from);
    let pictures = pictures.map(|picture| labeler.image(picture, base.as_deref()));
    stream::iter(pictures)
        .buffered(labeler.in_flight())
        .try_collect()
        .await
}

fn done<T: Send + 'static>(
    py: Python<'_>,
    work: impl Future<Output = Result<T, AppError>> + Send + 'static,
) -> PyResult<T> {
    let done = begin(work)?.wait(py, |signals| {
        signals.map_err(|error| stopped(py, error, "nothing is kept but answers"))
    })?;
    done.map_err(error)
}

fn objects<'py>(
    py: Python<'py>,
    found: Vec<Result<ImageLabels, RowError>>,
) -> PyResult<Bound<'py, PyList>> {
    let found = found.into_iter().map(|found| object(py, found));
    PyList::new(py, found.collect::<PyResult<Vec<_>>>()?)
}

/// What was found out about a picture as a dict, in which every key is there.
fn object<'py>(
    py: Python<'py>,
    found: Result<ImageLabels, RowError>,
) -> PyResult<Bound<'py, PyDict>> {
    let (labels, error) = match found {
        Ok(labels) => (Some(labels), None),
        Err(error) => (None, Some(error.to_string())),
    };
    let labels = labels.unwrap_or_default();
    let object = PyDict::new(py);
    object.set_item("label", labels.label)?;
    object.set_item("labels", labels.labels)?;
    let flags = labels.answers.map(|answers| {
        let flags = PyDict::new(py);
        let set = answers
            .into_iter()
            .try_for_each(|(name, holds)| flags.set_item(name, holds.as_bool()));
        set.map(|()| flags)
    });
    object.set_item("answers", flags.transpose()?)?;
    let scores = labels.scores.map(|scores| {
        let numbers = PyDict::new(py);
        let set = scores
            .into_iter()
            .try_for_each(|(name, score)| numbers.set_item(name, score.as_f64()));
        set.map(|()| numbers)
    });
    object.set_item("scores", scores.transpose()?)?;
    object.set_item("error", error)?;
    Ok(object)
}
