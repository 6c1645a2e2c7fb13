//! What a person can mean by `--model`: a known name, a repository at a revision, or a folder.
//!
//! Decided from the text and from whether a folder of that path exists; no file is opened and no server asked.

use std::path::PathBuf;

use super::table::{EmbeddedModel, ModelEntry, Origin, find, models};
use crate::source::{HubRef, RemoteFile, SourceError, is_repository};

/// A model as it was named.
#[derive(Debug)]
pub(super) enum ModelRef {
    /// A model inside this program.
    Embedded(&'static ModelEntry, EmbeddedModel),
    /// Files of the hub, with what the table knows of them.
    Hub(Box<HubRef>, Option<&'static ModelEntry>),
    /// A folder of this machine.
    Folder(PathBuf),
}

impl ModelRef {
    /// What `text` names: a model of the table before a folder, a folder that exists before a repository.
    ///
    /// # Errors
    /// [`SourceError::UnknownModel`], [`SourceError::NoRevision`], [`SourceError::Repository`] or
    /// [`SourceError::NoFolder`].
    pub(super) fn parse(text: &str) -> Result<Self, SourceError> {
        if let Some(entry) = find(text) {
            return Ok(match entry.origin {
                Origin::Embedded(embedded) => Self::Embedded(entry, embedded),
                Origin::Hub(hub) => {
                    let files = [hub.config, hub.weights, hub.tokenizer];
                    let named = HubRef {
                        name: text.to_owned(),
                        licence: Some(entry.licence),
                        files: files.map(RemoteFile::from),
                        preprocessor: hub.preprocessor.map(RemoteFile::from),
                    };
                    Self::Hub(Box::new(named), Some(entry))
                }
            });
        }
        let path = PathBuf::from(text);
        if path.is_dir() {
            return Ok(Self::Folder(path));
        }
        let is_path = text.starts_with(['.', '/', '~']) || path.is_absolute();
        if !is_path && let Some((repo, revision)) = text.split_once('@') {
            return Ok(Self::Hub(
                Box::new(HubRef::repository(repo, revision)?),
                None,
            ));
        }
        if !is_path && is_repository(text) {
            return Err(SourceError::NoRevision {
                repo: text.to_owned(),
            });
        }
        if is_path || text.contains(std::path::is_separator) {
            return Err(SourceError::NoFolder {
                path: text.to_owned(),
            });
        }
        let known: Vec<_> = models().iter().map(|entry| entry.name).collect();
        Err(SourceError::UnknownModel {
            name: text.to_owned(),
            known: known.join(", "),
        })
    }
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
            ModelRef::Hub(hub, _) => hub.files.map(|file| file.to_string()),
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
                ModelRef::Hub(hub, _) => {
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
