//! What commands say: results on standard output, notes on standard error.
//!
//! What is printed has lost its credentials here, whoever wrote the sentence, and holds nothing that a terminal would obey.
//!
//! The one way to print, because the macros of the standard library panic where nobody reads. A reader that has gone away
//! (`| head`) is no failure; a full disk behind standard output is one and is told when the command is done, whose work it
//! does not undo. A closed standard error keeps its notes to itself.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use picsift_images::{is_obeyed, redacted};

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
        && let Err(error) = writeln!(io::stdout().lock(), "{}", plain(&line.to_string()))
    {
        let _ = FAILED.set(error);
    }
}

/// A line on standard output with a secret of this program's own, which is for whoever reads the line.
pub(super) fn confide(line: fmt::Arguments<'_>) {
    if FAILED.get().is_none()
        && let Err(error) = writeln!(io::stdout().lock(), "{}", inert(&line.to_string()))
    {
        let _ = FAILED.set(error);
    }
}

/// Keeps notes to itself from here on.
pub(super) fn be_quiet() {
    QUIET.store(true, Ordering::Relaxed);
}

/// Whether notes are kept to itself.
pub(super) fn is_quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// A note on standard error, unless nobody wants any.
pub(super) fn hint(line: fmt::Arguments<'_>) {
    if !is_quiet() {
        remark(line);
    }
}

/// A line on standard error.
pub fn remark(line: fmt::Arguments<'_>) {
    // Where would one say that nothing can be said?
    let _ = writeln!(io::stderr().lock(), "{}", plain(&line.to_string()));
}

/// `text` as it may be printed: without credentials, and with what a terminal would obey written as `\u001b`, which in JSON means the
/// same. Line breaks and tabs stay.
pub(super) fn plain(text: &str) -> String {
    inert(&redacted(text))
}

fn inert(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for c in text.chars() {
        match is_obeyed(c) && !matches!(c, '\n' | '\t') {
            // All of them are within the first 65,536.
            true => plain.push_str(&format!("\\u{:04x}", u32::from(c))),
            false => plain.push(c),
        }
    }
    plain
}

/// A text as one word of a command that a person may copy into a shell.
pub(super) fn word(text: &str) -> Cow<'_, str> {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,:@%=".contains(c);
    match !text.is_empty() && text.chars().all(is_plain) {
        true => Cow::Borrowed(text),
        false => Cow::Owned(format!("'{}'", text.replace('\'', "'\\''"))),
    }
}

/// Standard output, or another place, for texts: each line is written as [`plain`] has it.
pub(super) struct Lines<W: Write> {
    to: W,
    line: Vec<u8>,
}

impl<W: Write> Lines<W> {
    /// Lines that go to `to`.
    pub(super) fn new(to: W) -> Self {
        Self {
            to,
            line: Vec::new(),
        }
    }

    fn write_line(&mut self) -> io::Result<()> {
        let line = std::mem::take(&mut self.line);
        self.to
            .write_all(plain(&String::from_utf8_lossy(&line)).as_bytes())
    }
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(part);
            if part.ends_with(b"\n") {
                self.write_line()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_line()?;
        self.to.flush()
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_in_a_command_is_one_word_of_it() {
        assert_eq!(word("out/a-b_1.pq"), "out/a-b_1.pq");
        assert_eq!(word("seiten ö"), "'seiten ö'");
        assert_eq!(word("it's; rm"), "'it'\\''s; rm'");
        assert_eq!(word(""), "''");
    }

    #[test]
    fn lines_are_plain_however_they_come() {
        let mut written = Vec::new();
        let mut lines = Lines::new(&mut written);
        for part in [
            "{\"at\":\"http://bob:hun",
            "ter2@h/\"}\na\u{1b}[2J",
            "\u{202e}b\n",
            "c",
        ] {
            write!(lines, "{part}").unwrap();
        }
        lines.flush().unwrap();
        drop(lines);
        let text = String::from_utf8(written).unwrap();
        assert_eq!(text, "{\"at\":\"http://h/\"}\na\\u001b[2J\\u202eb\nc");
    }
}
