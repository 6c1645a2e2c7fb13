//! The hub's data sets as an object store: `hf://datasets/owner/name/path` is a table, a folder of tables or a glob.
//!
//! Files are read through the addresses that a browser reads them by, folders are listed through the hub's interface. The token is sent
//! to the hub's own server alone: clients drop it where a redirect leads to another one. Nothing is written.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use backon::{ExponentialBuilder, Retryable};
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
use object_store::client::HttpConnector;
use object_store::http::{HttpBuilder, HttpStore};
use object_store::path::Path;
use object_store::{
    ClientOptions, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
    RetryConfig,
};
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, LINK};
use serde::Deserialize;
use url::Url;

use crate::error::kind::status_can_pass;
use crate::hub::{Hub, Place};

/// Names this store in errors.
const STORE: &str = "hub";

/// Longest page of a listing, of which the hub's have a thousand entries.
const MOST_PAGE: usize = 16 << 20;

/// Most pages of a listing: a million files.
const MOST_PAGES: usize = 1000;

/// The store of all data sets.
pub(crate) struct HubStore<C>(Arc<Inside<C>>);

struct Inside<C> {
    hub: Hub,
    options: ClientOptions,
    retry: RetryConfig,
    connector: C,
    listing: reqwest::Client,
}

impl<C> fmt::Debug for HubStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HubStore")
            .field("hub", &self.0.hub)
            .finish_non_exhaustive()
    }
}

impl<C> fmt::Display for HubStore<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(STORE)
    }
}

impl<C: HttpConnector + Clone> HubStore<C> {
    /// A store that asks `hub`. `connector` is to make clients whose requests have the headers that it is given.
    ///
    /// # Errors
    /// When the token is none that can be sent, or no client can be made.
    pub(crate) fn new(
        hub: Hub,
        retry: RetryConfig,
        connector: impl FnOnce(HeaderMap) -> C,
    ) -> Result<Self> {
        let root = hub.root().map_err(generic)?;
        let mut headers = HeaderMap::new();
        if let Some(token) = hub.token() {
            let mut token = HeaderValue::from_str(&format!("Bearer {token}")).map_err(generic)?;
            token.set_sensitive(true);
            headers.insert(AUTHORIZATION, token);
        }
        let plain = root.scheme() == "http";
        let listing = reqwest::Client::builder()
            .https_only(!plain)
            .default_headers(headers.clone())
            .timeout(Duration::from_secs(30))
            .build()
            .map_err(generic)?;
        let options = ClientOptions::new().with_allow_http(plain);
        Ok(HubStore(Arc::new(Inside {
            hub,
            options,
            retry,
            connector: connector(headers),
            listing,
        })))
    }
}

impl<C: HttpConnector + Clone> Inside<C> {
    /// A store of one file alone, at its root.
    fn file(&self, location: &Path) -> Result<HttpStore> {
        let place = place(location).ok_or_else(|| not_found(location))?;
        let address = self.hub.address("", &place, "resolve").map_err(generic)?;
        HttpBuilder::new()
            .with_url(address)
            .with_client_options(self.options.clone())
            .with_retry(self.retry.clone())
            .with_http_connector(self.connector.clone())
            .build()
    }

    /// One page of the files below a folder, and where the next one is.
    async fn page(&self, location: &Path, url: Url) -> Result<(Vec<Entry>, Option<Url>)> {
        let ask = || async {
            let answer = self.listing.get(url.clone()).send().await?;
            match status_can_pass(answer.status().as_u16()) {
                true => answer.error_for_status(),
                false => Ok(answer),
            }
        };
        let pauses = ExponentialBuilder::new()
            .with_min_delay(Duration::from_millis(200))
            .with_factor(3.0)
            .with_max_times(4)
            .with_jitter();
        let answer = ask.retry(pauses).await;
        let mut answer = answer.map_err(|error| generic(error.without_url()))?;
        match answer.status().as_u16() {
            200 => {}
            404 => return Err(not_found(location)),
            401 | 403 => {
                return Err(Error::PermissionDenied {
                    path: location.to_string(),
                    source: "the hub asks for a token (HF_TOKEN) that may read it".into(),
                });
            }
            status => {
                return Err(generic(format!(
                    "the hub answered with HTTP status {status}"
                )));
            }
        }
        let next = answer
            .headers()
            .get(LINK)
            .and_then(|link| following(link, &url));
        let mut body = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(generic)? {
            if body.len() + piece.len() > MOST_PAGE {
                return Err(generic("a page of the hub's listing is too long"));
            }
            body.extend_from_slice(&piece);
        }
        let entries = serde_json::from_slice(&body)
            .map_err(|error| generic(format!("the hub's listing is not understood: {error}")))?;
        Ok((entries, next))
    }

    /// All files below a folder, in pages that are asked for one after the other.
    async fn files(&self, folder: &Path) -> Result<Vec<ObjectMeta>> {
        let place = place(folder)
            .ok_or_else(|| generic("a data set of the hub is written hf://datasets/owner/name"))?;
        let mut url = self.hub.address("api", &place, "tree").map_err(generic)?;
        url.set_query(Some("recursive=true"));
        let root = match place.path.len() {
            0 => folder.parts().count(),
            deep => folder.parts().count() - deep,
        };
        let root: Vec<String> = folder.parts().take(root).map(|part| text(&part)).collect();
        let (mut next, mut found) = (Some(url), Vec::new());
        for _ in 0..MOST_PAGES {
            let Some(url) = next else {
                return Ok(found);
            };
            let (entries, after) = self.page(folder, url).await?;
            next = after;
            let files = entries.into_iter().filter(|entry| entry.kind == "file");
            for entry in files {
                let path = format!("{}/{}", root.join("/"), entry.path);
                found.push(ObjectMeta {
                    location: Path::parse(path)?,
                    last_modified: Default::default(),
                    size: entry.size,
                    e_tag: entry.lfs.map_or(entry.oid, |large| Some(large.oid)),
                    version: None,
                });
            }
        }
        Err(generic("the folder has more files than are listed"))
    }
}

/// A file or folder as the hub lists it.
#[derive(Debug, Deserialize)]
struct Entry {
    #[serde(rename = "type")]
    kind: String,
    path: String,
    #[serde(default)]
    size: u64,
    oid: Option<String>,
    lfs: Option<Large>,
}

/// What a large file is known by.
#[derive(Debug, Deserialize)]
struct Large {
    oid: String,
}

/// The address behind `rel="next"`, if it is one of the same server.
fn following(link: &HeaderValue, page: &Url) -> Option<Url> {
    let next = link
        .to_str()
        .ok()?
        .split(',')
        .find(|link| link.contains("rel=\"next\""))?;
    let (_, next) = next.split_once('<')?;
    let (next, _) = next.split_once('>')?;
    page.join(next)
        .ok()
        .filter(|next| next.origin() == page.origin())
}

fn place(location: &Path) -> Option<Place> {
    Place::read(location.parts().map(|part| text(&part)))
}

/// A part of a path as it is written.
fn text(part: &object_store::path::PathPart<'_>) -> String {
    part.as_ref().to_owned()
}

fn generic(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Generic {
        store: STORE,
        source: error.into(),
    }
}

fn not_found(location: &Path) -> Error {
    Error::NotFound {
        path: location.to_string(),
        source: "the hub has no such file".into(),
    }
}

fn read_only<T>(operation: &str) -> Result<T> {
    Err(Error::NotImplemented {
        operation: operation.to_owned(),
        implementer: STORE.to_owned(),
    })
}

#[async_trait]
impl<C: HttpConnector + Clone> ObjectStore for HubStore<C> {
    async fn put_opts(&self, _: &Path, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        read_only("writing")
    }

    async fn put_multipart_opts(
        &self,
        _: &Path,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        read_only("writing")
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let mut result = self
            .0
            .file(location)?
            .get_opts(&Path::default(), options)
            .await?;
        result.meta.location = location.clone();
        Ok(result)
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        stream::once(async { read_only("removing") }).boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, folder) = (Arc::clone(&self.0), prefix.cloned().unwrap_or_default());
        stream::once(async move { store.files(&folder).await })
            .map_ok(|files| stream::iter(files.into_iter().map(Ok)))
            .try_flatten()
            .boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        let folder = prefix.cloned().unwrap_or_default();
        let depth = folder.parts().count();
        let mut listed = ListResult {
            objects: Vec::new(),
            common_prefixes: Vec::new(),
        };
        for file in self.0.files(&folder).await? {
            match file.location.parts().nth(depth + 1) {
                None => listed.objects.push(file),
                Some(_) => {
                    let below = Path::from_iter(file.location.parts().take(depth + 1));
                    if listed.common_prefixes.last() != Some(&below) {
                        listed.common_prefixes.push(below);
                    }
                }
            }
        }
        Ok(listed)
    }

    async fn copy_opts(&self, _: &Path, _: &Path, _: CopyOptions) -> Result<()> {
        read_only("copying")
    }
}
