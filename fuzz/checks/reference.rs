//! Any text as a reference, under tables on disk, in buckets and on servers: what is relative stays below its table.
//!
//! Called by the fuzz target with what it finds, and by the tests with what was found.

use picsift_images::{Stage, resolve};
use url::Url;

const BASES: [&str; 7] = [
    "file:///data/table/",
    "s3://bucket/a/table",
    "gs://bucket/",
    "az://container/table/",
    "http://host.test/table?version=1",
    "https://me@host.test:8443/a/table/",
    "https://host.test",
];

/// Whether a reference says itself where the image is: `scheme://`, `file:/`, `data:` or an absolute path.
fn is_absolute(reference: &str) -> bool {
    let scheme = reference.split_once(':').is_some_and(|(scheme, rest)| {
        let named = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        let local = scheme.eq_ignore_ascii_case("file") && rest.starts_with('/');
        named && (rest.starts_with("//") || local || scheme.eq_ignore_ascii_case("data"))
    });
    scheme || reference.starts_with('/')
}

/// What a careless server may make of a path: every escape decoded, again and again.
fn decoded(path: &str) -> Vec<u8> {
    let mut bytes = path.as_bytes().to_vec();
    loop {
        let mut next = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            let digits = bytes.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
            let digits = digits.and_then(|d| std::str::from_utf8(d).ok());
            match digits.and_then(|d| {
                u8::from_str_radix(d, 16)
                    .ok()
                    .filter(|_| !d.starts_with('+'))
            }) {
                Some(byte) => {
                    next.push(byte);
                    at += 3;
                }
                None => {
                    next.push(bytes[at]);
                    at += 1;
                }
            }
        }
        if next == bytes {
            return bytes;
        }
        bytes = next;
    }
}

/// Whether following a path from its table leads out of it at any point. To a server a backslash may be a slash; in the
/// key of an object it is a character like any other.
fn leaves(path: &[u8], server: bool) -> bool {
    let mut depth = 0;
    path.split(|&b| b == b'/' || server && b == b'\\')
        .any(|part| {
            match part {
                b"" | b"." => {}
                b".." => depth -= 1,
                _ => depth += 1,
            }
            depth < 0
        })
}

/// # Panics
/// Where it does not hold.
pub(crate) fn holds(text: &str) {
    let bases = BASES.map(|base| Url::parse(base).expect("a base"));
    for base in [None].into_iter().chain(bases.iter().map(Some)) {
        let url = match resolve(text, base) {
            Ok(url) => url,
            Err(error) => {
                assert_eq!(error.stage(), Stage::Fetch);
                assert!(error.to_string().chars().count() < 1_000, "{error}");
                continue;
            }
        };
        // A URL is passed on as text. Read again it must be the same, but for a local path: what `..`, drive letters and
        // hosts in it mean is known when it is opened, and checked there.
        let again = Url::parse(url.as_str()).expect("a URL");
        assert!(
            again == url || url.scheme() == "file" && again.scheme() == "file",
            "{text:?}: {url} and {again}"
        );
        let Some(base) = base.filter(|_| !is_absolute(text)) else {
            continue;
        };
        assert_eq!(url.scheme(), base.scheme(), "{text:?}");
        assert_eq!(url.host(), base.host(), "{text:?}");
        assert_eq!(url.port(), base.port(), "{text:?}");
        // Where a name on disk leads is known when it is opened, and checked there.
        if base.scheme() != "file" {
            let folder = format!("{}/", base.path().trim_end_matches('/'));
            let rest = format!("{}/", url.path());
            let rest = rest
                .strip_prefix(&folder)
                .unwrap_or_else(|| panic!("{text:?} leads to {url}"));
            let server = base.scheme().starts_with("http");
            let walked = if server {
                decoded(rest)
            } else {
                rest.as_bytes().to_vec()
            };
            assert!(!leaves(&walked, server), "{text:?} leads to {url}");
        }
    }
}
