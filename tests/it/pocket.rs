//! The default model as a person meets it: people are found without a download, and what it does not know is said at once.

use std::process::Command;

use serde_json::Value;
use tempfile::tempdir;

use crate::support::*;

/// The program, which may ask no server for a model.
fn fresh(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_picsift"));
    command
        .args(args)
        .current_dir(root())
        .env("HF_HUB_OFFLINE", "1");
    command
}

#[test]
fn people_are_found_from_a_fresh_clone() {
    let cache = tempdir().unwrap();
    let query = "SELECT file FROM 'datasets/photos/references' WHERE classify(image, 'person')";
    let found = fresh(&["sql", "--format", "csv", "-c", query])
        .env("PICSIFT_CACHE", cache.path())
        .output()
        .unwrap();
    let found = stdout(&found);
    for file in ["italy_216.jpg", "orchestra_218.jpg", "mexico_215.jpg"] {
        assert!(found.contains(file), "no {file} in {found}");
    }
    for file in ["giraffe_000.webp", "hammer1_102.jpg", "bulb_088.jpg"] {
        assert!(!found.contains(file), "{found}");
    }
}

#[test]
fn all_nouns_that_are_not_known_are_named_at_once() {
    let folder = tempdir().unwrap();
    let label = |categories: &str| {
        let out = folder.path().join("out");
        let args = [
            "label",
            EMBEDDED,
            "--categories",
            categories,
            "-o",
            out.to_str().unwrap(),
        ];
        refused(&fresh(&args).output().unwrap())
    };
    let said = label("fish,tree,person,logo,sunset");
    for part in [
        "3 of the categories",
        "'tree'",
        "'logo'",
        "'sunset'",
        "--model siglip2",
        "--model moondream2",
    ] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    assert!(
        !said.contains("'fish'") && !said.contains("'person'"),
        "{said}"
    );
    let said = label("woman");
    assert!(
        said.contains("'woman'") && said.contains("--model siglip2"),
        "{said}"
    );
}

#[test]
fn a_score_does_not_depend_on_what_else_is_asked() {
    let scores = |categories: &str| -> Vec<Value> {
        let args = [
            "image",
            "datasets/photos/references/images/italy_216.jpg",
            "--no-cache",
        ];
        let run = fresh(&args)
            .args(["--categories", categories])
            .output()
            .unwrap();
        let said: Value = serde_json::from_str(&stdout(&run)).unwrap();
        let scores = &said["scores"];
        categories
            .split(',')
            .map(|name| scores[name].clone())
            .collect()
    };
    let together = scores("person,stage,horse");
    for (at, name) in ["person", "stage", "horse"].into_iter().enumerate() {
        let (alone, together) = (scores(name)[0].as_f64(), together[at].as_f64());
        let apart = (alone.unwrap() - together.unwrap()).abs();
        assert!(apart < 1e-5, "{name}: {alone:?} {together:?}");
    }
}

#[test]
fn answers_of_the_parts_are_not_taken_for_its_own() {
    let folder = tempdir().unwrap();
    let label = |model: &str| {
        let out = folder.path().join(model);
        let args = [
            "label",
            EMBEDDED,
            "--categories",
            "horse",
            "--limit",
            "20",
            "--summary",
            "json",
            "-o",
        ];
        let run = fresh(&args)
            .arg(&out)
            .args(["--model", model])
            .env("PICSIFT_CACHE", folder.path().join("cache"))
            .output()
            .unwrap();
        let said: Value = serde_json::from_str(&stdout(&run)).unwrap();
        said["asked"].as_u64().unwrap()
    };
    for model in ["efficientnet-lite0", "coco-ssd", "pocket"] {
        assert_eq!(label(model), 20, "{model}");
    }
    std::fs::remove_dir_all(folder.path().join("pocket")).unwrap();
    assert_eq!(label("pocket"), 0, "its own are");
}
