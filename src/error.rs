//! What can end the program, and the exit code that tells a script why.
//!
//! An error here is one sentence for a person. Where DataFusion wraps its errors in layers, the innermost is shown: it
//! is the one that says what is wrong.

use std::path::PathBuf;

use datafusion::error::DataFusionError;
use parquet::errors::ParquetError;
use picsift_images::redacted;
use picsift_udf::EngineError;
use picsift_vision::store::StoreError;
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
    /// The store of answers could not be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Something in the store of answers was damaged; it is removed by now.
    #[error("some kept answers were damaged and are removed; they will be asked again")]
    Damaged,
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
    /// Something in an object store could not be read or written.
    #[error("cannot {action} {place}: {}", root_cause(.source))]
    Object {
        /// What was tried: `read`, `write`, ...
        action: &'static str,
        /// Where, without credentials.
        place: String,
        /// The store's reason.
        #[source]
        source: object_store::Error,
    },
    /// A cluster could not do what it was asked.
    #[error("{source}")]
    Cluster {
        /// Whether the person can put it right before trying again.
        is_usage: bool,
        /// Why. Without its type, of which every future that may fail would have to be shown to be fit for other threads.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Another picsift is at work on the same output, or has taken it over.
    #[error("{0}")]
    Taken(String),
    /// A job ended before it was done, and can go on.
    #[error("{source}; {state}")]
    Unfinished {
        /// Why.
        source: Box<AppError>,
        /// What is there now and how to go on.
        state: String,
    },
    /// More images failed than the person allows.
    #[error("{0}")]
    TooManyErrors(String),
    /// A file of the input is not what it was when its rows were read.
    #[error(
        "the input file '{file}' {what} while it was read, so the output would be of neither state; label again with --overwrite"
    )]
    InputChanged {
        /// The file's URL, without query.
        file: String,
        /// What became of it: `changed` or `was removed`.
        what: &'static str,
    },
    /// Things of this machine must be put right before jobs run; what was printed says which.
    #[error("{0} of these must be put right before jobs run")]
    Unwell(usize),
    /// Not one image could be judged; the results say why of each.
    #[error("{} failed; what was written says why", all_of(*.0))]
    AllFailed(u64),
    /// Standard input or output failed.
    #[error("cannot write to the terminal or pipe: {0}")]
    Terminal(#[source] std::io::Error),
    /// A job was ended by whoever ran it.
    #[error("the job was ended; {state}")]
    Cancelled {
        /// What is there now and how to go on.
        state: String,
    },
    /// The threads that everything runs on did not start.
    #[error("cannot start the runtime: {0}")]
    Runtime(#[source] std::io::Error),
    /// The person pressed Ctrl-C, or the system asked the program to end.
    #[error("{}; {state}", signal.said())]
    Interrupted {
        /// What stopped it.
        signal: Signal,
        /// What is there now and how to go on.
        state: String,
    },
}

impl AppError {
    /// The exit code: 2 for what the person can put right before trying again, 1 for work that failed, 130 for Ctrl-C and 143
    /// for SIGTERM, as shells have it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Source(source)
            | Self::Engine(EngineError::Model(VisionError::Source(source)))
                if source.is_work() =>
            {
                1
            }
            Self::Usage(_) | Self::Plan(_) | Self::Engine(_) | Self::Source(_) => 2,
            Self::Unfinished { source, .. } => source.exit_code(),
            Self::Cluster { is_usage: true, .. } => 2,
            Self::Run(_)
            | Self::File { .. }
            | Self::Object { .. }
            | Self::Cluster { .. }
            | Self::Taken(_)
            | Self::TooManyErrors(_)
            | Self::AllFailed(_)
            | Self::Unwell(_)
            | Self::InputChanged { .. }
            | Self::Store(_)
            | Self::Damaged
            | Self::Terminal(_)
            | Self::Cancelled { .. }
            | Self::Runtime(_)
            | Self::Unverified { .. } => 1,
            Self::Interrupted { signal, .. } => 128 + signal.number(),
        }
    }

    /// What should be JSON and is not, for `map_err`.
    pub fn json(source: serde_json::Error) -> Self {
        Self::Run(DataFusionError::External(Box::new(source)))
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

/// What asks a program to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// Ctrl-C.
    Interrupt,
    /// SIGTERM.
    Terminate,
}

impl Signal {
    fn number(self) -> u8 {
        match self {
            Self::Interrupt => 2,
            Self::Terminate => 15,
        }
    }

    fn said(self) -> &'static str {
        match self {
            Self::Interrupt => "interrupted",
            Self::Terminate => "asked to end",
        }
    }
}

/// The innermost reason of an error: libraries wrap "Connection refused" in sentences that repeat the URL.
fn root_cause(error: &dyn std::error::Error) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    redacted(&without_markup(&inner.to_string())).into_owned()
}

/// The sentence in an S3 server's answer, which is an XML document of several lines.
fn without_markup(text: &str) -> String {
    let Some((before, document)) = text.split_once("<?xml") else {
        return without_body(text.trim()).to_string();
    };
    let sentence = document
        .split_once("<Message>")
        .and_then(|(_, rest)| rest.split_once("</Message>"));
    let sentence = sentence.map(|(sentence, _)| sentence);
    format!("{}{}", before, sentence.unwrap_or_default())
        .trim_end_matches([' ', ':'])
        .to_string()
}

/// A store's sentence without what its server wrote in another form, which may repeat the request with all that is in it.
fn without_body(text: &str) -> &str {
    let answered = text
        .find("status code: ")
        .map(|at| at + "status code: ".len());
    match answered.and_then(|at| Some(at + text[at..].find(": ")?)) {
        Some(end) => &text[..end],
        None => text,
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
    let line = lines
        .join(" ")
        .replace("\"?table?\".", "")
        .replace("?table?.", "");
    redacted(&line).into_owned()
}

fn root_text(error: &DataFusionError) -> String {
    if let Some(refused) = picsift_images::refused_redirect(error) {
        return refused;
    }
    match error.find_root() {
        DataFusionError::Plan(text)
        | DataFusionError::Execution(text)
        | DataFusionError::Configuration(text)
        | DataFusionError::NotImplemented(text) => text.clone(),
        DataFusionError::SQL(parse, _) => format!("the SQL is wrong: {parse}"),
        DataFusionError::Diagnostic(_, inner) => root_text(inner),
        DataFusionError::External(source) => source.to_string(),
        DataFusionError::ObjectStore(source) => {
            without_body(&without_markup(&source.to_string())).to_string()
        }
        DataFusionError::ParquetError(source) => match &**source {
            ParquetError::General(text) => text.clone(),
            other => other.to_string(),
        },
        other => other.message().to_string(),
    }
}

/// So many images, when there are no others.
fn all_of(images: u64) -> String {
    match images {
        1 => "the only image".to_owned(),
        images => format!("all {images} images"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_of_a_server_is_said_in_one_line() {
        let answer = "status 404 Not Found: <?xml version=\"1.0\"?>\n<Error><Code>NoSuchBucket</Code>\
                      <Message>The specified bucket does not exist</Message></Error>";
        assert_eq!(
            without_markup(answer),
            "status 404 Not Found: The specified bucket does not exist"
        );
        assert_eq!(without_markup("status 500: <?xml ?><Error/>"), "status 500");
        assert_eq!(without_markup("connection refused"), "connection refused");
    }
}
