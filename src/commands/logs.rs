//! Logs on standard error: which events of the crates are written, and how.
//!
//! Events carry counts, times and redacted references; what libraries log of theirs loses its credentials here too.

use std::io;

use tracing_subscriber::Layer;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use super::printer::Lines;
use crate::cli::{LogArgs, LogFormat};
use crate::error::AppError;

/// The variable that stands for `--log-level`.
const VARIABLE: &str = "PICSIFT_LOG";

/// What a server logs unless something else is asked for: who asked what, what was fetched for it, and what went wrong.
pub(super) const SERVING: &str = "warn,picsift::audit=info,picsift::serve=info";

/// Begins to log, where that is asked for or `usual` says so.
///
/// # Errors
/// [`AppError::Usage`] for what is no level and no directive.
pub(super) fn begin(args: &LogArgs, usual: Option<&str>) -> Result<(), AppError> {
    let (asked, by) = match (&args.log_level, std::env::var(VARIABLE)) {
        (Some(level), _) => (level.clone(), "--log-level"),
        (None, Ok(level)) if !level.is_empty() => (level, VARIABLE),
        _ => match usual {
            Some(usual) => (usual.to_string(), "--log-level"),
            None => return Ok(()),
        },
    };
    let wrong = || {
        AppError::Usage(format!(
            "{by} {asked}: levels are error, warn, info, debug and trace, for all or for a crate as in picsift_images=debug,info"
        ))
    };
    // A word that is no level would be taken for the name of a crate that logs all it has.
    let mut parts = asked.split(',').map(str::trim);
    if !parts.all(|part| part.contains('=') || part.parse::<LevelFilter>().is_ok()) {
        return Err(wrong());
    }
    let targets: Targets = asked.parse().map_err(|_| wrong())?;
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(|| Lines::new(io::stderr()))
        .with_ansi(false);
    let lines = match args.log_format {
        LogFormat::Text => lines.boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    // Nothing else in this program sets one.
    let _ = tracing_subscriber::registry()
        .with(lines.with_filter(targets))
        .try_init();
    Ok(())
}
