//! SQL: a session, its tables, and queries that run when their rows are wanted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::common::TableReference;
use datafusion::execution::SendableRecordBatchStream;
use futures::{StreamExt, TryStreamExt};
use picsift::cli::Command;
use picsift::error::AppError;
use picsift::requests;
use picsift::sql::{self, Parameter, Prepared};
use picsift_udf::{LocatedTable, Losses};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyCapsule, PyFloat, PyInt, PyString};
use tokio::runtime::Runtime;
use tokio::time::timeout;

use crate::arguments::{host, parse};
use crate::cdata::stream::{Imported, Rows, capsule};
use crate::errors::{Kind, error, raise, tell, warn};
use crate::jobs::stopped;
use crate::labeler::folder;
use crate::process::{LOOK, Own, begin, runtime};
use crate::results::Batches;
use crate::table;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn done<T: Send + 'static>(
    py: Python<'_>,
    work: impl Future<Output = Result<T, AppError>> + Send + 'static,
) -> PyResult<T> {
    let done = begin(work)?.wait(py, |signals| {
        signals.map_err(|error| stopped(py, error, "the query was ended"))
    })?;
    done.map_err(error)
}

/// See `picsift.Connection`.
#[pyclass(frozen, module = "picsift._picsift")]
pub(crate) struct Session(Own<Arc<sql::Session>>);

#[pymethods]
impl Session {
    /// Of the words of `sql`.
    #[new]
    fn new(py: Python<'_>, words: Vec<String>) -> PyResult<Self> {
        let Command::Sql(args) = parse(words)? else {
            return Err(raise(Kind::Error, "the arguments are of another command"));
        };
        let options = py
            .detach(|| requests::session(&args, &host()))
            .map_err(error)?;
        let session = done(py, sql::Session::new(options))?;
        Ok(Self(Own::new(Arc::new(session))))
    }

    /// The names in a statement that are of no table.
    fn unknown_tables(&self, statement: &str) -> PyResult<Vec<String>> {
        self.0.here()?.unknown_tables(statement).map_err(error)
    }

    /// Names a table. With `reopen` its rows are those that this function gives, which is called for each query, and `table` has only the
    /// columns. Relative references in it belong to the folder `base`.
    fn register(
        &self,
        py: Python<'_>,
        name: &str,
        table: &Bound<'_, PyAny>,
        base: &str,
        reopen: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let rows = match reopen {
            None => table::kept(table)?,
            Some(reopen) => {
                let schema = Arc::clone(Imported::of(table)?.schema());
                table::streamed(schema, reopen)?
            }
        };
        let rows = Arc::new(LocatedTable::new(rows, Some(&folder(base)?)));
        let (session, name) = (self.0.here()?, TableReference::bare(name));
        py.detach(|| {
            let context = session.context();
            context.deregister_table(name.clone())?;
            context.register_table(name, rows)
        })
        .map_err(|failed| error(AppError::Plan(failed)))?;
        Ok(())
    }

    /// Forgets a table; whether there was one.
    fn unregister(&self, py: Python<'_>, name: &str) -> PyResult<bool> {
        let (session, name) = (self.0.here()?, TableReference::bare(name));
        let gone = py.detach(|| session.context().deregister_table(name));
        Ok(gone
            .map_err(|failed| error(AppError::Plan(failed)))?
            .is_some())
    }

    /// Plans a statement with the values of its parameters.
    fn prepare(
        &self,
        py: Python<'_>,
        statement: String,
        values: Vec<Bound<'_, PyAny>>,
    ) -> PyResult<Query> {
        let values = values.iter().map(parameter).collect::<PyResult<Vec<_>>>()?;
        let session = Arc::clone(self.0.here()?);
        let prepared = done(
            py,
            async move { session.prepare(&statement, &values).await },
        )?;
        Ok(Query(Own::new(Arc::new(prepared))))
    }
}

/// A value as a literal of SQL.
fn parameter(value: &Bound<'_, PyAny>) -> PyResult<Parameter> {
    if value.is_none() {
        return Ok(Parameter::Null);
    }
    if let Ok(flag) = value.cast::<PyBool>() {
        return Ok(Parameter::Boolean(flag.is_true()));
    }
    if value.is_instance_of::<PyInt>() {
        return Ok(Parameter::Integer(value.extract()?));
    }
    if value.is_instance_of::<PyFloat>() {
        let number: f64 = value.extract()?;
        return match number.is_finite() {
            true => Ok(Parameter::Float(number)),
            false => Err(raise(Kind::Input, "a parameter must be a finite number")),
        };
    }
    if value.is_instance_of::<PyString>() {
        return Ok(Parameter::Text(value.extract()?));
    }
    if let Ok(bytes) = value.extract::<pyo3::pybacked::PyBackedBytes>() {
        return Ok(Parameter::Bytes(bytes.to_vec()));
    }
    if value.hasattr("isoformat")? {
        let text = value.call_method0("isoformat")?.extract()?;
        return Ok(match value.hasattr("hour")? {
            true => Parameter::Timestamp(text),
            false => Parameter::Date(text),
        });
    }
    if value.hasattr("__fspath__")? {
        return Ok(Parameter::Text(
            value.call_method0("__fspath__")?.extract()?,
        ));
    }
    // A number of NumPy.
    if value.hasattr("item")? {
        return parameter(&value.call_method0("item")?);
    }
    Err(raise(
        Kind::Input,
        format!("a parameter cannot be a {}", value.get_type().name()?),
    ))
}

/// A statement that is planned; see `picsift.Relation`.
#[pyclass(frozen, module = "picsift._picsift")]
pub(crate) struct Query(Own<Arc<Prepared>>);

#[pymethods]
impl Query {
    /// The columns by name and type.
    fn columns(&self) -> PyResult<Vec<(String, String)>> {
        let schema = self.0.here()?.schema();
        let fields = schema.fields().iter();
        Ok(fields
            .map(|field| (field.name().clone(), field.data_type().to_string()))
            .collect())
    }

    /// Whether it changes something when it runs.
    fn is_change(&self) -> PyResult<bool> {
        Ok(self.0.here()?.is_change())
    }

    /// The same that ends after so many rows.
    fn limited(&self, rows: usize) -> PyResult<Self> {
        let limited = self.0.here()?.limited(rows).map_err(error)?;
        Ok(Self(Own::new(Arc::new(limited))))
    }

    /// Runs it and keeps all rows.
    fn run(&self, py: Python<'_>) -> PyResult<Batches> {
        let prepared = Arc::clone(self.0.here()?);
        let (rows, notes, lost) = done(py, async move {
            let results = prepared.run().await?;
            let schema = results.rows.schema();
            let batches = results.rows.try_collect().await.map_err(AppError::Run)?;
            Ok((
                Batches { schema, batches },
                results.notes,
                results.losses.said(),
            ))
        })?;
        for note in &notes {
            warn(py, note)?;
        }
        if let Some(lost) = lost {
            warn(py, &format!("warning: {lost}"))?;
        }
        Ok(rows)
    }

    /// Begins to run it; rows are made as they are read.
    fn reader(&self, py: Python<'_>) -> PyResult<Reader> {
        Ok(Reader(Mutex::new(Some(Own::new(self.running(py)?)))))
    }

    /// The rows in the form in which libraries of Python exchange them, made as they are read.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // Whoever wants other types casts; the interface leaves it to us.
        drop(requested_schema);
        capsule(py, self.running(py)?)
    }
}

impl Query {
    fn running(&self, py: Python<'_>) -> PyResult<Running> {
        let prepared = Arc::clone(self.0.here()?);
        let results = done(py, async move { prepared.run().await })?;
        for note in &results.notes {
            warn(py, note)?;
        }
        Ok(Running {
            runtime: runtime()?,
            schema: results.rows.schema(),
            rows: results.rows,
            losses: Some(results.losses),
        })
    }
}

/// A query that runs.
struct Running {
    runtime: Arc<Runtime>,
    schema: SchemaRef,
    rows: SendableRecordBatchStream,
    losses: Option<Arc<Losses>>,
}

impl Running {
    /// The next rows, with the interpreter free for other threads while they are waited for.
    fn next_batch(&mut self, py: Python<'_>) -> PyResult<Option<RecordBatch>> {
        let next = loop {
            let (runtime, rows) = (&self.runtime, &mut self.rows);
            let next =
                py.detach(|| runtime.block_on(async { timeout(LOOK, rows.next()).await.ok() }));
            match next {
                Some(next) => break next,
                None => py
                    .check_signals()
                    .map_err(|error| stopped(py, error, "the query was ended"))?,
            }
        };
        match next {
            Some(batch) => batch
                .map(Some)
                .map_err(|failed| error(AppError::Run(failed))),
            None => {
                if let Some(lost) = self.losses.take().and_then(|losses| losses.said()) {
                    tell(&format!("warning: {lost}"));
                }
                Ok(None)
            }
        }
    }
}

impl Rows for Running {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn next(&mut self) -> Result<Option<RecordBatch>, String> {
        // Whether the caller holds the interpreter's lock or not: it is free while rows are waited for.
        let next = Python::try_attach(|py| {
            let next = self.next_batch(py);
            next.map_err(|error| error.value(py).to_string())
        });
        next.unwrap_or_else(|| Err("the interpreter has ended".to_string()))
    }
}

/// A query that runs, for a loop of Python.
#[pyclass(frozen, module = "picsift._picsift")]
pub(crate) struct Reader(Mutex<Option<Own<Running>>>);

#[pymethods]
impl Reader {
    /// The next rows; nothing at the end.
    fn next(&self, py: Python<'_>) -> PyResult<Option<Batches>> {
        // Not locked while rows are waited for: whoever waits for the lock holds the interpreter.
        let mut taken = lock(&self.0).take();
        let Some(running) = taken.as_mut().and_then(Own::get_mut) else {
            return Err(raise(
                Kind::Error,
                "these rows are read by another thread or of another process, or an earlier read of them failed",
            ));
        };
        let batch = running.next_batch(py)?;
        let schema = Arc::clone(&running.schema);
        *lock(&self.0) = taken;
        Ok(batch.map(|batch| Batches {
            schema,
            batches: vec![batch],
        }))
    }
}
