//! `picsift label` with the model `shapes`: a table of pictures in, columns and manifest out.

use std::fs;
use std::path::Path;

use arrow::array::{Array, BooleanArray, Float32Array, ListArray, RecordBatch, StringArray};
use serde_json::Value;
use tempfile::tempdir;

use super::pictures::*;
use crate::support::*;

const CATEGORIES: [&str; 4] = ["red circle", "star", "blue shape", "circles"];
const COLUMNS: [&str; 4] = ["red_circle", "star", "blue_shape", "circles"];

/// Labels all pictures with these flags; the table and the manifest that came of it.
pub(super) fn labelled(folder: &Path, name: &str, flags: &[&str]) -> (RecordBatch, Value) {
    let input = folder.join("pictures.parquet");
    if !input.exists() {
        write_pictures(&input, &pictures());
    }
    let target = folder.join(name);
    let mut args = vec![
        "label",
        input.to_str().unwrap(),
        "--output",
        target.to_str().unwrap(),
        "--model",
        "shapes",
        "--device",
        "cpu",
    ];
    args.extend(flags);
    stdout(&picsift(args));
    let manifest = fs::read_to_string(target.join("_picsift.json")).unwrap();
    (
        read_table(&target),
        serde_json::from_str(&manifest).unwrap(),
    )
}

#[test]
fn labels_say_what_is_drawn() {
    let folder = tempdir().unwrap();
    let pictures = pictures();
    let (table, manifest) = labelled(
        folder.path(),
        "out",
        &["--categories", &CATEGORIES.join(",")],
    );
    assert_eq!(table.num_rows(), pictures.len() + 1);
    let is = COLUMNS.map(|c| column::<BooleanArray>(&table, &format!("is_{c}")));
    let scores = COLUMNS.map(|c| column::<Float32Array>(&table, &format!("score_{c}")));
    let label = column::<StringArray>(&table, "label");
    let labels = column::<ListArray>(&table, "labels");
    let answers = column::<StringArray>(&table, "answers");
    let errors = errors(&table);
    let files = column::<StringArray>(&table, "file");

    let (mut right, mut best) = (YesNo::default(), Share::default());
    for (row, picture) in pictures.iter().enumerate() {
        assert_eq!(files.value(row), picture.file);
        assert_eq!(errors[row], None);
        let json: Value = serde_json::from_str(answers.value(row)).unwrap();
        let mut held = Vec::new();
        for (index, category) in CATEGORIES.into_iter().enumerate() {
            let (answer, score) = (is[index].value(row), scores[index].value(row));
            assert!((0.0..=1.0).contains(&score), "{score}");
            assert_eq!(answer, score >= 0.5, "{category} in {}", picture.file);
            assert_eq!(json[category], answer);
            if answer {
                held.push((category, score));
            }
            right.count(picture, category, answer);
        }
        let listed = labels.value(row);
        let listed: Vec<_> = listed
            .as_any()
            .downcast_ref::<StringArray>()
            .unwrap()
            .iter()
            .flatten()
            .collect();
        let names: Vec<_> = held.iter().map(|(category, _)| *category).collect();
        assert_eq!(listed, names);
        let top = held.iter().map(|(_, score)| *score).fold(0.0, f32::max);
        let own = (!label.is_null(row)).then(|| label.value(row));
        match own {
            Some(own) => assert!(held.contains(&(own, top)), "{own} of {held:?}"),
            None => assert!(held.is_empty()),
        }
        best.count(
            match own {
                Some(own) => picture.shows(own),
                None => !CATEGORIES.iter().any(|category| picture.shows(category)),
            },
            || format!("{own:?} for {}", picture.file),
        );
    }

    let last = pictures.len();
    assert!(errors[last].is_none() && label.is_null(last) && answers.is_null(last));
    assert!(labels.is_null(last) && is.iter().all(|column| column.is_null(last)));
    assert!(scores.iter().all(|column| column.is_null(last)));

    let model = &manifest["model"];
    assert_eq!(model["name"], "shapes");
    assert!(model["revision"].as_str().is_some_and(|r| !r.is_empty()));
    assert_eq!(model["dtype"], "f32");
    assert_eq!(model["device"], "cpu");
    assert_eq!(model["crops"], "reference");
    let counts = &manifest["counts"];
    assert_eq!(counts["rows"], pictures.len() + 1);
    assert_eq!(counts["images"], pictures.len());
    assert_eq!(counts["failures"], 0);
    let prompts = [
        "Is there a red circle in the image?\nAnswer yes or no.",
        "Is there a star in the image?\nAnswer yes or no.",
        "Is there a blue shape in the image?\nAnswer yes or no.",
        "Are there circles in the image?\nAnswer yes or no.",
    ];
    for (index, prompt) in prompts.into_iter().enumerate() {
        let entry = &manifest["categories"][index];
        assert_eq!(entry["name"], CATEGORIES[index]);
        assert_eq!(entry["prompt"], prompt);
        assert_eq!(entry["threshold"], 0.5);
        assert_eq!(entry["held"], is[index].true_count());
    }
    right.hold("picsift label");
    best.hold("the label of a picture");
}

#[test]
fn a_persons_own_prompt_and_threshold_count() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("categories.toml");
    fs::write(
        &file,
        "[bright]\ncolumn = 'own'\nprompt = \"Is there a star in the image?\\nAnswer yes or no.\"\nthreshold = 0.9\n\
         [red]\nprompt = 'Do you see any red shapes in the picture?'\n",
    )
    .unwrap();
    let (table, manifest) = labelled(
        folder.path(),
        "out",
        &[
            "--categories",
            "star",
            "--categories-file",
            file.to_str().unwrap(),
            "--threshold",
            "0.25",
        ],
    );
    let entries = manifest["categories"].as_array().unwrap();
    let told: Vec<_> = entries
        .iter()
        .map(|entry| {
            (
                entry["name"].as_str().unwrap(),
                entry["prompt"].as_str().unwrap(),
                entry["threshold"].as_f64().unwrap() as f32,
                entry["is_column"].as_str().unwrap(),
            )
        })
        .collect();
    let star = "Is there a star in the image?\nAnswer yes or no.";
    let red = "Do you see any red shapes in the picture?";
    assert_eq!(
        told,
        [
            ("star", star, 0.25, "is_star"),
            ("bright", star, 0.9, "is_own"),
            ("red", red, 0.25, "is_red")
        ]
    );

    let score = |name: &str| column::<Float32Array>(&table, &format!("score_{name}"));
    let is = |name: &str| column::<BooleanArray>(&table, &format!("is_{name}"));
    for row in 0..pictures().len() {
        let difference = score("star").value(row) - score("own").value(row);
        assert!(difference.abs() < 1e-4, "the same question, {difference}");
        assert_eq!(is("star").value(row), score("star").value(row) >= 0.25);
        assert_eq!(is("own").value(row), score("own").value(row) >= 0.9);
    }
}
