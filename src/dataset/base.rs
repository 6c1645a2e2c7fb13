//! Which folder a labelled table's own words may name for its references.
//!
//! A manifest, also one that a Parquet file carries, comes with its table and maybe from a stranger. Whoever opens the table must not
//! thereby read pictures from wherever it says, so what it names counts only as far as the table itself reaches: its own folder, or
//! the one that holds that; or where the same user named it when the output was made ([`origins`]). Anything else is for a person to
//! name. Whether a reference needs a folder at all is not known here.

use std::path::Path;

use datafusion::datasource::listing::ListingTableUrl;
use picsift_udf::table_base;
use url::Url;

use super::manifest::Manifest;
use super::origins;
use crate::tables;

/// The folder of a labelled table's references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Base {
    /// This one.
    At(Url),
    /// There is no single one: tables of several folders were labelled together.
    Several,
    /// The table names this folder, and may not.
    Elsewhere(String),
}

/// What the tables at the locations say of their folder.
pub(super) fn named<'a>(
    tables: impl IntoIterator<Item = (&'a ListingTableUrl, &'a Manifest)>,
) -> Base {
    let mut found: Option<Option<Url>> = None;
    let mut elsewhere = None;
    for (location, manifest) in tables {
        for text in &manifest.input.tables {
            let named = tables::locate(text).ok();
            let base = named.as_ref().and_then(table_base);
            match &found {
                Some(first) if *first != base => return Base::Several,
                _ => found = Some(base.clone()),
            }
            let may = |base| {
                counts(&base, location) || origins::is_remembered(location, &manifest.job.id, text)
            };
            if !base.is_some_and(may) {
                elsewhere.get_or_insert_with(|| text.clone());
            }
        }
    }
    match (elsewhere, found.flatten()) {
        (Some(table), _) => Base::Elsewhere(table),
        (None, Some(base)) => Base::At(base),
        (None, None) => Base::Several,
    }
}

/// Whether a table at `location` may name the folder `base` for its references.
fn counts(base: &Url, location: &ListingTableUrl) -> bool {
    let Some(own) = table_base(location) else {
        return false;
    };
    match base.scheme() {
        // What a web server is asked for follows from who asks.
        "http" | "https" => false,
        "file" => match (real(base), real(&own)) {
            (Some(base), Some(own)) => {
                base == own || (own.parent() == Some(&base) && !holds_everything(&base))
            }
            _ => false,
        },
        _ => *base == own || own.join("..").is_ok_and(|parent| parent == *base),
    }
}

/// The folder with no link in its path.
fn real(folder: &Url) -> Option<std::path::PathBuf> {
    folder.to_file_path().ok()?.canonicalize().ok()
}

/// Whether a folder holds what has nothing to do with a table in it: the root, and a person's home.
fn holds_everything(folder: &Path) -> bool {
    let home = std::env::home_dir().and_then(|home| home.canonicalize().ok());
    folder.parent().is_none() || home.as_deref() == Some(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(folder: &Path) -> Url {
        Url::from_directory_path(folder).unwrap()
    }

    #[test]
    fn a_table_names_its_own_folder_or_the_one_that_holds_it() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        for name in ["a/table", "a/beside", "b"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        let table = tables::locate(root.join("a/table").to_str().unwrap()).unwrap();
        for (base, allowed) in [
            ("a/table", true),
            ("a", true),
            ("a/beside", false),
            ("b", false),
            (".", false),
            ("/", false),
        ] {
            let base = at(&root.join(base).canonicalize().unwrap());
            assert_eq!(counts(&base, &table), allowed, "{base}");
        }
        let top = tables::locate("/tmp").unwrap();
        assert!(!counts(&at(Path::new("/")), &top));
        for (base, location, allowed) in [
            ("s3://b/t/", "s3://b/t/labelled/", true),
            ("s3://b/", "s3://b/t/labelled/", false),
            ("s3://c/t/", "s3://b/t/labelled/", false),
            ("s3://b/t/", "s3://b/t/", true),
            ("https://h/t/", "https://h/t/labelled/", false),
            ("https://h/t/", "https://h/t/x.parquet", false),
            ("file:///tmp/", "s3://b/t/", false),
        ] {
            let location = tables::locate(location).unwrap();
            let base = Url::parse(base).unwrap();
            assert_eq!(counts(&base, &location), allowed, "{base} {location:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_where_it_leads() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("a/table")).unwrap();
        std::fs::create_dir_all(root.join("b")).unwrap();
        std::os::unix::fs::symlink(root.join("b"), root.join("a/table/link")).unwrap();
        let table = tables::locate(root.join("a/table").to_str().unwrap()).unwrap();
        assert!(!counts(&at(&root.join("a/table/link")), &table));
    }
}
