//! Local files as every other module needs them: written as a whole, read without following a link, and waited for where no task
//! of the runtime waits. What stands in them is not known here.

mod durable;
pub mod plain;

use std::path::PathBuf;

pub(crate) use durable::{blocking, open_to_others, replace, synced};

/// Where picsift remembers what this user did with it: the XDG state folder; nowhere for a user without a home.
pub(crate) fn state_folder() -> Option<PathBuf> {
    let state = match std::env::var_os("XDG_STATE_HOME") {
        Some(state) if !state.is_empty() => PathBuf::from(state),
        _ => std::env::home_dir()?.join(".local/state"),
    };
    Some(state.join("picsift"))
}
