//! The vocabulary and its `tokenizer.json`: one token a word.
//!
//! It owns which words the model knows. Every other word is [`UNKNOWN`], so that whoever asks can see that the model
//! cannot have learned it.

use std::error::Error;

use serde_json::{Value, json};
use tokenizers::Tokenizer;

/// The token of every word that is not in the vocabulary.
const UNKNOWN: &str = "<unk>";

/// Tokens that only the template writes; their places are their ids.
const SPECIAL: [&str; 5] = [
    "<|endoftext|>",
    "<|begin|>",
    "<|question|>",
    "<|answer|>",
    "<|query|>",
];

/// The template's ids around a question, as `config.json` names them.
pub(crate) const PREFIX: [u32; 3] = [1, 4, 2];
/// See [`PREFIX`].
pub(crate) const SUFFIX: [u32; 1] = [3];
/// The token that bars an answer from starting anew.
pub(crate) const ANSWER: u32 = 3;
/// The first and the last token of a sequence.
pub(crate) const END: u32 = 0;

/// Every known word; a word's id is its place after the special tokens and [`UNKNOWN`].
const WORDS: [&str; 50] = [
    "yes",
    "no",
    "a",
    "an",
    "and",
    ",",
    ".",
    "?",
    "is",
    "are",
    "there",
    "in",
    "the",
    "image",
    "answer",
    "or",
    "what",
    "how",
    "many",
    "describe",
    "colour",
    "color",
    "shape",
    "shapes",
    "circle",
    "square",
    "triangle",
    "star",
    "cross",
    "circles",
    "squares",
    "triangles",
    "stars",
    "crosses",
    "red",
    "green",
    "blue",
    "yellow",
    "purple",
    "orange",
    "one",
    "two",
    "three",
    "do",
    "you",
    "see",
    "picture",
    "of",
    "which",
    "any",
];

/// Rows of the embedding.
pub(crate) fn vocabulary_size() -> usize {
    SPECIAL.len() + 1 + WORDS.len()
}

/// The `tokenizer.json`.
pub(crate) fn tokenizer_json() -> Value {
    let special = SPECIAL.iter().enumerate().map(|(id, content)| {
        json!({
            "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true
        })
    });
    let words = SPECIAL.into_iter().chain([UNKNOWN]).chain(WORDS);
    let vocabulary: serde_json::Map<String, Value> = words
        .enumerate()
        .map(|(id, word)| (word.to_owned(), json!(id)))
        .collect();
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": special.collect::<Vec<_>>(),
        "normalizer": { "type": "Lowercase" },
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                { "type": "WhitespaceSplit" },
                { "type": "Punctuation", "behavior": "Isolated" }
            ]
        },
        "post_processor": null,
        // Spaces between words and none before punctuation.
        "decoder": { "type": "WordPiece", "prefix": "##", "cleanup": true },
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": UNKNOWN }
    })
}

/// Texts to ids and back.
pub(crate) struct Words(Tokenizer);

impl Words {
    pub(crate) fn new() -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self(serde_json::from_value(tokenizer_json())?))
    }

    /// The ids of a text.
    ///
    /// # Errors
    /// When a word is not in the vocabulary: nothing here asks or answers with one.
    pub(crate) fn ids(&self, text: &str) -> Result<Vec<u32>, Box<dyn Error + Send + Sync>> {
        let encoding = self.0.encode(text, false)?;
        if let Some(place) = encoding
            .get_tokens()
            .iter()
            .position(|token| token == UNKNOWN)
        {
            return Err(format!("word {} of '{text}' is not in the vocabulary", place + 1).into());
        }
        Ok(encoding.get_ids().to_vec())
    }

    /// The ids of a question with the template around it.
    pub(crate) fn prompt(&self, question: &str) -> Result<Vec<u32>, Box<dyn Error + Send + Sync>> {
        let question = self.ids(question)?;
        // The suffix comes twice, as in the published model's training.
        Ok([&PREFIX[..], &question, &SUFFIX, &SUFFIX].concat())
    }

    /// The text of ids.
    pub(crate) fn text(&self, ids: &[u32]) -> Result<String, Box<dyn Error + Send + Sync>> {
        self.0.decode(ids, true)
    }
}
