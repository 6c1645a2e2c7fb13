//! From a person's text to the location of a table, and back.
//!
//! It looks at the file system only to see what a name is; what lies at a location is `listing`'s to know.

use std::borrow::Cow;
use std::path::Path;

use datafusion::common::{Result, plan_datafusion_err, plan_err};
use datafusion::datasource::listing::ListingTableUrl;
use glob::Pattern;
use url::Url;

use super::names::Kind;
use crate::error::innermost;

/// The location that a person's text names: a local path, a URL, or either with a glob in it.
///
/// # Errors
/// A planning error when a local file or folder is not there or the text is no URL.
pub fn locate(text: &str) -> Result<ListingTableUrl> {
    let remote = text.contains("://") && !text.starts_with("file:");
    if remote {
        return locate_remote(text);
    }
    let local = without_steps_up(text.strip_prefix("file://").unwrap_or(text));
    let path = Path::new(local.as_ref());
    if path.exists() {
        // Before a glob is looked for: a name that exists means itself, brackets and all.
        let mut url = picsift_images::resolve(&local, None)
            .map_err(|error| plan_datafusion_err!("{error}"))?;
        if path.is_dir() {
            make_folder(&mut url);
        }
        return ListingTableUrl::try_new(url, None);
    }
    if !has_glob(&local) {
        return plan_err!("there is no file or folder '{text}'");
    }
    ListingTableUrl::parse(&local)
        .map_err(|error| plan_datafusion_err!("'{text}': {}", innermost(&error)))
}

/// The path with its `..` taken back by the file system, which knows where links lead; stores take none.
fn without_steps_up(path: &str) -> Cow<'_, str> {
    let steps = path.rmatch_indices("..").map(|(at, _)| (at, at + 2));
    let is_step = |&(start, end): &(usize, usize)| {
        (start == 0 || path.as_bytes()[start - 1] == b'/')
            && path.as_bytes().get(end).is_none_or(|&next| next == b'/')
    };
    let last = steps.into_iter().find(is_step);
    let real = last.and_then(|(_, end)| {
        let real = Path::new(&path[..end]).canonicalize().ok()?;
        Some(format!("{}{}", real.to_str()?, &path[end..]))
    });
    real.map_or(Cow::Borrowed(path), Cow::Owned)
}

fn locate_remote(text: &str) -> Result<ListingTableUrl> {
    let (base, pattern) = match text
        .find(['*', '[', '{'])
        .filter(|_| !text.starts_with("http"))
    {
        Some(at) => {
            let cut = text[..at].rfind('/').map_or(0, |slash| slash + 1);
            let pattern = Pattern::new(&text[cut..])
                .map_err(|error| plan_datafusion_err!("'{text}' is no glob: {error}"))?;
            (&text[..cut], Some(pattern))
        }
        None => (text, None),
    };
    let mut url =
        picsift_images::resolve(base, None).map_err(|error| plan_datafusion_err!("{error}"))?;
    // A bucket has no folders to look at: what does not end like a table is one.
    if pattern.is_some() || Kind::of(base).is_none() {
        make_folder(&mut url);
    }
    ListingTableUrl::try_new(url, pattern)
}

/// Ends the URL's path with a slash.
fn make_folder(url: &mut Url) {
    if let Ok(mut segments) = url.path_segments_mut() {
        segments.pop_if_empty().push("");
    }
}

/// A location as a person would write it, without credentials.
pub fn shown(location: &ListingTableUrl) -> String {
    without_secrets(written(location))
}

fn written(location: &ListingTableUrl) -> String {
    let url = location.get_url();
    let base = match url.to_file_path() {
        Ok(path) => path.display().to_string(),
        Err(()) => url.to_string(),
    };
    match location.get_glob() {
        Some(pattern) => format!("{}/{pattern}", base.trim_end_matches('/')),
        None => base,
    }
}

/// A location without what may be a credential: the query of a signed URL, and the user and password before its host.
pub fn without_secrets(location: String) -> String {
    let Some((scheme, rest)) = location.split_once("://") else {
        return location;
    };
    let rest = rest.split(['?', '#']).next().unwrap_or(rest);
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    // What stands before the host of an Azure URL is its container's name.
    let host = match host.rsplit_once('@') {
        Some((user, host)) if !scheme.starts_with("abfs") || user.contains(':') => host,
        _ => host,
    };
    format!("{scheme}://{host}{path}")
}

/// Whether a text has a glob's signs in it.
pub(super) fn has_glob(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_cut_and_a_file_name_is_kept() {
        for (location, shown) in [
            ("https://h/a.parquet?sig=s", "https://h/a.parquet"),
            ("https://bob:pass@h/a.parquet#x", "https://h/a.parquet"),
            ("https://bob@h", "https://h"),
            ("https://h/a@b.parquet", "https://h/a@b.parquet"),
            ("abfss://container@account/x", "abfss://container@account/x"),
            ("/data/what?.parquet", "/data/what?.parquet"),
        ] {
            assert_eq!(without_secrets(location.to_string()), shown);
        }
    }

    #[test]
    fn a_missing_local_path_is_said() {
        let message = innermost(&locate("no/such/thing.parquet").unwrap_err());
        assert_eq!(
            message,
            "there is no file or folder 'no/such/thing.parquet'"
        );
    }

    #[test]
    fn a_folder_is_a_collection_with_or_without_its_slash() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a [1]");
        std::fs::create_dir(&path).unwrap();
        for text in [
            format!("{}", path.display()),
            format!("{}/", path.display()),
        ] {
            let location = locate(&text).unwrap();
            assert!(location.is_collection(), "{text}");
            assert!(location.get_glob().is_none(), "{text}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn steps_up_lead_where_the_system_says() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for name in ["a/b", "c..d", "elsewhere/deep"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::os::unix::fs::symlink(root.join("elsewhere/deep"), root.join("link")).unwrap();
        for (given, meant) in [
            ("a/b/..", "a/"),
            ("a/../a/b/", "a/b/"),
            ("a/b/../../c..d", "c..d/"),
            // Not back to the folder of the link, as in every program.
            ("link/../deep", "elsewhere/deep/"),
        ] {
            let found = locate(&format!("{}/{given}", root.display())).unwrap();
            let meant = format!("{}/{meant}", root.display());
            assert_eq!(shown(&found), meant, "{given}");
        }
        let glob = locate(&format!("{}/a/../a/*.parquet", root.display())).unwrap();
        assert_eq!(shown(&glob), format!("{}/a/*.parquet", root.display()));
    }

    #[test]
    fn a_bucket_prefix_is_a_folder_and_a_glob_is_split_off() {
        assert!(locate("s3://bucket/photos").unwrap().is_collection());
        assert!(
            !locate("s3://bucket/photos/a.parquet")
                .unwrap()
                .is_collection()
        );
        let glob = locate("s3://bucket/photos/2024-*/x.parquet").unwrap();
        assert_eq!(glob.get_url().as_str(), "s3://bucket/photos/");
        assert_eq!(shown(&glob), "s3://bucket/photos/2024-*/x.parquet");
    }
}
