//! `picsift export`: every form read back by the readers that people use, row by row.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use arrow::array::{Array, BinaryArray, BooleanArray, StringArray, StructArray};
use serde_json::Value;
use tempfile::tempdir;

use crate::support::*;

const CATEGORIES: &str = "fish,building,tool,animal";

fn labelled(folder: &Path, input: &str) -> String {
    let target = folder.join("labelled").to_str().unwrap().to_string();
    stdout(&picsift([
        "label",
        input,
        "-o",
        &target,
        "--categories",
        CATEGORIES,
    ]));
    target
}

/// What a Python reader finds; `None` where there is none and need not be one.
fn read_back(form: &str, folder: &str) -> Option<Value> {
    let python = match python("webdataset, datasets") {
        Ok(python) => python,
        Err(reason) if std::env::var_os("PICSIFT_REQUIRE_READERS").is_some() => panic!("{reason}"),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return None;
        }
    };
    let cache = tempdir().unwrap();
    let run = Command::new(python)
        .args(["tests/readers/exported.py", form, folder])
        .current_dir(root())
        .env("HF_HUB_OFFLINE", "1")
        .env("HF_HOME", cache.path())
        .output()
        .unwrap();
    Some(serde_json::from_str(stdout(&run).lines().last().unwrap()).unwrap())
}

fn digest(bytes: &[u8]) -> String {
    picsift_images::hex(&picsift_images::sha256(bytes))
}

/// SHA-256 and label of each row that has one.
fn expected(table: &str) -> BTreeMap<String, (String, String)> {
    let rows = read_table(Path::new(table));
    let images = column::<StructArray>(&rows, "image");
    let bytes = images.column_by_name("bytes").unwrap();
    let bytes = bytes.as_any().downcast_ref::<BinaryArray>().unwrap();
    let (labels, files) = (
        column::<StringArray>(&rows, "label"),
        column::<StringArray>(&rows, "file"),
    );
    (0..rows.num_rows())
        .filter(|row| labels.is_valid(*row))
        .map(|row| {
            let of = (labels.value(row).to_string(), files.value(row).to_string());
            (digest(bytes.value(row)), of)
        })
        .collect()
}

#[test]
fn every_form_is_read_back_row_by_row() {
    let out = tempdir().unwrap();
    let table = labelled(out.path(), EMBEDDED);
    let expected = expected(&table);
    let mut splits: HashMap<String, String> = HashMap::new();
    for form in ["webdataset", "imagefolder", "hf"] {
        let target = out.path().join(form);
        let target = target.to_str().unwrap();
        let said = stdout(&picsift([
            "export",
            &table,
            "--format",
            form,
            "-o",
            target,
            "--seed",
            "3",
            "--shard-bytes",
            "2000000",
        ]));
        let classes: HashSet<_> = expected.values().map(|(label, _)| label).collect();
        let counts = format!("{} pictures in {} classes", expected.len(), classes.len());
        assert!(said.contains(&counts), "{said}");
        assert!(said.contains("(it has no label)"), "{said}");
        let Some(found) = read_back(form, target) else {
            return;
        };
        let rows = found["rows"].as_array().unwrap();
        assert_eq!(rows.len(), expected.len(), "{form}");
        for row in rows {
            let digest = row["sha256"].as_str().unwrap().to_string();
            let (label, file) = &expected[&digest];
            assert_eq!(
                (&row["label"], &row["rest"]["file"]),
                (&Value::from(label.as_str()), &Value::from(file.as_str()))
            );
            assert!(row["rest"]["is_fish"].is_boolean(), "{row}");
            assert!(row["rest"]["score_fish"].is_number(), "{row}");
            // The same picture goes to the same split in every form.
            let split = row["split"].as_str().unwrap().to_string();
            assert_eq!(*splits.entry(digest).or_insert(split.clone()), split);
        }
        let of = |name: &str| rows.iter().filter(|row| row["split"] == name).count();
        assert!(
            of("train") > of("validation") + of("test") && of("test") > 0,
            "{form}"
        );
        let card = found["card"].as_str().unwrap();
        for part in [
            "task_categories:\n- image-classification",
            "license: \"other\"",
            "Model pocket",
            "| fish | - | 0.2 |",
            "| CC0-1.0 |",
            "it has no label",
        ] {
            assert!(card.contains(part), "{part}\n{card}");
        }
    }
    assert!(
        Path::new(&out.path().join("webdataset/train-000001.tar")).is_file(),
        "one shard only"
    );
}

#[test]
fn columns_and_formats_that_readers_take_their_own_way_survive() {
    let out = tempdir().unwrap();
    let folder = out.path().join("pictures");
    fs::create_dir(&folder).unwrap();
    // Pictures of two formats: one column of pictures all the same.
    let photos = root().join("datasets/photos/references/images");
    let photos = fs::read_dir(photos).unwrap().flatten();
    let mut photos: Vec<_> = photos.map(|entry| entry.path()).collect();
    photos.sort_by_key(|path| {
        (
            path.extension().is_some_and(|end| end != "png"),
            path.clone(),
        )
    });
    let mut names = String::from("image,file_name\n");
    for (number, path) in photos.iter().take(14).enumerate() {
        let name = path.file_name().unwrap().to_str().unwrap();
        fs::copy(path, folder.join(name)).unwrap();
        names += &format!("{name},mine-{number}\n");
    }
    fs::write(folder.join("t.csv"), names).unwrap();
    let query = format!(
        "COPY (SELECT *, arrow_cast('2026-01-31T12:00:00', 'Timestamp(Microsecond, None)') AS taken, \
         CAST('2026-01-31' AS DATE) AS day, CAST(1.5 AS DECIMAL(10, 2)) AS price FROM '{0}/t.csv') TO '{0}/t.parquet'",
        folder.display()
    );
    stdout(&picsift(["sql", "-c", &query]));
    fs::remove_file(folder.join("t.csv")).unwrap();
    let input = folder.join("t.parquet");
    let table = labelled(out.path(), input.to_str().unwrap());
    for form in ["webdataset", "imagefolder", "hf"] {
        let target = out.path().join(form);
        let target = target.to_str().unwrap();
        let args = [
            "export",
            &table,
            "--format",
            form,
            "-o",
            target,
            "--keep-unlabelled",
            "--base",
            folder.to_str().unwrap(),
        ];
        let run = picsift(args.into_iter().chain(["--split", "train=0.98,test=0.02"]));
        assert!(
            stderr(&run).contains("has no picture of"),
            "{}",
            stderr(&run)
        );
        let Some(found) = read_back(form, target) else {
            return;
        };
        let rows = found["rows"].as_array().unwrap();
        assert_eq!(rows.len(), 14, "{form}");
        let own = match form {
            "imagefolder" => "filename",
            _ => "file_name",
        };
        for row in rows {
            let name = row["rest"][own].as_str().unwrap();
            assert!(name.starts_with("mine-"), "{row}");
        }
    }
}

#[test]
fn the_same_picture_is_never_in_two_splits() {
    let out = tempdir().unwrap();
    let path = out.path().join("twice.parquet");
    let photos = read_table(&root().join(EMBEDDED));
    let images = column::<StructArray>(&photos, "image");
    let bytes = images.column_by_name("bytes").unwrap();
    let bytes = bytes.as_any().downcast_ref::<BinaryArray>().unwrap();
    // Three times each, under other names, and a class that is only now and then known.
    let rows = 3 * 40;
    let pictures: Vec<&[u8]> = (0..rows).map(|row| bytes.value(row % 40)).collect();
    let labels: Vec<Option<&str>> = (0..rows)
        .map(|row| [Some("a/b"), Some("../c"), Some("A/B"), None][row % 4])
        .collect();
    write_table(
        &path,
        vec![
            ("image", array(BinaryArray::from_vec(pictures))),
            ("is_a", array(BooleanArray::from(vec![true; rows]))),
            ("label", array(StringArray::from(labels))),
            ("license", array(StringArray::from(vec!["CC0-1.0"; rows]))),
        ],
    );
    let target = out.path().join("out");
    let target = target.to_str().unwrap();
    let args = [
        "export",
        path.to_str().unwrap(),
        "--format",
        "imagefolder",
        "-o",
        target,
        "--keep-unlabelled",
        "--split",
        "train=0.5,test=0.5",
    ];
    stdout(&picsift(args));
    let mut split_of: HashMap<String, String> = HashMap::new();
    let mut folders = HashSet::new();
    for entry in walkdir::WalkDir::new(target) {
        let entry = entry.unwrap();
        let below = entry.path().strip_prefix(target).unwrap();
        let parts: Vec<_> = below.iter().map(|part| part.to_str().unwrap()).collect();
        if let [split, class, _] = parts[..] {
            folders.insert(class.to_lowercase());
            let digest = digest(&fs::read(entry.path()).unwrap());
            let known = split_of.entry(digest).or_insert(split.to_string());
            assert_eq!(known, split);
        }
    }
    assert_eq!(split_of.len(), 40);
    let names = ["_c", "a_b", "a_b_2", "unlabelled"].map(str::to_string);
    assert_eq!(folders, HashSet::from(names));
    assert!(!out.path().join("c").exists());
    let card = fs::read_to_string(Path::new(target).join("README.md")).unwrap();
    assert!(card.contains("license: \"cc0-1.0\""), "{card}");

    // Each class keeps no more than the smallest, and the same ones every time.
    let kept = |seed: &str| {
        let target = out.path().join(format!("balanced{seed}"));
        let target = target.to_str().unwrap();
        stdout(&picsift([
            "export",
            path.to_str().unwrap(),
            "--format",
            "webdataset",
            "-o",
            target,
            "--overwrite",
            "--max-per-class",
            "5",
            "--seed",
            seed,
        ]));
        let marker = fs::read(Path::new(target).join("_picsift_export.json")).unwrap();
        serde_json::from_slice::<Value>(&marker).unwrap()["counts"].clone()
    };
    let counts = kept("1");
    for class in 0..3 {
        let of = |split: &Value| split[class].as_u64().unwrap();
        let sum: u64 = counts.as_array().unwrap().iter().map(of).sum();
        assert_eq!(sum, 5, "{counts}");
    }
    assert_eq!(kept("1"), counts);
}

/// The folder of rows without a label is NULL for those who read the table, as for other readers of such folders.
#[test]
fn a_table_in_folders_of_labels_has_rows_without_one() {
    let out = tempdir().unwrap();
    let table = out.path().join("labelled");
    let table = table.to_str().unwrap();
    stdout(&picsift([
        "label",
        REFERENCES,
        "-o",
        table,
        "--categories",
        "fish,tool",
        "--partition-by",
        "label",
    ]));
    let query = format!(
        "SELECT label, count(*) AS n, count(label) AS known FROM '{table}' WHERE label IS NULL GROUP BY label"
    );
    let unlabelled = stdout(&picsift(["sql", "--format", "csv", "-c", &query]));
    let rows: u64 = unlabelled
        .strip_prefix("label,n,known\n,")
        .and_then(|rest| rest.strip_suffix(",0\n"))
        .and_then(|rows| rows.parse().ok())
        .unwrap_or_else(|| panic!("{unlabelled}"));
    let target = out.path().join("out");
    let args = [
        "export",
        table,
        "--base",
        REFERENCES,
        "--format",
        "imagefolder",
        "-o",
    ];
    let said = stdout(&picsift([&args[..], &[target.to_str().unwrap()]].concat()));
    assert!(
        said.contains("in 2 classes") && said.contains(&format!("{rows} (it has no label)")),
        "{said}"
    );

    // A sample is drawn from the files, a job reads them row by row.
    let sample = out.path().join("sample.parquet");
    let sample = sample.to_str().unwrap();
    stdout(&picsift(["sample", table, "-o", sample]));
    let query = format!("SELECT count(*) AS n FROM '{sample}' WHERE label IS NULL");
    let drawn = stdout(&picsift(["sql", "--format", "csv", "-c", &query]));
    assert_ne!(drawn, "n\n0\n");
    let again = out.path().join("again");
    let args = ["--where", "label IS NULL", "--categories", "dog"];
    let place = ["label", table, "-o", again.to_str().unwrap()];
    picsift([&place[..], &args[..]].concat());
    assert_eq!(read_table(&again).num_rows() as u64, rows);
}

#[test]
fn what_cannot_be_exported_is_said() {
    let out = tempdir().unwrap();
    let table = labelled(out.path(), REFERENCES);
    let target = out.path().join("out");
    let target = target.to_str().unwrap();
    let export = |more: &[&str]| {
        let args = ["export", &table, "--format", "hf", "-o", target];
        picsift([&args[..], &["--base", REFERENCES], more].concat())
    };
    for (more, part) in [
        (vec!["--split", "train=0.8"], "add up to 0.8"),
        (vec!["--label", "width"], "a class is text"),
        (vec!["--label", "nothing"], "no such column"),
        (vec!["--evaluation", "README.md"], "no evaluation"),
    ] {
        let said = refused(&export(&more));
        assert!(said.contains(part), "{said}");
        assert!(!Path::new(target).exists());
    }
    let evaluation = out.path().join("evaluation.json");
    let judged = stdout(&picsift([
        "eval", &table, "--truth", "truth", "--format", "json",
    ]));
    fs::write(&evaluation, judged).unwrap();
    let evaluation = ["--evaluation", evaluation.to_str().unwrap()];
    stdout(&export(&evaluation));
    let card = fs::read_to_string(Path::new(target).join("README.md")).unwrap();
    assert!(
        card.contains("## Evaluation") && card.contains("| fish | 28 | 1.000"),
        "{card}"
    );
    assert!(refused(&export(&[])).contains("--overwrite"));
    stdout(&export(&["--overwrite"]));
}
