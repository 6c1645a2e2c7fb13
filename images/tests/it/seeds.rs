//! What the fuzz targets begin with and have found, without them: every input in `fuzz/seeds` holds what the target checks.

use std::fs;
use std::path::Path;

#[path = "../../../fuzz/checks/decode.rs"]
mod decode;
#[path = "../../../fuzz/checks/reference.rs"]
mod reference;

/// The inputs in a folder of this repository.
fn inputs(folder: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(folder);
    let entries = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let inputs: Vec<_> = entries
        .filter(|path| path.is_file())
        .map(|path| fs::read(path).unwrap())
        .collect();
    assert!(!inputs.is_empty(), "{}", folder.display());
    inputs
}

#[test]
fn images() {
    for folder in ["fuzz/seeds/decode", "images/tests/data"] {
        for bytes in inputs(folder) {
            decode::holds(&bytes);
            // Cut short, as by a connection that breaks.
            for part in [3, 2] {
                decode::holds(&bytes[..bytes.len() / part]);
            }
        }
    }
}

#[test]
fn references() {
    for bytes in inputs("fuzz/seeds/reference") {
        if let Ok(text) = str::from_utf8(&bytes) {
            reference::holds(text);
        }
    }
}
