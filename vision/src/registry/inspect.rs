//! What is known of a model and what of it is on this machine, without asking any server and without changing anything.

use super::reference::ModelRef;
use super::table::ModelEntry;
use crate::source::{self, HubSettings, ModelFile, SourceError, WEIGHTS};

/// A model and its files.
#[derive(Debug, Clone)]
pub struct Inspection {
    /// The model as it was named.
    pub name: String,
    /// What the table knows of it; none for a repository or folder that has no name there.
    pub entry: Option<&'static ModelEntry>,
    /// Configuration, weights and tokenizer; none for a model inside this program.
    pub files: Vec<ModelFile>,
}

impl Inspection {
    /// Whether every file is here with the length that it must have.
    pub fn complete(&self) -> bool {
        self.files.iter().all(|file| {
            file.path.is_some() && file.expected_bytes.is_none_or(|bytes| bytes == file.bytes)
        })
    }

    /// Bytes of all files whose length is known, from the table or because they are here; none where the weights are
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

/// Looks for the files of a model. `model` is what [`super::load`] takes.
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
        ModelRef::Hub(hub, entry) => found(&hub.name, entry, source::look_for(&hub, settings)),
        ModelRef::Folder(folder) => found(model, None, source::look_into(&folder)),
    })
}
