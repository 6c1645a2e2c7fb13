//! Who wrote a reference to an image, from which follow where it may lead and what it is relative to.

use std::sync::Arc;

use url::Url;

use crate::pipeline::base::Folder;

/// Whose reference it is.
#[derive(Debug, Clone, Copy)]
pub enum ReferenceOrigin<'a> {
    /// A table's in this folder. Without one, only a reference that says itself where the image is can be read.
    Table(Option<&'a Url>),
    /// One of a query, in the folder that planning found for it; `None` is the current folder.
    Query(Option<&'a Arc<Url>>),
    /// A person's, say on the command line: any file, any server, relative to the current folder.
    Person,
}

impl<'a> ReferenceOrigin<'a> {
    /// What a relative reference is relative to; `None` is the current folder, or none at all.
    pub(crate) fn folder(self) -> Option<&'a Url> {
        match self {
            Self::Table(folder) => folder,
            Self::Query(folder) => folder.map(Arc::as_ref),
            Self::Person => None,
        }
    }

    /// The folder, to be kept with what was found out about a reference.
    pub(crate) fn shared_folder(self) -> Folder {
        match self {
            Self::Query(folder) => folder.cloned(),
            Self::Table(folder) => folder.cloned().map(Arc::new),
            Self::Person => None,
        }
    }
}
