//! Buckets, through their stores, which retry by themselves.

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::GetOptions;
use object_store::client::{HttpError, HttpErrorKind};
use url::Url;

use super::{Body, Fetch, Fetched, Inner, timed_out};
use crate::error::ImageError;
use crate::error::kind::status_can_pass;
use crate::error::{Cause, find_cause, root_cause};
use crate::reference::shown;
use crate::version::Version;

impl Inner {
    pub(super) async fn object(
        &self,
        url: &Url,
        own: bool,
        known: Option<&Version>,
    ) -> Result<Fetch, ImageError> {
        let _slot = self.slot(url).await?;
        let limit = self.limits.timeout;
        match tokio::time::timeout(limit, self.read_object(url, own, known)).await {
            Ok(result) => result,
            Err(_) => Err(timed_out(url, limit)),
        }
    }

    async fn read_object(
        &self,
        url: &Url,
        own: bool,
        known: Option<&Version>,
    ) -> Result<Fetch, ImageError> {
        let (store, path) = match own {
            true => self.stores.get(url)?,
            false => self.stores.of_reference(url)?,
        };
        let tag = known.and_then(Version::object_tag);
        let options = GetOptions {
            if_none_match: tag.map(str::to_owned),
            ..GetOptions::default()
        };
        let result = match store.get_opts(&path, options).await {
            Err(object_store::Error::NotModified { .. }) if tag.is_some() => {
                return Ok(Fetch::Unchanged);
            }
            other => other.map_err(|e| object_error(url, e))?,
        };
        let version = Version::of_object(&result.meta);
        // Not every store knows conditions.
        if known.is_some() && version.as_ref() == known {
            return Ok(Fetch::Unchanged);
        }
        let size = result.meta.size;
        if size > self.limits.max_bytes {
            return Err(self.too_large(url, size));
        }
        let mut stream = result.into_stream();
        let mut body = Body::new(Some(size));
        while let Some(chunk) = stream
            .try_next()
            .await
            .map_err(|error| object_error(url, error))?
        {
            body.push(self, url, &chunk)?;
        }
        Ok(Fetch::Changed(Fetched {
            bytes: body.0.freeze(),
            version,
        }))
    }
}

fn object_error(url: &Url, error: object_store::Error) -> ImageError {
    use object_store::Error;
    let reference = shown(url.as_str());
    let reason = root_cause(&error);
    let transport = find_cause(&error).map(HttpError::kind);
    let (not_found, denied) = (
        matches!(error, Error::NotFound { .. }),
        matches!(
            error,
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. }
        ),
    );
    let source: Cause = Arc::new(error);
    if not_found {
        let source = Some(source);
        return ImageError::NotFound { reference, source };
    }
    if denied {
        let source = Some(source);
        return ImageError::PermissionDenied { reference, source };
    }
    match (transport, status(&reason)) {
        (Some(HttpErrorKind::Connect), _) => ImageError::Unreachable {
            reference,
            reason,
            can_pass: true,
            source,
        },
        (Some(HttpErrorKind::Request | HttpErrorKind::Timeout | HttpErrorKind::Interrupted), _) => {
            ImageError::Interrupted {
                reference,
                reason,
                source: Some(source),
            }
        }
        (_, Some(status)) if status_can_pass(status) => {
            ImageError::HttpStatus { reference, status }
        }
        _ => ImageError::Unreadable {
            reference,
            reason,
            source: Some(source),
        },
    }
}

/// The status in the store's message: it gives none in another way.
fn status(reason: &str) -> Option<u16> {
    let (_, rest) = reason.split_once("status code: ")?;
    rest.get(..3)?.parse().ok()
}
