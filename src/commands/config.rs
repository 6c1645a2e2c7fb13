//! `picsift config`: which settings hold, and from where.

use std::path::Path;

use picsift_vision::DEFAULT_MODEL;
use picsift_vision::store::default_folder;

use super::printer::say;
use crate::config::{Kept, Settings, places};
use crate::error::AppError;

/// Runs the command.
///
/// # Errors
/// [`AppError::Usage`] for a file that cannot be read.
pub(super) fn config() -> Result<(), AppError> {
    let settings = Settings::read()?;
    let cache = match std::env::var_os("PICSIFT_CACHE").filter(|value| !value.is_empty()) {
        Some(folder) => row(&Path::new(&folder).display().to_string(), "PICSIFT_CACHE"),
        None => kept(
            &settings.cache,
            |path| path.display().to_string(),
            || {
                default_folder()
                    .map_or_else(|error| error.to_string(), |path| path.display().to_string())
            },
        ),
    };
    let rows = [
        (
            "model",
            kept(&settings.model, String::clone, || DEFAULT_MODEL.to_owned()),
        ),
        (
            "device",
            kept(&settings.device, ToString::to_string, || "auto".to_owned()),
        ),
        ("cache", cache),
        (
            "categories_file",
            kept(
                &settings.categories_file,
                |path| path.display().to_string(),
                || "none".to_owned(),
            ),
        ),
    ];
    let width = rows
        .iter()
        .map(|(_, (value, _))| value.chars().count())
        .max();
    let width = width.unwrap_or_default();
    for (name, (value, from)) in &rows {
        say!("{name:<15}  {value:<width$}  {from}");
    }
    let places: Vec<String> = places()
        .iter()
        .map(|place| place.path.display().to_string())
        .collect();
    say!(
        "flags win; settings are looked for in {}",
        places.join(", then ")
    );
    Ok(())
}

fn row(value: &str, from: &str) -> (String, String) {
    (value.to_owned(), from.to_owned())
}

fn kept<T>(
    kept: &Option<Kept<T>>,
    shown: impl Fn(&T) -> String,
    default: impl FnOnce() -> String,
) -> (String, String) {
    match kept {
        Some(kept) => (shown(&kept.value), kept.from.display().to_string()),
        None => (default(), "default".to_owned()),
    }
}
