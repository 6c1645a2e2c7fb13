//! Any text as a categories file: an error that names a line, or the file's tables in their order.
//!
//! Called by the fuzz target with what it finds, and by the tests with what was found.

use picsift_vision::categories::parse;

/// # Panics
/// Where it does not hold.
pub(crate) fn holds(text: &str) {
    match parse(text) {
        Ok(categories) => {
            let file: toml::Table = toml::from_str(text).expect("what was parsed is TOML");
            let names = categories.iter().map(|c| c.spec.category.name.as_str());
            assert!(names.eq(file.keys()), "{categories:?}");
            for category in &categories {
                let table = file[&category.spec.category.name]
                    .as_table()
                    .expect("a table");
                assert_eq!(
                    category.spec.category.prompt.as_deref(),
                    table.get("prompt").and_then(|v| v.as_str())
                );
                assert_eq!(
                    category.spec.threshold.is_some(),
                    table.contains_key("threshold")
                );
            }
        }
        Err(error) => assert!(!error.to_string().trim().is_empty()),
    }
}
