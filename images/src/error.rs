//! What can go wrong between a reference and its pixels.
//!
//! One enum for the whole crate, because a failed image ends as one sentence in one row: the stage and the
//! reason. It is `Clone` (several rows may share one image), so sources sit behind `Arc`. Queries and passwords
//! of URLs never reach a message: a signed URL is a credential.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// The error beneath an [`ImageError`], shared between its clones.
pub type Cause = Arc<dyn StdError + Send + Sync>;

/// The part of the work in which an image failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// From a reference to bytes.
    Fetch,
    /// From bytes to pixels.
    Decode,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Stage::Fetch => "fetch",
            Stage::Decode => "decode",
        })
    }
}

/// Why an image could not be had. `Display` is one sentence without the stage; see [`ImageError::stage`].
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The reference is neither a path nor a URL, or leaves its folder's store.
    #[error("'{reference}' is not a usable image reference: {reason}")]
    BadReference {
        /// The reference as shown to a person.
        reference: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A URL whose scheme no store serves.
    #[error(
        "'{reference}' has the unsupported scheme '{scheme}'; use a path, file, s3, gs, az, abfs, http or https"
    )]
    UnsupportedScheme {
        /// The reference as shown to a person.
        reference: String,
        /// Its scheme.
        scheme: String,
    },
    /// The object store of a URL could not be set up from the environment.
    #[error("the store of '{url}' cannot be opened: {reason}")]
    Store {
        /// Scheme and authority.
        url: String,
        /// What the store says.
        reason: String,
        /// The store's error.
        source: Cause,
    },
    /// No such file, object or page (HTTP 404 and 410 included).
    #[error("'{reference}' does not exist")]
    NotFound {
        /// The reference as shown to a person.
        reference: String,
        /// What the system or the store said, unless it was a plain HTTP status.
        source: Option<Cause>,
    },
    /// The file, object or page may not be read (HTTP 401 and 403 included).
    #[error("no permission to read '{reference}'")]
    PermissionDenied {
        /// The reference as shown to a person.
        reference: String,
        /// What the system or the store said, unless it was a plain HTTP status.
        source: Option<Cause>,
    },
    /// A server answered with another status than success.
    #[error("the server answered '{reference}' with HTTP status {status}")]
    HttpStatus {
        /// The reference as shown to a person.
        reference: String,
        /// The last status, after the retries.
        status: u16,
    },
    /// Reading failed in another way: no connection, a folder, a broken transfer.
    #[error("'{reference}' cannot be read: {reason}")]
    Unreadable {
        /// The reference as shown to a person.
        reference: String,
        /// The innermost reason.
        reason: String,
        /// The error beneath, where there is one.
        source: Option<Cause>,
    },
    /// The file or object is larger than [`Limits::max_bytes`](crate::Limits::max_bytes).
    #[error("'{reference}' is larger than the limit: {size} bytes or more, {limit} allowed")]
    TooLarge {
        /// The reference as shown to a person.
        reference: String,
        /// Announced size, or what had arrived when reading stopped.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The fetch took longer than [`Limits::timeout`](crate::Limits::timeout).
    #[error("'{reference}' did not arrive within {limit:?}")]
    FetchTimedOut {
        /// The reference as shown to a person.
        reference: String,
        /// The limit.
        limit: Duration,
    },
    /// There are no bytes at all.
    #[error("the image is empty (0 bytes)")]
    Empty,
    /// The encoded image is larger than [`Limits::max_bytes`](crate::Limits::max_bytes).
    #[error("the encoded image has {size} bytes, {limit} are allowed")]
    TooManyBytes {
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The content is none of the formats that are decoded.
    #[error("the data is {found}, not a JPEG, PNG, WebP, GIF, BMP or TIFF image")]
    UnknownFormat {
        /// What the first bytes look like.
        found: String,
    },
    /// The data ends before the image does.
    #[error(
        "the {format} image is truncated: its data ends after {size} bytes, before the picture does"
    )]
    Truncated {
        /// Name of the format.
        format: &'static str,
        /// How many bytes there are.
        size: u64,
        /// The decoder's error, where there is one.
        source: Option<Cause>,
    },
    /// The data breaks the rules of its format.
    #[error("the {format} image is corrupt: {reason}")]
    Corrupt {
        /// Name of the format.
        format: &'static str,
        /// What the decoder says.
        reason: String,
        /// The decoder's error, where there is one.
        source: Option<Cause>,
    },
    /// The image uses a part of its format that no decoder here knows.
    #[error("the {format} image cannot be decoded: {feature} is not supported")]
    UnsupportedFeature {
        /// Name of the format.
        format: &'static str,
        /// The part that is missing.
        feature: String,
    },
    /// More pixels than [`Limits::max_pixels`](crate::Limits::max_pixels); found from the header.
    #[error("the image has {width} x {height} pixels, {limit} are allowed")]
    TooManyPixels {
        /// Width from the header.
        width: u32,
        /// Height from the header.
        height: u32,
        /// The limit in pixels.
        limit: u64,
    },
    /// A [`Geometry`](crate::Geometry) that no image can satisfy.
    #[error(
        "a centre crop of {size} pixels cannot be taken from a short side of {short_side}: it must be 1 to short side"
    )]
    BadGeometry {
        /// The requested short side.
        short_side: u32,
        /// The requested crop.
        size: u32,
    },
    /// The resizer refused the decoded image.
    #[error("the image of {width} x {height} pixels cannot be resized: {reason}")]
    Resize {
        /// Width of the decoded image.
        width: u32,
        /// Height of the decoded image.
        height: u32,
        /// What the resizer says.
        reason: String,
    },
    /// Decoding took longer than [`Limits::timeout`](crate::Limits::timeout).
    #[error("the image was not decoded within {limit:?}")]
    DecodeTimedOut {
        /// The limit.
        limit: Duration,
    },
    /// A codec, or what makes something of its pixels, panicked on this image.
    #[error("the image could not be decoded and prepared: {reason}")]
    DecoderPanicked {
        /// The panic's message.
        reason: String,
    },
    /// The threads of the pool could not be started.
    #[error("the decoding threads cannot be started: {source}")]
    PoolStart {
        /// The system's error.
        source: Cause,
    },
    /// The pool ended before it answered.
    #[error("the decoding threads have ended")]
    PoolClosed,
}

impl ImageError {
    /// The stage in which the image failed.
    pub fn stage(&self) -> Stage {
        match self {
            ImageError::BadReference { .. }
            | ImageError::UnsupportedScheme { .. }
            | ImageError::Store { .. }
            | ImageError::NotFound { .. }
            | ImageError::PermissionDenied { .. }
            | ImageError::HttpStatus { .. }
            | ImageError::Unreadable { .. }
            | ImageError::TooLarge { .. }
            | ImageError::FetchTimedOut { .. } => Stage::Fetch,
            ImageError::Empty
            | ImageError::TooManyBytes { .. }
            | ImageError::UnknownFormat { .. }
            | ImageError::Truncated { .. }
            | ImageError::Corrupt { .. }
            | ImageError::UnsupportedFeature { .. }
            | ImageError::TooManyPixels { .. }
            | ImageError::BadGeometry { .. }
            | ImageError::Resize { .. }
            | ImageError::DecodeTimedOut { .. }
            | ImageError::DecoderPanicked { .. }
            | ImageError::PoolStart { .. }
            | ImageError::PoolClosed => Stage::Decode,
        }
    }
}

/// The innermost error's text: libraries wrap "Connection refused" in sentences that repeat the URL.
pub(crate) fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}
