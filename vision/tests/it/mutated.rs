//! Model folders that somebody spoilt on purpose: each is refused in one sentence or works, at once and without a panic.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use picsift_vision::{Category, DeviceChoice, Generation, LoadOptions, Loaded, VisionError, load};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tempfile::TempDir;

const FILES: [&str; 3] = ["config.json", "model.safetensors", "tokenizer.json"];

/// The longest that a file may keep this program busy; most take milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

fn small(file: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/shapes");
    fs::read(folder.join(file)).unwrap()
}

fn json_of(file: &str) -> Value {
    serde_json::from_slice(&small(file)).unwrap()
}

/// A folder of the small model, one file of which is spoilt again and again.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for file in FILES {
            fs::write(folder.path().join(file), small(file)).unwrap();
        }
        Self(folder)
    }

    fn load(&self) -> Result<Loaded, VisionError> {
        let options = LoadOptions {
            device: DeviceChoice::Cpu,
            ..LoadOptions::default()
        };
        load(self.0.path().to_str().unwrap(), &options, &())
    }

    /// Whether the model works with this in a file.
    #[track_caller]
    fn holds(&self, file: &str, content: &[u8], what: &str) -> bool {
        fs::write(self.0.path().join(file), content).unwrap();
        let started = Instant::now();
        let sentence = |error: &dyn std::error::Error| {
            let error = error.to_string();
            let unexpected = error.contains("unexpectedly") && !error.contains("tokenizer failed");
            assert!(!unexpected, "{what}: {error}");
            assert!(
                !error.trim().is_empty() && error.lines().count() < 3,
                "{what}: {error}"
            );
            assert!(error.len() < 2000, "{what}: {} bytes", error.len());
        };
        let works = match self.load() {
            Ok(loaded) => {
                for text in [
                    "circle",
                    "a A aa",
                    &"a".repeat(10_000),
                    "ﷺ\u{1f468}\u{200d}",
                ] {
                    if let Err(error) = loaded.questions.category(&Category::named(text)) {
                        sentence(&error);
                    }
                    if let Err(error) = loaded.questions.open(text, Generation::default()) {
                        sentence(&error);
                    }
                }
                true
            }
            Err(error) => {
                sentence(&error);
                false
            }
        };
        assert!(
            started.elapsed() < PATIENCE,
            "{what} took {:?}",
            started.elapsed()
        );
        works
    }
}

/// What may stand in the place of a value.
fn values() -> Vec<Value> {
    let mut values: Vec<Value> = [
        0,
        1,
        -1,
        3,
        7,
        97,
        4096,
        1 << 16,
        1 << 31,
        1 << 32,
        1_000_000_000_000,
        i64::MAX,
        i64::MIN,
    ]
    .into_iter()
    .map(Value::from)
    .collect();
    values.extend([
        json!(u64::MAX),
        json!(96.5),
        json!(1e300),
        json!(null),
        json!(true),
        json!(""),
        json!("x"),
        json!([]),
        json!({}),
        json!(vec![4; 100_000]),
        json!([u32::MAX]),
    ]);
    values
}

/// The places of all values but those of a vocabulary.
fn places(value: &Value, path: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
                found.push(path.clone());
                if name != "vocab" {
                    places(member, &path, found);
                }
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                places(item, &format!("{path}/{index}"), found);
            }
        }
        _ => {}
    }
}

fn spoilt(file: &str) {
    let (folder, whole) = (Folder::new(), json_of(file));
    assert!(folder.holds(file, whole.to_string().as_bytes(), "unchanged"));
    let mut all = Vec::new();
    places(&whole, "", &mut all);
    let (mut worked, mut tried) = (0, 0);
    for place in all {
        for value in values() {
            let mut other = whole.clone();
            let what = format!(
                "{place} = {}",
                value.to_string().chars().take(40).collect::<String>()
            );
            *other.pointer_mut(&place).unwrap() = value;
            worked += usize::from(folder.holds(file, other.to_string().as_bytes(), &what));
            tried += 1;
        }
    }
    assert!(worked > 0 && worked < tried, "{worked} of {tried}");
}

#[test]
fn any_value_in_a_configuration() {
    spoilt("config.json");
}

#[test]
fn any_value_in_a_tokenizer() {
    spoilt("tokenizer.json");
}

/// Parts that the tokenizer library would run, or fail over.
#[test]
fn parts_of_other_tokenizers() {
    let folder = Folder::new();
    let replace = json!({"type": "Replace", "pattern": {"String": "a"}, "content": "aa"});
    let split = |regex: &str| json!({"type": "Split", "pattern": {"Regex": regex}, "behavior": "Isolated", "invert": false});
    let double = json!({"type": "Sequence", "normalizers": vec![replace.clone(); 28]});
    let decoders = json!({"type": "Sequence", "decoders": vec![replace; 28]});
    for (part, value, refused) in [
        ("normalizer", double, true),
        ("decoder", decoders, true),
        (
            "normalizer",
            json!({"type": "Precompiled", "precompiled_charsmap": "////////AAAA"}),
            true,
        ),
        (
            "normalizer",
            json!({"type": "Precompiled", "precompiled_charsmap": "/////w=="}),
            true,
        ),
        (
            "normalizer",
            json!({"type": "Replace", "pattern": {"Regex": "(.*)*(.*)*(.*)*(.*)*#"}, "content": "b"}),
            false,
        ),
        (
            "pre_tokenizer",
            json!({"type": "FixedLength", "length": 0}),
            true,
        ),
        ("pre_tokenizer", split("(?:(?:[a-z ]+)+)+$(?!x)x"), false),
        (
            "pre_tokenizer",
            split("(((((((((a{1000}){1000}){1000}){1000}"),
            false,
        ),
        (
            "pre_tokenizer",
            split(&format!("{}a{}", "(".repeat(5000), ")*".repeat(5000))),
            false,
        ),
        (
            "padding",
            json!({"strategy": {"Fixed": 1_000_000_000_000_u64}, "direction": "Right", "pad_to_multiple_of": 0, "pad_id": 0, "pad_type_id": 0, "pad_token": "x"}),
            false,
        ),
        (
            "truncation",
            json!({"max_length": 0, "strategy": "LongestFirst", "stride": 9, "direction": "Right"}),
            false,
        ),
        (
            "post_processor",
            json!({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x", "type_id": 0}}], "pair": [], "special_tokens": {}}),
            false,
        ),
        (
            "decoder",
            json!({"type": "Strip", "content": "a", "start": 1_000_000_000_000_u64, "stop": 0}),
            true,
        ),
        (
            "model",
            json!({"type": "Unigram", "unk_id": 9, "vocab": []}),
            true,
        ),
        (
            "model",
            json!({"type": "BPE", "vocab": {"a": 6}, "merges": [["a", "b"]]}),
            true,
        ),
    ] {
        let mut other = json_of("tokenizer.json");
        other[part] = value;
        let what = format!("{part} {:.60}", other[part].to_string());
        let works = folder.holds("tokenizer.json", other.to_string().as_bytes(), &what);
        assert!(!(works && refused), "{what}");
    }
    let deep = json_of("tokenizer.json").to_string().replacen(
        r#""decoder":{"#,
        &format!(
            r#""normalizer":{}null{},"decoder":{{"#,
            r#"{"type":"Sequence","normalizers":["#.repeat(50_000),
            "]}".repeat(50_000)
        ),
        1,
    );
    assert!(!folder.holds("tokenizer.json", deep.as_bytes(), "deep"));
    assert!(!folder.holds("config.json", "[".repeat(100_000).as_bytes(), "deep"));
}

/// A safetensors file with this list of tensors.
fn listed(list: &str, data: &[u8]) -> Vec<u8> {
    [&(list.len() as u64).to_le_bytes(), list.as_bytes(), data].concat()
}

#[test]
fn lists_of_tensors_that_lie() {
    let (folder, weights) = (Folder::new(), small("model.safetensors"));
    let length = u64::from_le_bytes(*weights.first_chunk().unwrap()) as usize;
    let list: Value = serde_json::from_slice(&weights[8..8 + length]).unwrap();
    let data = &weights[8 + length..];
    let name = "model.text.wte";
    let change = |place: &str, value: Value| {
        let mut list = list.clone();
        list[name][place] = value;
        listed(&list.to_string(), data)
    };
    let other = list["model.text.blocks.1.attn.proj.weight"]["data_offsets"].clone();
    let mut overlap = list.clone();
    overlap["model.text.blocks.0.attn.proj.weight"]["data_offsets"] = other;
    let tensors: serde_json::Map<_, _> = (0..200_000)
        .map(|n| {
            (
                format!("t{n}"),
                json!({"dtype": "F16", "shape": [0], "data_offsets": [0, 0]}),
            )
        })
        .collect();
    for (what, file) in [
        (
            "the longest list",
            [&u64::MAX.to_le_bytes()[..], b"{}"].concat(),
        ),
        (
            "a long list",
            [&90_000_000_u64.to_le_bytes()[..], b"{}"].concat(),
        ),
        (
            "an offset beyond all",
            change("data_offsets", json!([0, 1_u64 << 63])),
        ),
        (
            "an offset that turns over",
            change("data_offsets", json!([u64::MAX, 1])),
        ),
        (
            "a shape that turns over",
            change("shape", json!([1_u64 << 32, 1_u64 << 32])),
        ),
        ("a shape of nothing", change("shape", json!([0, u64::MAX]))),
        (
            "tensors over each other",
            listed(&overlap.to_string(), data),
        ),
        (
            "a deep list",
            listed(
                &format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)),
                data,
            ),
        ),
        (
            "too many tensors",
            listed(&Value::Object(tensors).to_string(), b""),
        ),
    ] {
        assert!(!folder.holds("model.safetensors", &file, what), "{what}");
    }
    let mut rng = StdRng::seed_from_u64(3);
    for round in 0..300 {
        let mut file = weights.clone();
        for _ in 0..rng.random_range(1..4) {
            let at = rng.random_range(0..8 + length);
            file[at] = rng.random();
        }
        folder.holds("model.safetensors", &file, &format!("round {round}"));
    }
}

/// The shapes of a 2024 checkpoint say what its configuration does not: tensors of no numbers may have any.
#[test]
fn sizes_that_only_tensors_say() {
    let folder = Folder::new();
    let root = "vision_encoder.encoder.model.visual";
    for sizes in [[0_u64, 0], [1 << 60, 0], [0, 1 << 60], [1 << 31, 0]] {
        let tensor =
            |shape: Vec<u64>| json!({"dtype": "F16", "shape": shape, "data_offsets": [0, 0]});
        let [a, b] = sizes;
        let list = json!({
            "text_model.transformer.embd.wte.weight": tensor(vec![a, b]),
            format!("{root}.pos_embed"): tensor(vec![a, b, 0]),
            format!("{root}.patch_embed.linear.weight"): tensor(vec![a, b]),
            format!("{root}.blocks.0.mlp.fc1.weight"): tensor(vec![a, b]),
            format!("{root}.blocks.0.norm1.weight"): tensor(vec![0]),
            "vision_encoder.projection.mlp.fc1.weight": tensor(vec![a, b]),
        });
        let file = listed(&list.to_string(), b"");
        assert!(!folder.holds("model.safetensors", &file, &format!("{sizes:?}")));
    }
}

#[test]
fn a_text_of_any_length_is_asked_or_refused_at_once() {
    let folder = Folder::new();
    let loaded = folder.load().unwrap();
    let started = Instant::now();
    let long = "circle ".repeat(10_000_000 / 7);
    let error = loaded
        .questions
        .open(&long, Generation::default())
        .unwrap_err();
    let error = error.to_string();
    assert!(error.contains("bytes") && error.len() < 500, "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn texts_of_a_model_that_never_end_are_not_read() {
    let folder = Folder::new();
    for file in ["config.json", "tokenizer.json"] {
        let path = folder.0.path().join(file);
        let whole = fs::read(&path).unwrap();
        fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
        let error = folder.load().unwrap_err().to_string();
        assert!(
            error.contains(file) && error.contains("more than 64 MB"),
            "{error}"
        );
        fs::write(&path, whole).unwrap();
    }
}
