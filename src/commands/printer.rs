//! What commands say: results on standard output, notes on standard error.
//!
//! The one way to print, because the macros of the standard library panic where nobody reads. A reader that has gone away
//! (`| head`) is no failure; a full disk behind standard output is one and is told when the command is done, whose work it
//! does not undo. A closed standard error keeps its notes to itself.

use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::AppError;

/// The first error of standard output; nothing is printed behind it.
static FAILED: OnceLock<io::Error> = OnceLock::new();

/// Whether results and errors are all that is wanted.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Prints a line of results.
macro_rules! say {
    ($($part:tt)*) => { $crate::commands::printer::result(format_args!($($part)*)) };
}

/// Prints a line of notes.
macro_rules! note {
    ($($part:tt)*) => { $crate::commands::printer::hint(format_args!($($part)*)) };
}

pub(super) use {note, say};

/// A line on standard output.
pub(super) fn result(line: fmt::Arguments<'_>) {
    if FAILED.get().is_none()
        && let Err(error) = writeln!(io::stdout().lock(), "{line}")
    {
        let _ = FAILED.set(error);
    }
}

/// Keeps notes to itself from here on.
pub(super) fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// A note on standard error, unless nobody wants any.
pub(super) fn hint(line: fmt::Arguments<'_>) {
    if !QUIET.load(Ordering::Relaxed) {
        remark(line);
    }
}

/// A line on standard error.
pub fn remark(line: fmt::Arguments<'_>) {
    // Where would one say that nothing can be said?
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// The same error once more.
fn again(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(code) => io::Error::from_raw_os_error(code),
        None => error.kind().into(),
    }
}

/// The outcome of a command that is done, whose results may not have been printed.
///
/// # Errors
/// The command's, or [`AppError::Terminal`] when standard output could not be written; a reader that went away is no error.
pub(super) fn outcome(done: Result<(), AppError>) -> Result<(), AppError> {
    let flushed = io::stdout().lock().flush();
    match done {
        Err(AppError::Terminal(error)) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(error),
        Ok(()) => match FAILED.get().map_or(flushed, |error| Err(again(error))) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(AppError::Terminal(error)),
            _ => Ok(()),
        },
    }
}
