//! The SQL functions, one file each: documentation, arguments, result type and the step from answers to Arrow.
//!
//! A file here owns what is its function's own; arguments are checked in [`crate::marker`], images read and asked in
//! [`crate::infer`].

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

use crate::marker::Marker;

mod ask;
mod ask_classes;
mod classify;
mod classify_json;
mod classify_label;
mod classify_labels;
mod classify_score;
mod image_info;
mod load_image;
mod try_classify;

/// All functions, as markers for the planner.
pub(crate) fn all() -> Vec<Arc<ScalarUDF>> {
    [
        Marker::new(ask::Ask),
        Marker::new(ask_classes::AskClasses),
        Marker::new(classify::Classify),
        Marker::new(classify_json::ClassifyJson),
        Marker::new(classify_label::ClassifyLabel),
        Marker::new(classify_labels::ClassifyLabels),
        Marker::new(classify_score::ClassifyScore),
        Marker::new(image_info::ImageInfo),
        Marker::new(load_image::LoadImage),
        Marker::new(try_classify::TryClassify),
    ]
    .into_iter()
    .map(|marker| Arc::new(marker.into_udf()))
    .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::all;

    #[test]
    fn names_are_unique_and_documented_with_an_example() {
        let functions = all();
        let names: HashSet<_> = functions.iter().map(|f| f.name().to_string()).collect();
        assert_eq!(names.len(), functions.len());
        for function in functions {
            let doc = function
                .documentation()
                .unwrap_or_else(|| panic!("{} has no documentation", function.name()));
            let example = doc.sql_example.as_deref().unwrap_or_default();
            assert!(example.contains(function.name()), "{}", function.name());
            assert!(
                doc.syntax_example.starts_with(function.name()),
                "{}",
                function.name()
            );
        }
    }
}
