//! Object stores by URL, made when first needed.
//!
//! Options and credentials come from the environment (`AWS_*`, `GOOGLE_*`, `AZURE_*`) and are never shown. They go to the endpoint
//! and account that the environment names, or a person: which bucket a reference may name is checked before, where it is fetched.
//! What is expensive about a store is its HTTP client (TLS roots, connection pool), so all HTTP servers share two, and each
//! bucket keeps its own. Where the answers of all of them may lead is [`client`]'s.

mod client;

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientOptions, ObjectStore, RetryConfig};
use url::{Position, Url};

use crate::bucket::{Bucket, BucketKeys, own_account};
use crate::error::ImageError;
use crate::error::root_cause;
use crate::hub::Hub;
use crate::hub_store::HubStore;
use crate::policy::FetchPolicy;
use crate::reference::shown;
pub use client::refused_redirect;
use client::{Bounds, Connector};

/// Stores kept at once. A table of links may name any number of servers; the oldest goes first.
const CACHED: usize = 256;

/// What of the environment says who asks S3.
const S3_CREDENTIALS: [AmazonS3ConfigKey; 4] = [
    AmazonS3ConfigKey::AccessKeyId,
    AmazonS3ConfigKey::WebIdentityTokenFile,
    AmazonS3ConfigKey::ContainerCredentialsRelativeUri,
    AmazonS3ConfigKey::ContainerCredentialsFullUri,
];

/// The same of Google.
const GOOGLE_CREDENTIALS: [GoogleConfigKey; 3] = [
    GoogleConfigKey::ServiceAccount,
    GoogleConfigKey::ServiceAccountKey,
    GoogleConfigKey::ApplicationCredentials,
];

/// The same of Azure, by what belongs to one account.
const AZURE_KEYS: [AzureConfigKey; 2] = [AzureConfigKey::AccessKey, AzureConfigKey::SasKey];

/// The same of Azure, by who somebody is.
const AZURE_IDENTITIES: [AzureConfigKey; 5] = [
    AzureConfigKey::Token,
    AzureConfigKey::ClientId,
    AzureConfigKey::FederatedTokenFile,
    AzureConfigKey::MsiEndpoint,
    AzureConfigKey::UseAzureCli,
];

/// Object stores by URL: `file`, `s3` (`s3a`), `gs`, `az` (`abfs`, `abfss`), `hf`, `http` and `https`.
pub struct Stores {
    cache: Mutex<Cache>,
    /// Clients for `https` (which then refuses to be redirected to `http`) and for `http`.
    secure: Connector,
    plain: Connector,
    /// A client for each bucket.
    buckets: Connector,
    /// The client that sends the hub's token.
    of_hub: Connector,
    hub: Hub,
    keys: Vec<BucketKeys>,
}

/// Who sends a bucket what says who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    /// A person, who named the bucket as that of a table: with whatever credentials this machine has.
    Person,
    /// A reference: with those that the environment names, else anonymously.
    Reference,
}

#[derive(Default)]
struct Cache {
    stores: HashMap<Key, Arc<dyn ObjectStore>>,
    order: VecDeque<Key>,
}

/// Scheme and authority, and whether a reference asks.
type Key = (String, bool);

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
    /// Stores that lead nowhere else. No store is opened yet, and no client made.
    pub fn new() -> Self {
        Stores::within(FetchPolicy::default(), &Hub::from_env())
    }

    /// Stores that may lead to the hosts that `policy` allows; the `hub` to any public one.
    pub fn within(policy: FetchPolicy, hub: &Hub) -> Self {
        let keys = policy.keys.clone();
        let buckets = Bounds {
            policy: Arc::new(policy),
            hub: None,
        };
        let web = Bounds {
            hub: hub.root().ok(),
            ..buckets.clone()
        };
        Stores {
            cache: Mutex::default(),
            secure: Connector::shared(web.clone()),
            plain: Connector::shared(web.clone()),
            of_hub: Connector::shared(web),
            buckets: Connector::each(buckets),
            hub: hub.clone(),
            keys,
        }
    }

    /// What a bucket has in the place of the environment's options and credentials.
    fn own_keys(&self, url: &Url) -> Option<&BucketKeys> {
        let bucket = Bucket::of(url)?;
        self.keys.iter().find(|keys| *keys.bucket() == bucket)
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

    /// The store and place of a `url` in another bucket than its table's, which is asked anonymously unless the environment says who
    /// asks. Credentials that only this machine's own network gives are for what a person named.
    pub(crate) fn of_reference(
        &self,
        url: &Url,
    ) -> Result<(Arc<dyn ObjectStore>, Path), ImageError> {
        let path = Path::from_url_path(url.path()).map_err(|e| ImageError::BadReference {
            reference: shown(url.as_str()),
            reason: root_cause(&e),
        });
        Ok((self.opened(url, Asker::Reference)?, path?))
    }

    /// The store of the scheme and authority of `url`: the same one for all paths.
    pub fn root(&self, url: &Url) -> Result<Arc<dyn ObjectStore>, ImageError> {
        self.opened(url, Asker::Person)
    }

    fn opened(&self, url: &Url, asker: Asker) -> Result<Arc<dyn ObjectStore>, ImageError> {
        let root = &url[..Position::BeforePath];
        let key = (root.to_owned(), asker == Asker::Reference);
        if let Some(store) = self.lock().stores.get(&key) {
            return Ok(Arc::clone(store));
        }
        let store = self.open(url, root, asker)?;
        let mut cache = self.lock();
        if !cache.stores.contains_key(&key) {
            if cache.order.len() >= CACHED
                && let Some(oldest) = cache.order.pop_front()
            {
                cache.stores.remove(&oldest);
            }
            cache.order.push_back(key.clone());
        }
        // Two callers may have opened it at once; the later store stays, and both work.
        cache.stores.insert(key, Arc::clone(&store));
        Ok(store)
    }

    fn open(
        &self,
        url: &Url,
        root: &str,
        asker: Asker,
    ) -> Result<Arc<dyn ObjectStore>, ImageError> {
        // The client options of a bucket (timeouts of 5 s to connect and 30 s per request unless the environment says
        // otherwise, proxies, plain HTTP for a local test server) are part of what `from_env` reads.
        let store = match url.scheme() {
            "file" => return Ok(Arc::new(LocalFileSystem::new())),
            "http" | "https" => return self.http_store(url, root),
            "s3" | "s3a" => {
                let own = self.own_keys(url);
                let builder = match own {
                    Some(own) => own.fill(AmazonS3Builder::new(), |builder, key, value| {
                        builder.with_config(key, value)
                    }),
                    None => AmazonS3Builder::from_env(),
                };
                let anonymous = asker == Asker::Reference
                    && own.is_none()
                    && !S3_CREDENTIALS.iter().any(|key| {
                        let value = builder.get_config_value(key);
                        value.is_some()
                    });
                let builder = match anonymous {
                    true => builder.with_skip_signature(true),
                    false => builder,
                };
                builder
                    .with_url(root)
                    .with_retry(retry())
                    .with_http_connector(self.buckets.clone())
                    .build()
                    .map(|store| Arc::new(store) as Arc<dyn ObjectStore>)
            }
            "gs" => {
                let own = self.own_keys(url);
                let builder = match own {
                    Some(own) => own
                        .fill(GoogleCloudStorageBuilder::new(), |builder, key, value| {
                            builder.with_config(key, value)
                        }),
                    None => GoogleCloudStorageBuilder::from_env(),
                };
                let anonymous = asker == Asker::Reference
                    && own.is_none()
                    && !GOOGLE_CREDENTIALS.iter().any(|key| {
                        let value = builder.get_config_value(key);
                        value.is_some()
                    });
                let builder = match anonymous {
                    true => builder.with_skip_signature(true),
                    false => builder,
                };
                builder
                    .with_url(root)
                    .with_retry(retry())
                    .with_http_connector(self.buckets.clone())
                    .build()
                    .map(|store| Arc::new(store) as Arc<dyn ObjectStore>)
            }
            "az" | "abfs" | "abfss" => {
                let own = self.own_keys(url);
                let builder = match own {
                    Some(own) => own.fill(MicrosoftAzureBuilder::new(), |builder, key, value| {
                        builder.with_config(key, value)
                    }),
                    None => MicrosoftAzureBuilder::from_env(),
                };
                let has = |keys: &[AzureConfigKey]| {
                    let mut values = keys.iter().map(|key| builder.get_config_value(key));
                    values.any(|value| value.is_some_and(|value| value != "false"))
                };
                let bucket = Bucket::of(url);
                let account = bucket.as_ref().and_then(Bucket::account);
                // A key is one account's; another's server learns nothing by it, and must not see what is signed with it.
                let foreign =
                    own_account().is_some_and(|own| account != Some(&own)) && has(&AZURE_KEYS);
                let unnamed =
                    asker == Asker::Reference && !has(&AZURE_KEYS) && !has(&AZURE_IDENTITIES);
                let builder = match own.is_none() && (foreign || unnamed) {
                    true => builder.with_skip_signature(true),
                    false => builder,
                };
                builder
                    .with_url(root)
                    .with_retry(retry())
                    .with_http_connector(self.buckets.clone())
                    .build()
                    .map(|store| Arc::new(store) as Arc<dyn ObjectStore>)
            }
            "hf" => HubStore::new(self.hub.clone(), retry(), |headers| {
                self.of_hub.clone().with_headers(headers)
            })
            .map(|store| Arc::new(store) as Arc<dyn ObjectStore>),
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
