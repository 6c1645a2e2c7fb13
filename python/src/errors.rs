//! Errors and notes of the library as Python's: `picsift.Error` and what stands below it, with the command's sentences.

use datafusion::common::DataFusionError;
use picsift::error::AppError;
use picsift_images::redacted;
use picsift_udf::EngineError;
use picsift_vision::SourceError;
use pyo3::prelude::*;
use pyo3::types::PyModule;

/// The family, by the names of their classes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    /// The work failed.
    Error,
    /// What was asked for cannot be done so.
    Input,
    /// A model cannot be had.
    Model,
    /// The work was stopped.
    Interrupted,
}

impl Kind {
    fn class(self) -> &'static str {
        match self {
            Self::Error => "Error",
            Self::Input => "InputError",
            Self::Model => "ModelError",
            Self::Interrupted => "Interrupted",
        }
    }
}

/// Where the classes are.
const MODULE: &str = "picsift._errors";

/// An error with this sentence.
pub(crate) fn raise(kind: Kind, sentence: impl Into<String>) -> PyErr {
    let sentence = sentence.into();
    Python::attach(|py| {
        let class = PyModule::import(py, MODULE).and_then(|errors| errors.getattr(kind.class()));
        match class.and_then(|class| class.call1((sentence,))) {
            Ok(error) => PyErr::from_value(error),
            Err(error) => error,
        }
    })
}

/// The library's error.
pub(crate) fn error(error: AppError) -> PyErr {
    let sentence = redacted(&error.to_string()).into_owned();
    raise(kind(&error), sentence)
}

fn kind(error: &AppError) -> Kind {
    match error {
        AppError::Plan(plan) if about_a_model(plan) => Kind::Model,
        AppError::Usage(_) | AppError::Plan(_) => Kind::Input,
        AppError::Engine(EngineError::Pool(_)) => Kind::Error,
        AppError::Engine(_) | AppError::Source(_) | AppError::Unverified { .. } => Kind::Model,
        AppError::Cancelled { .. } | AppError::Interrupted { .. } => Kind::Interrupted,
        AppError::Unfinished { source, .. } => kind(source),
        _ => Kind::Error,
    }
}

/// Whether a query cannot be planned since a model of it cannot be had.
fn about_a_model(error: &DataFusionError) -> bool {
    match error.find_root() {
        DataFusionError::External(source) => {
            matches!(source.downcast_ref(), Some(EngineError::Model(_)))
                || source.is::<SourceError>()
        }
        _ => false,
    }
}

/// Passes on what a person should know: a warning where the command warns, else a line of the log `picsift`.
pub(crate) fn tell(note: &str) {
    let note = redacted(note);
    // At the end of the interpreter nobody listens.
    Python::try_attach(|py| {
        let told =
            PyModule::import(py, MODULE).and_then(|errors| errors.call_method1("_tell", (note,)));
        if let Err(error) = told {
            // A warning that was made an error, in a thread that has nobody to raise it to.
            error.write_unraisable(py, None);
        }
    });
}

/// The same in a thread that can raise an error which a warning was made.
///
/// # Errors
/// The warning.
pub(crate) fn warn(py: Python<'_>, note: &str) -> PyResult<()> {
    let errors = PyModule::import(py, MODULE)?;
    errors.call_method1("_tell", (redacted(note),))?;
    Ok(())
}
