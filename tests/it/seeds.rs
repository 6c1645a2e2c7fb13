//! What the fuzz targets begin with and have found, without them: every input in `fuzz/seeds` holds what the target checks.

use std::fs;

use crate::support::root;

#[path = "../../fuzz/checks/arrow.rs"]
mod arrow;
#[path = "../../fuzz/checks/corrections.rs"]
mod corrections;
#[path = "../../fuzz/checks/journal.rs"]
mod journal;
#[path = "../../fuzz/checks/metadata.rs"]
mod metadata;
#[path = "../../fuzz/checks/parquet.rs"]
mod parquet;

/// The inputs of a target.
fn inputs(target: &str) -> Vec<Vec<u8>> {
    let folder = root().join("fuzz/seeds").join(target);
    let entries = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let inputs: Vec<_> = entries.map(|path| fs::read(path).unwrap()).collect();
    assert!(!inputs.is_empty(), "{}", folder.display());
    inputs
}

#[test]
fn tables() {
    for input in inputs("parquet") {
        parquet::holds(&input);
        // Cut short, and each byte near the end another one: that is where the footer is.
        for part in [3, 2] {
            parquet::holds(&input[..input.len() / part]);
        }
        for at in input.len().saturating_sub(400)..input.len() {
            let mut other = input.clone();
            other[at] ^= 0x55;
            // Parquet's reader may give up its thread; it must not take the memory.
            let _ = std::panic::catch_unwind(|| parquet::holds(&other));
        }
    }
}

#[test]
fn manifests_and_journals() {
    inputs("journal")
        .iter()
        .for_each(|input| journal::holds(input));
}

#[test]
fn files_of_corrections() {
    inputs("corrections")
        .iter()
        .for_each(|input| corrections::holds(input));
}

#[test]
fn folders_of_datasets() {
    for input in inputs("arrow") {
        arrow::holds(&input);
        for part in [3, 2] {
            arrow::holds(&input[..input.len() / part]);
        }
        // Bytes of the first part's head others, where lengths and types stand.
        for at in (0..input.len().min(300)).step_by(3) {
            let mut other = input.clone();
            other[at] ^= 0x55;
            arrow::holds(&other);
        }
    }
}

#[test]
fn what_is_known_of_pictures() {
    for input in inputs("metadata") {
        metadata::holds(&input);
        metadata::holds(&input[..input.len() / 2]);
    }
}
