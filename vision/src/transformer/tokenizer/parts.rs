//! Which parts a `tokenizer.json` may be made of.
//!
//! The tokenizer library runs whatever a file says: replacements that double a text as often as they are listed, maps whose damage
//! it meets with a panic, pieces of no length. So the parts are looked at before it builds them.

use serde::Deserialize;
use serde_json::Value;

use super::TokenizerError;

/// Parts that take a text as it is, or make it longer by a few times at most.
const NORMALIZERS: [&str; 11] = [
    "BertNormalizer",
    "ByteLevel",
    "Lowercase",
    "NFC",
    "NFD",
    "NFKC",
    "NFKD",
    "Nmt",
    "Prepend",
    "Strip",
    "StripAccents",
];
const PRE_TOKENIZERS: [&str; 10] = [
    "BertPreTokenizer",
    "ByteLevel",
    "CharDelimiterSplit",
    "Digits",
    "Metaspace",
    "Punctuation",
    "Split",
    "UnicodeScripts",
    "Whitespace",
    "WhitespaceSplit",
];
const DECODERS: [&str; 8] = [
    "BPEDecoder",
    "ByteFallback",
    "ByteLevel",
    "CTC",
    "Fuse",
    "Metaspace",
    "Strip",
    "WordPiece",
];

/// Most parts of one kind, sequences in sequences counted out.
const MOST_PARTS: usize = 64;

/// Most times that replacements may make a text longer.
const MOST_GROWTH: usize = 16;

/// Most characters that a decoder may take off an end.
const MOST_STRIPPED: u64 = 1000;

/// What the library does not give back of a file, or what must be known of it before.
#[derive(Deserialize)]
pub(super) struct File {
    pub(super) model: FileModel,
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    decoder: Value,
}

/// Which token stands for what has none.
#[derive(Deserialize)]
pub(super) struct FileModel {
    pub(super) unk_token: Option<String>,
    pub(super) unk_id: Option<u32>,
}

impl File {
    /// Refuses parts that no tokenizer of these models has.
    pub(super) fn check(&self) -> Result<(), TokenizerError> {
        parts("normalizer", &self.normalizer, &NORMALIZERS)?;
        parts("pre-tokenizer", &self.pre_tokenizer, &PRE_TOKENIZERS)?;
        parts("decoder", &self.decoder, &DECODERS)
    }
}

fn parts(kind: &'static str, root: &Value, known: &[&str]) -> Result<(), TokenizerError> {
    let refused = |what: String| Err(TokenizerError::Part { kind, what });
    let (mut waiting, mut met, mut growth) = (vec![root], 0, 1_usize);
    while let Some(part) = waiting.pop() {
        if part.is_null() {
            continue;
        }
        met += 1;
        if met > MOST_PARTS {
            return refused(format!("has more than {MOST_PARTS} parts"));
        }
        match part.get("type").and_then(Value::as_str) {
            Some("Sequence") => {
                let inner = ["normalizers", "pretokenizers", "decoders"];
                let inner = inner.iter().filter_map(|name| part.get(name)?.as_array());
                waiting.extend(inner.flatten());
            }
            Some("Replace") if kind != "pre-tokenizer" => {
                growth = growth.saturating_mul(longer(part));
            }
            Some("Strip") if kind == "decoder" && strips_much(part) => {
                return refused(format!(
                    "takes more than {MOST_STRIPPED} characters off an end"
                ));
            }
            Some(name) if known.contains(&name) => {}
            name => {
                return refused(format!(
                    "has the part '{}', which no tokenizer of these models has",
                    name.unwrap_or("without a type")
                ));
            }
        }
    }
    match growth > MOST_GROWTH {
        true => refused(format!(
            "can make a text more than {MOST_GROWTH} times as long"
        )),
        false => Ok(()),
    }
}

/// How many times as long a replacement can make a text.
fn longer(part: &Value) -> usize {
    let length = |value: Option<&Value>| value.and_then(Value::as_str).map(str::len);
    let content = length(part.get("content")).unwrap_or(0);
    let pattern = part.get("pattern");
    match length(pattern.and_then(|pattern| pattern.get("String"))) {
        Some(pattern) if pattern > 0 => content.div_ceil(pattern).max(1),
        // An expression may stand for one byte, or for none between two.
        _ => content + 1,
    }
}

fn strips_much(part: &Value) -> bool {
    ["start", "stop"].iter().any(|end| {
        let characters = part.get(end).and_then(Value::as_u64);
        characters.is_some_and(|characters| characters > MOST_STRIPPED)
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refused(file: Value) -> String {
        let mut file = file;
        file["model"] = json!({});
        let file: File = serde_json::from_value(file).unwrap();
        match file.check() {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn parts_that_grow_or_are_not_known_are_refused() {
        let replace = |pattern: Value, content: &str| json!({"type": "Replace", "pattern": pattern, "content": content});
        let double = replace(json!({"String": "a"}), "aa");
        let sequence = |parts: Vec<Value>| json!({"type": "Sequence", "normalizers": parts});
        let deep = (0..70).fold(double.clone(), |inner, _| sequence(vec![inner]));
        for (file, part) in [
            (
                json!({"normalizer": sequence(vec![double.clone(); 28])}),
                "16 times",
            ),
            (
                json!({"normalizer": replace(json!({"Regex": ""}), &"a".repeat(20))}),
                "16 times",
            ),
            (
                json!({"decoder": {"type": "Sequence", "decoders": vec![double.clone(); 28]}}),
                "16 times",
            ),
            (
                json!({"normalizer": {"type": "Precompiled", "precompiled_charsmap": ""}}),
                "'Precompiled'",
            ),
            (
                json!({"pre_tokenizer": {"type": "FixedLength", "length": 0}}),
                "'FixedLength'",
            ),
            (json!({"pre_tokenizer": double.clone()}), "'Replace'"),
            (
                json!({"decoder": {"type": "Strip", "content": "a", "start": 1_000_000_000_000_u64, "stop": 0}}),
                "off an end",
            ),
            (json!({"normalizer": {}}), "without a type"),
            (json!({"normalizer": deep}), "more than 64 parts"),
            (
                json!({"normalizer": sequence(vec![json!({"type": "NFC"}); 65])}),
                "more than 64 parts",
            ),
        ] {
            let error = refused(file.clone());
            assert!(error.contains(part), "{file}: {error}");
        }
        for file in [
            json!({}),
            json!({"normalizer": sequence(vec![double; 4]), "pre_tokenizer": {"type": "ByteLevel"}}),
            json!({"normalizer": replace(json!({"Regex": "\\s"}), " ")}),
        ] {
            assert_eq!(refused(file), "");
        }
    }
}
