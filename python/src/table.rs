//! Tables of Python as tables of a session.

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use datafusion::catalog::TableProvider;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::exec_datafusion_err;
use datafusion::datasource::MemTable;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::streaming::PartitionStream;
use pyo3::prelude::*;

use crate::cdata::stream::Imported;
use crate::errors::{Kind, raise};

/// Batches that wait for the query.
const AHEAD: usize = 2;

/// All rows of an object that gives them, kept; what is in memory already is not copied.
///
/// # Errors
/// Python's own, and `picsift.InputError` where they cannot be read.
pub(crate) fn kept(object: &Bound<'_, PyAny>) -> PyResult<Arc<dyn TableProvider>> {
    let mut rows = Imported::of(object)?;
    let wrong = |error: &dyn fmt::Display| raise(Kind::Input, error.to_string());
    let (schema, batches) = object.py().detach(|| {
        let mut batches = Vec::new();
        while let Some(batch) = rows.next().map_err(|error| wrong(&error))? {
            batches.push(batch);
        }
        PyResult::Ok((Arc::clone(rows.schema()), batches))
    })?;
    let table = MemTable::try_new(schema, vec![batches]).map_err(|error| wrong(&error))?;
    Ok(Arc::new(table))
}

/// The rows of what a function of Python gives, which is called for each query.
///
/// # Errors
/// As [`kept`].
pub(crate) fn streamed(schema: SchemaRef, open: Py<PyAny>) -> PyResult<Arc<dyn TableProvider>> {
    let opened = Opened {
        schema: Arc::clone(&schema),
        open: Arc::new(open),
    };
    let table = StreamingTable::try_new(schema, vec![Arc::new(opened)]);
    let table = table.map_err(|error| raise(Kind::Input, error.to_string()))?;
    Ok(Arc::new(table))
}

/// Rows that are read when they are wanted.
struct Opened {
    schema: SchemaRef,
    open: Arc<Py<PyAny>>,
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened").finish_non_exhaustive()
    }
}

impl PartitionStream for Opened {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _: Arc<TaskContext>) -> SendableRecordBatchStream {
        let mut stream = RecordBatchReceiverStreamBuilder::new(Arc::clone(&self.schema), AHEAD);
        let (batches, open) = (stream.tx(), Arc::clone(&self.open));
        stream.spawn_blocking(move || {
            let ended = || exec_datafusion_err!("the interpreter has ended");
            let rows = Python::try_attach(|py| {
                let object = open
                    .call0(py)
                    .and_then(|object| Imported::of(object.bind(py)));
                object.map_err(|error| exec_datafusion_err!("{}", error.value(py)))
            });
            let mut rows = rows.ok_or_else(ended)??;
            while let Some(batch) = rows
                .next()
                .map_err(|error| exec_datafusion_err!("{error}"))?
            {
                if batches.blocking_send(Ok(batch)).is_err() {
                    break;
                }
            }
            Ok(())
        });
        stream.build()
    }
}
