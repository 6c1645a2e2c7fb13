//! What the fuzz targets begin with and have found, without them: every input in `fuzz/seeds` holds what the target checks.

use std::fs;
use std::path::Path;

#[path = "../../../fuzz/checks/categories.rs"]
mod categories;
#[path = "../../../fuzz/checks/prompts.rs"]
mod prompts;

/// The texts in a folder of this repository.
fn inputs(folder: &str) -> Vec<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(folder);
    let entries = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let inputs: Vec<_> = entries
        .filter_map(|path| String::from_utf8(fs::read(path).unwrap()).ok())
        .collect();
    assert!(!inputs.is_empty(), "{}", folder.display());
    inputs
}

#[test]
fn categories_files() {
    inputs("fuzz/seeds/categories")
        .iter()
        .for_each(|text| categories::holds(text));
}

#[test]
fn names_and_prompts() {
    inputs("fuzz/seeds/prompts")
        .iter()
        .for_each(|text| prompts::holds(text));
}
