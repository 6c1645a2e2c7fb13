//! The bytes of one reference: what it may reach, in which order things wait, and within which limits.
//!
//! Three ways, one for each kind of place. [Local files](file) are read directly: `object_store` refuses some names
//! (`a#1`) and hides what is a folder or a pipe. [HTTP](http) has a client of its own that refuses addresses that are
//! not public. [Buckets](object) go through their stores.

mod breaker;
mod file;
mod hosts;
mod http;
mod object;
mod robots;
mod web;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio::sync::{Semaphore, SemaphorePermit};
use url::Url;

use crate::bucket::Bucket;
use crate::dns::{self, Lookup};
use crate::error::Cause;
use crate::error::ImageError;
use crate::fetch::file::{Content, Wanted};
use crate::fetch::hosts::Hosts;
use crate::fetch::web::Web;
use crate::hub::Hub;
use crate::inline;
use crate::limits::Limits;
use crate::policy::{FetchOptions, FetchPolicy};
use crate::reference::{http_folder, is_absolute, is_data, local_path, resolve, shown};
use crate::stores::Stores;
use crate::version::Version;

/// Most of an announced size that is reserved at once: the announcement may lie.
const RESERVED: u64 = 1 << 20;

/// An image as it was fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// The encoded image.
    pub bytes: Bytes,
    /// What to compare with later; `None` where nothing tells one state of the image surely from the next.
    pub version: Option<Version>,
}

/// What [`Fetcher::fetch_if_changed`] found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetch {
    /// The image is still the known version.
    Unchanged,
    /// It is another version, or nothing can be said.
    Changed(Fetched),
}

/// Fetches images, a bounded number at a time, from where their table may lead. Clones share the bounds.
///
/// # What a reference may reach
///
/// - Local files below the table's folder (`base`; the current folder without one) and below
///   [`FetchPolicy::folders`]. Links may lead from one of these to another, and nowhere else. The references of a
///   table that is not local reach those folders alone.
/// - HTTP hosts with public addresses and those of [`FetchPolicy::hosts`]. Up to 10 redirects are followed, each
///   checked like the reference itself; none leads from https to http. A relative reference below an HTTP base may
///   ask the base's own server, whatever its address, below the base's path. Credentials in a URL go to its own host
///   only.
/// - Buckets: relative references stay below `base`; a full URL may name the bucket of `base` and those of
///   [`FetchPolicy::buckets`], no other, as they are asked with the credentials of whoever runs the program.
/// - Data sets of the [hub](Hub), whose address plays no part: that of `base` and those of [`FetchPolicy::buckets`] with its token, which
///   goes to its own server only, others anonymously.
/// - Itself: a `data:` URI, and base64 of an image, bounded by [`Limits::max_bytes`] like a file.
///
/// HTTP requests go straight to the host: proxies named in the environment are not used, because behind one it is the
/// proxy that looks up the names, and nothing could be checked. Bodies are not decompressed.
///
/// # Retries
///
/// What [can pass](ImageError::can_pass) is tried up to six times, after pauses of 0.2, 0.4, 0.8, 1.6 and 3.2 s, each
/// lengthened at random by up to as much again, or after the pause that the server asks for (`Retry-After`), which
/// then holds for all requests to that host. A server that sends nothing for half of [`Limits::timeout`] counts as
/// failed. Buckets have their own retries, up to six. All attempts and pauses of an image together are bounded by
/// [`Limits::timeout`]; a longer pause is not begun. Only waiting for a slot does not count.
///
/// A host that has only failed, or kept images waiting, 32 times and for twice [`Limits::timeout`] is given up: images on it fail with
/// [`ImageError::GivenUp`] until one that is let through now and then is answered.
#[derive(Debug, Clone)]
pub struct Fetcher {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    stores: Arc<Stores>,
    slots: Semaphore,
    limits: Limits,
    policy: Arc<FetchPolicy>,
    hub: Hub,
    hosts: Hosts,
    web: Web,
}

/// A web server that a person named, whose address plays no part.
struct Server<'a> {
    /// Below it are the addresses that were meant.
    folder: Url,
    /// What says to it, and to no other, who asks.
    token: Option<&'a str>,
}

/// Who wrote a reference, which decides what it may reach.
enum Author<'a> {
    /// A table that lies at `base`; a `relative` reference says where the image is only together with it.
    Table {
        base: Option<&'a Url>,
        relative: bool,
    },
    /// The person who runs the program.
    Person,
}

impl Fetcher {
    /// Nothing is opened yet, and no client made.
    pub fn new(stores: Arc<Stores>, options: FetchOptions) -> Self {
        Fetcher::with_lookup(stores, options, dns::system())
    }

    /// As [`Fetcher::new`], with another resolver for the names of HTTP hosts than the system's.
    pub fn with_lookup(stores: Arc<Stores>, options: FetchOptions, lookup: Lookup) -> Self {
        let FetchOptions {
            concurrency,
            limits,
            policy,
            hub,
        } = options;
        let policy = Arc::new(policy);
        Fetcher {
            inner: Arc::new(Inner {
                stores,
                slots: Semaphore::new(concurrency.clamp(1, Semaphore::MAX_PERMITS)),
                hosts: Hosts::new(
                    policy.at_once_per_host,
                    policy.per_second_per_host,
                    limits.timeout,
                ),
                web: Web::new(lookup, Arc::clone(&policy)),
                limits,
                policy,
                hub,
            }),
        }
    }

    /// The image that `reference` names, [resolved](resolve) against the folder `base` of its table.
    ///
    /// The size limit is checked against what is announced and again while the bytes arrive. Must be called within a
    /// tokio runtime with time and I/O.
    pub async fn fetch(&self, reference: &str, base: Option<&Url>) -> Result<Fetched, ImageError> {
        if let Some(held) = self.inner.held(reference, false) {
            return held;
        }
        let url = resolve(reference, base)?;
        let author = author(reference, base);
        certain(&url, self.inner.get(&url, author, None).await?)
    }

    /// As [`Fetcher::fetch`], but an image that is still at the `known` version is not read: of a local file only the
    /// facts are asked, buckets and HTTP servers get a conditional request.
    pub async fn fetch_if_changed(
        &self,
        reference: &str,
        base: Option<&Url>,
        known: Option<&Version>,
    ) -> Result<Fetch, ImageError> {
        if let Some(held) = self.inner.held(reference, false) {
            return held.map(Fetch::Changed);
        }
        let url = resolve(reference, base)?;
        self.inner.get(&url, author(reference, base), known).await
    }

    /// Which of these references of a table at `base` lead to local files that are still at the version known of each. Blocks, for
    /// a few microseconds each; nothing is read. False is said of all that is not local, may not be reached or must be looked at
    /// more closely, which [`Fetcher::fetch_if_changed`] does.
    pub fn unchanged_files(&self, known: &[(&str, &Version)], base: Option<&Url>) -> Vec<bool> {
        let none = || vec![false; known.len()];
        let files_allowed = self
            .inner
            .policy
            .schemes
            .iter()
            .any(|scheme| scheme == "file");
        let Ok(here) = Url::parse("file:///") else {
            return none();
        };
        let Ok(folders) = self.inner.folders(base.unwrap_or(&here), base) else {
            return none();
        };
        if !files_allowed {
            return none();
        }
        let mut paths = Vec::with_capacity(known.len());
        let mut places = Vec::with_capacity(known.len());
        for (place, (reference, version)) in known.iter().enumerate() {
            let url = resolve(reference, base)
                .ok()
                .filter(|url| url.scheme() == "file");
            if let Some(path) = url.and_then(|url| local_path(&url).ok()) {
                paths.push((path, *version));
                places.push(place);
            }
        }
        let mut found = none();
        for (place, unchanged) in places.into_iter().zip(file::unchanged(&paths, &folders)) {
            found[place] = unchanged;
        }
        found
    }

    /// The image that a person named, say on the command line: any local file, any scheme, and any HTTP host.
    /// A redirect to another server is checked as always. `reference` is relative to the current folder.
    pub async fn fetch_typed(&self, reference: &str) -> Result<Fetched, ImageError> {
        if let Some(held) = self.inner.held(reference, true) {
            return held;
        }
        let url = resolve(reference, None)?;
        certain(&url, self.inner.get(&url, Author::Person, None).await?)
    }
}

fn author<'a>(reference: &str, base: Option<&'a Url>) -> Author<'a> {
    Author::Table {
        base,
        relative: !is_absolute(reference),
    }
}

/// Nothing is unchanged that was not known.
fn certain(url: &Url, fetch: Fetch) -> Result<Fetched, ImageError> {
    match fetch {
        Fetch::Changed(fetched) => Ok(fetched),
        Fetch::Unchanged => Err(unreadable(
            url,
            "it was said to be unchanged, which was not asked".to_owned(),
            None,
        )),
    }
}

impl Inner {
    /// What a reference holds itself: a `data:` URI, or base64 of an image.
    fn held(&self, reference: &str, typed: bool) -> Option<Result<Fetched, ImageError>> {
        let schemes = &self.policy.schemes;
        let refused = !typed && !schemes.iter().any(|scheme| scheme == "data");
        if refused && is_data(reference) {
            return Some(Err(self.not_allowed(reference, "data")));
        }
        let bytes = match inline::held(reference, &self.limits)? {
            Ok(bytes) => bytes,
            Err(error) => return Some(Err(error)),
        };
        Some(Ok(Fetched {
            bytes: bytes.into(),
            version: None,
        }))
    }

    async fn get(
        &self,
        url: &Url,
        author: Author<'_>,
        known: Option<&Version>,
    ) -> Result<Fetch, ImageError> {
        if !matches!(author, Author::Person) {
            self.check_scheme(url)?;
        }
        match url.scheme() {
            "file" => self.file(url, &author, known).await,
            "http" | "https" => {
                let trusted = match author {
                    // Whoever typed the URL of a server wants to read from it.
                    Author::Person => url.join("/").ok(),
                    Author::Table { base, relative } => base
                        .filter(|_| relative && self.policy.within.is_none())
                        .map(http_folder),
                };
                let server = trusted.map(|folder| Server {
                    folder,
                    token: None,
                });
                self.http(url, server.as_ref(), known).await
            }
            "hf" => {
                let refused = self.check_bucket(url, &author).err();
                if let Some(refused @ ImageError::OutsideRoot { .. }) = refused {
                    return Err(refused);
                }
                let server = Server {
                    folder: self.hub.root()?,
                    // Others' data sets are read as anybody reads them.
                    token: self.hub.token().filter(|_| refused.is_none()),
                };
                let fetched = self.http(&self.hub.file(url)?, Some(&server), known).await;
                match (fetched, refused, self.hub.token()) {
                    // It may be there for who says who asks.
                    (
                        Err(ImageError::PermissionDenied { .. } | ImageError::NotFound { .. }),
                        Some(refused @ ImageError::RefusedBucket { .. }),
                        Some(_),
                    ) => Err(refused),
                    (fetched, ..) => fetched,
                }
            }
            _ => {
                let own = self.check_bucket(url, &author)?;
                self.object(url, own, known).await
            }
        }
    }

    fn check_scheme(&self, url: &Url) -> Result<(), ImageError> {
        let schemes = &self.policy.schemes;
        if schemes.iter().any(|scheme| scheme == url.scheme()) {
            return Ok(());
        }
        Err(self.not_allowed(url.as_str(), url.scheme()))
    }

    /// Whether the bucket of `url` is one that its author reads from anyway.
    fn check_bucket(&self, url: &Url, author: &Author<'_>) -> Result<bool, ImageError> {
        let base = match author {
            Author::Person => return Ok(true),
            Author::Table { base, .. } => *base,
        };
        if !self.policy.is_within(url) {
            return Err(out_of_reach(url));
        }
        let Some(bucket) = Bucket::of(url) else {
            return Err(ImageError::BadReference {
                reference: shown(url.as_str()),
                reason: "no store has a bucket of that name".to_owned(),
            });
        };
        if base.and_then(Bucket::of).as_ref() == Some(&bucket) {
            return Ok(true);
        }
        match self.policy.buckets.contains(&bucket) {
            true => Ok(false),
            false => Err(ImageError::RefusedBucket {
                reference: shown(url.as_str()),
                bucket: bucket.to_string(),
            }),
        }
    }

    fn not_allowed(&self, reference: &str, scheme: &str) -> ImageError {
        ImageError::SchemeNotAllowed {
            reference: shown(reference),
            scheme: scheme.to_owned(),
            allowed: self.policy.schemes.join(", "),
        }
    }

    async fn file(
        &self,
        url: &Url,
        author: &Author<'_>,
        known: Option<&Version>,
    ) -> Result<Fetch, ImageError> {
        let wanted = Wanted {
            path: local_path(url)?,
            within: match author {
                Author::Person => None,
                Author::Table { base, .. } => Some(self.folders(url, *base)?),
            },
            known: known.cloned(),
            max_bytes: self.limits.max_bytes,
        };
        let _slot = self.slot(url).await?;
        let work = tokio::task::spawn_blocking(move || file::read(&wanted));
        let limit = self.limits.timeout;
        let content = match tokio::time::timeout(limit, work).await {
            Err(_) => return Err(timed_out(url, limit)),
            Ok(Err(error)) => return Err(unreadable(url, error.to_string(), None)),
            Ok(Ok(result)) => result.map_err(|e| file::error(url, e))?,
        };
        match content {
            Content::Bytes(bytes, version) => Ok(Fetch::Changed(Fetched { bytes, version })),
            Content::Unchanged => Ok(Fetch::Unchanged),
            Content::TooLarge(size) => Err(self.too_large(url, size)),
            Content::NotAFile(what) => Err(unreadable(url, format!("it is {what}"), None)),
            Content::Outside => Err(outside(url, author, self.policy.within.is_some())),
        }
    }

    /// The folders that the local references of a table at `base` may reach.
    fn folders(&self, url: &Url, base: Option<&Url>) -> Result<Vec<PathBuf>, ImageError> {
        let here = || {
            std::env::current_dir().map_err(|error| {
                let reason = format!("there is no current folder ({error})");
                unreadable(url, reason, Some(Arc::new(error)))
            })
        };
        if let Some(within) = &self.policy.within {
            let files = within.iter().filter(|place| place.scheme() == "file");
            return files.map(local_path).collect();
        }
        let mut folders = match base {
            None => vec![here()?],
            Some(base) if base.scheme() == "file" => vec![local_path(base)?],
            Some(_) => Vec::new(),
        };
        for folder in &self.policy.folders {
            folders.push(if folder.is_absolute() {
                folder.clone()
            } else {
                here()?.join(folder)
            });
        }
        Ok(folders)
    }

    async fn slot(&self, url: &Url) -> Result<SemaphorePermit<'_>, ImageError> {
        let slot = self.slots.acquire().await;
        slot.map_err(|error| unreadable(url, "the fetcher is closed".into(), Some(Arc::new(error))))
    }

    fn too_large(&self, url: &Url, size: u64) -> ImageError {
        ImageError::TooLarge {
            reference: shown(url.as_str()),
            size,
            limit: self.limits.max_bytes,
        }
    }
}

/// A body that is collected piece by piece and refused as soon as it outgrows the limit.
struct Body(BytesMut);

impl Body {
    fn new(announced: Option<u64>) -> Self {
        Body(BytesMut::with_capacity(
            announced.unwrap_or(0).min(RESERVED) as usize,
        ))
    }

    fn push(&mut self, inner: &Inner, url: &Url, chunk: &[u8]) -> Result<(), ImageError> {
        let size = (self.0.len() + chunk.len()) as u64;
        if size > inner.limits.max_bytes {
            return Err(inner.too_large(url, size));
        }
        self.0.extend_from_slice(chunk);
        Ok(())
    }
}

/// The error of an image that lies where nothing may be read. Whoever asks is not told where places are, so only its name is said.
fn out_of_reach(url: &Url) -> ImageError {
    let name = url.path_segments().and_then(Iterator::last);
    ImageError::OutsideRoot {
        reference: shown(name.unwrap_or_default()),
        root: "what this server gives access to".to_owned(),
        advice: "ask whoever runs it",
    }
}

fn outside(url: &Url, author: &Author<'_>, is_bounded: bool) -> ImageError {
    if is_bounded {
        return out_of_reach(url);
    }
    let root = match author {
        Author::Table {
            base: Some(base), ..
        } if base.scheme() == "file" => {
            format!("its table's folder '{}'", shown(base.as_str()))
        }
        Author::Table {
            base: Some(base), ..
        } => format!("its table at '{}'", shown(base.as_str())),
        Author::Table { base: None, .. } | Author::Person => "the current folder".to_owned(),
    };
    ImageError::OutsideRoot {
        reference: shown(url.as_str()),
        root,
        advice: "if it may be read, allow its folder with --allow-folder DIR",
    }
}

fn timed_out(url: &Url, limit: std::time::Duration) -> ImageError {
    ImageError::FetchTimedOut {
        reference: shown(url.as_str()),
        limit,
    }
}

fn unreadable(url: &Url, reason: String, source: Option<Cause>) -> ImageError {
    ImageError::Unreadable {
        reference: shown(url.as_str()),
        reason,
        source,
    }
}
