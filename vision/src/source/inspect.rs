//! What is known of a model and what of it is on this machine, without asking any server and without changing anything.

use std::path::PathBuf;

use super::cache::{self, Cached, RepoCache, hash_of_etag, look_up};
use super::error::SourceError;
use super::reference::{ModelRef, RemoteFile};
use super::settings::HubSettings;
use super::{CONFIG, TOKENIZER, WEIGHTS, verify};
use crate::registry::ModelEntry;

/// What is said of a file that is not what it should be.
const DAMAGED: &str = "remove it and fetch the model again";

/// A model and its files.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// The model as it was named.
    pub name: String,
    /// What the registry knows of it; none for a repository or folder that has no name there.
    pub entry: Option<&'static ModelEntry>,
    /// Configuration, weights and tokenizer; none for a model inside this program.
    pub files: Vec<ModelFile>,
}

/// A file of a model.
#[derive(Debug, Clone)]
pub struct ModelFile {
    /// Its name.
    pub name: &'static str,
    /// The repository of the hub, `owner/name`, and the revision; none for a file in a folder.
    pub repo: Option<(String, String)>,
    /// Where it is on this machine, if it is.
    pub path: Option<PathBuf>,
    /// Its length here in bytes, 0 if it is not here.
    pub bytes: u64,
    /// The length that it must have, where it is known.
    pub expected_bytes: Option<u64>,
    /// The SHA-256 that it must have, in hexadecimal, where it is known: from the registry, or from the name that the hub
    /// gave its content in the cache.
    pub sha256: Option<String>,
}

/// What verifying a file could go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Its SHA-256 is the known one.
    Hash,
    /// Its length is the known one.
    Length,
    /// Nothing is known but that it is there.
    Presence,
}

impl Inspection {
    /// Whether every file is here with the length that it must have.
    pub fn complete(&self) -> bool {
        self.files.iter().all(|file| {
            file.path.is_some() && file.expected_bytes.is_none_or(|bytes| bytes == file.bytes)
        })
    }

    /// Bytes of all files whose length is known, from the registry or because they are here; none where the weights are
    /// not among them.
    pub fn bytes(&self) -> Option<u64> {
        let known = |file: &ModelFile| {
            file.expected_bytes
                .or_else(|| file.path.as_ref().map(|_| file.bytes))
        };
        let weights = self.files.iter().find(|file| file.name == WEIGHTS)?;
        known(weights)?;
        Some(self.files.iter().filter_map(known).sum())
    }
}

impl ModelFile {
    /// Reads the whole file and compares it with what is known.
    ///
    /// # Errors
    /// [`SourceError::Missing`], [`SourceError::WrongSize`], [`SourceError::WrongHash`] or [`SourceError::File`].
    pub fn verify(&self) -> Result<Proof, SourceError> {
        let path = self.path.as_ref().ok_or_else(|| SourceError::Missing {
            file: match &self.repo {
                Some((repo, revision)) => format!("{} of {repo}@{revision}", self.name),
                None => self.name.to_owned(),
            },
        })?;
        verify::check(path, self.expected_bytes, self.sha256.as_deref(), DAMAGED)?;
        Ok(match (&self.sha256, self.expected_bytes) {
            (Some(_), _) => Proof::Hash,
            (None, Some(_)) => Proof::Length,
            (None, None) => Proof::Presence,
        })
    }
}

/// Looks for the files of a model. `model` is what [`crate::load`] takes.
///
/// # Errors
/// [`SourceError`] when the text names no model.
pub fn inspect(model: &str, settings: &HubSettings) -> Result<Inspection, SourceError> {
    let found = |name: &str, entry, files| Inspection {
        name: name.to_owned(),
        entry,
        files,
    };
    Ok(match ModelRef::parse(model)? {
        ModelRef::Embedded(entry, _) => found(entry.name, Some(entry), Vec::new()),
        ModelRef::Hub(hub) => found(
            &hub.name,
            hub.entry,
            hub.files
                .iter()
                .map(|file| remote(file, settings))
                .collect(),
        ),
        ModelRef::Folder(folder) => found(
            model,
            None,
            [CONFIG, WEIGHTS, TOKENIZER]
                .map(|name| local(name, folder.join(name)))
                .into(),
        ),
    })
}

fn remote(file: &RemoteFile, settings: &HubSettings) -> ModelFile {
    let path = match look_up(&settings.cache, file) {
        Cached::Whole(path) | Cached::Wrong { path, .. } => Some(path),
        Cached::Missing => None,
    };
    // What a branch means is known once it was fetched.
    let revision = RepoCache::new(&settings.cache, &file.repo)
        .commit(&file.revision)
        .unwrap_or_else(|| file.revision.clone());
    ModelFile {
        name: file.name,
        repo: Some((file.repo.clone(), revision)),
        bytes: path.as_deref().map_or(0, length),
        expected_bytes: file.bytes,
        sha256: file
            .sha256
            .map(str::to_owned)
            .or_else(|| path.as_deref().and_then(declared)),
        path,
    }
}

/// A file of a folder, which may be a snapshot of the hub's cache.
fn local(name: &'static str, path: PathBuf) -> ModelFile {
    let path = path.is_file().then_some(path);
    ModelFile {
        name,
        repo: None,
        bytes: path.as_deref().map_or(0, length),
        expected_bytes: None,
        sha256: path.as_deref().and_then(declared),
        path,
    }
}

/// The hash that the hub declared when a file was fetched.
fn declared(path: &std::path::Path) -> Option<String> {
    let content = cache::content(path)?;
    hash_of_etag(content.file_name()?.to_str()?).map(str::to_owned)
}

fn length(path: &std::path::Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}
