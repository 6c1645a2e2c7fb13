//! Categories that are taught: what is learnt, who uses it, and what is refused.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use arrow::array::{
    AsArray, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, ListArray, StringArray,
};
use arrow::datatypes::Float32Type;
use picsift_vision::learn::{
    Examples, FOLDS, Labels, PARTS, Validated, deal, keys, strengths, validate,
};
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

/// What is wrong with a command, which must have written nothing.
fn wrong(folder: &Path, args: &[&str]) -> String {
    let output = folder.join("none.safetensors");
    let mut all = vec!["teach"];
    all.extend(args);
    all.extend(["-o", output.to_str().unwrap()]);
    let said = refused(&picsift(all));
    assert!(!output.exists(), "{said}");
    said
}

#[test]
fn what_cannot_be_taught_is_said_in_a_sentence_and_nothing_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let contradiction = at("contradiction.csv");
    let lines = "key,category,is\nowl_006.jpg,bird,true\nowl_006.jpg,bird,false\n";
    std::fs::write(&contradiction, lines).unwrap();
    let strange = at("strange.csv");
    std::fs::write(&strange, "key,category,is\nnothing.jpg,bird,true\n").unwrap();
    let halves = at("halves.parquet");
    let numbers: Float64Array = (0..9).map(|at| Some(f64::from(at) / 4.0)).collect();
    let files: StringArray = (0..9).map(|at| Some(format!("{at}.jpg"))).collect();
    write_table(
        Path::new(&halves),
        vec![
            ("file", std::sync::Arc::new(files)),
            ("p", std::sync::Arc::new(numbers)),
        ],
    );
    for (args, part) in [
        (
            vec![EMBEDDED, "--truth", "truth", "--categories", "reptile"],
            "'reptile' has 3 rows with yes and 218",
        ),
        (
            vec![EMBEDDED, "--truth", "truth", "--categories", "unicorn"],
            "'unicorn' has 0 rows with yes",
        ),
        (
            vec![EMBEDDED, "--truth", "nothing", "--categories", "bird"],
            "there is no such column",
        ),
        (
            vec![EMBEDDED, "--truth", "truth"],
            "name them: --categories",
        ),
        (
            vec![
                EMBEDDED,
                "--truth",
                "truth",
                "--categories",
                "bird",
                "--model",
                "coco-ssd",
            ],
            "embeds no images",
        ),
        (
            vec![EMBEDDED, "--corrections", &contradiction],
            "'owl_006.jpg' is bird and is not",
        ),
        (
            vec![EMBEDDED, "--corrections", &strange],
            "none of the 1 images",
        ),
        (
            vec![&halves, "--truth", "p", "--categories", "dent"],
            "must be from 0 to 1",
        ),
        (
            vec![
                "/nowhere/at/all",
                "--truth",
                "truth",
                "--categories",
                "bird",
            ],
            "/nowhere/at/all",
        ),
    ] {
        if part.contains("0 to 1") {
            // Found while reading: the work failed.
            let output = folder.path().join("none.safetensors");
            let mut all = vec!["teach"];
            all.extend(&args);
            all.extend(["-o", output.to_str().unwrap()]);
            let run = picsift(all);
            assert!(
                !run.status.success() && stderr(&run).contains(part),
                "{}",
                stderr(&run)
            );
            assert!(!output.exists());
            continue;
        }
        let said = wrong(folder.path(), &args);
        assert!(said.contains(part), "{args:?}: {said}");
    }
    let lost = at("lost.parquet");
    let gone: StringArray = (0..30).map(|at| Some(format!("gone-{at}.jpg"))).collect();
    let dent: BooleanArray = (0..30).map(|at| Some(at % 2 == 0)).collect();
    write_table(
        Path::new(&lost),
        vec![
            ("image", std::sync::Arc::new(gone)),
            ("is_dent", std::sync::Arc::new(dent)),
        ],
    );
    let none = at("none.safetensors");
    let run = picsift(["teach", &lost, "--truth", "is_{}", "-o", &none]);
    let said = stderr(&run);
    assert_eq!(run.status.code(), Some(1), "{said}");
    let expected =
        "none of the 30 rows with a truth has an embedding: 30 of 30 images could not be read";
    assert!(said.contains(expected), "{said}");
    assert!(!Path::new(&none).exists());
    // One that is there stays.
    let there = at("there.safetensors");
    std::fs::write(&there, "mine").unwrap();
    let args = [
        "teach",
        EMBEDDED,
        "--truth",
        "truth",
        "--categories",
        "fish",
        "-o",
        &there,
    ];
    assert!(refused(&picsift(args)).contains("--overwrite"));
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "mine");
}

#[test]
fn heads_that_do_not_fit_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let heads = folder.path().join("heads.safetensors");
    let cache = folder.path().join("cache");
    taught(
        &cache,
        &heads,
        &["--truth", "truth", "--categories", "windmill"],
    );
    let heads = heads.to_str().unwrap();
    let output = folder.path().join("out");
    let label = |more: &[&str]| {
        let mut args = vec!["label", EMBEDDED, "-o", output.to_str().unwrap()];
        args.extend(more);
        let said = refused(&command(args, &cache).output().unwrap());
        assert!(!output.exists(), "{said}");
        said
    };
    let said = label(&["--heads", heads]);
    assert!(
        said.contains("taught with model 'efficientnet-lite0', and here it is 'pocket'"),
        "{said}"
    );
    let said = label(&["--heads", heads, "--categories", "fish"]);
    assert!(said.contains("was taught windmill"), "{said}");
    let said = label(&["--heads", "README.md"]);
    assert!(said.contains("README.md holds no heads"), "{said}");
    let said = label(&["--heads", "nowhere.safetensors"]);
    assert!(
        said.contains("cannot read the heads nowhere.safetensors"),
        "{said}"
    );
    let query = "SET picsift.heads = 'README.md'";
    let said = refused(&command(["sql", "-c", query], &cache).output().unwrap());
    assert!(said.contains("holds no heads"), "{said}");
}

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
