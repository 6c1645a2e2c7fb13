//! From a repository of the hub or a folder to a model's files on this machine.
//!
//! `remote.rs` names files of the hub, `settings.rs` reads the environment, `cache.rs` knows the folders of the hub's cache, `hub.rs`
//! fetches what is not there, `client.rs` asks the hub and what it leads to, `transfer.rs` runs that on a thread of its own, `verify.rs` compares lengths and
//! hashes, `local.rs` looks into a folder, `inspect.rs` tells of it all without changing anything. Which models have
//! names of their own is the registry's to know, and what is in the files the models'.
//!
//! Everything here blocks: callers keep it off threads that others wait for.

mod cache;
mod client;
mod error;
mod hub;
mod inspect;
mod local;
mod remote;
mod settings;
mod transfer;
mod verify;

use std::fmt::Debug;
use std::path::PathBuf;
use std::time::Duration;

#[cfg(test)]
pub(crate) use cache::is_commit;
pub use error::SourceError;
pub(crate) use hub::{fetch, fetch_for_planning};
pub use inspect::{ModelFile, Proof};
pub(crate) use inspect::{look_for, look_into};
pub(crate) use local::{folder, read_text};
pub use remote::HubFile;
pub(crate) use remote::{HubRef, RemoteFile, is_repository};
pub use settings::HubSettings;
pub(crate) use verify::shown as shown_hash;

/// The file with a model's sizes.
pub(crate) const CONFIG: &str = "config.json";
/// The file with its weights.
pub(crate) const WEIGHTS: &str = "model.safetensors";
/// The file with its tokenizer.
pub(crate) const TOKENIZER: &str = "tokenizer.json";
/// The file that says how pictures are resized, for models that have one.
pub(crate) const PREPROCESSOR: &str = "preprocessor_config.json";

/// A model's files on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelFiles {
    /// The model as it was named.
    pub name: String,
    /// Which weights these are: the commit of the hub's repository, 40 hexadecimal digits. For a folder it is
    /// `tree-sha256:` and the first 12 digits of a SHA-256 over configuration, tokenizer, and the length of the weights with
    /// the SHA-256 of each 16 MiB of them. Every byte counts, because answers are kept under this name and a model that was
    /// trained further may differ in a few tensors only.
    pub revision: String,
    /// The licence of the weights, as an SPDX expression, where it is known.
    pub licence: Option<&'static str>,
    /// `config.json`.
    pub config: PathBuf,
    /// The safetensors file.
    pub weights: PathBuf,
    /// `tokenizer.json`.
    pub tokenizer: PathBuf,
    /// `preprocessor_config.json`, where the model has one.
    pub preprocessor: Option<PathBuf>,
}

/// The files of a model that planning needs, on this machine; the weights need not be here yet.
#[derive(Debug, Clone)]
pub(crate) struct PlanningFiles {
    /// As [`ModelFiles::name`].
    pub(crate) name: String,
    /// As [`ModelFiles::revision`].
    pub(crate) revision: String,
    /// As [`ModelFiles::licence`].
    pub(crate) licence: Option<&'static str>,
    /// `config.json`.
    pub(crate) config: PathBuf,
    /// `tokenizer.json`.
    pub(crate) tokenizer: PathBuf,
    /// `preprocessor_config.json`, where the model has one.
    pub(crate) preprocessor: Option<PathBuf>,
}

/// Receives the progress of a download; `()` ignores it. One file at a time, on the thread that asked for the model.
pub trait FetchProgress: Debug + Send + Sync {
    /// `file` of `total` bytes is being fetched, `already` of which are on this machine. Comes again for the same file
    /// when a broken download goes on.
    fn started(&self, file: &str, total: u64, already: u64);

    /// So many bytes more have come.
    fn advanced(&self, bytes: u64);

    /// The file is whole and verified.
    fn finished(&self);

    /// Something failed that may pass; it is tried again after `wait`.
    fn retrying(&self, error: &SourceError, wait: Duration);
}

impl FetchProgress for () {
    fn started(&self, _: &str, _: u64, _: u64) {}

    fn advanced(&self, _: u64) {}

    fn finished(&self) {}

    fn retrying(&self, _: &SourceError, _: Duration) {}
}
