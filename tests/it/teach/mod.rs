//! Categories that are taught: what is learnt, who uses it, and what is refused.

mod learnt;
mod refused;

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use arrow::array::{AsArray, BooleanArray, Float32Array, ListArray, StringArray};
use serde_json::{Value, json};

use crate::support::*;

const MODEL: [&str; 2] = ["--model", "efficientnet-lite0"];

/// Teaches from the photographs with embedded images and gives the report.
fn taught(cache: &Path, output: &Path, more: &[&str]) -> Value {
    let mut args = vec!["teach", EMBEDDED, "-o", output.to_str().unwrap()];
    args.extend(MODEL);
    args.extend(["--format", "json"]);
    args.extend(more);
    let said = stdout(&command(args, cache).output().unwrap());
    serde_json::from_str(&said).unwrap()
}

fn manifest(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("_picsift.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Labels by file, of the photographs.
fn truth(table: &arrow::array::RecordBatch) -> HashMap<String, Vec<String>> {
    let files = column::<StringArray>(table, "file");
    let lists = column::<ListArray>(table, "truth");
    let of = |row: usize| {
        let list = lists.value(row);
        let words = list.as_string::<i32>();
        words.iter().flatten().map(str::to_owned).collect()
    };
    (0..table.num_rows())
        .map(|row| (files.value(row).to_owned(), of(row)))
        .collect()
}

#[test]
fn a_category_that_no_model_knows_is_taught_and_found() {
    let folder = tempfile::tempdir().unwrap();
    let (cache, heads) = (
        folder.path().join("cache"),
        folder.path().join("heads.safetensors"),
    );
    let report = taught(
        &cache,
        &heads,
        &["--truth", "truth", "--categories", "windmill,building"],
    );
    assert_eq!(report["rows"], 221);
    assert_eq!(report["asked"], 221);
    let windmill = &report["categories"][0];
    assert_eq!(
        (&windmill["yes"], &windmill["no"]),
        (&json!(14), &json!(207))
    );
    assert!(windmill["zero_shot"].is_null(), "{windmill}");
    let figure = |of: &Value, name: &str| of[name]["value"].as_f64().unwrap();
    assert!(figure(&windmill["taught"], "average_precision") > 0.95);
    let building = &report["categories"][1];
    // What was learnt of the photographs is better than what the model's makers meant by the word.
    let (own, before) = (&building["taught"], &building["zero_shot"]);
    assert!(figure(own, "average_precision") > figure(before, "average_precision"));
    assert!(own["average_precision"]["low"].as_f64() < own["average_precision"]["value"].as_f64());

    // The same in a job and in a query, and nothing is asked again.
    let output = folder.path().join("labelled");
    let mut args = vec!["label", EMBEDDED, "-o", output.to_str().unwrap()];
    args.extend(["--heads", heads.to_str().unwrap()]);
    args.extend(MODEL);
    stdout(&command(&args, &cache).output().unwrap());
    let manifest = manifest(&output);
    assert_eq!(manifest["counts"]["asked"], 0);
    assert_eq!(manifest["categories"][0]["name"], "windmill");
    assert_eq!(manifest["categories"][0]["head"], windmill["head"]);
    assert_eq!(manifest["categories"][0]["threshold"], 0.5);
    let table = read_table(&output);
    let (scores, is) = (
        column::<Float32Array>(&table, "score_windmill"),
        column::<BooleanArray>(&table, "is_windmill"),
    );
    let files = column::<StringArray>(&table, "file");
    let truth = truth(&table);
    let wrong = (0..221)
        .filter(|row| is.value(*row) != truth[files.value(*row)].contains(&"windmill".to_owned()));
    assert!(wrong.count() <= 2);
    let query = format!(
        "SET picsift.model = 'efficientnet-lite0'; SET picsift.heads = '{}'; \
         SELECT file, classify_score(image, 'windmill') AS s, classify(image, 'fish') AS f FROM '{EMBEDDED}' ORDER BY file",
        heads.display()
    );
    let said = stdout(
        &command(["sql", "--format", "json", "-c", &query], &cache)
            .output()
            .unwrap(),
    );
    let by_file: HashMap<&str, f32> = (0..221)
        .map(|row| (files.value(row), scores.value(row)))
        .collect();
    let mut rows = 0;
    for line in said.lines() {
        let row: Value = serde_json::from_str(line).unwrap();
        let job = f64::from(by_file[row["file"].as_str().unwrap()]);
        assert!(
            (row["s"].as_f64().unwrap() - job).abs() < 1e-6,
            "{row} {job}"
        );
        assert!(
            row["f"].is_boolean(),
            "a category without a head is the model's"
        );
        rows += 1;
    }
    assert_eq!(rows, 221);
}

#[test]
fn another_head_is_another_job_and_the_categories_file_names_one() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let cache = at("cache");
    let first = taught(
        &cache,
        &at("heads.safetensors"),
        &["--truth", "truth", "--categories", "windmill"],
    );
    std::fs::write(
        at("categories.toml"),
        "[windmill]\nhead = 'heads.safetensors'\nthreshold = 0.7\n[fish]\n",
    )
    .unwrap();
    let label = |more: &[&str]| {
        let (output, file) = (at("labelled"), at("categories.toml"));
        let mut args = vec!["label", EMBEDDED, "-o", output.to_str().unwrap()];
        args.extend(["--categories-file", file.to_str().unwrap()]);
        args.extend(MODEL);
        args.extend(more);
        command(args, &cache).output().unwrap()
    };
    stdout(&label(&[]));
    let before = manifest(&at("labelled"));
    assert_eq!(
        before["categories"][0]["head"],
        first["categories"][0]["head"]
    );
    assert_eq!(before["categories"][0]["threshold"], 0.7);
    assert!(
        before["categories"][1].get("head").is_none(),
        "fish is the model's own"
    );
    assert!(
        stdout(&label(&[])).contains("nothing"),
        "the same again is nothing to do"
    );
    let fewer = [
        "--truth",
        "truth",
        "--categories",
        "windmill",
        "--overwrite",
        "--seed",
        "1",
    ];
    let again = taught(&cache, &at("heads.safetensors"), &fewer);
    assert_eq!(
        again["categories"][0]["head"], first["categories"][0]["head"],
        "no draw is in a head"
    );
    // Of other truth another head.
    let query = format!(
        "COPY (SELECT image, truth, array_has(truth, 'windmill') OR array_has(truth, 'solar') AS is_windmill \
         FROM '{EMBEDDED}') TO '{}'",
        at("other.parquet").display()
    );
    stdout(&command(["sql", "-c", &query], &cache).output().unwrap());
    let (heads, other) = (at("heads.safetensors"), at("other.parquet"));
    let mut args = vec![
        "teach",
        other.to_str().unwrap(),
        "-o",
        heads.to_str().unwrap(),
    ];
    args.extend([
        "--overwrite",
        "--truth",
        "windmill=is_windmill",
        "--categories",
        "windmill",
    ]);
    args.extend(MODEL);
    stdout(&command(args, &cache).output().unwrap());
    let said = refused(&label(&[]));
    assert!(said.contains("category windmill head was"), "{said}");
    stdout(&label(&["--overwrite"]));
    assert_eq!(manifest(&at("labelled"))["counts"]["asked"], 0);
}

#[test]
fn the_loop_of_the_guide_runs_and_no_image_is_read_twice() {
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(root().join("datasets"), folder.path().join("datasets")).unwrap();
    let guide = std::fs::read_to_string(root().join("docs/teaching.md")).unwrap();
    let steps = guide
        .split("```sh\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let bin = Path::new(env!("CARGO_BIN_EXE_picsift")).parent().unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    shell.args(["-euc", steps]).current_dir(folder.path());
    shell
        .env("PATH", path)
        .env("PICSIFT_CACHE", folder.path().join("cache"));
    let run = shell.output().unwrap();
    let said = stderr(&run);
    stdout(&run);
    // Every photograph is opened by the first lesson or the first job, and by nothing after them.
    let first = manifest(&folder.path().join("labelled-1"));
    let second = manifest(&folder.path().join("labelled-2"));
    assert!(said.contains("18 images fetched and 18 shown"), "{said}");
    assert_eq!(first["counts"]["asked"], 221 - 18);
    assert!(said.contains(" 0 images fetched and 0 shown"), "{said}");
    assert_eq!(second["counts"]["asked"], 0);
    assert_eq!(second["seconds"]["fetch"], 0.0);
    assert_eq!(second["seconds"]["decode"], 0.0);
    // And it is better than before.
    let right = |manifest: &Value, name: &str| {
        let table = read_table(&folder.path().join(name));
        assert_eq!(manifest["counts"]["images"], 221);
        let (files, is) = (
            column::<StringArray>(&table, "file"),
            column::<BooleanArray>(&table, "is_windmill"),
        );
        let truth = truth(&table);
        (0..221)
            .filter(|row| {
                is.value(*row) == truth[files.value(*row)].contains(&"windmill".to_owned())
            })
            .count()
    };
    let (before, after) = (right(&first, "labelled-1"), right(&second, "labelled-2"));
    assert!(after >= before && after >= 219, "{before} {after}");
}
