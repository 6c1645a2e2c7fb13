//! The command `picsift` within Python, and the process that decodes for it.

use clap::Parser;
use picsift::cli::Cli;
use picsift::commands::{self, engine};
use pyo3::prelude::*;

use crate::arguments::decoder;
use crate::process::enter;

/// The package's version.
#[pyfunction]
pub(crate) fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Runs the command with these words, the first of which is its name; the exit code. Signals are the command's own business.
#[pyfunction]
pub(crate) fn run_command(py: Python<'_>, words: Vec<std::ffi::OsString>) -> PyResult<u8> {
    enter()?;
    if let Ok(decoder) = decoder() {
        engine::decode_by(decoder);
    }
    let code = py.detach(|| match Cli::try_parse_from(words) {
        Ok(cli) => match commands::run(cli) {
            Ok(()) => 0,
            Err(error) => {
                commands::printer::remark(format_args!("picsift: {error}"));
                error.exit_code()
            }
        },
        Err(error) => {
            // Help goes to standard output, mistakes to standard error; where nobody reads there is nobody to tell.
            let _ = error.print();
            u8::try_from(error.exit_code()).unwrap_or(2)
        }
    });
    Ok(code)
}

/// Decodes for another process until that ends; see `--sandbox`. Whether it ended as it should.
#[pyfunction]
pub(crate) fn serve_decoding(py: Python<'_>) -> bool {
    let code = py.detach(picsift_images::serve_decoding);
    code == std::process::ExitCode::SUCCESS
}
