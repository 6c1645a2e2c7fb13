//! Any text as a category, a prompt, nouns or a question: a model refuses it in words, or asks it without letting it speak
//! for the template.
//!
//! Called by the fuzz target with what it finds, and by the tests with what was found.

use std::sync::{Arc, LazyLock};

use picsift_vision::{Category, Generation, LoadOptions, PromptStyle, Question, Questions, load};

fn questions(model: &str) -> Arc<dyn Questions> {
    load(model, &LoadOptions::default(), &())
        .expect("an embedded model")
        .questions
}

static SHAPES: LazyLock<Arc<dyn Questions>> = LazyLock::new(|| questions("shapes"));
static CLASSES: LazyLock<Arc<dyn Questions>> = LazyLock::new(|| questions("efficientnet-lite0"));

/// The template of `shapes` around a question (the answer's mark is doubled), its special tokens (0 to 4) and its unknown one, and the tokens that fit.
const BEFORE: [u32; 3] = [1, 4, 2];
const AFTER: [u32; 2] = [3, 3];
const FIRST_WORD: u32 = 6;
const VOCABULARY: u32 = 56;
const CONTEXT: usize = 256;

fn check(tokens: &[u32]) {
    assert!(tokens.len() < CONTEXT, "{tokens:?}");
    let inner = tokens
        .strip_prefix(&BEFORE[..])
        .and_then(|rest| rest.strip_suffix(&AFTER[..]))
        .unwrap_or_else(|| panic!("no template around {tokens:?}"));
    assert!(!inner.is_empty());
    assert!(
        inner.iter().all(|id| (FIRST_WORD..VOCABULARY).contains(id)),
        "{tokens:?}"
    );
}

/// The first line is the name, the second the prompt unless it is empty, the others are nouns.
///
/// # Panics
/// Where it does not hold.
pub(crate) fn holds(text: &str) {
    let mut lines = text.split('\n');
    let category = Category {
        name: lines.next().unwrap_or_default().to_owned(),
        prompt: lines
            .next()
            .filter(|line| !line.is_empty())
            .map(str::to_owned),
        nouns: lines.map(str::to_owned).collect(),
        templates: Vec::new(),
        style: PromptStyle::default(),
        head: None,
    };
    match SHAPES.category(&category) {
        Ok(Question::YesNo(prompt)) => check(&prompt.tokens),
        Ok(other) => panic!("{other:?}"),
        Err(error) => assert!(!error.to_string().trim().is_empty()),
    }
    match SHAPES.open(text, Generation::default()) {
        Ok(Question::Open(prompt, _)) => check(&prompt.tokens),
        Ok(other) => panic!("{other:?}"),
        Err(error) => assert!(!error.to_string().trim().is_empty()),
    }
    match CLASSES.category(&category) {
        Ok(Question::Classes(classes)) => {
            assert!(!classes.is_empty());
            assert!(
                classes.is_sorted_by(|a, b| a < b) && classes.iter().all(|&c| c < 1000),
                "{classes:?}"
            );
        }
        Ok(other) => panic!("{other:?}"),
        Err(error) => assert!(!error.to_string().trim().is_empty()),
    }
    assert!(CLASSES.open(text, Generation::default()).is_err());
}
