//! What tells one state of an image from the next without reading it.
//!
//! A version is what a place says about its content: the facts of a file, the tag of an object, the validators of an
//! HTTP answer. A version is made only where an equal one means equal bytes; where that is not sure there is none,
//! and the image is read again.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use cap_std::fs::{Metadata, MetadataExt};
use object_store::ObjectMeta;
use reqwest::header::{
    DATE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};
use url::Url;

use crate::digest::{hex, sha256};

/// How old the last change must be: clocks of file systems and of HTTP tick in up to two seconds, and a second change
/// within one tick would not show.
const SETTLED: Duration = Duration::from_secs(2);

/// The state of an image where it is stored: equal versions of one reference mean equal bytes.
///
/// It is an opaque text of at most 256 bytes that may be stored and read again. It belongs to the reference that it
/// was given for and says nothing about another one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version(String);

/// A text that no [`Version`] can have: empty, longer than 256 bytes, or with control characters.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "the version of an image is a text of 1 to 256 bytes without control characters, not one of {length} bytes"
)]
pub struct VersionError {
    /// Length of the text in bytes.
    pub length: usize,
}

impl Version {
    /// Longest version in bytes.
    pub const MAX_BYTES: usize = 256;

    fn new(text: String) -> Option<Version> {
        text.parse().ok()
    }

    /// Size, times of the last change of content and of attributes, and inode of a file.
    ///
    /// None where either time is not two seconds old. The time of the content can be set by anyone (`cp -p`), that of
    /// the attributes cannot, and it changes with every write.
    pub(crate) fn of_file(meta: &Metadata) -> Option<Version> {
        let now = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .ok()?;
        let settled = i64::try_from(now.checked_sub(SETTLED)?.as_nanos()).ok()?;
        let nanoseconds =
            |seconds: i64, part: i64| seconds.checked_mul(1_000_000_000)?.checked_add(part);
        let content = nanoseconds(meta.mtime(), meta.mtime_nsec())?;
        let attributes = nanoseconds(meta.ctime(), meta.ctime_nsec())?;
        if content > settled || attributes > settled {
            return None;
        }
        let (size, inode) = (meta.len(), meta.ino());
        Version::new(format!("file {size} {content} {attributes} {inode}"))
    }

    /// The tag of an object, or its version in the bucket.
    pub(crate) fn of_object(meta: &ObjectMeta) -> Option<Version> {
        match (&meta.e_tag, &meta.version) {
            // A weak tag stands for objects that mean the same, not for the same bytes.
            (Some(tag), _) if !is_weak(tag) => Version::new(format!("object {tag}")),
            (_, Some(version)) => Version::new(format!("object-version {version}")),
            _ => None,
        }
    }

    /// The tag to ask an object store with.
    pub(crate) fn object_tag(&self) -> Option<&str> {
        self.0.strip_prefix("object ")
    }

    /// A strong `ETag`, or a `Last-Modified` well before the answer's `Date`. The URL belongs to it: a redirect that
    /// leads elsewhere is a change, whatever the validators say.
    pub(crate) fn of_response(url: &Url, headers: &HeaderMap) -> Option<Version> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let place = place(url);
        if let Some(tag) = text(ETAG).filter(|tag| !is_weak(tag)) {
            return Version::new(format!("http {place} tag {tag}"));
        }
        let modified = text(LAST_MODIFIED)?;
        let time = httpdate::parse_http_date(modified).ok()?;
        let answered = httpdate::parse_http_date(text(DATE)?).ok()?;
        if answered.duration_since(time).ok()? < SETTLED {
            return None;
        }
        Version::new(format!("http {place} date {modified}"))
    }

    /// The header that asks the server of `url` whether this version still holds; none if it is of another URL.
    pub(crate) fn condition(&self, url: &Url) -> Option<(HeaderName, HeaderValue)> {
        let rest = self
            .0
            .strip_prefix("http ")?
            .strip_prefix(place(url).as_str())?;
        let (name, value) = match rest.strip_prefix(" tag ") {
            Some(tag) => (IF_NONE_MATCH, tag),
            None => (IF_MODIFIED_SINCE, rest.strip_prefix(" date ")?),
        };
        Some((name, HeaderValue::from_str(value).ok()?))
    }
}

fn is_weak(tag: &str) -> bool {
    tag.starts_with("W/")
}

/// A short name for a URL, without its secrets.
fn place(url: &Url) -> String {
    let hash = sha256(url[..url::Position::AfterQuery].as_bytes());
    hex(&hash[..8])
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || text.len() > Self::MAX_BYTES || text.contains(char::is_control) {
            return Err(VersionError { length: text.len() });
        }
        Ok(Version(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(&'static str, &str)]) -> Option<String> {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        let url = Url::parse("http://h/a.jpg").unwrap();
        Version::of_response(&url, &headers).map(|version| {
            let stored = version.to_string();
            assert_eq!(stored.parse::<Version>().unwrap(), version);
            let other = Url::parse("http://h/b.jpg").unwrap();
            assert!(version.condition(&other).is_none());
            let (name, value) = version.condition(&url).unwrap();
            format!("{name}: {}", value.to_str().unwrap())
        })
    }

    #[test]
    fn only_sure_validators_make_a_version() {
        let modified = ("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        let later = ("date", "Sun, 06 Nov 1994 08:49:39 GMT");
        let soon = ("date", "Sun, 06 Nov 1994 08:49:38 GMT");
        let since = Some("if-modified-since: Sun, 06 Nov 1994 08:49:37 GMT".to_owned());
        assert_eq!(
            of(&[("etag", "\"a\""), modified, later]),
            Some("if-none-match: \"a\"".to_owned())
        );
        assert_eq!(of(&[("etag", "W/\"a\""), modified, later]), since);
        assert_eq!(of(&[modified, later]), since);
        assert_eq!(of(&[modified, soon]), None);
        assert_eq!(of(&[modified]), None);
        assert_eq!(of(&[("last-modified", "yesterday"), later]), None);
        assert_eq!(of(&[("etag", &format!("\"{}\"", "x".repeat(300)))]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn a_stored_text_is_checked() {
        for text in ["", "a\nb", &"x".repeat(257)] {
            assert!(text.parse::<Version>().is_err());
        }
        assert!("x".repeat(256).parse::<Version>().is_ok());
    }
}
