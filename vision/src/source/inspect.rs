//! What of a model's files is on this machine, without asking any server and without changing anything.

use std::path::{Path, PathBuf};

use super::cache::{self, Cached, RepoCache, hash_of_etag, look_up};
use super::error::SourceError;
use super::remote::{HubRef, RemoteFile};
use super::settings::HubSettings;
use super::{CONFIG, PREPROCESSOR, TOKENIZER, WEIGHTS, verify};

/// What is said of a file that is not what it should be.
const DAMAGED: &str = "remove it and fetch the model again";

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

/// The files of a model of the hub, as far as they are here.
pub(crate) fn look_for(model: &HubRef, settings: &HubSettings) -> Vec<ModelFile> {
    let files = model.all();
    files.map(|file| remote(file, settings)).collect()
}

/// The files of a model in a folder, as far as they are there.
pub(crate) fn look_into(folder: &Path) -> Vec<ModelFile> {
    let needed = [CONFIG, WEIGHTS, TOKENIZER].into_iter();
    let has = |name: &&str| folder.join(name).is_file();
    let names = needed.chain([PREPROCESSOR].into_iter().filter(has));
    names.map(|name| local(name, folder.join(name))).collect()
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
fn declared(path: &Path) -> Option<String> {
    let content = cache::content(path)?;
    hash_of_etag(content.file_name()?.to_str()?).map(str::to_owned)
}

fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}
