//! Where a job writes, and that it does not write into what it reads.
//!
//! Knows paths and URLs; what an output holds already is [`crate::dataset::publish`]'s to say.

use std::path::{Path, PathBuf};

use datafusion::datasource::listing::ListingTableUrl;
use picsift_udf::Engine;

use crate::dataset::publish::Output;
use crate::dataset::store::RemotePrefix;
use crate::error::AppError;
use crate::tables::{self, without_secrets};

/// The output that is named.
///
/// # Errors
/// When it and an input would mix, it is on a web server, a whole bucket, or no store is set up for it.
pub(super) fn open_output(
    output: &str,
    locations: &[ListingTableUrl],
    engine: &Engine,
) -> Result<Output, AppError> {
    let usage = |error: picsift_images::ImageError| AppError::Usage(error.to_string());
    if !output.contains("://") {
        let path = Path::new(output);
        refuse_to_mix(path, locations)?;
        return Output::local(path);
    }
    let url = picsift_images::resolve(output, None).map_err(usage)?;
    if let ("file", Ok(path)) = (url.scheme(), url.to_file_path()) {
        refuse_to_mix(&path, locations)?;
        return Output::local(&path);
    }
    if url.scheme().starts_with("http") {
        return Err(AppError::Usage(format!(
            "the output '{output}' is on a web server; name a local folder, or one of s3://, gs:// or az://"
        )));
    }
    let shown = without_secrets(url.to_string());
    let shown = shown.trim_end_matches('/');
    for location in locations {
        let input = location.get_url().as_str();
        let (input, own) = (input.trim_end_matches('/'), format!("{shown}/"));
        let inside = location.is_collection() && own.starts_with(&format!("{input}/"));
        if inside || format!("{input}/").starts_with(&own) {
            return Err(AppError::Usage(format!(
                "the output '{shown}' and the input '{}' lie in one another; name another folder",
                tables::shown(location)
            )));
        }
    }
    let (store, path) = engine.stores().get(&url).map_err(usage)?;
    Output::remote(RemotePrefix {
        store,
        path,
        shown: shown.to_string(),
    })
}

/// An output that holds an input would be moved away while it is read, and one inside an input folder would be read by the next
/// run.
fn refuse_to_mix(output: &Path, locations: &[ListingTableUrl]) -> Result<(), AppError> {
    let real_output = real(output);
    for location in locations {
        let Some(input) = location
            .get_url()
            .to_file_path()
            .ok()
            .map(|path| real(&path))
        else {
            continue;
        };
        let (relation, mixed) = if input.starts_with(&real_output) {
            ("holds", true)
        } else {
            (
                "lies in",
                location.is_collection() && real_output.starts_with(&input),
            )
        };
        if mixed {
            return Err(AppError::Usage(format!(
                "the output '{}' {relation} the input '{}'; name another folder",
                output.display(),
                tables::shown(location)
            )));
        }
    }
    Ok(())
}

/// The path without links, also where its last parts are not there yet.
fn real(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    for ancestor in path.ancestors() {
        if let (Ok(real), Ok(rest)) = (ancestor.canonicalize(), path.strip_prefix(ancestor)) {
            // Joining nothing would add a slash, which a file does not have.
            return if rest.as_os_str().is_empty() {
                real
            } else {
                real.join(rest)
            };
        }
    }
    path
}
