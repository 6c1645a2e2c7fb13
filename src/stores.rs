//! DataFusion's view of the object stores that images are fetched from.
//!
//! Tables and images are read through the same stores, made from a URL when first needed; nothing has to be
//! registered. Which schemes there are and where credentials come from is `picsift-images`' to know.

use std::sync::Arc;

use datafusion::common::{Result, exec_datafusion_err};
use datafusion::execution::object_store::ObjectStoreRegistry;
use object_store::ObjectStore;
use picsift_images::Stores;
use url::Url;

/// Finds the store of any URL that picsift can read.
#[derive(Debug)]
pub struct StoreRegistry {
    stores: Arc<Stores>,
}

impl StoreRegistry {
    /// A registry over the stores of an engine.
    pub fn new(stores: Arc<Stores>) -> Self {
        Self { stores }
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
        self.stores
            .root(url)
            .map_err(|error| exec_datafusion_err!("{error}"))
    }
}
