//! The command `picsift` within Python, and the process that decodes for it.

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
    let code = py.detach(|| commands::start(words));
    Ok(code)
}

/// Decodes for another process until that ends; see `--sandbox`. Whether it ended as it should.
#[pyfunction]
pub(crate) fn serve_decoding(py: Python<'_>) -> bool {
    let code = py.detach(picsift_images::serve_decoding);
    code == std::process::ExitCode::SUCCESS
}
