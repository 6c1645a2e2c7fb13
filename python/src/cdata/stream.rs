//! Streams of rows in capsules, which is how libraries of Python hand tables to each other.

use std::ffi::{CStr, CString, c_char, c_void};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use super::{BorderError, CArray, CSchema, CStream, array, schema};

/// The name of the capsules and the method that gives one.
const CAPSULE: &CStr = c"arrow_array_stream";
const METHOD: &str = "__arrow_c_stream__";

/// What the interface returns for a failure, as the system calls an error of reading.
const FAILED: i32 = 5;

/// Rows that are given away one batch after the other.
pub(crate) trait Rows: Send {
    /// Their columns.
    fn schema(&self) -> SchemaRef;

    /// The next of them; nothing at the end. Called in any thread, with or without the interpreter's lock.
    fn next(&mut self) -> Result<Option<RecordBatch>, String>;
}

/// Rows that are all there.
pub(crate) struct Ready {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: std::vec::IntoIter<RecordBatch>,
}

impl Rows for Ready {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn next(&mut self) -> Result<Option<RecordBatch>, String> {
        Ok(self.batches.next())
    }
}

struct Exported {
    rows: Box<dyn Rows>,
    error: CString,
}

impl Exported {
    fn fail(&mut self, sentence: String) -> i32 {
        // A NUL would end it early.
        self.error = CString::new(sentence.replace('\0', "")).unwrap_or_default();
        FAILED
    }
}

/// # Safety
/// `stream` was made by [`capsule`] and is not released.
unsafe fn exported<'a>(stream: *mut CStream) -> &'a mut Exported {
    // SAFETY: the caller's promise.
    unsafe { &mut *(*stream).private_data.cast::<Exported>() }
}

unsafe extern "C" fn get_schema(stream: *mut CStream, out: *mut CSchema) -> i32 {
    // SAFETY: the interface calls this only on a stream that is not released.
    let exported = unsafe { exported(stream) };
    match schema::export(&exported.rows.schema()) {
        Ok(schema) => {
            // SAFETY: there is room for it, with nothing in it to be released.
            unsafe { out.write(schema) };
            0
        }
        Err(error) => exported.fail(error.to_string()),
    }
}

unsafe extern "C" fn get_next(stream: *mut CStream, out: *mut CArray) -> i32 {
    // SAFETY: the interface calls this only on a stream that is not released.
    let exported = unsafe { exported(stream) };
    let rows = std::panic::AssertUnwindSafe(|| exported.rows.next());
    let next = std::panic::catch_unwind(rows);
    let array = match next {
        Ok(Ok(Some(batch))) => array::export(&batch),
        Ok(Ok(None)) => CArray::released(),
        Ok(Err(sentence)) => return exported.fail(sentence),
        Err(_) => return exported.fail("picsift failed unexpectedly".to_string()),
    };
    // SAFETY: there is room for it, with nothing in it to be released.
    unsafe { out.write(array) };
    0
}

unsafe extern "C" fn get_last_error(stream: *mut CStream) -> *const c_char {
    // SAFETY: the interface calls this only on a stream that is not released.
    unsafe { exported(stream) }.error.as_ptr()
}

unsafe extern "C" fn release(stream: *mut CStream) {
    // SAFETY: it was made by `capsule`, and whoever calls this gives it up.
    unsafe {
        drop(Box::from_raw((*stream).private_data.cast::<Exported>()));
        (*stream).release = None;
    }
}

/// A capsule that gives these rows to whoever reads it first.
pub(crate) fn capsule<'py>(
    py: Python<'py>,
    rows: impl Rows + 'static,
) -> PyResult<Bound<'py, PyCapsule>> {
    let exported = Box::new(Exported {
        rows: Box::new(rows),
        error: CString::default(),
    });
    let stream = CStream {
        get_schema: Some(get_schema),
        get_next: Some(get_next),
        get_last_error: Some(get_last_error),
        release: Some(release),
        private_data: Box::into_raw(exported).cast::<c_void>(),
    };
    PyCapsule::new_with_value(py, stream, CAPSULE)
}

/// Rows that somebody else gives.
pub(crate) struct Imported {
    stream: CStream,
    schema: SchemaRef,
}

impl Imported {
    /// The rows of an object that gives them: a table, a data frame, a reader.
    ///
    /// # Errors
    /// Python's own where the object fails; a `TypeError` for one that gives no rows.
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let method = object.getattr(METHOD).map_err(|_| {
            let name = object.get_type().to_string();
            PyTypeError::new_err(format!("{name} is no table: it has no {METHOD}()"))
        })?;
        let capsule = method.call0()?;
        let capsule = capsule.cast::<PyCapsule>()?;
        let pointer = capsule.pointer_checked(Some(CAPSULE))?.cast::<CStream>();
        // SAFETY: a capsule of this name holds such a stream, which is moved out of it.
        let stream = unsafe { pointer.as_ptr().replace(CStream::released()) };
        if stream.release.is_none() {
            return Err(PyTypeError::new_err("the rows have been read already"));
        }
        Self::new(stream).map_err(|error| PyTypeError::new_err(error.to_string()))
    }

    fn new(mut stream: CStream) -> Result<Self, BorderError> {
        let mut columns = CSchema::released();
        let get = stream.get_schema;
        let get = get.ok_or_else(|| BorderError::new("a stream of rows gives no schema"))?;
        // SAFETY: the stream is not released.
        if unsafe { get(&mut stream, &mut columns) } != 0 {
            return Err(last_error(&mut stream));
        }
        // SAFETY: its producer made it as the interface has it.
        let schema = unsafe { schema::import(&columns)? };
        Ok(Self { stream, schema })
    }

    /// Their columns.
    pub(crate) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// The next of them; nothing at the end. Blocks, and must not be called with the interpreter's lock.
    ///
    /// # Errors
    /// The producer's, in its words.
    pub(crate) fn next(&mut self) -> Result<Option<RecordBatch>, BorderError> {
        let mut rows = CArray::released();
        let get = self.stream.get_next;
        let get = get.ok_or_else(|| BorderError::new("a stream of rows gives none"))?;
        // SAFETY: the stream is not released.
        if unsafe { get(&mut self.stream, &mut rows) } != 0 {
            return Err(last_error(&mut self.stream));
        }
        if rows.release.is_none() {
            return Ok(None);
        }
        // SAFETY: its producer made it as the interface has it.
        unsafe { array::import(rows, &self.schema) }.map(Some)
    }
}

fn last_error(stream: &mut CStream) -> BorderError {
    let text = match stream.get_last_error {
        None => return BorderError::new("the rows cannot be read"),
        // SAFETY: the stream is not released.
        Some(get) => unsafe { get(stream) },
    };
    if text.is_null() {
        return BorderError::new("the rows cannot be read");
    }
    // SAFETY: the interface ends its texts with NUL.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    BorderError::new(text.trim())
}
