//! Words of `picsift models`.

use clap::{Args, Subcommand};

/// `picsift models`.
#[derive(Debug, Args)]
pub struct ModelsArgs {
    /// What to do with them; `list` if nothing is said.
    #[command(subcommand)]
    pub command: Option<ModelsCommand>,
}

/// The commands of `picsift models`.
#[derive(Debug, Subcommand)]
pub enum ModelsCommand {
    /// The models with a name, and whether they are on this machine
    List,
    /// All that is known of one model: repository, commit, files, where they are
    Show {
        /// Name, owner/name@revision, or folder
        model: String,
    },
    /// Fetch the files that are not on this machine yet; a broken download goes on where it broke
    Fetch {
        /// Name or owner/name@revision
        model: String,
    },
    /// Compare every file here with the length and SHA-256 that are known; exit code 1 if one differs
    Verify {
        /// Name, owner/name@revision, or folder
        model: String,
    },
}
