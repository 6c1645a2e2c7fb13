//! What is no SigLIP, or none that is known: one sentence each.

use std::fs;
use std::path::PathBuf;

use picsift_vision::LoadOptions;
use serde_json::Value;

use super::folders;

/// A copy of a golden folder in which a file is changed.
fn changed(
    file: &str,
    change: impl Fn(Vec<u8>) -> Option<Vec<u8>>,
) -> Option<(tempfile::TempDir, PathBuf)> {
    let golden = folders()
        .into_iter()
        .find(|golden| golden.dir.ends_with("siglip2"))?;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model");
    fs::create_dir(&path).unwrap();
    for name in [
        "config.json",
        "preprocessor_config.json",
        "tokenizer.json",
        "model.safetensors",
    ] {
        let bytes = fs::read(golden.dir.join(name)).unwrap();
        let bytes = match name == file {
            true => change(bytes),
            false => Some(bytes),
        };
        if let Some(bytes) = bytes {
            fs::write(path.join(name), bytes).unwrap();
        }
    }
    Some((folder, path))
}

#[test]
fn what_is_no_siglip_is_said_in_a_sentence() {
    let json = |at: &'static [&'static str], value: Value| {
        move |bytes: Vec<u8>| {
            let mut json: Value = serde_json::from_slice(&bytes).unwrap();
            let mut place = &mut json;
            for key in at {
                place = &mut place[*key];
            }
            *place = value.clone();
            Some(serde_json::to_vec(&json).unwrap())
        }
    };
    let text = |from: &'static str, to: &'static str| {
        move |bytes: Vec<u8>| {
            Some(
                String::from_utf8(bytes)
                    .unwrap()
                    .replace(from, to)
                    .into_bytes(),
            )
        }
    };
    type Change = Box<dyn Fn(Vec<u8>) -> Option<Vec<u8>>>;
    let cases: Vec<(&str, Change, &str)> = vec![
        (
            "config.json",
            Box::new(json(&["model_type"], "siglip2".into())),
            "naflex",
        ),
        (
            "config.json",
            Box::new(json(&["vision_config", "hidden_size"], 128.into())),
            "96 dimensions",
        ),
        (
            "config.json",
            Box::new(json(&["vision_config", "num_attention_heads"], 7.into())),
            "7 heads",
        ),
        (
            "config.json",
            Box::new(json(&["vision_config", "image_size"], 100_000.into())),
            "pixels on a side",
        ),
        (
            "config.json",
            Box::new(json(&["vision_config", "patch_size"], 0.into())),
            "of a patch",
        ),
        (
            "config.json",
            Box::new(json(&["text_config", "vocab_size"], 400.into())),
            "vocabulary of 400",
        ),
        (
            "config.json",
            Box::new(json(&["text_config", "vocab_size"], 800.into())),
            "calls for [800, 64]",
        ),
        (
            "config.json",
            Box::new(json(&["text_config", "hidden_act"], "relu".into())),
            "activation is relu",
        ),
        (
            "config.json",
            Box::new(json(&["vision_config", "intermediate_size"], 200.into())),
            "calls for [200, 96]",
        ),
        (
            "preprocessor_config.json",
            Box::new(|_| None),
            "has no preprocessor_config.json",
        ),
        (
            "preprocessor_config.json",
            Box::new(json(&["resample"], 1.into())),
            "filter 1",
        ),
        (
            "preprocessor_config.json",
            Box::new(json(&["image_mean"], serde_json::json!([0.48, 0.45, 0.4]))),
            "other numbers than 0.5",
        ),
        (
            "tokenizer.json",
            Box::new(text("<eos>", "<end>")),
            "no token that ends",
        ),
        (
            "tokenizer.json",
            Box::new(text("<pad>", "<fill>")),
            "no token that pads",
        ),
        (
            "model.safetensors",
            Box::new(|bytes| Some(bytes[..bytes.len() - 9].to_vec())),
            "not a whole safetensors file",
        ),
    ];
    for (file, change, expected) in cases {
        let Some((_keep, path)) = changed(file, change) else {
            return;
        };
        let loaded = picsift_vision::load(path.to_str().unwrap(), &LoadOptions::default(), &());
        let error = loaded.unwrap_err().to_string();
        assert!(error.contains(expected), "{file}: {error}");
    }
}
