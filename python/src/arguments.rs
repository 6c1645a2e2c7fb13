//! Arguments of Python's functions as the flags of the commands, so that both have the same options, defaults and checks.
//!
//! Python gives a list of words, `--name=value`; what a command line could not say stays out of it ([`Parsed`]).

use std::io;
use std::sync::Arc;

use clap::error::ErrorKind;
use picsift::cli::{Cli, Command};
use picsift::requests::Host;
use picsift_images::Sandbox;
use picsift_udf::EngineError;
use pyo3::prelude::*;
use pyo3::types::PyModule;

use crate::errors::{Kind, raise, tell};

/// The command that these words are.
///
/// # Errors
/// `picsift.InputError` with the sentence of what is wrong.
pub(crate) fn parse(words: Vec<String>) -> PyResult<Command> {
    let words = std::iter::once("picsift".to_string()).chain(words);
    Cli::typed(words).map(|cli| cli.command).map_err(|error| {
        let text = error.to_string();
        let sentence = text.split("\n\n").next().unwrap_or(&text);
        let sentence = sentence.strip_prefix("error: ").unwrap_or(sentence);
        let missing = error.kind() == ErrorKind::MissingRequiredArgument;
        let lines: Vec<_> = sentence.lines().map(str::trim).collect();
        raise(Kind::Input, lines.join(if missing { " " } else { "; " }))
    })
}

/// This interpreter as the host of the work.
pub(crate) fn host() -> Host {
    Host {
        notice: Arc::new(tell),
        progress: Arc::new(Downloads),
        decoder: Arc::new(decoder),
    }
}

/// Tells in lines of the log that a model is being fetched.
#[derive(Debug)]
struct Downloads;

impl picsift_vision::FetchProgress for Downloads {
    fn started(&self, file: &str, total: u64, _: u64) {
        tell(&format!("fetching {file}, {} MB", total / 1_000_000));
    }

    fn advanced(&self, _: u64) {}

    fn finished(&self) {}

    fn retrying(&self, error: &picsift_vision::SourceError, wait: std::time::Duration) {
        tell(&format!(
            "{error}; trying again in {} s",
            wait.as_secs_f32()
        ));
    }
}

/// How a process that decodes is started: this interpreter, which loads this module alone.
pub(crate) fn decoder() -> io::Result<Sandbox> {
    let words = Python::attach(|py| -> PyResult<(String, Vec<String>)> {
        let process = PyModule::import(py, "picsift._process")?;
        process.call_method0("decoder")?.extract()
    });
    let (program, arguments) = words.map_err(|error| io::Error::other(error.to_string()))?;
    Ok(Sandbox::new(program, arguments))
}

/// An engine's error as one of Python's.
pub(crate) fn engine_error(error: EngineError) -> PyErr {
    crate::errors::error(error.into())
}
