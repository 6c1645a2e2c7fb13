//! The files of a repository of the hub, before they are on this machine.
//!
//! Decided from the text alone; no server is asked.

use super::error::SourceError;
use super::{CONFIG, PREPROCESSOR, TOKENIZER, WEIGHTS};

/// A file of a repository of the hub, as a table of known models names it.
#[derive(Debug, Clone, Copy)]
pub struct HubFile {
    /// `owner/name`.
    pub repo: &'static str,
    /// The commit, 40 hexadecimal digits.
    pub commit: &'static str,
    /// The file's name in the repository.
    pub name: &'static str,
    /// Its length in bytes, where it is known.
    pub bytes: Option<u64>,
    /// Its SHA-256 in hexadecimal, where it is known.
    pub sha256: Option<&'static str>,
}

impl HubFile {
    pub(crate) const fn new(repo: &'static str, commit: &'static str, name: &'static str) -> Self {
        Self {
            repo,
            commit,
            name,
            bytes: None,
            sha256: None,
        }
    }

    pub(crate) const fn bytes(mut self, bytes: u64) -> Self {
        self.bytes = Some(bytes);
        self
    }
}

/// A model whose files are on the hub.
#[derive(Debug)]
pub(crate) struct HubRef {
    /// The model as it was named.
    pub(crate) name: String,
    /// The licence of its weights, where it is known.
    pub(crate) licence: Option<&'static str>,
    /// Configuration, weights and tokenizer.
    pub(crate) files: [RemoteFile; 3],
    /// How pictures are resized, for a model that says so in a file of its own.
    pub(crate) preprocessor: Option<RemoteFile>,
}

/// A file of the hub.
#[derive(Debug, Clone)]
pub(crate) struct RemoteFile {
    /// `owner/name`.
    pub(crate) repo: String,
    /// A commit, tag or branch.
    pub(crate) revision: String,
    /// Its name in the repository.
    pub(super) name: &'static str,
    /// Its length in bytes, where it is known.
    pub(super) bytes: Option<u64>,
    /// Its SHA-256 in hexadecimal, where it is known.
    pub(super) sha256: Option<&'static str>,
}

impl std::fmt::Display for RemoteFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}@{}", self.name, self.repo, self.revision)
    }
}

impl From<HubFile> for RemoteFile {
    fn from(file: HubFile) -> Self {
        Self {
            repo: file.repo.to_owned(),
            revision: file.commit.to_owned(),
            name: file.name,
            bytes: file.bytes,
            sha256: file.sha256,
        }
    }
}

impl HubRef {
    /// The repository `owner/name` at a revision, of which nothing else is known.
    ///
    /// # Errors
    /// [`SourceError::Repository`] when these cannot be part of an address.
    pub(crate) fn repository(repo: &str, revision: &str) -> Result<Self, SourceError> {
        let text = format!("{repo}@{revision}");
        if let Err(reason) = check(repo, revision) {
            return Err(SourceError::Repository { text, reason });
        }
        Ok(Self {
            name: text,
            licence: None,
            files: [CONFIG, WEIGHTS, TOKENIZER].map(|name| RemoteFile {
                repo: repo.to_owned(),
                revision: revision.to_owned(),
                name,
                bytes: None,
                sha256: None,
            }),
            preprocessor: None,
        })
    }

    /// The same with the file that says how pictures are resized, beside the configuration.
    pub(crate) fn with_preprocessor(mut self) -> Self {
        self.preprocessor = Some(RemoteFile {
            name: PREPROCESSOR,
            bytes: None,
            sha256: None,
            ..self.files[0].clone()
        });
        self
    }

    /// All its files.
    pub(super) fn all(&self) -> impl Iterator<Item = &RemoteFile> {
        self.files.iter().chain(&self.preprocessor)
    }
}

/// Whether a text could be the `owner/name` of a repository.
pub(crate) fn is_repository(text: &str) -> bool {
    check(text, "main").is_ok()
}

/// What is wrong with a repository and its revision. Both become parts of addresses and of paths in the cache.
fn check(repo: &str, revision: &str) -> Result<(), &'static str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    let part = |part: &str| {
        !part.is_empty()
            && part.chars().all(plain)
            && !part.starts_with('.')
            && !part.contains("..")
    };
    match repo.split_once('/') {
        Some((owner, name)) if part(owner) && part(name) => {}
        _ => return Err("where owner and name are letters, digits, '.', '_' and '-'"),
    }
    // A branch may have slashes in its name.
    if revision.split('/').all(part) {
        return Ok(());
    }
    Err("where the revision is a commit, tag or branch")
}
