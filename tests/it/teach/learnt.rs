//! What is learnt of doubts, of words, of embeddings in a table, and beside scikit-learn.

use std::process::Command;

use arrow::array::{AsArray, FixedSizeListArray, Float32Array, StringArray};
use arrow::datatypes::Float32Type;
use picsift_vision::learn::{
    Examples, FOLDS, Labels, PARTS, Validated, deal, keys, strengths, validate,
};
use serde_json::{Value, json};

use super::{MODEL, manifest, truth};
use crate::support::*;

/// A small random model of SigLIP's kind: what it sees is noise, but the way to it is that of the published ones.
#[test]
fn a_model_that_embeds_words_is_taught_beside_them() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, heads) = (
        folder.path().join("cache"),
        folder.path().join("heads.safetensors"),
    );
    let model = ["--model", "vision/tests/goldens/siglip2"];
    let mut args = vec!["teach", EMBEDDED, "-o", heads.to_str().unwrap()];
    args.extend([
        "--truth",
        "truth",
        "--categories",
        "building",
        "--format",
        "json",
    ]);
    args.extend(model);
    let said = stdout(&command(&args, &cache).output().unwrap());
    let report: Value = serde_json::from_str(&said).unwrap();
    let building = &report["categories"][0];
    let precision = |of: &Value| of["average_precision"]["value"].as_f64().unwrap();
    assert!(precision(&building["taught"]) > precision(&building["zero_shot"]) + 0.1);
    // Beside what was taught, words are asked as ever, and both of the embedding that is kept.
    let label = |name: &str, more: &[&str]| {
        let output = folder.path().join(name);
        let mut args = vec!["label", EMBEDDED, "-o", output.to_str().unwrap()];
        args.extend(model);
        args.extend(more);
        stdout(&command(args, &cache).output().unwrap());
        assert_eq!(manifest(&output)["counts"]["asked"], 0);
        read_table(&output)
    };
    let both = [
        "--heads",
        heads.to_str().unwrap(),
        "--categories",
        "dog,building",
    ];
    let (both, words) = (
        label("both", &both),
        label("words", &["--categories", "dog,building"]),
    );
    let scores = |table, name| column::<Float32Array>(table, name).values().to_vec();
    assert_eq!(scores(&both, "score_dog"), scores(&words, "score_dog"));
    assert_ne!(
        scores(&both, "score_building"),
        scores(&words, "score_building")
    );
}

#[test]
fn probabilities_and_weights_are_taught_too() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let table = folder.path().join("soft.parquet");
    // Another model's doubts: 0.9 and 0.1, and each row stands for several.
    let query = format!(
        "COPY (SELECT image, CASE WHEN array_has(truth, 'building') THEN 0.9 ELSE 0.1 END AS p_building, \
         array_has(truth, 'building') AS is_building, CAST(1 + width % 3 AS DOUBLE) AS picsift_weight \
         FROM '{EMBEDDED}') TO '{}'",
        table.display()
    );
    stdout(&command(["sql", "-c", &query], &cache).output().unwrap());
    let teach = |truth: &str, name: &str| {
        let heads = folder.path().join(name);
        let mut args = vec![
            "teach",
            table.to_str().unwrap(),
            "-o",
            heads.to_str().unwrap(),
        ];
        args.extend([
            "--truth",
            truth,
            "--categories",
            "building",
            "--format",
            "json",
        ]);
        args.extend(MODEL);
        let said = stdout(&command(args, &cache).output().unwrap());
        let report: Value = serde_json::from_str(&said).unwrap();
        report["categories"][0].clone()
    };
    let (soft, hard) = (teach("p_{}", "soft"), teach("is_{}", "hard"));
    assert_eq!((&soft["yes"], &soft["no"]), (&json!(55), &json!(166)));
    assert_ne!(soft["head"], hard["head"]);
    let precision = |of: &Value| of["taught"]["average_precision"]["value"].as_f64().unwrap();
    assert!(
        precision(&soft) > 0.9 && precision(&hard) > 0.9,
        "{soft} {hard}"
    );
    // A probability that never goes beyond 0.9 is not learnt as a certainty.
    assert!(
        soft["strength"].as_f64() <= hard["strength"].as_f64(),
        "{soft} {hard}"
    );
}

#[test]
fn embeddings_in_the_table_are_learnt_from_without_an_image() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, output) = (folder.path().join("cache"), folder.path().join("labelled"));
    let mut args = vec![
        "label",
        EMBEDDED,
        "-o",
        output.to_str().unwrap(),
        "--embedding",
    ];
    args.extend(["--categories", "building", "--image-column", "drop"]);
    args.extend(MODEL);
    stdout(&command(&args, &cache).output().unwrap());
    let fresh = folder.path().join("fresh");
    let teach = |table: &str, name: &str| {
        let heads = folder.path().join(name);
        let mut args = vec![
            "teach",
            table,
            "-o",
            heads.to_str().unwrap(),
            "--format",
            "json",
        ];
        args.extend(["--truth", "truth", "--categories", "building"]);
        args.extend(MODEL);
        let said = stdout(&command(args, &fresh).output().unwrap());
        serde_json::from_str::<Value>(&said).unwrap()
    };
    let of_table = teach(output.to_str().unwrap(), "table");
    assert_eq!(
        (&of_table["asked"], &of_table["fetched"]),
        (&json!(0), &json!(0))
    );
    let of_images = teach(EMBEDDED, "images");
    let (a, b) = (&of_table["categories"][0], &of_images["categories"][0]);
    let close = |part: &str| {
        let of = |one: &Value| one[part]["average_precision"]["value"].as_f64().unwrap();
        (of(a) - of(b)).abs() < 0.005
    };
    assert!(close("taught") && close("zero_shot"), "{a} {b}");
}

#[test]
fn what_is_learnt_is_what_scikit_learn_learns() {
    let python = match python("sklearn") {
        Ok(python) => python,
        Err(reason) if std::env::var_os("PICSIFT_REQUIRE_READERS").is_some() => panic!("{reason}"),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("labelled");
    let mut args = vec![
        "label",
        EMBEDDED,
        "-o",
        output.to_str().unwrap(),
        "--embedding",
    ];
    args.extend(["--categories", "fish"]);
    args.extend(MODEL);
    stdout(&picsift(&args));
    let table = read_table(&output);
    let lists = column::<FixedSizeListArray>(&table, "embedding");
    let vectors: Vec<Vec<f32>> = (0..table.num_rows())
        .map(|row| {
            lists
                .value(row)
                .as_primitive::<Float32Type>()
                .values()
                .to_vec()
        })
        .collect();
    let truth = truth(&table);
    let files = column::<StringArray>(&table, "file");
    let holds = |row: usize, name: &str| truth[files.value(row)].contains(&name.to_owned());
    let mut cases = Vec::new();
    for (count, names) in [
        (
            10,
            &[
                "building", "animal", "person", "fish", "tool", "mammal", "object", "windmill",
                "monument",
            ][..],
        ),
        (
            20,
            &["building", "animal", "person", "fish", "tool", "mammal"],
        ),
        (50, &["building", "animal"]),
    ] {
        for name in names {
            let yes = (0..vectors.len())
                .filter(|row| holds(*row, name))
                .take(count);
            let no = (0..vectors.len()).filter(|row| !holds(*row, name));
            let mut rows: Vec<usize> = yes.chain(no.step_by(3).take(count)).collect();
            rows.sort_unstable();
            let mut examples = Examples::new(1280);
            for row in &rows {
                assert!(examples.push_vector(&vectors[*row]));
            }
            let labels: Vec<f32> = rows
                .iter()
                .map(|row| f32::from(u8::from(holds(*row, name))))
                .collect();
            let known = Labels::new(labels.clone(), None);
            let parts = deal(&keys(&examples), &known).parts;
            let category = Validated {
                labels: &known,
                parts: &parts,
                free: &[],
            };
            let (strength, scores) = validate(&examples, &[category]).unwrap().remove(0);
            let folds: Vec<usize> = parts
                .iter()
                .map(|part| usize::from(*part) * FOLDS / PARTS)
                .collect();
            cases.push(json!({
                "name": name, "examples": count, "rows": rows, "labels": labels, "folds": folds,
                "strengths": strengths(&examples), "strength": strength, "scores": scores,
            }));
        }
    }
    let given = folder.path().join("cases.json");
    std::fs::write(
        &given,
        json!({"vectors": vectors, "cases": cases}).to_string(),
    )
    .unwrap();
    let run = Command::new(python)
        .arg("tests/readers/teach.py")
        .arg(&given)
        .current_dir(root())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    println!("{said}");
    assert!(run.status.success(), "{said}{}", stderr(&run));
    assert_eq!(said.matches("equal").count(), 17, "{said}");
}
