//! Object stores by URL, made when first needed.
//!
//! Options and credentials come from the environment (`AWS_*`, `GOOGLE_*`, `AZURE_*`) and are never shown. What is
//! expensive about a store is its HTTP client (TLS roots, connection pool), so all HTTP servers share two, and each
//! bucket keeps its own.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::client::{HttpClient, HttpConnector, ReqwestConnector};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use url::{Position, Url};

use crate::error::ImageError;
use crate::error::root_cause;
use crate::reference::shown;

/// Stores kept at once. A table of links may name any number of servers; the oldest goes first.
const CACHED: usize = 256;

/// Object stores by URL: `file`, `s3` (`s3a`), `gs`, `az` (`abfs`, `abfss`), `http` and `https`.
pub struct Stores {
    cache: Mutex<Cache>,
    /// Clients for `https` (which then refuses to be redirected to `http`) and for `http`.
    secure: Connector,
    plain: Connector,
}

#[derive(Default)]
struct Cache {
    stores: HashMap<String, Arc<dyn ObjectStore>>,
    order: VecDeque<String>,
}

impl fmt::Debug for Stores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stores").finish_non_exhaustive()
    }
}

impl Default for Stores {
    fn default() -> Self {
        Stores::new()
    }
}

impl Stores {
    /// No store is opened yet, and no client made.
    pub fn new() -> Self {
        Stores {
            cache: Mutex::default(),
            secure: Connector::default(),
            plain: Connector::default(),
        }
    }

    /// The store that serves `url`, and the place of `url` in it.
    ///
    /// An HTTP URL with a query (a signed link), or whose path a store would rewrite, gets a store for itself alone
    /// with an empty path: reading that path requests exactly `url`. It shares the client and is not cached.
    pub fn get(&self, url: &Url) -> Result<(Arc<dyn ObjectStore>, Path), ImageError> {
        let path = Path::from_url_path(url.path()).map_err(|e| ImageError::BadReference {
            reference: shown(url.as_str()),
            reason: root_cause(&e),
        });
        if matches!(url.scheme(), "http" | "https") {
            let kept = path
                .as_ref()
                .is_ok_and(|path| url.query().is_none() && keeps(url, path));
            if !kept {
                return Ok((self.http_store(url, url.as_str())?, Path::default()));
            }
        }
        Ok((self.root(url)?, path?))
    }

    /// The store of the scheme and authority of `url`: the same one for all paths.
    pub fn root(&self, url: &Url) -> Result<Arc<dyn ObjectStore>, ImageError> {
        let root = &url[..Position::BeforePath];
        if let Some(store) = self.lock().stores.get(root) {
            return Ok(Arc::clone(store));
        }
        let store = self.open(url, root)?;
        let mut cache = self.lock();
        if !cache.stores.contains_key(root) {
            if cache.order.len() >= CACHED
                && let Some(oldest) = cache.order.pop_front()
            {
                cache.stores.remove(&oldest);
            }
            cache.order.push_back(root.to_owned());
        }
        // Two callers may have opened it at once; the later store stays, and both work.
        cache.stores.insert(root.to_owned(), Arc::clone(&store));
        Ok(store)
    }

    fn open(&self, url: &Url, root: &str) -> Result<Arc<dyn ObjectStore>, ImageError> {
        // The client options of a bucket (timeouts of 5 s to connect and 30 s per request unless the environment says
        // otherwise, proxies, plain HTTP for a local test server) are part of what `from_env` reads.
        let store = match url.scheme() {
            "file" => return Ok(Arc::new(LocalFileSystem::new())),
            "http" | "https" => return self.http_store(url, root),
            "s3" | "s3a" => AmazonS3Builder::from_env()
                .with_url(root)
                .with_retry(retry())
                .build()
                .map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
            "gs" => GoogleCloudStorageBuilder::from_env()
                .with_url(root)
                .with_retry(retry())
                .build()
                .map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
            "az" | "abfs" | "abfss" => MicrosoftAzureBuilder::from_env()
                .with_url(root)
                .with_retry(retry())
                .build()
                .map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
            "hf" => {
                return Err(ImageError::BadReference {
                    reference: shown(url.as_str()),
                    reason: "of the hub single images are read; a table is read by the web address of its file, \
                             https://huggingface.co/datasets/owner/name/resolve/main/path"
                        .to_owned(),
                });
            }
            scheme => {
                return Err(ImageError::UnsupportedScheme {
                    reference: shown(url.as_str()),
                    scheme: scheme.to_owned(),
                });
            }
        };
        store.map_err(|e| store_error(url, e))
    }

    fn http_store(&self, url: &Url, base: &str) -> Result<Arc<dyn ObjectStore>, ImageError> {
        let connector = if url.scheme() == "https" {
            &self.secure
        } else {
            &self.plain
        };
        let store = HttpBuilder::new()
            .with_url(base)
            .with_client_options(client_options(url))
            .with_retry(retry())
            .with_http_connector(connector.clone())
            .build()
            .map_err(|e| store_error(url, e))?;
        Ok(Arc::new(store))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Cache> {
        // The map is whole at every point where a panic could leave the lock.
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands out one client, made on the first call.
#[derive(Debug, Clone, Default)]
struct Connector {
    client: Arc<Mutex<Option<HttpClient>>>,
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let made = ReqwestConnector::default().connect(options)?;
        *client = Some(made.clone());
        Ok(made)
    }
}

/// Up to six retries after 0.2 to 3 s each, none later than 20 s: object_store's default keeps at a dead host for three
/// minutes, and a row cannot wait so long, while a bucket that throttles (503 SlowDown) wants more than a moment. What
/// is repeated is what object_store repeats: no connection, broken transfers, 408, 429 and 5xx.
fn retry() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(200),
            max_backoff: Duration::from_secs(3),
            base: 3.0,
        },
        max_retries: 6,
        retry_timeout: Duration::from_secs(20),
    }
}

fn client_options(url: &Url) -> ClientOptions {
    ClientOptions::new().with_allow_http(url.scheme() == "http")
}

/// Whether an HTTP store at the root of `url` would request exactly `url` for `path`.
fn keeps(url: &Url, path: &Path) -> bool {
    let mut again = url.clone();
    again.set_fragment(None);
    let asked = again.to_string();
    again.set_path("");
    if let Ok(mut segments) = again.path_segments_mut() {
        segments.extend(path.parts());
    }
    again.as_str() == asked
}

fn store_error(url: &Url, error: object_store::Error) -> ImageError {
    ImageError::Store {
        url: shown(&url[..Position::BeforePath]),
        reason: root_cause(&error),
        source: Arc::new(error),
    }
}
