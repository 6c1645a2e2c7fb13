//! Any text as a manifest or a record of a journal: what it names is below the output, or is not of the form that is taken.
//!
//! Called by the fuzz target with what it finds, and by the tests with what was found.

use std::path::{Component, Path};

use picsift::dataset::Manifest;
use picsift::dataset::own::{is_failures, is_part};
use picsift::label::journal::Record;

/// # Panics
/// Where it does not hold.
pub(crate) fn holds(input: &[u8]) {
    let mut named = Vec::new();
    if let Ok(manifest) = serde_json::from_slice::<Manifest>(input) {
        named.extend(manifest.files.into_iter().map(|file| file.path));
    }
    if let Ok(Record::Shard(shard)) = serde_json::from_slice::<Record>(input) {
        named.extend(shard.files.into_iter().map(|file| file.path));
        named.extend(shard.replaced);
        named.extend(shard.failed);
    }
    for name in named {
        if is_part(&name) || is_failures(&name) {
            let mut parts = Path::new(&name).components();
            let below = parts.all(|part| matches!(part, Component::Normal(_)));
            assert!(below && !name.contains('\\'), "{name:?}");
        }
    }
}
