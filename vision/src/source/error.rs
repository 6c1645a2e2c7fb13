//! What can go wrong between the name of a model and its files: each one sentence, with what helps.
//!
//! Which failures of the hub's client are which of these is decided in [`super::transfer`].

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hf_hub::api::sync::ApiError;

/// An error of naming, finding, fetching or verifying a model.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// No model has this name.
    #[error(
        "there is no model '{name}'; the known models are: {known}; a repository of the hub is named as \
         owner/name@revision, and a folder by its path"
    )]
    UnknownModel {
        /// The name asked for.
        name: String,
        /// The known names, separated by commas.
        known: String,
    },
    /// A repository was named without a revision.
    #[error(
        "'{repo}' is no folder here, and as a repository of the hub it needs a revision, as its files may \
         change from one day to the next: write {repo}@COMMIT"
    )]
    NoRevision {
        /// The repository.
        repo: String,
    },
    /// A text with an `@` that is no repository and revision.
    #[error(
        "'{text}' does not name a repository of the hub: expected owner/name@revision, {reason}"
    )]
    Repository {
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The path of a model leads to no folder.
    #[error(
        "there is no folder '{path}'; a model's folder has config.json, model.safetensors and tokenizer.json"
    )]
    NoFolder {
        /// The path.
        path: String,
    },
    /// A folder lacks files.
    #[error("folder '{}' has no {missing}: it is not, or not all of, a model", folder.display())]
    FolderIncomplete {
        /// The folder.
        folder: PathBuf,
        /// The names of the files, separated by commas.
        missing: String,
    },
    /// Files were asked for of a model that has none.
    #[error("model '{name}' is inside this program: it has no files to fetch")]
    Embedded {
        /// The model.
        name: String,
    },
    /// `HF_ENDPOINT` is no web address.
    #[error("'{text}' is no address of a hub; HF_ENDPOINT must be an http:// or https:// address")]
    Endpoint {
        /// The text.
        text: String,
    },
    /// There is no place for the cache.
    #[error("there is no home folder to keep models in; set HF_HOME to a folder for them")]
    NoHome,
    /// The cache lacks files and no server may be asked.
    #[error(
        "model '{model}' is not complete in {}: {missing}; HF_HUB_OFFLINE forbids fetching, so run `picsift \
         models fetch {model}` without it, or copy the files there",
        cache.display()
    )]
    Offline {
        /// The model.
        model: String,
        /// The files, each with its repository.
        missing: String,
        /// The cache.
        cache: PathBuf,
    },
    /// The hub wants to know who asks, or does not let them.
    #[error(
        "the hub refuses {file} (HTTP {status}): the repository is private or gated, or there is none; {help}"
    )]
    Denied {
        /// The file, with its repository.
        file: String,
        /// 401 or 403.
        status: u16,
        /// What to do about the token.
        help: &'static str,
    },
    /// The hub has no such file.
    #[error(
        "the hub at {endpoint} has no {file}; check the repository, the revision and the file's name"
    )]
    NotFound {
        /// The file, with its repository and revision.
        file: String,
        /// The hub's address.
        endpoint: String,
    },
    /// The hub answered with another failure, again and again if that could help.
    #[error("the hub at {endpoint} failed with HTTP {status} on {file}; try again later")]
    Status {
        /// The file, with its repository.
        file: String,
        /// The hub's address.
        endpoint: String,
        /// The status.
        status: u16,
    },
    /// No connection could be made.
    #[error(
        "the hub at {endpoint} cannot be reached for {file}: {source}; check the network and HF_ENDPOINT, or bring the model by hand: \
         `picsift models show NAME` lists its files, and --model FOLDER takes a folder that has them"
    )]
    NoNetwork {
        /// The file, with its repository.
        file: String,
        /// The hub's address.
        endpoint: String,
        /// The client's reason.
        source: Arc<ApiError>,
    },
    /// The connection broke, and did so again.
    #[error(
        "the download of {file} broke off after {received} of {total} bytes: {source}; run it again to go on \
         from there"
    )]
    BrokeOff {
        /// The file, with its repository.
        file: String,
        /// Bytes that are on this machine.
        received: u64,
        /// Bytes of the whole file.
        total: u64,
        /// The client's reason.
        source: Arc<ApiError>,
    },
    /// The server went silent.
    #[error(
        "the server sent nothing of {file} for {seconds} s, after {received} bytes; run it again to go on"
    )]
    Silent {
        /// The file, with its repository.
        file: String,
        /// Bytes that are on this machine.
        received: u64,
        /// How long it was waited for.
        seconds: u64,
    },
    /// What answers is no hub.
    #[error(
        "the server at {endpoint} does not answer as a hub does about {file}: {reason}; check HF_ENDPOINT"
    )]
    NotAHub {
        /// The file, with its repository.
        file: String,
        /// Its address.
        endpoint: String,
        /// What is odd.
        reason: String,
    },
    /// Another process fetches the same file.
    #[error("{file} is being fetched by another process; wait for it, or remove {} if there is none", lock.display())]
    Busy {
        /// The file, with its repository.
        file: String,
        /// The lock that it holds.
        lock: PathBuf,
    },
    /// The disk of the cache has no room.
    #[error(
        "no room for {file} ({total} bytes) below {}: {source}; make room, or set HF_HOME to a folder on \
         another disk",
        cache.display()
    )]
    DiskFull {
        /// The file, with its repository.
        file: String,
        /// Bytes of the whole file.
        total: u64,
        /// The cache.
        cache: PathBuf,
        /// The system's reason.
        source: Arc<ApiError>,
    },
    /// The hub's file is not the one that is expected, before anything was fetched.
    #[error(
        "the hub offers {file} with {found} bytes, where {expected} are expected: it is another file"
    )]
    OtherSize {
        /// The file, with its repository.
        file: String,
        /// Bytes that the file must have.
        expected: u64,
        /// Bytes that the hub has.
        found: u64,
    },
    /// A file on this machine is too short or too long.
    #[error("{} has {found} bytes, where {expected} are expected; {help}", path.display())]
    WrongSize {
        /// The file.
        path: PathBuf,
        /// Bytes that it must have.
        expected: u64,
        /// Bytes that it has.
        found: u64,
        /// What was done or is to be done.
        help: &'static str,
    },
    /// A file on this machine has other content than it must have.
    #[error("{} has the SHA-256 {found}, where {expected} is expected: it is damaged; {help}", path.display())]
    WrongHash {
        /// The file.
        path: PathBuf,
        /// The hash that it must have, in hexadecimal.
        expected: String,
        /// The hash that it has.
        found: String,
        /// What was done or is to be done.
        help: &'static str,
    },
    /// A file is not on this machine.
    #[error("{file} is not on this machine")]
    Missing {
        /// The file, with its repository.
        file: String,
    },
    /// A file or folder of this machine could not be used.
    #[error("cannot {action} {}: {source}", path.display())]
    File {
        /// What was tried: `read`, `write`, ...
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The system's reason.
        source: Arc<std::io::Error>,
    },
    /// The hub's client panicked.
    #[error("fetching {file} failed unexpectedly: {message}")]
    Panicked {
        /// The file, with its repository.
        file: String,
        /// The panic's message.
        message: String,
    },
}

impl SourceError {
    /// Whether the fetching failed, or a file of this machine: not what the person asked for is wrong, but what came of it.
    pub fn is_work(&self) -> bool {
        !matches!(
            self,
            Self::UnknownModel { .. }
                | Self::NoRevision { .. }
                | Self::Repository { .. }
                | Self::NoFolder { .. }
                | Self::FolderIncomplete { .. }
                | Self::Embedded { .. }
                | Self::Endpoint { .. }
                | Self::NoHome
                | Self::Offline { .. }
                | Self::Denied { .. }
                | Self::NotFound { .. }
        )
    }

    /// The same of another file: what was fetched is verified before it comes to its place.
    pub(super) fn about(mut self, place: &Path) -> Self {
        if let Self::WrongSize { path, .. } | Self::WrongHash { path, .. } = &mut self {
            place.clone_into(path);
        }
        self
    }

    /// A function for `map_err` that adds what was tried with which file.
    pub(super) fn file(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File {
            action,
            path,
            source: Arc::new(source),
        }
    }
}
