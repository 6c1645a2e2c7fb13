//! What can go wrong between a reference and its pixels.
//!
//! One enum for the whole crate, because a failed image ends as one sentence in one row: the stage and the
//! reason. It is `Clone` (several rows may share one image), so sources sit behind `Arc`. Queries and passwords
//! of URLs never reach a message: a signed URL is a credential.

pub(crate) mod kind;

use std::any::Any;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::secrets::{escaped, redacted};

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
        "'{reference}' has the unsupported scheme '{scheme}'; use a path, file, s3, gs, az, abfs, hf, http, https or data"
    )]
    UnsupportedScheme {
        /// The reference as shown to a person.
        reference: String,
        /// Its scheme.
        scheme: String,
    },
    /// A scheme that [`FetchPolicy::schemes`](crate::FetchPolicy::schemes) does not list.
    #[error(
        "'{reference}' has the scheme '{scheme}', which the settings do not allow; allowed are: {allowed}"
    )]
    SchemeNotAllowed {
        /// The reference as shown to a person.
        reference: String,
        /// Its scheme.
        scheme: String,
        /// The allowed ones, separated by commas.
        allowed: String,
    },
    /// A reference that leads out of its table's folder, by `..`, by a link or by an absolute path.
    #[error("'{reference}' leads out of {root}; {advice}")]
    OutsideRoot {
        /// The reference as shown to a person.
        reference: String,
        /// What it must stay below.
        root: String,
        /// What the person can do.
        advice: &'static str,
    },
    /// A host whose address is private, loopback, link-local or otherwise not public.
    #[error(
        "'{reference}' leads to {place}, which is not a public address; if it may be read, allow it with --allow-host {host}"
    )]
    RefusedAddress {
        /// The reference as shown to a person.
        reference: String,
        /// The address, with the host's name where it has one.
        place: String,
        /// The host as [`AllowedHost`](crate::AllowedHost) reads it.
        host: String,
    },
    /// A bucket that is neither its table's own nor allowed, or a data set of the hub that is read only with the token.
    #[error(
        "'{reference}' is in another bucket than its table; if it may be read, with your credentials, allow it with --allow-bucket {bucket}"
    )]
    RefusedBucket {
        /// The reference as shown to a person.
        reference: String,
        /// The bucket as [`Bucket`](crate::Bucket) reads it.
        bucket: String,
    },
    /// A redirect to where none may lead: from https to http, or to another scheme.
    #[error("'{reference}' redirects to '{target}', which is refused: {reason}")]
    RefusedRedirect {
        /// The reference as shown to a person.
        reference: String,
        /// Where it leads, as shown to a person.
        target: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// A chain of redirects without an end.
    #[error("'{reference}' redirects more than {limit} times")]
    TooManyRedirects {
        /// The reference as shown to a person.
        reference: String,
        /// How many are followed.
        limit: usize,
    },
    /// A host that has only failed for a while, so that it is not asked for the time being.
    #[error(
        "'{reference}' was not asked for: for {seconds} s its server {host} has failed or kept every image waiting; --retry-failed asks again"
    )]
    GivenUp {
        /// The reference as shown to a person.
        reference: String,
        /// The host.
        host: String,
        /// For how long it has failed.
        seconds: u64,
    },
    /// The server asks that the image is not used for machine learning.
    #[error(
        "the server of '{reference}' asks not to use it for machine learning (X-Robots-Tag: {directive}); --ignore-robots reads it all the same"
    )]
    Robots {
        /// The reference as shown to a person.
        reference: String,
        /// `noai` or `noimageai`.
        directive: &'static str,
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
    /// No connection to the host: its name is not known, nothing listens, TLS fails.
    #[error("'{reference}' cannot be reached: {reason}")]
    Unreachable {
        /// The reference as shown to a person.
        reference: String,
        /// The innermost reason.
        reason: String,
        /// Whether it may be reached later; not so with a bad certificate.
        can_pass: bool,
        /// The error beneath.
        source: Cause,
    },
    /// The connection broke, or the body ended before the announced length.
    #[error("the transfer of '{reference}' broke off: {reason}")]
    Interrupted {
        /// The reference as shown to a person.
        reference: String,
        /// The innermost reason.
        reason: String,
        /// The error beneath, where there is one.
        source: Option<Cause>,
    },
    /// The server kept the connection open and sent nothing.
    #[error("the server of '{reference}' sent nothing for {limit:?}")]
    Stalled {
        /// The reference as shown to a person.
        reference: String,
        /// How long the silence may be: half of [`Limits::timeout`](crate::Limits::timeout).
        limit: Duration,
    },
    /// A body that the server compressed although it was asked not to. Nothing is decompressed: a small body could
    /// become a huge one.
    #[error("the server sends '{reference}' compressed with {encoding}, which was not asked for")]
    Compressed {
        /// The reference as shown to a person.
        reference: String,
        /// The `Content-Encoding`.
        encoding: String,
    },
    /// Reading failed in another way: a folder, a bucket's refusal.
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
    /// The content is no picture, or none whose format is known.
    #[error("the data is {found}, not a JPEG, PNG, WebP, GIF, BMP, TIFF or JPEG XL image")]
    UnknownFormat {
        /// What the first bytes look like.
        found: String,
    },
    /// The content is a picture, video or document of a format that is known and not decoded.
    #[error(
        "the data is {found}, not a JPEG, PNG, WebP, GIF, BMP, TIFF or JPEG XL image; {advice}"
    )]
    UnsupportedFormat {
        /// What it is.
        found: &'static str,
        /// What the person can do.
        advice: &'static str,
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
    #[error(
        "the {format} image cannot be decoded: {feature} is not supported; save it as an ordinary JPEG or PNG first"
    )]
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
    /// Decoding takes more than [`Limits::max_memory`](crate::Limits::max_memory); found from the header.
    #[error(
        "decoding the image of {width} x {height} pixels takes {needed} bytes of memory, and all images together may take {limit}; if there is enough, allow it with --max-image-memory {needed}"
    )]
    TooMuchMemory {
        /// Width from the header.
        width: u32,
        /// Height from the header.
        height: u32,
        /// Bytes that it takes.
        needed: u64,
        /// The limit in bytes.
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
    /// A copy of the image could not be encoded.
    #[error("the copy of {width} x {height} pixels cannot be encoded as JPEG: {reason}")]
    Encode {
        /// Width of the copy.
        width: u32,
        /// Height of the copy.
        height: u32,
        /// What the encoder says.
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
    /// The process that decoded the image ended, or was ended.
    #[error("the process that decoded the image was lost: {how}")]
    DecoderEnded {
        /// What became of it.
        how: String,
    },
    /// What a process that decodes said of the image.
    #[error("{message}")]
    Reported {
        /// The word of [`ImageError::kind`].
        kind: &'static str,
        /// The sentence.
        message: String,
    },
    /// The threads or processes of the pool could not be started.
    #[error("what decodes cannot be started: {source}")]
    PoolStart {
        /// The system's error.
        source: Cause,
    },
    /// The pool ended before it answered.
    #[error("the decoding threads have ended")]
    PoolClosed,
}

/// The innermost error's text: libraries wrap "Connection refused" in sentences that repeat the URL.
pub(crate) fn root_cause(error: &(dyn StdError + 'static)) -> String {
    let mut inner = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    bounded(said(&inner.to_string()))
}

/// What an error of a store says, without what its server wrote: that may repeat the request with all that is in it. Of the document of
/// S3 and Azure the code stays.
fn said(reason: &str) -> String {
    let answered = reason
        .find("status code: ")
        .map(|at| at + "status code: ".len());
    let body = answered.and_then(|at| Some(at + reason[at..].find(": ")?));
    let Some(body) = body else {
        return redacted(reason).into_owned();
    };
    let code = reason[body..].split_once("<Code>").map(|(_, rest)| rest);
    let code = code.and_then(|rest| rest.split_once("</Code>"));
    let code = code
        .map(|(code, _)| code)
        .filter(|code| code.len() <= MOST_CODE && code.chars().all(|c| c.is_ascii_alphanumeric()));
    let before = redacted(&reason[..body]);
    match code {
        Some(code) => format!("{before}: {code}"),
        None => before.into_owned(),
    }
}

/// Longest code of an error.
const MOST_CODE: usize = 64;

/// Most characters of a reason that others have written: some decoders print whole tables of the file.
const MOST_REASON: usize = 300;

/// A reason short enough for a sentence.
pub(crate) fn bounded(reason: String) -> String {
    match reason.char_indices().nth(MOST_REASON) {
        None => reason,
        Some((end, _)) => format!("{}...", &reason[..end]),
    }
}

/// What a panic says.
pub(crate) fn panicked(panic: &(dyn Any + Send)) -> ImageError {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    ImageError::DecoderPanicked {
        reason: text.unwrap_or_else(|| "it panicked without a message".to_owned()),
    }
}

/// What a process says of an image that it cannot decode; `None` for a word that none says of one.
pub(crate) fn reported(kind: &str, message: &str) -> Option<ImageError> {
    let kind = DECODING.into_iter().find(|known| *known == kind)?;
    let message = message.replace(['\n', '\t'], " ");
    let message = escaped(&bounded(message)).into_owned();
    Some(ImageError::Reported { kind, message })
}

/// The words of [`ImageError::kind`] for what decoding finds.
const DECODING: [&str; 14] = [
    "empty",
    "too_large",
    "unknown_format",
    "unsupported_format",
    "truncated",
    "corrupt",
    "unsupported_feature",
    "too_many_pixels",
    "too_much_memory",
    "bad_geometry",
    "resize",
    "encode",
    "timed_out",
    "panicked",
];

/// The first error of type `E` among `error` and what is beneath it.
pub(crate) fn find_cause<'a, E: StdError + 'static>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
