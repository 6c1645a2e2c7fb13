//! The SQL functions, one file each: documentation, arguments, result type and the step from answers to Arrow.
//!
//! A file here owns what is its function's own; arguments are checked in [`crate::functions::placeholder`], images read and asked in
//! [`crate::pipeline`], and none of that is known here.

use std::sync::Arc;

use datafusion::logical_expr::ScalarUDF;

use crate::functions::embed_text::EmbedText;
use crate::functions::kernel::Kernel;
use crate::functions::placeholder::{ImageFunction, PlaceholderUdf};
use crate::functions::session_model::SessionModel;
use crate::functions::similarity::Similarity;

pub(crate) mod answered_by;
mod ask;
mod ask_classes;
pub(crate) mod classify;
pub(crate) mod classify_json;
pub(crate) mod classify_label;
pub(crate) mod classify_labels;
pub(crate) mod classify_score;
pub(crate) mod columns;
pub(crate) mod embed;
pub(crate) mod embed_text;
pub(crate) mod failure;
mod image_info;
pub(crate) mod kernel;
pub(crate) mod label_source;
pub(crate) mod labelling;
pub(crate) mod load_image;
pub(crate) mod placeholder;
pub(crate) mod session_model;
pub(crate) mod similarity;
mod try_classify;

/// All functions over an image that SQL has.
fn public() -> [Arc<dyn ImageFunction>; 12] {
    [
        Arc::new(ask::Ask),
        Arc::new(ask_classes::AskClasses),
        Arc::new(classify::Classify),
        Arc::new(classify_json::ClassifyJson),
        Arc::new(classify_label::ClassifyLabel),
        Arc::new(classify_labels::ClassifyLabels),
        Arc::new(classify_score::ClassifyScore),
        Arc::new(embed::Embed::default()),
        Arc::new(image_info::ImageInfo),
        Arc::new(label_source::LabelSource),
        Arc::new(load_image::LoadImage),
        Arc::new(try_classify::TryClassify),
    ]
}

/// All functions that SQL has: those over an image as placeholders for the planner. `model` is the session's.
pub(crate) fn all(model: &SessionModel) -> Vec<Arc<ScalarUDF>> {
    let placeholders = public().into_iter().map(|function| {
        let embeds = matches!(function.kernel(), Kernel::Embeddings(..));
        let placeholder = PlaceholderUdf::new(function);
        let placeholder = match embeds {
            true => placeholder.of_session(model.clone()),
            false => placeholder,
        };
        placeholder.into_udf()
    });
    let plain = [
        EmbedText::new(model.clone()).into_udf(),
        Similarity::new().into_udf(),
    ];
    placeholders.chain(plain).map(Arc::new).collect()
}

/// The function of this name, those that only picsift's own plans have among them.
pub(crate) fn by_name(name: &str) -> Option<Arc<dyn ImageFunction>> {
    let failure: Arc<dyn ImageFunction> = Arc::new(failure::Failure);
    let answered_by: Arc<dyn ImageFunction> = Arc::new(answered_by::AnsweredBy::default());
    let mut known = public().into_iter().chain([failure, answered_by]);
    known.find(|function| function.name() == name)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;

    use datafusion::config::ConfigOptions;

    use super::{SessionModel, all};
    use crate::pipeline::engine::{Engine, EngineOptions};

    #[test]
    fn names_are_unique_and_documented_with_an_example() {
        let engine = Arc::new(Engine::new(EngineOptions::default()).unwrap());
        let functions = all(&SessionModel::new(engine, &ConfigOptions::default()));
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
