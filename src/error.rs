//! What can end the program, and the exit code that tells a script why.
//!
//! An error here is one sentence for a person. Where DataFusion wraps its errors in layers, the innermost is shown: it
//! is the one that says what is wrong.

use std::path::PathBuf;

use datafusion::error::DataFusionError;
use picsift_udf::EngineError;
use picsift_vision::{SourceError, VisionError};

/// Why a command ended without doing what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The command, its options or its input are wrong; nothing was written.
    #[error("{0}")]
    Usage(String),
    /// As [`AppError::Usage`], found by DataFusion while planning.
    #[error("{}", innermost(.0))]
    Plan(#[source] DataFusionError),
    /// The work itself failed.
    #[error("{}", innermost(.0))]
    Run(#[source] DataFusionError),
    /// The model or the decode pool could not be had.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A model could not be found or fetched.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// Files of a model are missing or damaged.
    #[error("{bad} of the {files} files of {model} are not as they should be: {repair}")]
    Unverified {
        /// The model.
        model: String,
        /// How many.
        bad: usize,
        /// Of how many.
        files: usize,
        /// What to do.
        repair: String,
    },
    /// A local file or folder could not be read or written.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried: `read`, `write`, ...
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Standard input or output failed.
    #[error("cannot write to the terminal or pipe: {0}")]
    Terminal(#[source] std::io::Error),
    /// The person pressed Ctrl-C.
    #[error("interrupted; {0}")]
    Interrupted(String),
}

impl AppError {
    /// The exit code: 2 for what the person can put right before trying again, 1 for work that failed, 130 for Ctrl-C.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Source(source)
            | Self::Engine(EngineError::Model(VisionError::Source(source)))
                if source.is_work() =>
            {
                1
            }
            Self::Usage(_) | Self::Plan(_) | Self::Engine(_) | Self::Source(_) => 2,
            Self::Run(_) | Self::File { .. } | Self::Terminal(_) | Self::Unverified { .. } => 1,
            Self::Interrupted(_) => 130,
        }
    }

    /// A file error, for `map_err`.
    pub fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File {
            action,
            path,
            source,
        }
    }
}

/// The text of the innermost DataFusion error in one line, without the layers' prefixes.
pub fn innermost(error: &DataFusionError) -> String {
    let text = root_text(error);
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    // A table that was opened for one query has no name that a person gave it.
    lines
        .join(" ")
        .replace("\"?table?\".", "")
        .replace("?table?.", "")
}

fn root_text(error: &DataFusionError) -> String {
    match error.find_root() {
        DataFusionError::Plan(text)
        | DataFusionError::Execution(text)
        | DataFusionError::Configuration(text)
        | DataFusionError::NotImplemented(text) => text.clone(),
        DataFusionError::SQL(parse, _) => format!("the SQL is wrong: {parse}"),
        DataFusionError::Diagnostic(_, inner) => root_text(inner),
        DataFusionError::External(source) => source.to_string(),
        other => other.message().to_string(),
    }
}
