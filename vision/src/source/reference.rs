//! What a person can mean by `--model`: a known name, a repository at a revision, or a folder.
//!
//! Decided from the text and from whether a folder of that path exists; no file is opened and no server asked.

use std::path::PathBuf;

use super::error::SourceError;
use super::{CONFIG, TOKENIZER, WEIGHTS};
use crate::registry::{self, EmbeddedModel, HubFile, ModelEntry, Origin};

/// A model as it was named.
#[derive(Debug)]
pub(crate) enum ModelRef {
    /// A model inside this program.
    Embedded(&'static ModelEntry, EmbeddedModel),
    /// Files of the hub.
    Hub(Box<HubRef>),
    /// A folder of this machine.
    Folder(PathBuf),
}

/// A model whose files are on the hub.
#[derive(Debug)]
pub(crate) struct HubRef {
    /// The model as it was named.
    pub(super) name: String,
    /// What the registry knows of it, if it does.
    pub(super) entry: Option<&'static ModelEntry>,
    /// Configuration, weights and tokenizer.
    pub(super) files: [RemoteFile; 3],
}

/// A file of the hub.
#[derive(Debug, Clone)]
pub(crate) struct RemoteFile {
    /// `owner/name`.
    pub(super) repo: String,
    /// A commit, tag or branch.
    pub(super) revision: String,
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

impl ModelRef {
    /// What `text` names: a model of the registry before a folder, a folder that exists before a repository.
    ///
    /// # Errors
    /// [`SourceError::UnknownModel`], [`SourceError::NoRevision`], [`SourceError::Repository`] or
    /// [`SourceError::NoFolder`].
    pub(crate) fn parse(text: &str) -> Result<Self, SourceError> {
        if let Some(entry) = registry::find(text) {
            return Ok(match entry.origin {
                Origin::Embedded(embedded) => Self::Embedded(entry, embedded),
                Origin::Hub(hub) => Self::Hub(Box::new(HubRef {
                    name: text.to_owned(),
                    entry: Some(entry),
                    files: [hub.config, hub.weights, hub.tokenizer].map(RemoteFile::from),
                })),
            });
        }
        let path = PathBuf::from(text);
        if path.is_dir() {
            return Ok(Self::Folder(path));
        }
        let is_path = text.starts_with(['.', '/', '~']) || path.is_absolute();
        if !is_path && let Some((repo, revision)) = text.split_once('@') {
            check(repo, revision).map_err(|reason| SourceError::Repository {
                text: text.to_owned(),
                reason,
            })?;
            return Ok(Self::Hub(Box::new(HubRef {
                name: text.to_owned(),
                entry: None,
                files: [CONFIG, WEIGHTS, TOKENIZER].map(|name| RemoteFile {
                    repo: repo.to_owned(),
                    revision: revision.to_owned(),
                    name,
                    bytes: None,
                    sha256: None,
                }),
            })));
        }
        if !is_path && check(text, "main").is_ok() {
            return Err(SourceError::NoRevision {
                repo: text.to_owned(),
            });
        }
        if is_path || text.contains(std::path::is_separator) {
            return Err(SourceError::NoFolder {
                path: text.to_owned(),
            });
        }
        let known: Vec<_> = registry::models().iter().map(|entry| entry.name).collect();
        Err(SourceError::UnknownModel {
            name: text.to_owned(),
            known: known.join(", "),
        })
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> String {
        ModelRef::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn an_alias_is_the_model_under_another_name() {
        let files = |name| match ModelRef::parse(name).unwrap() {
            ModelRef::Hub(hub) => hub.files.map(|file| file.to_string()),
            other => panic!("{other:?}"),
        };
        assert_eq!(files("moondream2"), files("moondream2-2025-06-21"));
        assert_ne!(files("moondream2"), files("moondream2-2024-08-26"));
        assert!(files("moondream2")[2].contains("starmie"));
    }

    #[test]
    fn a_repository_comes_with_its_revision() {
        for revision in ["92d3d73", "main", "refs/pr/3"] {
            match ModelRef::parse(&format!("owner/name@{revision}")).unwrap() {
                ModelRef::Hub(hub) => {
                    for file in hub.files {
                        assert_eq!(
                            (file.repo, file.revision),
                            ("owner/name".into(), revision.into())
                        );
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        let error = refused("owner/name");
        assert!(
            error.contains("owner/name@COMMIT") && error.contains("change"),
            "{error}"
        );
    }

    #[test]
    fn what_cannot_be_an_address_is_refused() {
        for text in [
            "name@main",
            "a/b/c@main",
            "owner/name@",
            "owner/name@../x",
            "owner/na me@main",
            "owner/..@main",
            "owner/name@x?y",
        ] {
            assert!(refused(text).contains("owner/name@revision"), "{text}");
        }
    }

    #[test]
    fn a_folder_is_a_path() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_str().unwrap(), ".", "src/moondream"] {
            match ModelRef::parse(path).unwrap() {
                ModelRef::Folder(found) => assert_eq!(found, PathBuf::from(path)),
                other => panic!("{other:?}"),
            }
        }
        for path in ["./nowhere", "/no/where", "~/nowhere", "one/two/three"] {
            assert!(refused(path).contains(&format!("no folder '{path}'")));
        }
        assert!(refused("nowhere").contains("no model 'nowhere'"));
        assert!(refused("").contains("no model ''"));
    }
}
