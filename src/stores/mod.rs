//! DataFusion's view of the object stores that images are fetched from.
//!
//! Tables and images are read through the same stores, made from a URL when first needed; nothing has to be
//! registered. Which schemes there are and where credentials come from is `picsift-images`' to know.

mod versions;

use std::sync::Arc;

use datafusion::common::{Result, exec_datafusion_err};
use datafusion::execution::object_store::ObjectStoreRegistry;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use picsift_images::Stores;
use url::{Position, Url};

pub use versions::Versions;

use versions::PinnedStore;

use crate::tables::MADE;

/// Finds the store of any URL that picsift can read.
#[derive(Debug)]
pub struct StoreRegistry {
    stores: Arc<Stores>,
    versions: Arc<Versions>,
    /// What is made of folders of pictures.
    made: Arc<InMemory>,
}

impl StoreRegistry {
    /// A registry over the stores of an engine, which reads files at their `versions`.
    pub fn new(stores: Arc<Stores>, versions: Arc<Versions>) -> Self {
        Self {
            stores,
            versions,
            made: Arc::default(),
        }
    }
}

impl ObjectStoreRegistry for StoreRegistry {
    /// Nothing is kept: stores follow from their URLs, and nothing in picsift registers others.
    fn register_store(
        &self,
        _url: &Url,
        _store: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        None
    }

    fn get_store(&self, url: &Url) -> Result<Arc<dyn ObjectStore>> {
        if url.as_str() == MADE {
            return Ok(Arc::clone(&self.made) as Arc<dyn ObjectStore>);
        }
        let store = self
            .stores
            .root(url)
            .map_err(|error| exec_datafusion_err!("{error}"))?;
        if url.scheme() == "file" {
            // Its requests are many and cheap, and whoever reads it compares its times.
            return Ok(store);
        }
        Ok(Arc::new(PinnedStore {
            root: format!("{}/", &url[..Position::BeforePath]),
            store,
            versions: Arc::clone(&self.versions),
        }))
    }
}
