//! Any bytes as a file of corrections, in each of its forms: a sentence in one line, or corrections of images.
//!
//! Called by the fuzz target with what it finds, and by the tests with what was found.

use std::sync::LazyLock;

use tokio::runtime::Runtime;

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| Runtime::new().expect("a runtime starts"));

/// # Panics
/// Where it does not hold.
pub(crate) fn holds(input: &[u8]) {
    let folder = tempfile::tempdir().expect("a folder can be made");
    for name in ["c.jsonl", "c.csv", "c.parquet"] {
        let path = folder.path().join(name);
        std::fs::write(&path, input).expect("a file can be written");
        let path = path.to_str().expect("its name is text");
        match RUNTIME.block_on(picsift::corrections::load(path)) {
            Ok(loaded) => assert!(loaded.corrections.images() > 0),
            Err(error) => {
                let said = error.to_string();
                assert!(!said.trim().is_empty() && !said.contains('\n'), "{said:?}");
            }
        }
    }
}
