//! The bytes of one reference, within the limits.
//!
//! Three ways, one for each kind of place. Local files are read directly: `object_store` refuses some names (`a#1`)
//! and hides what is a folder or a pipe. HTTP is asked with `object_store`'s client but not through its store, which
//! insists on a Content-Length and does not tell the status. Buckets go through their stores.

use std::error::Error as StdError;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::client::{HttpErrorKind, HttpRequest, HttpRequestBody, HttpResponse};
use object_store::{GetOptions, ObjectStore};
use tokio::sync::Semaphore;
use url::Url;

use crate::error::{Cause, root_cause};
use crate::reference::{local_path, resolve, shown};
use crate::{ImageError, Limits, Stores};

/// Pauses before the second and third attempt at an HTTP server that is busy, broken or not reached.
const PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(400)];

/// Most of an announced size that is reserved at once: the announcement may lie.
const RESERVED: u64 = 1 << 20;

/// Fetches images, a bounded number at a time. Clones share that bound.
#[derive(Debug, Clone)]
pub struct Fetcher {
    stores: Arc<Stores>,
    slots: Arc<Semaphore>,
    limits: Limits,
}

impl Fetcher {
    /// At most `concurrency` fetches (0 counts as 1) are under way at once; others wait.
    pub fn new(stores: Arc<Stores>, concurrency: usize, limits: Limits) -> Self {
        let slots = concurrency.clamp(1, Semaphore::MAX_PERMITS);
        Fetcher {
            stores,
            slots: Arc::new(Semaphore::new(slots)),
            limits,
        }
    }

    /// The bytes that `reference` names, [resolved](resolve) against the folder `base`.
    ///
    /// The size limit is checked against what is announced and again while the bytes arrive. The timeout covers the
    /// fetch with its retries, not the wait for a free slot. Must be called within a tokio runtime with time and I/O.
    pub async fn fetch(&self, reference: &str, base: Option<&Url>) -> Result<Bytes, ImageError> {
        let url = resolve(reference, base)?;
        let _slot = self
            .slots
            .acquire()
            .await
            .map_err(|_| unreadable(&url, "the fetcher is closed".into(), None))?;
        let limit = self.limits.timeout;
        let work = async {
            match url.scheme() {
                "file" => self.file(&url).await,
                "http" | "https" => self.http(&url).await,
                _ => self.object(&url).await,
            }
        };
        match tokio::time::timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => Err(ImageError::FetchTimedOut {
                reference: shown(url.as_str()),
                limit,
            }),
        }
    }

    async fn file(&self, url: &Url) -> Result<Bytes, ImageError> {
        let path = local_path(url)?;
        let max = self.limits.max_bytes;
        match tokio::task::spawn_blocking(move || read_file(&path, max)).await {
            Ok(Ok(FileContent::Bytes(bytes))) => Ok(bytes),
            Ok(Ok(FileContent::TooLarge(size))) => Err(self.too_large(url, size)),
            Ok(Ok(FileContent::NotAFile(what))) => {
                Err(unreadable(url, format!("it is {what}"), None))
            }
            Ok(Err(error)) => Err(io_error(url, error)),
            Err(error) => Err(unreadable(url, error.to_string(), None)),
        }
    }

    async fn http(&self, url: &Url) -> Result<Bytes, ImageError> {
        let mut pauses = PAUSES.iter();
        loop {
            let failed = match self.http_once(url).await {
                Ok(bytes) => return Ok(bytes),
                Err(failed) => failed,
            };
            match pauses.next() {
                Some(pause) if failed.passing => tokio::time::sleep(*pause).await,
                _ => return Err(failed.error),
            }
        }
    }

    async fn http_once(&self, url: &Url) -> Result<Bytes, Attempt> {
        let client = self.stores.http_client(url)?;
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        let target = &url[..url::Position::AfterQuery];
        *request.uri_mut() = target.parse().map_err(|_| ImageError::BadReference {
            reference: shown(url.as_str()),
            reason: "it is not a URL that can be requested".to_owned(),
        })?;
        let response = client
            .execute(request)
            .await
            .map_err(|e| http_error(url, e))?;
        let status = response.status().as_u16();
        if status != 200 {
            let passing = status >= 500 || status == 429;
            return Err(Attempt {
                error: status_error(url, status),
                passing,
            });
        }
        let announced = content_length(&response);
        if let Some(size) = announced.filter(|&size| size > self.limits.max_bytes) {
            return Err(self.too_large(url, size).into());
        }
        let body = response
            .into_body()
            .bytes_stream()
            .map_err(|e| http_error(url, e))
            .boxed();
        self.collect(url, announced, body).await
    }

    async fn object(&self, url: &Url) -> Result<Bytes, ImageError> {
        let (store, path) = self.stores.get(url)?;
        let result = store
            .get_opts(&path, GetOptions::default())
            .await
            .map_err(|e| object_error(url, e))?;
        let size = result.meta.size;
        if size > self.limits.max_bytes {
            return Err(self.too_large(url, size));
        }
        let body = result
            .into_stream()
            .map_err(|e| object_error(url, e))
            .boxed();
        self.collect(url, Some(size), body).await
    }

    /// Collects a body, stopping as soon as it outgrows the limit.
    async fn collect<E: From<ImageError>>(
        &self,
        url: &Url,
        announced: Option<u64>,
        mut body: BoxStream<'_, Result<Bytes, E>>,
    ) -> Result<Bytes, E> {
        let reserved = announced.unwrap_or(0).min(RESERVED) as usize;
        let mut bytes = BytesMut::with_capacity(reserved);
        while let Some(chunk) = body.try_next().await? {
            let size = (bytes.len() + chunk.len()) as u64;
            if size > self.limits.max_bytes {
                return Err(self.too_large(url, size).into());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }

    fn too_large(&self, url: &Url, size: u64) -> ImageError {
        ImageError::TooLarge {
            reference: shown(url.as_str()),
            size,
            limit: self.limits.max_bytes,
        }
    }
}

/// A failed HTTP attempt, and whether the next one may fare better.
struct Attempt {
    error: ImageError,
    passing: bool,
}

impl From<ImageError> for Attempt {
    fn from(error: ImageError) -> Self {
        Attempt {
            error,
            passing: false,
        }
    }
}

enum FileContent {
    Bytes(Bytes),
    TooLarge(u64),
    NotAFile(&'static str),
}

fn read_file(path: &Path, max: u64) -> io::Result<FileContent> {
    // Asked before opening: to open a pipe without a writer would hang this thread for ever.
    let meta = std::fs::metadata(path)?;
    if meta.is_dir() {
        return Ok(FileContent::NotAFile("a folder"));
    }
    if !meta.is_file() {
        return Ok(FileContent::NotAFile("not a regular file"));
    }
    if meta.len() > max {
        return Ok(FileContent::TooLarge(meta.len()));
    }
    let mut bytes = Vec::with_capacity(meta.len() as usize + 1);
    // The file may grow meanwhile, hence the second check.
    File::open(path)?
        .take(max.saturating_add(1))
        .read_to_end(&mut bytes)?;
    let size = bytes.len() as u64;
    Ok(if size > max {
        FileContent::TooLarge(size)
    } else {
        FileContent::Bytes(bytes.into())
    })
}

fn content_length(response: &HttpResponse) -> Option<u64> {
    response
        .headers()
        .get("content-length")?
        .to_str()
        .ok()?
        .parse()
        .ok()
}

fn unreadable(url: &Url, reason: String, source: Option<Cause>) -> ImageError {
    ImageError::Unreadable {
        reference: shown(url.as_str()),
        reason,
        source,
    }
}

fn io_error(url: &Url, error: io::Error) -> ImageError {
    let reference = shown(url.as_str());
    let (kind, reason) = (error.kind(), error.to_string());
    let source: Option<Cause> = Some(Arc::new(error));
    match kind {
        // A path through a file ("a.jpg/b.jpg") does not exist either.
        ErrorKind::NotFound | ErrorKind::NotADirectory => {
            ImageError::NotFound { reference, source }
        }
        ErrorKind::PermissionDenied => ImageError::PermissionDenied { reference, source },
        _ => ImageError::Unreadable {
            reference,
            reason,
            source,
        },
    }
}

fn status_error(url: &Url, status: u16) -> ImageError {
    let reference = shown(url.as_str());
    match status {
        404 | 410 => ImageError::NotFound {
            reference,
            source: None,
        },
        401 | 403 => ImageError::PermissionDenied {
            reference,
            source: None,
        },
        _ => ImageError::HttpStatus { reference, status },
    }
}

fn http_error(url: &Url, error: object_store::client::HttpError) -> Attempt {
    let passing = matches!(
        error.kind(),
        HttpErrorKind::Connect
            | HttpErrorKind::Request
            | HttpErrorKind::Timeout
            | HttpErrorKind::Interrupted
    );
    let reason = root_cause(&error);
    Attempt {
        error: unreadable(url, reason, Some(Arc::new(error))),
        passing,
    }
}

fn object_error(url: &Url, error: object_store::Error) -> ImageError {
    let reference = shown(url.as_str());
    let not_found = matches!(error, object_store::Error::NotFound { .. });
    let denied = matches!(
        error,
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. }
    );
    let reason = root_cause(&error as &(dyn StdError + 'static));
    let source: Option<Cause> = Some(Arc::new(error));
    if not_found {
        ImageError::NotFound { reference, source }
    } else if denied {
        ImageError::PermissionDenied { reference, source }
    } else {
        ImageError::Unreadable {
            reference,
            reason,
            source,
        }
    }
}
