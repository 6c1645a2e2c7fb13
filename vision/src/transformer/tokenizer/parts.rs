//! Which parts a `tokenizer.json` may be made of.
//!
//! The tokenizer library runs whatever a file says: replacements that double a text as often as they are listed, maps whose damage
//! it meets with a panic, pieces of no length. So the parts are looked at before it builds them.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
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

/// Most bytes that a table of replacements may put in the place of a character: the longest of NFKC's are 33.
const MOST_REPLACED: usize = 64;

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
    let (mut waiting, mut met, mut growth, mut tables) = (vec![root], 0, 1_usize, 0);
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
            Some("Precompiled") if kind == "normalizer" => {
                tables += 1;
                if tables > 1 {
                    return refused("has more than one table of replacements".to_owned());
                }
                if let Err(what) = table(part) {
                    return refused(what);
                }
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

/// Whether SentencePiece's table of replacements is one: the bytes of a trie, the trie, and texts that each end with a zero. The
/// library reserves what the first number says, and replaces by whatever stands there.
fn table(part: &Value) -> Result<(), String> {
    let text = part.get("precompiled_charsmap").and_then(Value::as_str);
    let bytes = text.and_then(|text| BASE64_STANDARD.decode(text).ok());
    let damaged = || "has a damaged table of replacements".to_owned();
    let bytes = bytes.ok_or_else(damaged)?;
    let (size, rest) = bytes.split_first_chunk::<4>().ok_or_else(damaged)?;
    let size = usize::try_from(u32::from_le_bytes(*size)).map_err(|_| damaged())?;
    if size == 0 || size % 4 != 0 || size > rest.len() {
        return Err(damaged());
    }
    let longest = rest[size..].split(|byte| *byte == 0).map(<[u8]>::len).max();
    match longest.unwrap_or(0) > MOST_REPLACED {
        true => Err(format!(
            "can put more than {MOST_REPLACED} bytes in the place of a character"
        )),
        false => Ok(()),
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
        let charsmap = |bytes: &[u8]| json!({"type": "Precompiled", "precompiled_charsmap": BASE64_STANDARD.encode(bytes)});
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
            (json!({"normalizer": charsmap(&[])}), "damaged table"),
            (json!({"normalizer": charsmap(&[0; 4])}), "damaged table"),
            (
                json!({"normalizer": charsmap(&[255, 255, 255, 127, 0, 0, 0, 0])}),
                "damaged table",
            ),
            (
                json!({"normalizer": charsmap(&[&[4, 0, 0, 0, 0, 0, 0, 0][..], &[b'a'; 65]].concat())}),
                "more than 64 bytes",
            ),
            (
                json!({"normalizer": sequence(vec![charsmap(&[4, 0, 0, 0, 0, 0, 0, 0]); 2])}),
                "more than one table",
            ),
            (
                json!({"decoder": charsmap(&[4, 0, 0, 0, 0, 0, 0, 0])}),
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
