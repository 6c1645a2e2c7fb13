use super::*;
use crate::pipeline::engine::EngineOptions;

#[test]
fn a_wrong_value_is_refused_with_the_settings_name() {
    let mut options = PicsiftOptions::default();
    for (key, value) in [
        ("threshold", "1.5"),
        ("threshold", "high"),
        ("device", "gpu"),
        ("on_error", "explode"),
        ("dtype", "f16"),
        ("quantize", "q5"),
        ("crops", "all"),
        ("prompt_style", "short"),
        ("max_tokens", "0"),
        ("max_tokens", "many"),
        ("temperature", "2.5"),
        ("temperature", "NaN"),
        ("max_images", "many"),
        ("max_seconds", "-1"),
        ("memory_limit", "0"),
        ("base", "no/such/folder"),
        ("base", "ftp://host/folder"),
    ] {
        let message = options.set(key, value).unwrap_err().to_string();
        assert!(message.contains(&format!("picsift.{key}")), "{message}");
    }
    assert!(
        options
            .set("modle", "x")
            .unwrap_err()
            .to_string()
            .contains("picsift.model")
    );
}

#[test]
fn what_is_set_is_listed() {
    let mut options = PicsiftOptions::default();
    let given = [
        ("threshold", "0.25"),
        ("device", "cuda:1"),
        ("dtype", "f32"),
        ("quantize", "q8_0"),
        ("crops", "global"),
        ("prompt_style", "shared"),
        ("max_tokens", "7"),
        ("temperature", "0.5"),
        ("max_images", "20"),
        ("max_seconds", "1.5"),
        ("memory_limit", "1000"),
        ("base", "s3://bucket/photos/"),
    ];
    for (key, value) in given {
        options.set(key, value).unwrap();
    }
    let listed = |options: &PicsiftOptions, key: &str| {
        let entries = options.entries().into_iter();
        let key = format!("picsift.{key}");
        entries
            .filter(|entry| entry.key == key)
            .find_map(|entry| entry.value)
    };
    for (key, value) in given {
        assert_eq!(listed(&options, key).as_deref(), Some(value));
    }
    options.set("dtype", "AUTO").unwrap();
    assert_eq!(listed(&options, "dtype").as_deref(), Some("auto"));
    options.set("quantize", "NONE").unwrap();
    assert_eq!(listed(&options, "quantize").as_deref(), Some("none"));
    options.set("base", "none").unwrap();
    assert_eq!(listed(&options, "base"), None);
}

#[test]
fn what_is_set_can_be_taken_back() {
    let mut options = PicsiftOptions::default();
    options.set("max_images", "7").unwrap();
    options.set("crops", "global").unwrap();
    options.keep_as_defaults();
    let began: Vec<_> = options.entries().into_iter().map(|e| e.value).collect();
    for (key, value) in [
        ("device", "cpu"),
        ("dtype", "bf16"),
        ("quantize", "q4k"),
        ("crops", "reference"),
        ("prompt_style", "shared"),
        ("max_tokens", "3"),
        ("temperature", "1"),
        ("threshold", "0.5"),
        ("on_error", "fail"),
        ("max_images", "NULL"),
        ("max_seconds", "9"),
        ("memory_limit", "77"),
        ("model", "moondream2"),
    ] {
        options.set(key, value).unwrap();
        options.reset(key).unwrap();
        options.set(key, value).unwrap();
        options.set(key, "DEFAULT").unwrap();
    }
    let now: Vec<_> = options.entries().into_iter().map(|e| e.value).collect();
    assert_eq!(now, began);
    options.set("threshold", "0.5").unwrap();
    options.set("threshold", "null").unwrap();
    assert_eq!(options.threshold, None);
    assert!(options.reset("treshold").is_err());
}

#[test]
fn a_model_that_cannot_be_is_refused_when_it_is_set() {
    let mut options = PicsiftOptions::default();
    options.know(&Arc::new(Engine::new(EngineOptions::default()).unwrap()));
    let said = options.set("model", "nope").unwrap_err().to_string();
    assert!(
        said.contains("nope") && said.contains(DEFAULT_MODEL),
        "{said}"
    );
    assert!(options.set("model", "./no/such/folder").is_err());
    assert!(options.set("model", "owner/name").is_err());
    assert_eq!(options.model, DEFAULT_MODEL);
    options.set("model", "owner/name@main").unwrap();
    options.set("model", "src").unwrap();
}
