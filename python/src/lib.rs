//! picsift for Python: the native half of the package `picsift`, whose other half is `picsift/*.py` beside this folder.
//!
//! Everything is the library's that the command line is over; what is here is the border: arguments that become the flags of the
//! commands ([`arguments`]), tables that cross without a copy ([`cdata`]), waiting that lets other threads of Python run and Ctrl-C
//! through ([`process`]), and errors in Python's family ([`errors`]). Names, types and help that people see are Python's half.

mod arguments;
mod cdata;
mod command;
mod errors;
mod jobs;
mod labeler;
mod parts;
mod process;
mod results;
mod served;
mod session;
mod table;
mod watch;

use pyo3::prelude::*;

/// The native half of `picsift`.
#[pymodule(gil_used = true)]
mod _picsift {
    #[pymodule_export]
    use crate::command::{run_command, serve_decoding, version};
    #[pymodule_export]
    use crate::jobs::{draw, evaluate, label, learn, show, write};
    #[pymodule_export]
    use crate::labeler::{Labeler, Work};
    #[pymodule_export]
    use crate::parts::{part, publish, status};
    #[pymodule_export]
    use crate::results::Batches;
    #[pymodule_export]
    use crate::served::Served;
    #[pymodule_export]
    use crate::session::{Query, Reader, Session};
}
