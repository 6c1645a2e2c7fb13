//! SigLIP 2 through the program: a small random model stands for the published ones, so scores mean nothing here but are those of the
//! reference (`vision/tests/it/siglip.rs`); who gets which of them is what is tested.

use arrow::array::{Array, AsArray, FixedSizeListArray, Float32Array, StringArray};
use arrow::datatypes::Float32Type;
use serde_json::Value;
use tempfile::tempdir;

use crate::models_command::server::{Hub, Served};
use crate::support::*;

const MODEL: &str = "vision/tests/goldens/siglip2";
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const FILES: [&str; 4] = [
    "config.json",
    "preprocessor_config.json",
    "tokenizer.json",
    "model.safetensors",
];

/// What two runs may differ by: scores are made of embeddings rounded to f16, and which of two neighbours a sum is rounded to depends
/// on how many images went through the model together.
const ROUNDED: f64 = 1e-4;

/// A hub with the model as `owner/siglip`.
pub(crate) fn hub() -> Hub {
    let served = |name: &'static str| Served {
        repo: "owner/siglip".to_string(),
        commit: COMMIT.to_string(),
        name,
        content: std::fs::read(root().join(MODEL).join(name)).unwrap(),
        etag: format!("{name}-etag").replace(['.', '_'], "-"),
    };
    Hub::start(FILES.map(served).into())
}

#[test]
fn any_words_are_categories_of_jobs_and_queries_alike() {
    let (out, cache) = (tempdir().unwrap(), tempdir().unwrap());
    let target = out.path().join("labelled");
    let job = || {
        let args = [
            "label",
            "datasets/photos/references",
            "-o",
            target.to_str().unwrap(),
            "--model",
            MODEL,
            "--categories",
            "dog,a red car on a bridge,sunset",
            "--overwrite",
        ];
        let run = command(args, cache.path()).output().unwrap();
        (stdout(&run), stderr(&run))
    };
    job();
    let labelled = read_table(&target);
    let files: &StringArray = column(&labelled, "file");
    for (category, name) in [
        ("dog", "score_dog"),
        ("a red car on a bridge", "score_a_red_car_on_a_bridge"),
    ] {
        let scores: &Float32Array = column(&labelled, name);
        let query = format!(
            "SELECT file, classify_score(image, '{category}') AS score FROM 'datasets/photos/references'"
        );
        let args = [
            "sql",
            "--no-cache",
            "--model",
            MODEL,
            "--format",
            "json",
            "-c",
            &query,
        ];
        let rows = stdout(&picsift(args));
        let mut rows: Vec<(String, f64)> = rows
            .lines()
            .map(|line| {
                let row: Value = serde_json::from_str(line).unwrap();
                (
                    row["file"].as_str().unwrap().to_string(),
                    row["score"].as_f64().unwrap(),
                )
            })
            .collect();
        let mut ours: Vec<(String, f64)> = (0..files.len())
            .map(|row| (files.value(row).to_string(), f64::from(scores.value(row))))
            .collect();
        rows.sort_by(|a, b| a.0.cmp(&b.0));
        ours.sort_by(|a, b| a.0.cmp(&b.0));
        assert_eq!(rows.len(), ours.len());
        for ((file, asked), (labelled, kept)) in rows.iter().zip(&ours) {
            assert_eq!(file, labelled);
            assert!((asked - kept).abs() < ROUNDED, "{file}: {asked} {kept}");
            assert!((0.0..=1.0).contains(asked));
        }
        assert!(
            ours.iter().any(|row| (row.1 - ours[0].1).abs() > 1e-4),
            "all the same"
        );
    }

    let manifest = std::fs::read_to_string(target.join("_picsift.json")).unwrap();
    assert!(
        manifest.contains("this is a photo of a red car on a bridge"),
        "{manifest}"
    );
    // What is known is not asked again.
    let (_, said) = job();
    assert!(!said.contains("reading"), "{said}");
    assert_same_rows(&labelled, &read_table(&target));
}

#[test]
fn what_it_cannot_be_asked_is_said_at_planning() {
    let ask = |query: &str| {
        let args = ["sql", "--no-cache", "--model", MODEL, "-c", query];
        refused(&picsift(args))
    };
    let said = ask("SELECT classify(image, '!!!') FROM 'datasets/photos/references'");
    assert!(
        said.contains("'!!!' says nothing without its punctuation"),
        "{said}"
    );
    let said = ask("SELECT ask(image, 'What is this?') FROM 'datasets/photos/references'");
    assert!(said.contains("cannot answer in words"), "{said}");
}

#[test]
fn a_repository_of_the_hub_is_known_by_its_configuration() {
    let hub = hub();
    let (home, cache) = (tempdir().unwrap(), tempdir().unwrap());
    let run = |offline: bool| {
        let model = format!("owner/siglip@{COMMIT}");
        let args = [
            "image",
            "datasets/photos/references/images/dog_008.jpg",
            "--model",
            &model,
            "--categories",
            "dog",
            "--no-cache",
        ];
        let mut command = command(args, cache.path());
        command
            .env("HF_ENDPOINT", hub.endpoint())
            .env("HF_HOME", home.path());
        if offline {
            command.env("HF_HUB_OFFLINE", "1");
        }
        stdout(&command.output().unwrap())
    };
    let fetched = run(false);
    assert!(fetched.contains("\"dog\""), "{fetched}");
    assert!(!hub.requests().is_empty());
    assert_eq!(run(true), fetched);
    assert!(hub.requests().is_empty());
}

/// A finished job needs nothing of its model but what it is.
#[test]
fn weights_are_not_fetched_for_a_job_that_is_done() {
    let hub = hub();
    let (home, cache, out) = (tempdir().unwrap(), tempdir().unwrap(), tempdir().unwrap());
    let target = out.path().join("labelled");
    let run = || {
        let model = format!("owner/siglip@{COMMIT}");
        let args = [
            "label",
            "datasets/photos/references",
            "-o",
            target.to_str().unwrap(),
            "--model",
            &model,
            "--categories",
            "dog",
            "--limit",
            "5",
        ];
        let mut command = command(args, cache.path());
        command
            .env("HF_ENDPOINT", hub.endpoint())
            .env("HF_HOME", home.path());
        let run = command.output().unwrap();
        assert!(run.status.success(), "{}", stderr(&run));
        hub.requests()
    };
    assert!(!run().is_empty());
    std::fs::remove_dir_all(home.path().join("hub")).unwrap();
    let asked = run();
    assert!(
        asked
            .iter()
            .any(|request| format!("{request:?}").contains("config.json"))
    );
    assert!(
        !asked
            .iter()
            .any(|request| format!("{request:?}").contains("model.safetensors"))
    );
}

/// The value of a count in the manifest.
fn count(output: &std::path::Path, name: &str) -> u64 {
    let text = std::fs::read_to_string(output.join("_picsift.json")).unwrap();
    let manifest: Value = serde_json::from_str(&text).unwrap();
    manifest["counts"][name].as_u64().unwrap()
}

#[test]
fn an_image_that_was_embedded_is_opened_for_no_further_category_and_no_search() {
    let (folder, cache) = (tempdir().unwrap(), tempdir().unwrap());
    let target = folder.path().join("labelled");
    let label = |categories: &str, more: &[&str]| {
        let mut args = vec![
            "label",
            REFERENCES,
            "-o",
            target.to_str().unwrap(),
            "--model",
            MODEL,
            "--overwrite",
            "--categories",
            categories,
        ];
        args.extend(more);
        stdout(&command(args, cache.path()).output().unwrap());
    };
    label("dog", &[]);
    assert_eq!(count(&target, "asked"), 221);
    label("sunset,a red car,dog", &["--embedding"]);
    assert_eq!(count(&target, "asked"), 0);
    let kept = read_table(&target);
    // As if nothing had been known.
    label("sunset,a red car,dog", &["--embedding", "--no-cache"]);
    assert_eq!(count(&target, "asked"), 221);
    let fresh = read_table(&target);
    assert_eq!(
        column::<StringArray>(&fresh, "file"),
        column::<StringArray>(&kept, "file")
    );
    for name in ["score_sunset", "score_a_red_car", "score_dog"] {
        let [a, b] = [&fresh, &kept].map(|table| column::<Float32Array>(table, name).values());
        let apart = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs()));
        assert!(apart.fold(0.0, f64::max) < ROUNDED, "{name}");
    }
    let [a, b] = [&fresh, &kept].map(|table| {
        let lists = column::<FixedSizeListArray>(table, "embedding");
        lists.values().as_primitive::<Float32Type>().values()
    });
    assert_eq!(a.len(), 221 * 96);
    assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-3));

    let query = format!(
        "EXPLAIN ANALYZE SELECT file FROM '{REFERENCES}' ORDER BY similarity(image, 'sunset') DESC LIMIT 20"
    );
    let args = ["sql", "--model", MODEL, "-c", &query];
    let said = stdout(&command(args, cache.path()).output().unwrap());
    for counted in ["encoded=0", "fetched=0", "decoded=0", "reused=221"] {
        assert!(said.contains(counted), "{counted}: {said}");
    }
    // Over the column that the job wrote, too.
    let ranked = |of: &str, from: &str| {
        let query = format!(
            "SELECT file FROM '{from}' ORDER BY similarity({of}, 'sunset') DESC, file LIMIT 20"
        );
        let args = ["sql", "--model", MODEL, "--format", "csv", "-c", &query];
        stdout(&command(args, cache.path()).output().unwrap())
    };
    assert_eq!(
        ranked("image", REFERENCES),
        ranked("embedding", target.to_str().unwrap())
    );
}
