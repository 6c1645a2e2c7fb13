//! `picsift eval`: figures that scikit-learn gives too, truth in every form, thresholds, and what has no figure.

use std::fs;
use std::path::Path;
use std::process::Command;

use arrow::array::{
    Array, ArrayRef, BooleanArray, Float32Array, Float64Array, Int64Array, ListBuilder,
    StringArray, StringBuilder,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;
use tempfile::tempdir;

use crate::support::*;

const CATEGORIES: &str = "animal,bird,building,fish,screwdriver,tool";

fn eval(args: &[&str]) -> Value {
    let mut all = vec!["eval"];
    all.extend(args);
    all.extend(["--format", "json"]);
    serde_json::from_str(&stdout(&picsift(all))).unwrap()
}

/// The photographs, labelled.
fn labelled(folder: &Path) -> String {
    let target = folder.join("labelled").to_str().unwrap().to_string();
    let args = ["label", EMBEDDED, "-o", &target, "--categories", CATEGORIES];
    stdout(&picsift(args));
    target
}

/// Asserts that scikit-learn finds the same of `table`, to 1e-9.
fn same_as_scikit_learn(table: &str, truth: &str, categories: &[&str], found: &Value) {
    let python = match python("sklearn, pyarrow") {
        Ok(python) => python,
        Err(reason) if std::env::var_os("PICSIFT_REQUIRE_READERS").is_some() => panic!("{reason}"),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return;
        }
    };
    let run = Command::new(python)
        .args(["tests/readers/metrics.py", table, truth])
        .args(categories)
        .current_dir(root())
        .output()
        .unwrap();
    let expected: Value = serde_json::from_str(&stdout(&run)).unwrap();
    for (category, figures) in expected.as_object().unwrap() {
        let all = found["categories"].as_array().unwrap();
        let ours = all.iter().find(|one| one["name"] == *category).unwrap();
        for (name, value) in figures.as_object().unwrap() {
            let ours = match name.as_str() {
                "support" => ours[name].as_f64().unwrap(),
                _ => ours[name]["value"].as_f64().unwrap(),
            };
            let value = value.as_f64().unwrap();
            let near = (ours - value).abs() <= 1e-9 * value.abs().max(1.0);
            assert!(near, "{name} of {category}: {ours} and {value}");
        }
    }
}

#[test]
fn photographs_are_judged_as_scikit_learn_judges_them() {
    let out = tempdir().unwrap();
    let table = labelled(out.path());
    let found = eval(&[&table, "--truth", "truth"]);
    let categories: Vec<_> = CATEGORIES.split(',').collect();
    same_as_scikit_learn(&table, "truth", &categories, &found);
    let fish = &found["categories"][3];
    assert_eq!(fish["support"], 28.0);
    assert_eq!(fish["roc_auc"]["interval"], "bootstrap");
    assert_eq!(fish["recall"]["interval"], "wilson");
    assert_eq!(found["model"]["name"], "pocket");
    let notes = found["notes"].to_string();
    assert!(
        notes.contains("in the truth but no category here"),
        "{notes}"
    );
    let driver = &found["categories"][4];
    assert!(
        driver["support"].as_f64().unwrap() > 0.0,
        "screwDriver is a screwdriver"
    );
    // The same seed gives the same intervals.
    assert_eq!(eval(&[&table, "--truth", "truth"]), found);
}

/// Rows with scores that say something, ties, NULLs, and weights.
fn random_table(path: &Path, rows: usize, wide: bool, weighted: bool) {
    let mut random = StdRng::seed_from_u64(rows as u64);
    let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
    for (is, score, truth, share) in [
        ("is_dog", "score_dog", "truth_dog", 0.3),
        ("is_cat", "score_cat", "truth_cat", 0.02),
    ] {
        let truths: Vec<Option<bool>> = (0..rows)
            .map(|_| random.random_bool(0.95).then(|| random.random_bool(share)))
            .collect();
        let scores: Vec<Option<f64>> = truths
            .iter()
            .map(|truth| {
                let middle: f64 = random.random();
                let score = match truth {
                    Some(true) => middle.sqrt(),
                    _ => middle * middle,
                };
                // Every third falls on one of a few values.
                let score = match random.random_range(0..3) {
                    0 => (score * 8.0).round() / 8.0,
                    _ => score,
                };
                random.random_bool(0.97).then_some(score)
            })
            .collect();
        let answers: BooleanArray = scores.iter().map(|score| score.map(|s| s >= 0.5)).collect();
        columns.push((is, array(answers)));
        columns.push(match wide {
            true => (score, array(Float64Array::from(scores))),
            false => {
                let scores = scores.iter().map(|score| score.map(|s| s as f32));
                (score, array(scores.collect::<Float32Array>()))
            }
        });
        columns.push((truth, array(BooleanArray::from(truths))));
    }
    if weighted {
        let weights: Vec<f64> = (0..rows).map(|_| random.random_range(1.0..50.0)).collect();
        columns.push(("picsift_weight", array(Float64Array::from(weights))));
    }
    write_table(path, columns);
}

#[test]
fn random_rows_are_judged_as_scikit_learn_judges_them() {
    let out = tempdir().unwrap();
    for (name, rows, wide, weighted) in [
        ("narrow", 20_000, false, false),
        ("wide", 19_999, true, false),
        ("weighted", 3_000, false, true),
    ] {
        let path = out.path().join(format!("{name}.parquet"));
        random_table(&path, rows, wide, weighted);
        let path = path.to_str().unwrap();
        let found = eval(&[path, "--truth", "truth_{}"]);
        same_as_scikit_learn(path, "truth_{}", &["dog", "cat"], &found);
        assert_eq!(found["weighted"], weighted);
        for category in found["categories"].as_array().unwrap() {
            let auc = &category["roc_auc"];
            let [value, low, high] =
                ["value", "low", "high"].map(|part| auc[part].as_f64().unwrap());
            assert!(low < value && value < high && high - low < 0.2, "{auc}");
        }
    }
}

#[test]
fn truth_may_stand_in_another_table() {
    let out = tempdir().unwrap();
    let table = labelled(out.path());
    let inside = eval(&[&table, "--truth", "truth"]);
    let photos = read_table(&root().join(EMBEDDED));
    let files = column::<StringArray>(&photos, "file");
    let truth = column::<arrow::array::ListArray>(&photos, "truth");
    // Without the first ten, with one of another collection, and as CSV.
    let mut csv = "name,fish\n".to_string();
    let mut list = ListBuilder::new(StringBuilder::new());
    for row in 10..files.len() {
        let words = truth.value(row);
        let words = words.as_any().downcast_ref::<StringArray>().unwrap();
        csv += &format!(
            "{},{}\n",
            files.value(row),
            words.iter().any(|word| word == Some("fish"))
        );
        list.append_value(words.iter());
    }
    csv += "elsewhere.jpg,true\n";
    let path = out.path().join("truth.csv");
    fs::write(&path, csv).unwrap();
    let path = path.to_str().unwrap();
    let args = [
        "--truth-file",
        path,
        "--key",
        "file=name",
        "--truth",
        "fish=fish",
    ];
    let beside = eval(&[&[table.as_str()], &args[..]].concat());
    assert_eq!(
        beside["joined"],
        serde_json::json!({"matched": 211, "without_truth": 10, "unmatched_truth": 1})
    );
    let fish = |found: &Value| found["categories"][3]["support"].as_f64().unwrap();
    let first = (0..10).filter(|row| {
        let words = truth.value(*row);
        let words = words
            .as_any()
            .downcast_ref::<StringArray>()
            .unwrap()
            .clone();
        words.iter().any(|word| word == Some("fish"))
    });
    assert_eq!(fish(&beside), fish(&inside) - first.count() as f64);
    let note = beside["categories"][0]["notes"][0].as_str().unwrap();
    assert!(note.contains("no row has both truth and answer"), "{note}");

    let none = out.path().join("other.csv");
    fs::write(&none, "key,fish\nx.jpg,true\n").unwrap();
    let none = none.to_str().unwrap();
    let said = refused(&picsift([
        "eval",
        &table,
        "--truth-file",
        none,
        "--truth",
        "fish=fish",
    ]));
    assert!(
        said.contains("'x.jpg'") && said.contains("no row"),
        "{said}"
    );
    fs::write(none, "key,fish\nx.jpg,true\nx.jpg,false\n").unwrap();
    let said = refused(&picsift([
        "eval",
        &table,
        "--truth-file",
        none,
        "--truth",
        "fish=fish",
    ]));
    assert!(said.contains("'x.jpg' stands more than once"), "{said}");
}

#[test]
fn a_sweep_writes_thresholds_that_label_takes() {
    let out = tempdir().unwrap();
    let table = labelled(out.path());
    let before = eval(&[&table, "--truth", "truth"]);
    let path = out.path().join("categories.toml");
    fs::write(
        &path,
        "# tuned by eval\n[animal]\nthreshold = 0.9 # too high\n",
    )
    .unwrap();
    let file = path.to_str().unwrap();
    let run = picsift([
        "eval",
        &table,
        "--truth",
        "truth",
        "--sweep",
        "--categories-file",
        file,
    ]);
    let said = stdout(&run);
    assert!(said.contains("Thresholds with the best F1"), "{said}");
    assert!(
        stderr(&run).contains("6 thresholds written"),
        "{}",
        stderr(&run)
    );
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("# tuned by eval\n[animal]\n"), "{text}");
    assert!(
        text.contains("# too high") && text.contains("[screwdriver]"),
        "{text}"
    );

    let again = out.path().join("again").to_str().unwrap().to_string();
    stdout(&picsift([
        "label",
        EMBEDDED,
        "-o",
        &again,
        "--categories-file",
        file,
    ]));
    let after = eval(&[&again, "--truth", "truth"]);
    for (a, b) in before["categories"]
        .as_array()
        .unwrap()
        .iter()
        .zip(after["categories"].as_array().unwrap())
    {
        let f1 = |category: &Value| category["f1"]["value"].as_f64().unwrap_or(0.0);
        assert!(f1(b) >= f1(a), "{a}\n{b}");
    }

    let sure = eval(&[
        &table,
        "--truth",
        "truth",
        "--sweep",
        "--min-precision",
        "0.99",
    ]);
    for category in sure["categories"].as_array().unwrap() {
        let choice = &category["sweep"]["choice"];
        let reached = choice["precision"].as_f64().is_none_or(|p| p >= 0.99);
        assert!(reached, "{category}");
    }
}

#[test]
fn single_labels_have_a_confusion_matrix() {
    let out = tempdir().unwrap();
    let path = out.path().join("t.parquet");
    let texts = |texts: &[Option<&str>]| array(StringArray::from(texts.to_vec()));
    let answers = |answers: &[bool]| array(BooleanArray::from(answers.to_vec()));
    write_table(
        &path,
        vec![
            (
                "class",
                texts(&[Some("dog"), Some("Dog"), Some("cat"), Some("cow"), None]),
            ),
            ("is_dog", answers(&[true, false, true, false, true])),
            ("is_cat", answers(&[false, false, false, false, false])),
            (
                "label",
                texts(&[Some("dog"), None, Some("dog"), None, Some("dog")]),
            ),
        ],
    );
    let path = path.to_str().unwrap();
    let found = eval(&[path, "--truth", "class"]);
    let matrix = &found["matrix"];
    assert_eq!(
        matrix["truth"],
        serde_json::json!(["dog", "cat", "(other)"])
    );
    assert_eq!(
        matrix["rows"],
        serde_json::json!([[1.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    );
    assert_eq!(matrix["accuracy"], 0.25);
    let notes = found["categories"].to_string();
    assert!(notes.contains("it never holds in the answers"), "{notes}");
    assert!(notes.contains("no column of scores"), "{notes}");
    let text = stdout(&picsift([
        "eval", path, "--truth", "class", "--format", "markdown",
    ]));
    assert!(text.contains("| dog | 1 | 0 | 1 |"), "{text}");
}

#[test]
fn what_has_no_figure_has_none() {
    let out = tempdir().unwrap();
    let path = out.path().join("t.parquet");
    let path_text = path.to_str().unwrap();
    let table = |scores: Vec<f32>, truth: Vec<Option<bool>>| {
        let answers: Vec<bool> = scores.iter().map(|score| *score >= 0.5).collect();
        let id = Int64Array::from_iter_values(0..scores.len() as i64);
        write_table(
            &path,
            vec![
                ("id", array(id)),
                ("is_dog", array(BooleanArray::from(answers))),
                ("score_dog", array(Float32Array::from(scores))),
                ("truth", array(BooleanArray::from(truth))),
            ],
        );
    };
    table(
        vec![0.9, 1.5, -0.5],
        vec![Some(true), Some(false), Some(true)],
    );
    let found = eval(&[path_text, "--truth", "truth", "--sweep", "--key", "id"]);
    let dog = &found["categories"][0];
    for figure in ["average_precision", "roc_auc", "brier", "calibration_error"] {
        assert!(dog[figure]["value"].is_null(), "{figure}");
    }
    assert_eq!(dog["precision"]["value"], 0.5);
    assert!(
        dog["notes"][0]
            .as_str()
            .unwrap()
            .contains("2 scores are outside 0 to 1")
    );
    assert!(dog["sweep"]["choice"].is_null());
    assert_eq!(dog["mistakes"][0]["key"], "1");

    table(vec![0.9, 0.1], vec![Some(true), Some(true)]);
    let dog = &eval(&[path_text, "--truth", "truth"])["categories"][0];
    assert!(dog["roc_auc"]["value"].is_null());
    assert_eq!(dog["average_precision"]["value"], 1.0);
    assert!(dog["notes"][0].as_str().unwrap().contains("always yes"));

    table(vec![0.9, 0.1], vec![None, None]);
    let said = refused(&picsift(["eval", path_text, "--truth", "truth"]));
    assert!(said.contains("NULL in all of its 2 rows"), "{said}");
    for (args, part) in [
        (vec!["--truth", "nothing"], "no such column"),
        (vec![], "say what is true"),
        (vec!["--truth", "score_dog"], "Float32"),
        (vec!["--truth", "cat=truth"], "no category"),
    ] {
        let args = [vec!["eval", path_text], args].concat();
        let said = refused(&picsift(args));
        assert!(said.contains(part), "{said}");
    }
    let said = refused(&picsift(["eval", EMBEDDED, "--truth", "truth"]));
    assert!(said.contains("label it first"), "{said}");
}

/// What a person types who has no truth: draw, annotate, judge.
#[test]
fn a_sample_stands_for_the_table_it_was_drawn_from() {
    let out = tempdir().unwrap();
    let path = out.path().join("table.parquet");
    random_table(&path, 4_000, false, false);
    let path = path.to_str().unwrap();
    let whole = eval(&[path, "--truth", "truth_{}"]);
    let total =
        |found: &Value, part: &str| found["categories"][0]["counts"][part].as_f64().unwrap();
    for by in ["uncertainty", "random", "stratified"] {
        let mut sums = [0.0; 2];
        for seed in 0..8 {
            let seed = seed.to_string();
            let drawn = out.path().join(format!("{by}{seed}.parquet"));
            let drawn = drawn.to_str().unwrap();
            let args = [
                "sample",
                path,
                "-o",
                drawn,
                "--by",
                by,
                "--per-category",
                "200",
                "--seed",
                &seed,
            ];
            let said = stdout(&picsift(args));
            assert!(said.contains("dog: 200 of"), "{said}");
            let found = eval(&[drawn, "--truth", "truth_{}"]);
            assert_eq!(found["weighted"], true);
            sums[0] += total(&found, "true_positive") / 8.0;
            sums[1] += total(&found, "false_positive") / 8.0;
        }
        for (mean, part) in sums.into_iter().zip(["true_positive", "false_positive"]) {
            let expected = total(&whole, part);
            assert!(
                (mean / expected - 1.0).abs() < 0.2,
                "{by} {part}: {mean} of {expected}"
            );
        }
    }
}

#[test]
fn a_sample_is_a_table_to_annotate() {
    let out = tempdir().unwrap();
    let table = labelled(out.path());
    let path = out.path().join("sample.parquet");
    let drawn = path.to_str().unwrap();
    let args = ["sample", &table, "-o", drawn, "--per-category", "20"];
    stdout(&picsift(args));
    let file = fs::File::open(&path).unwrap();
    let sample =
        parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
    let schema = sample.schema().clone();
    for name in [
        "image",
        "is_fish",
        "picsift_weight",
        "truth_fish",
        "truth_screwdriver",
    ] {
        assert!(schema.column_with_name(name).is_some(), "{name}");
    }
    // It knows what the table knew.
    let found = eval(&[drawn, "--truth", "truth"]);
    assert_eq!(found["model"]["name"], "pocket");
    assert!(found["categories"][0]["threshold"].is_number());
    let said = refused(&picsift(args));
    assert!(said.contains("--overwrite"), "{said}");
    stdout(&picsift([&args[..], &["--overwrite"]].concat()));
    let said = refused(&picsift(["sample", drawn, "-o", "x.parquet"]));
    assert!(said.contains("a sample already"), "{said}");
    let said = refused(&picsift(["sample", &table, "-o", "s3://bucket/x"]));
    assert!(said.contains("local Parquet file"), "{said}");
}

/// The same truth in every form in which people write it gives the same figures.
#[test]
fn truth_is_understood_in_every_form() {
    let out = tempdir().unwrap();
    let table = out.path().join("table.parquet");
    let text = |values: [&str; 4]| array(StringArray::from(values.to_vec()));
    write_table(
        &table,
        vec![
            (
                "is_dog",
                array(BooleanArray::from(vec![true, true, false, false])),
            ),
            (
                "is_red_car",
                array(BooleanArray::from(vec![false, true, true, false])),
            ),
            ("words", text(["yes", "No", "FALSE", "0"])),
            ("cars", text(["n", "true", "y", "f"])),
            ("numbers", array(Int64Array::from(vec![1, 0, 0, 0]))),
            ("bars", text(["dog", "red car|cat", "Red_Car", ""])),
            ("commas", text(["dog", "cat, red car", "red car", ""])),
            (
                "json",
                text(["[\"dog\"]", "[\"red car\"]", "['redCar']", "[]"]),
            ),
            ("wrong", text(["yes", "perhaps", "no", "no"])),
        ],
    );
    let table = table.to_str().unwrap();
    let precision = |truth: &[&str]| -> Vec<Value> {
        let flags: Vec<&str> = truth.iter().flat_map(|truth| ["--truth", truth]).collect();
        let found = eval(&[&[table], &flags[..]].concat());
        let all = found["categories"].as_array().unwrap();
        all.iter()
            .map(|one| one["precision"]["value"].clone())
            .collect()
    };
    for truth in [
        &["dog=words", "red car=cars"][..],
        &["dog=numbers", "red car=cars"],
        &["bars"],
        &["commas"],
        &["json"],
    ] {
        assert_eq!(precision(truth), [0.5, 1.0], "{truth:?}");
    }
    let said = picsift(["eval", table, "--truth", "dog=wrong"]);
    assert!(!said.status.success());
    assert!(
        stderr(&said).contains("'perhaps' is neither yes nor no"),
        "{}",
        stderr(&said)
    );
}
