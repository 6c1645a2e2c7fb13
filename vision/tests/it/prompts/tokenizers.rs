//! Small tokenizers of the kinds that checkpoints have, and the configurations that go with them.

use picsift_vision::moondream::Config;
use serde_json::{Value, json};

/// The characters by which byte-level tokenizers write the bytes 0 to 255.
fn byte_characters() -> Vec<char> {
    let mut next = 256;
    (0..=255u8)
        .map(|byte| match byte {
            b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff => char::from(byte),
            _ => {
                next += 1;
                char::from_u32(next - 1).unwrap()
            }
        })
        .collect()
}

/// A byte-level BPE: `first` tokens, the 256 bytes, and `words` with what their merges need. `added` are id, text and
/// whether it is special.
pub(super) fn byte_level(first: &[&str], words: &[&str], added: &[(u32, &str, bool)]) -> Value {
    let mut vocab = serde_json::Map::new();
    let mut add = |token: String| {
        let id = vocab.len();
        vocab.entry(token).or_insert(json!(id));
    };
    first.iter().for_each(|token| add((*token).to_owned()));
    byte_characters().iter().for_each(|c| add(c.to_string()));
    let mut merges: Vec<String> = Vec::new();
    for word in words {
        let mut left = String::new();
        for c in word.chars() {
            let merge = format!("{left} {c}");
            if !left.is_empty() && !merges.contains(&merge) {
                merges.push(merge);
            }
            left.push(c);
            add(left.clone());
        }
    }
    for (id, text, _) in added.iter().filter(|added| added.0 >= 50256) {
        vocab.insert((*text).to_owned(), json!(id));
    }
    let added: Vec<Value> = added
        .iter()
        .map(|(id, text, special)| {
            json!({"id": id, "content": text, "special": special, "normalized": !special,
                   "single_word": false, "lstrip": false, "rstrip": false})
        })
        .collect();
    let level = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true});
    json!({
        "version": "1.0",
        // Left over from training in some published files; questions must not feel it.
        "truncation": {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 16}, "direction": "Right", "pad_to_multiple_of": null,
                    "pad_id": 0, "pad_type_id": 0, "pad_token": "<|endoftext|>"},
        "added_tokens": added, "normalizer": null, "pre_tokenizer": level,
        "post_processor": level, "decoder": level,
        "model": {"type": "BPE", "vocab": vocab, "merges": merges},
    })
}

pub(super) const MARKS: [&str; 5] = [
    "<|endoftext|>",
    "<|md_reserved_0|>",
    "<|md_reserved_1|>",
    "<|md_reserved_2|>",
    "<|coord|>",
];

/// Like that of 2025: the marks come first; one of the template and one beside it are not called special.
pub(crate) fn starmie() -> Value {
    byte_level(
        &MARKS,
        &[
            "query",
            "yes",
            "Yes",
            "no",
            "\u{120}no",
            "\u{120}YES",
            "not",
        ],
        &[
            (0, MARKS[0], true),
            (1, MARKS[1], true),
            (2, MARKS[2], true),
            (3, MARKS[3], false),
            (4, MARKS[4], false),
        ],
    )
}

pub(super) fn id(tokenizer: &Value, token: &str) -> u32 {
    let id = tokenizer["model"]["vocab"][token].as_u64();
    u32::try_from(id.unwrap()).unwrap()
}

/// The 2B model with the word `query` in its template, as published.
pub(super) fn config_2025(tokenizer: &Value) -> Config {
    let query = id(tokenizer, "query");
    let json =
        json!({"tokenizer": {"templates": {"query": {"prefix": [1, query, 2], "suffix": [3]}}}});
    Config::v2025(&json.to_string()).unwrap()
}

/// Like that of 2024: the mark comes last but for runs of blanks.
pub(super) fn gpt2() -> Value {
    byte_level(
        &[],
        &["yes", "\u{120}yes", "\u{120}Yes", "no", "\u{120}No"],
        &[
            (50256, "<|endoftext|>", true),
            (50257, "    ", false),
            (50258, "  ", false),
        ],
    )
}

pub(super) fn config_2024() -> Config {
    let vision = Config::v2025("{}").unwrap().vision;
    Config::v2024("{}", vision).unwrap()
}

/// A tokenizer of whole words, template marks first.
pub(super) fn words() -> Value {
    let list = [
        "<s>", "<q>", "</q>", "<a>", "<unk>", "query", "yes", "no", "Is", "Are", "there", "a",
        "in", "the", "image", "?", "Answer", "or", ".", "circle", "square", "red",
    ];
    let vocab: serde_json::Map<String, Value> = list
        .iter()
        .enumerate()
        .map(|(id, word)| ((*word).to_owned(), json!(id)))
        .collect();
    let special = |id: usize| {
        json!({"id": id, "content": list[id], "special": true, "normalized": false,
               "single_word": false, "lstrip": false, "rstrip": false})
    };
    json!({
        "version": "1.0", "truncation": null, "padding": null,
        "added_tokens": [special(0), special(4)],
        "normalizer": null, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": vocab, "unk_token": "<unk>"},
    })
}
