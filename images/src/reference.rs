//! References: what a table writes about where an image is, made into a URL.
//!
//! A table names files as its writer saw them, so in a path a space, `%`, `#` or `?` is a letter of the name. Only
//! what is written as an HTTP URL follows the URL syntax. Everything here is text: what a file name leads to on this
//! machine is checked where the file is opened.

use std::path::{Path, PathBuf};

use url::Url;

use crate::error::ImageError;
use crate::secrets::{is_obeyed, redacted};

/// Schemes of buckets, whose keys are literal: they know neither codes (`%20`) nor a query nor a fragment.
const OBJECT_SCHEMES: [&str; 6] = ["s3", "s3a", "gs", "az", "abfs", "abfss"];

/// Longest piece of a reference that a message repeats, in characters.
const SHOWN_CHARS: usize = 300;

/// Makes `reference` an absolute URL, which identifies the image.
///
/// - A URL (`scheme://...` or `file:/...`) of a supported scheme. In one of a bucket what follows the bucket is the key,
///   letter for letter: `a%20b.jpg` and `a b.jpg` are two objects. In one of a file `#` and `?` belong to the name.
/// - A file of a data set on the hub, `hf://datasets/owner/name/path` or `hf://datasets/owner/name@revision/path`, whose path is
///   literal too.
/// - An absolute path is a local file, whatever `base` is.
/// - Anything else is relative to the folder `base` (with or without its closing slash), or to the current directory
///   where `base` is `None`. Below a folder or bucket the characters are literal; below an HTTP base the reference
///   follows the URL syntax, so it may carry a query. Below a bucket or an HTTP base `..` must not leave `base`;
///   whether a local name does is known only when it is opened, so [`Fetcher`](crate::Fetcher) checks that.
///
/// ```
/// use picsift_images::resolve;
/// let base = url::Url::parse("s3://bucket/table")?;
/// assert_eq!(resolve("a b#1.jpg", Some(&base))?.as_str(), "s3://bucket/table/a%20b%231.jpg");
/// assert_eq!(resolve("s3://bucket/table/a b#1.jpg", None)?.as_str(), "s3://bucket/table/a%20b%231.jpg");
/// assert_eq!(resolve("/data/50%.jpg", Some(&base))?.as_str(), "file:///data/50%25.jpg");
/// assert_eq!(resolve("../x.jpg", Some(&base)).unwrap_err().kind(), "outside_root");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn resolve(reference: &str, base: Option<&Url>) -> Result<Url, ImageError> {
    let bad = |reason: &str| ImageError::BadReference {
        reference: shown(reference),
        reason: reason.to_owned(),
    };
    if reference.trim().is_empty() {
        return Err(bad("it is empty"));
    }
    if reference.contains('\0') {
        return Err(bad("it contains a zero byte"));
    }
    if let Some(scheme) = scheme_of(reference) {
        return absolute(reference, &scheme);
    }
    let below_http = base.is_some_and(|base| base.scheme().starts_with("http"));
    if let Some(reason) = slip(reference).filter(|_| !below_http) {
        return Err(bad(reason));
    }
    if Path::new(reference).is_absolute() {
        return file_url(Path::new(reference), reference);
    }
    match base {
        None => {
            let folder = std::env::current_dir()
                .map_err(|e| bad(&format!("there is no current directory ({e})")))?;
            file_url(&folder.join(reference), reference)
        }
        Some(base) => match base.scheme() {
            "file" => file_url(&local_path(base)?.join(reference), reference),
            "http" | "https" => {
                let folder = http_folder(base);
                let url = folder.join(reference).map_err(|e| bad(&e.to_string()))?;
                if is_below(&folder, &url) {
                    Ok(url)
                } else {
                    Err(outside(reference, base))
                }
            }
            _ => below(base, reference),
        },
    }
}

/// What a writer of `reference` did not mean, where that is sure; names of files may have blanks and backslashes in them.
fn slip(reference: &str) -> Option<&'static str> {
    let is_place = |text: &str| scheme_of(text).is_some() || text.starts_with('/');
    let bare = reference.trim_start_matches('\u{feff}').trim_start();
    if reference.starts_with('\u{feff}') {
        return Some(
            "it begins with a byte-order mark, which belongs to the file that it was read from",
        );
    }
    if bare.len() < reference.len() && is_place(bare) {
        return Some("a blank or line break comes before it");
    }
    if reference.starts_with("//") {
        return Some(
            "it names a host and no scheme: write https:// before a host, one slash before a path",
        );
    }
    match reference.as_bytes() {
        [b'\\', b'\\', ..] => Some("it is a path of a Windows network, which cannot be read here"),
        [drive, b':', b'\\' | b'/', ..] if drive.is_ascii_alphabetic() => {
            Some("it is a path of a Windows drive, which cannot be read here")
        }
        _ => None,
    }
}

/// Whether `reference` says itself where it is, so that its table's place plays no part.
pub fn is_absolute(reference: &str) -> bool {
    scheme_of(reference).is_some() || Path::new(reference).is_absolute()
}

/// `base` as the folder that relative references start from: with a closing slash, without a query.
pub(crate) fn http_folder(base: &Url) -> Url {
    let mut folder = base.clone();
    folder.set_query(None);
    folder.set_fragment(None);
    if let Ok(mut segments) = folder.path_segments_mut() {
        segments.pop_if_empty().push("");
    }
    folder
}

/// Whether the http(s) `url` is on the server of `folder` and below its path.
///
/// A server may decode `..%2f` before it looks for the file, some even twice, so such a path counts as climbing.
pub(crate) fn is_below(folder: &Url, url: &Url) -> bool {
    url.origin() == folder.origin()
        && url.path().starts_with(folder.path())
        && !climbs(url.path()[folder.path().len()..].to_owned())
}

fn climbs(mut path: String) -> bool {
    loop {
        if path.split(['/', '\\']).any(|part| part == "..") {
            return true;
        }
        let decoded = percent_decode(&path);
        if decoded == path {
            return false;
        }
        path = decoded;
    }
}

/// `%2e`, `%2f`, `%5c` and `%25` decoded once: all that a climbing path can be hidden with.
fn percent_decode(path: &str) -> String {
    let mut decoded = path.to_owned();
    for (code, letter) in [("2e", "."), ("2f", "/"), ("5c", "\\"), ("25", "%")] {
        decoded = decoded
            .replace(&format!("%{code}"), letter)
            .replace(&format!("%{}", code.to_ascii_uppercase()), letter);
    }
    decoded
}

fn outside(reference: &str, base: &Url) -> ImageError {
    ImageError::OutsideRoot {
        reference: shown(reference),
        root: format!("its table at '{}'", shown(base.as_str())),
        advice: "only a full URL may name a place outside of it",
    }
}

/// The scheme of `reference` in lower case, if it is written as a URL. A colon alone is part of a file name.
fn scheme_of(reference: &str) -> Option<String> {
    let colon = reference.find(':')?;
    let (scheme, rest) = (&reference[..colon], &reference[colon + 1..]);
    let well_formed = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let scheme = scheme.to_ascii_lowercase();
    let is_url =
        rest.starts_with("//") || (scheme == "file" && rest.starts_with('/')) || scheme == "data";
    (well_formed && is_url).then_some(scheme)
}

fn absolute(reference: &str, scheme: &str) -> Result<Url, ImageError> {
    if OBJECT_SCHEMES.contains(&scheme) || scheme == "hf" {
        return object(reference, scheme);
    }
    let parsed = match scheme {
        "file" => Url::parse(&reference.replace('#', "%23").replace('?', "%3F")),
        "http" | "https" => Url::parse(reference),
        _ => {
            return Err(ImageError::UnsupportedScheme {
                reference: shown(reference),
                scheme: scheme.to_owned(),
            });
        }
    };
    parsed.map_err(|e| ImageError::BadReference {
        reference: shown(reference),
        reason: e.to_string(),
    })
}

/// A bucket and a key of it, letter for letter.
fn object(reference: &str, scheme: &str) -> Result<Url, ImageError> {
    let bad = |reason: &str| ImageError::BadReference {
        reference: shown(reference),
        reason: reason.to_owned(),
    };
    let rest = &reference[scheme.len() + "://".len()..];
    let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.contains(['?', '#']) {
        return Err(bad("the name of a bucket has no '?' or '#'"));
    }
    let mut url = Url::parse(&format!("{scheme}://{bucket}/")).map_err(|e| bad(&e.to_string()))?;
    // Of Azure the container's name stands where others have a user's.
    let user = !url.username().is_empty() && !scheme.starts_with("ab") && scheme != "az";
    if user || url.password().is_some() || url.port().is_some() {
        return Err(bad("a bucket has no user, password or port"));
    }
    // A closing slash names a folder.
    let (key, folder) = match key.strip_suffix('/') {
        Some(key) => (key, true),
        None => (key, false),
    };
    if key.is_empty() && !folder {
        return Ok(url);
    }
    let mut segments = url
        .path_segments_mut()
        .map_err(|()| bad("it has no bucket"))?;
    segments.pop_if_empty();
    for part in key.split('/') {
        check_part(part).map_err(bad)?;
        if matches!(part, "." | "..") {
            return Err(bad(
                "a part of its key is '.' or '..', which no store here can ask for",
            ));
        }
        segments.push(part);
    }
    if folder {
        segments.push("");
    }
    drop(segments);
    Ok(url)
}

/// Refuses a part of a key that could not be asked for as it is written.
fn check_part(part: &str) -> Result<(), &'static str> {
    if part.is_empty() {
        return Err(
            "it has two slashes in a row, and a key with an empty part cannot be asked for",
        );
    }
    // The URL standard drops them, so that "..\n" would climb.
    if part.contains(['\t', '\n', '\r']) {
        return Err("it contains a line break or a tab");
    }
    Ok(())
}

fn file_url(path: &Path, reference: &str) -> Result<Url, ImageError> {
    Url::from_file_path(path).map_err(|()| ImageError::BadReference {
        reference: shown(reference),
        reason: "it does not make an absolute path".to_owned(),
    })
}

/// The local path of a `file:` URL.
pub(crate) fn local_path(url: &Url) -> Result<PathBuf, ImageError> {
    let bad = |reason: &str| ImageError::BadReference {
        reference: shown(url.as_str()),
        reason: reason.to_owned(),
    };
    let path = url
        .to_file_path()
        .map_err(|()| bad("a file URL names a path on this machine: file:///folder/name"))?;
    if path.as_os_str().as_encoded_bytes().contains(&0) {
        return Err(bad("it contains a zero byte"));
    }
    Ok(path)
}

/// `reference` as a literal name below the folder `base` of an object store.
fn below(base: &Url, reference: &str) -> Result<Url, ImageError> {
    let bad = |reason: &str| ImageError::BadReference {
        reference: shown(reference),
        reason: reason.to_owned(),
    };
    let mut url = base.clone();
    let mut depth = 0;
    let mut segments = url
        .path_segments_mut()
        .map_err(|()| bad("its table has no folder"))?;
    segments.pop_if_empty();
    for part in reference.strip_suffix('/').unwrap_or(reference).split('/') {
        check_part(part).map_err(bad)?;
        match part {
            "." => {}
            ".." if depth == 0 => return Err(outside(reference, base)),
            ".." => {
                segments.pop();
                depth -= 1;
            }
            name => {
                segments.push(name);
                depth += 1;
            }
        }
    }
    drop(segments);
    Ok(url)
}

/// Whether `text` is a `data:` URI.
pub(crate) fn is_data(text: &str) -> bool {
    text.get(..5)
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
}

/// Whether a reference has a part that may be a credential: a URL's query or password.
pub fn may_hold_credential(reference: &str) -> bool {
    let url = Url::parse(reference).ok().filter(Url::has_host);
    url.is_some_and(|url| {
        url.query().is_some()
            || url.password().is_some()
            || (url.scheme().starts_with("http") && !url.username().is_empty())
    })
}

/// `message` about an image of a table in `folder`, with names as they are below that: where a table lies on a machine is of no use to others,
/// who read its failures too.
pub fn beside(message: &str, folder: &Url) -> String {
    let folder = shown(folder.as_str());
    let bare = folder.trim_end_matches('/');
    if bare.is_empty() || !message.contains(bare) {
        return message.to_owned();
    }
    let mut message = message.to_owned();
    for named in [
        format!(" at '{bare}/'"),
        format!(" '{bare}/'"),
        format!(" at '{bare}'"),
        format!(" '{bare}'"),
    ] {
        message = message.replace(&named, "");
    }
    message.replace(&format!("'{bare}/"), "'")
}

/// `reference` for a message: without query, user and password, which may be credentials, not endlessly long, and with control characters
/// written as `\u{1b}`.
pub fn shown(reference: &str) -> String {
    // What a reference holds itself says nothing to people, and there may be megabytes of it.
    if is_data(reference) {
        let head = reference.split(',').next().unwrap_or_default();
        let head: String = head.chars().take(80).filter(|c| !is_obeyed(*c)).collect();
        return format!("{head},...");
    }
    let text = match Url::parse(reference) {
        Ok(url) if url.scheme() == "file" => match url.to_file_path() {
            Ok(path) => path.display().to_string(),
            Err(()) => reference.to_owned(),
        },
        Ok(mut url) if url.has_host() => {
            let query = url.query().is_some();
            url.set_query(None);
            url.set_fragment(None);
            let _ = url.set_password(None);
            // Of Azure the container's name stands where others have a user's.
            if !url.scheme().starts_with("ab") && url.scheme() != "az" {
                let _ = url.set_username("");
            }
            if query {
                format!("{url}?...")
            } else {
                url.to_string()
            }
        }
        _ => redacted(reference).into_owned(),
    };
    // What is written counts: a control character takes six places.
    let (mut written, mut length) = (String::new(), 0);
    for c in text.chars() {
        let escape = is_obeyed(c).then(|| c.escape_unicode());
        length += escape.as_ref().map_or(1, |escape| escape.len());
        if length > SHOWN_CHARS {
            written.push_str("...");
            break;
        }
        match escape {
            Some(escape) => written.extend(escape),
            None => written.push(c),
        }
    }
    written
}

#[cfg(test)]
mod tests;
