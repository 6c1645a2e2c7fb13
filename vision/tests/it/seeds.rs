//! What the fuzz targets begin with and have found, without them: every input in `fuzz/seeds` holds what the target checks.

use std::fs;
use std::path::Path;

#[path = "../../../fuzz/checks/categories.rs"]
mod categories;
#[path = "../../../fuzz/checks/model.rs"]
mod model;
#[path = "../../../fuzz/checks/prompts.rs"]
mod prompts;

/// The inputs in a folder of this repository.
fn inputs(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(folder);
    let entries = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let inputs: Vec<_> = entries.map(|path| fs::read(path).unwrap()).collect();
    assert!(!inputs.is_empty(), "{}", folder.display());
    inputs
}

fn texts(folder: &str) -> Vec<String> {
    let inputs = inputs(folder).into_iter();
    inputs
        .filter_map(|input| String::from_utf8(input).ok())
        .collect()
}

#[test]
fn configurations_and_lists_of_tensors() {
    inputs("fuzz/seeds/model")
        .iter()
        .for_each(|input| model::holds(input));
}

#[test]
fn categories_files() {
    texts("fuzz/seeds/categories")
        .iter()
        .for_each(|text| categories::holds(text));
}

#[test]
fn names_and_prompts() {
    texts("fuzz/seeds/prompts")
        .iter()
        .for_each(|text| prompts::holds(text));
}
