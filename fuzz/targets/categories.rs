//! Any text as a categories file: an error that names a line, or the file's tables in their order.

#![no_main]

use libfuzzer_sys::fuzz_target;
use picsift_vision::categories::parse;

fuzz_target!(|text: &str| {
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
});
