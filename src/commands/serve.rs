//! `picsift serve` and `picsift token`: a server of SQL and labels, and who may ask it.

use super::printer::{confide, note, say};
use super::{engine, signals};
use crate::cli::{ServeArgs, TokenArgs};
use crate::error::AppError;
use crate::requests;
use crate::serve::{self, Opened, tokens};

/// Files that a server may have open where the system lets it: a connection is one, an image or table that is read another.
const FILES: u64 = 8192;

/// Lets this process have more files open than the few that programs begin with, as far as it may.
#[cfg(unix)]
pub(super) fn open_more_files() {
    use rustix::process::{Resource, getrlimit, setrlimit};

    let mut limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(FILES, |most| most.min(FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        limit.current = Some(wanted);
        // With fewer it serves fewer clients at once.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

/// Runs `picsift serve`.
///
/// # Errors
/// [`AppError`] of what it was started with; Ctrl-C and SIGTERM end it well.
pub(super) async fn serve(args: ServeArgs) -> Result<(), AppError> {
    #[cfg(unix)]
    open_more_files();
    // From the beginning: a signal that comes while a model is loaded must not be lost.
    let ended = signals::ended();
    let options = requests::serve(args, &engine::host())?;
    let has_places = !options.places.is_empty();
    let begun = |at: &Opened| {
        opened(at);
        if !has_places {
            note!(
                "note: clients can name no table; give them some with --allow-folder NAME=DIR or --allow-bucket NAME=URL"
            );
        }
    };
    serve::serve(options, begun, ended).await
}

/// Says where the server is to be found.
fn opened(opened: &Opened) {
    let who = match opened.tokens {
        true => "whoever has a token",
        false => "every program of this machine",
    };
    if let Some(address) = opened.clients {
        let (grpc, http) = match opened.tls {
            true => ("grpc+tls", "https"),
            false => ("grpc", "http"),
        };
        say!("Arrow Flight SQL is at {grpc}://{address}, JSON at {http}://{address}, for {who}");
    }
    if let Some(path) = &opened.unix {
        say!("both are at the socket {}, for you", path.display());
    }
    if let Some(address) = opened.metrics {
        say!("metrics are at http://{address}/metrics, until Ctrl-C");
    }
}

/// Runs `picsift token`.
///
/// # Errors
/// As [`tokens::add`].
pub(super) fn token(args: &TokenArgs) -> Result<(), AppError> {
    let token = tokens::add(&args.tokens, &args.tenant, &args.name)?;
    confide(format_args!("{token}"));
    note!(
        "'{}' of '{}' is in {} now, by its hash; the token itself is kept nowhere",
        args.name,
        args.tenant,
        args.tokens.display()
    );
    Ok(())
}
