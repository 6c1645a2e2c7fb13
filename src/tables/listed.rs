//! What a labelled folder's manifest says of its files.
//!
//! A folder with `_picsift.json` holds the files that this lists and no others, whatever else lies in it: parts of a job that is not
//! done, a sample that somebody wrote there, another program's work folder. Of the manifest nothing else is known here.

use std::collections::HashSet;

use datafusion::common::{Result, plan_datafusion_err, plan_err};
use datafusion::datasource::listing::ListingTableUrl;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::Deserialize;

use super::listing::Found;
use super::locate::shown;
use crate::error::innermost;

/// The file that marks a folder as picsift's own output.
pub const MANIFEST: &str = "_picsift.json";

/// What stands in the manifest's place while files are put into such a folder: the former manifest.
pub const PUBLISHING: &str = "_picsift_publishing.json";

#[derive(Deserialize)]
struct Manifest {
    files: Vec<File>,
}

#[derive(Deserialize)]
struct File {
    path: String,
}

/// The files that a manifest lists, by their paths in its folder.
///
/// # Errors
/// For what is no manifest.
pub fn listed_files(manifest: &[u8]) -> serde_json::Result<HashSet<String>> {
    let manifest: Manifest = serde_json::from_slice(manifest)?;
    Ok(manifest.files.into_iter().map(|file| file.path).collect())
}

/// Takes out of `found` what the manifest at `path` does not list; gives their number.
///
/// # Errors
/// A sentence that names the manifest that cannot be read, or a file that it lists and that is not there.
pub(super) async fn keep_listed(
    store: &dyn ObjectStore,
    location: &ListingTableUrl,
    path: &Path,
    found: &mut Vec<Found>,
) -> Result<usize> {
    let folder = shown(location);
    let folder = folder.trim_end_matches('/');
    let read = async { store.get(path).await?.bytes().await };
    let bytes = read.await.map_err(|error| {
        let error = innermost(&error.into());
        plan_datafusion_err!("cannot read '{folder}/{MANIFEST}': {error}")
    })?;
    let listed = listed_files(&bytes).map_err(|error| {
        plan_datafusion_err!(
            "'{folder}/{MANIFEST}' is no manifest of picsift ({error}), so it cannot be told which files the table has; \
             label again with --overwrite, or name the files themselves, as in '{folder}/*.parquet'"
        )
    })?;
    let name = |found: &Found| -> Option<String> {
        let parts: Vec<&str> = location.strip_prefix(&found.meta.location)?.collect();
        Some(parts.join("/"))
    };
    let before = found.len();
    let mut there = HashSet::new();
    found.retain(|found| {
        let name = name(found).filter(|name| listed.contains(name));
        name.is_some_and(|name| there.insert(name))
    });
    let mut missing: Vec<&String> = listed.difference(&there).collect();
    missing.sort_unstable();
    if let Some(first) = missing.first() {
        return plan_err!(
            "'{folder}' is not whole: of the {} files in its {MANIFEST} {} cannot be found, first '{first}'; put back what is \
             missing, or label again with --overwrite",
            listed.len(),
            missing.len()
        );
    }
    Ok(before - found.len())
}
