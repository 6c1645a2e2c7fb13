//! What bad input gets: one sentence, exit code 2, nothing written.

use std::fs;

use arrow::array::{Int64Array, StringArray};
use tempfile::{TempDir, tempdir};

use crate::support::*;

/// Runs `label` on `args` with an output that must not come to be.
fn label(folder: &TempDir, args: &[&str]) -> String {
    let target = folder.path().join("out");
    let mut all = vec!["label", "--output", target.to_str().unwrap()];
    all.extend(args);
    let said = refused(&picsift(all));
    assert!(!target.exists(), "nothing is written");
    said
}

#[test]
fn a_missing_file_is_named() {
    let folder = tempdir().unwrap();
    let said = label(&folder, &["no/such.parquet", "--categories", "fish"]);
    assert_eq!(
        said,
        "picsift: there is no file or folder 'no/such.parquet'"
    );
}

#[test]
fn a_file_that_is_no_parquet_is_named() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    fs::write(&path, "id,image\n1,a.jpg\n").unwrap();
    let said = label(&folder, &[path.to_str().unwrap(), "--categories", "fish"]);
    assert!(said.contains("t.parquet' as Parquet: "), "{said}");
}

#[test]
fn an_empty_table_is_said() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    write_table(
        &path,
        vec![("image", array(StringArray::from(Vec::<&str>::new())))],
    );
    let said = label(&folder, &[path.to_str().unwrap(), "--categories", "fish"]);
    assert!(said.contains("has no rows"), "{said}");
    let said = label(
        &folder,
        &[
            EMBEDDED,
            "--categories",
            "fish",
            "--where",
            "width > 100000",
        ],
    );
    assert!(said.contains("no row"), "{said}");
}

#[test]
fn a_missing_or_wrong_column_names_what_there_is() {
    let folder = tempdir().unwrap();
    let said = label(
        &folder,
        &[EMBEDDED, "--categories", "fish", "--image", "img"],
    );
    assert!(
        said.contains("no column 'img'") && said.contains("author"),
        "{said}"
    );
    let said = label(
        &folder,
        &[EMBEDDED, "--categories", "fish", "--image", "width"],
    );
    assert!(said.contains("width") && said.contains("Int32"), "{said}");
    let path = folder.path().join("t.parquet");
    write_table(&path, vec![("id", array(Int64Array::from(vec![1])))]);
    let said = label(&folder, &[path.to_str().unwrap(), "--categories", "fish"]);
    assert!(said.contains("--image COLUMN"), "{said}");
    let said = label(
        &folder,
        &[
            EMBEDDED,
            "--categories",
            "fish",
            "--partition-by",
            "colection",
        ],
    );
    assert!(
        said.contains("no column 'colection'") && said.contains("collection"),
        "{said}"
    );
}

#[test]
fn an_unknown_category_names_near_ones() {
    let folder = tempdir().unwrap();
    let said = label(&folder, &[EMBEDDED, "--categories", "hamer"]);
    assert!(said.contains("hamer") && said.contains("hammer"), "{said}");
    let said = label(&folder, &[EMBEDDED, "--categories", "moose"]);
    assert!(
        said.contains("moose") && said.contains("ruminant"),
        "{said}"
    );
}

#[test]
fn an_unknown_model_or_device_names_the_known_ones() {
    let folder = tempdir().unwrap();
    let said = label(
        &folder,
        &[EMBEDDED, "--categories", "fish", "--model", "resnet"],
    );
    assert!(
        said.contains("resnet") && said.contains("efficientnet-lite0"),
        "{said}"
    );
    let said = label(
        &folder,
        &[EMBEDDED, "--categories", "fish", "--device", "cuda:7"],
    );
    assert!(
        said.to_lowercase().contains("cuda") || said.contains("CPU"),
        "{said}"
    );
}

#[test]
fn a_wrong_predicate_is_said_before_anything_is_read() {
    let folder = tempdir().unwrap();
    let said = label(
        &folder,
        &[EMBEDDED, "--categories", "fish", "--where", "nosuch > 1"],
    );
    assert!(said.contains("nosuch"), "{said}");
    label(
        &folder,
        &[EMBEDDED, "--categories", "fish", "--where", "width >"],
    );
    label(
        &folder,
        &[EMBEDDED, "--categories", "fish", "--where", "author"],
    );
}

#[test]
fn a_wrong_categories_file_names_its_line() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("c.toml");
    fs::write(&file, "[fish]\nthreshold = 'high'\n").unwrap();
    let run = picsift([
        "label",
        EMBEDDED,
        "-o",
        "nowhere",
        "--categories-file",
        file.to_str().unwrap(),
    ]);
    assert_eq!(run.status.code(), Some(2));
    assert!(
        stderr(&run).contains("c.toml") && stderr(&run).contains("line 2"),
        "{}",
        stderr(&run)
    );
    fs::write(&file, "[fish]\nthreshold = 3\n").unwrap();
    let said = label(
        &folder,
        &[EMBEDDED, "--categories-file", file.to_str().unwrap()],
    );
    assert!(said.contains("0 to 1"), "{said}");
    let said = label(&folder, &[EMBEDDED]);
    assert!(said.contains("--categories"), "{said}");
}

#[test]
fn what_picsift_did_not_write_is_not_overwritten() {
    let folder = tempdir().unwrap();
    fs::write(folder.path().join("thesis.txt"), "years of work").unwrap();
    let target = folder.path().to_str().unwrap();
    let run = picsift([
        "label",
        EMBEDDED,
        "-o",
        target,
        "--categories",
        "fish",
        "--overwrite",
    ]);
    assert!(refused(&run).contains("did not write it"));
    let run = picsift([
        "label",
        EMBEDDED,
        "-o",
        "datasets",
        "--categories",
        "fish",
        "--overwrite",
    ]);
    refused(&run);
    assert!(folder.path().join("thesis.txt").exists() && root().join(EMBEDDED).exists());
}

#[test]
fn output_and_input_are_kept_apart() {
    let inside = format!("{EMBEDDED}/labelled");
    let said = refused(&picsift([
        "label",
        EMBEDDED,
        "-o",
        &inside,
        "--categories",
        "fish",
    ]));
    assert!(said.contains("lies in the input"), "{said}");
    let said = refused(&picsift([
        "label",
        EMBEDDED,
        "-o",
        "datasets/photos",
        "--categories",
        "fish",
        "--overwrite",
    ]));
    assert!(said.contains("datasets/photos"), "{said}");
    assert!(!root().join(inside).exists());
}

#[test]
fn sql_refuses_wrong_arguments_at_planning() {
    let ask = |sql: &str| refused(&picsift(["sql", "-c", sql]));
    let said = ask("SELECT classify(width, 'dog') FROM 'datasets/photos/embedded/'");
    assert!(
        said.contains("argument 1") && said.contains("Int32") && said.contains("BINARY"),
        "{said}"
    );
    let said = ask("SELECT classify(image, 3) FROM 'datasets/photos/embedded/'");
    assert!(
        said.contains("argument 2") && said.contains("Int64"),
        "{said}"
    );
    let said = ask("SELECT classify(image) FROM 'datasets/photos/embedded/'");
    assert!(
        said.contains("2 arguments") && said.contains("given 1"),
        "{said}"
    );
    let said = ask("SELECT classify(image, file) FROM 'datasets/photos/embedded/'");
    assert!(said.contains("constant"), "{said}");
    let said = ask("SELECT classify(image, 'windmill') FROM 'datasets/photos/embedded/'");
    assert!(said.contains("windmill"), "{said}");
    let said = ask("SELECT ask(image, 'What is it?') FROM 'datasets/photos/embedded/'");
    assert!(said.contains("pocket") && said.contains("words"), "{said}");
    let said = ask("SELECT * FROM 'no/such/folder/'");
    assert!(said.contains("no/such/folder/"), "{said}");
    let said = ask(
        "SET picsift.threshold = 3; SELECT classify(image, 'dog') FROM 'datasets/photos/embedded/'",
    );
    assert!(said.contains("picsift.threshold"), "{said}");
    let said = ask(
        "SET picsift.on_error = 'explode'; SELECT classify(image, 'dog') FROM 'datasets/photos/embedded/'",
    );
    assert!(
        said.contains("explode") && said.contains("'null' or 'fail'"),
        "{said}"
    );
}
