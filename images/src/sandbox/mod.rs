//! Decoding in processes of their own, which can do nothing else: for pictures by people who may know a hole in a decoder.
//!
//! A pool that is [`sandboxed`](crate::DecodePool::sandboxed) has one such process for each of its threads, started from a [`Sandbox`]: a
//! program that calls [`serve_decoding`] before anything else. It has no environment, no files, no network and little memory, and is
//! ended when a picture takes too long. What it says is checked as what a stranger says. `wire` is how both sides speak, `process`
//! the pool's side, `worker` the other, and `confine` what it gives up before it sees a picture.

#[cfg(unix)]
mod confine;
#[cfg(unix)]
mod process;
mod wire;
#[cfg(unix)]
mod worker;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

#[cfg(unix)]
pub(crate) use process::Workers;
#[cfg(unix)]
pub use worker::serve_decoding;

#[cfg(not(unix))]
pub(crate) use absent::Workers;
#[cfg(not(unix))]
pub use absent::serve_decoding;

/// How a process that decodes is started: a program that calls [`serve_decoding`] at once, and its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sandbox {
    program: PathBuf,
    arguments: Vec<OsString>,
}

impl Sandbox {
    /// That program with these arguments.
    pub fn new(
        program: impl Into<PathBuf>,
        arguments: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Self {
        Self {
            program: program.into(),
            arguments: arguments.into_iter().map(Into::into).collect(),
        }
    }

    /// The running program with this argument, also where its file has been replaced since it began.
    ///
    /// # Errors
    /// When the system does not say which program it is.
    pub fn this_program(argument: impl Into<OsString>) -> io::Result<Self> {
        let own = PathBuf::from("/proc/self/exe");
        let program = match own.exists() {
            true => own,
            false => std::env::current_exe()?,
        };
        Ok(Self::new(program, [argument]))
    }
}

/// What keeps a process that decodes from doing anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confinement {
    /// It may only read what it is sent, answer, and take memory within a bound (Linux: seccomp).
    SystemCalls,
    /// Bounds on memory, time, files and processes alone: the system has nothing more, or refuses it.
    LimitsAlone,
}

#[cfg(not(unix))]
mod absent {
    use std::process::ExitCode;
    use std::sync::Arc;

    use super::{Confinement, Sandbox};
    use crate::copies::DisplayCopies;
    use crate::decode::ImageInfo;
    use crate::error::ImageError;
    use crate::geometry::Geometry;
    use crate::limits::Limits;
    use crate::memory::Held;
    use crate::pixels::RgbPixels;
    use crate::work::Work;

    /// Ends at once: there are no such processes on this system.
    pub fn serve_decoding() -> ExitCode {
        ExitCode::FAILURE
    }

    pub(crate) enum Workers {}

    impl Workers {
        pub(crate) fn new(_: Sandbox, _: Limits, _: usize) -> Self {
            unreachable!("`check` refuses it")
        }

        pub(crate) fn check(_: &Sandbox, _: &Limits) -> Result<Confinement, ImageError> {
            let reason = std::io::Error::from(std::io::ErrorKind::Unsupported);
            Err(ImageError::PoolStart {
                source: Arc::new(reason),
            })
        }

        pub(crate) fn prepare<'a>(
            &self,
            _: &[u8],
            _: Geometry,
            _: &Work<'a>,
        ) -> Result<(RgbPixels, Option<Held<'a>>), ImageError> {
            match *self {}
        }

        pub(crate) fn info(&self, _: &[u8], _: &Work<'_>) -> Result<ImageInfo, ImageError> {
            match *self {}
        }

        pub(crate) fn copies(
            &self,
            _: &[u8],
            _: &[u32],
            _: &Work<'_>,
        ) -> Result<DisplayCopies, ImageError> {
            match *self {}
        }
    }
}
