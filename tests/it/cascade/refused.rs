//! What a cascade cannot be made of: a sentence with what would be right, and nothing is written.

use std::path::Path;

use super::*;

/// The sentence of a job that is refused; neither its output nor a trace of it is there.
fn refused_label(input: &str, more: &[&str]) -> String {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let output = folder.path().join("labelled");
    let mut args = vec!["label", input, "-o", output.to_str().unwrap()];
    args.extend(more);
    let said = refused(&command(args, cache.path()).output().unwrap());
    assert_eq!(
        std::fs::read_dir(folder.path()).unwrap().count(),
        0,
        "{said}"
    );
    said
}

const DEAR: [&str; 4] = ["--model", "coco-ssd", "--categories", "person"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&DEAR[..], more].concat()
}

#[test]
fn models_and_promises_that_make_no_cascade() {
    let promise = ["--min-recall", "0.9"];
    for (more, right) in [
        (
            vec!["--cascade", "coco-ssd", promise[0], promise[1]],
            "name a cheaper one",
        ),
        (
            vec!["--cascade", "efficientnet-lite0"],
            "needs a promise to keep: --min-recall 0.95",
        ),
        (
            vec!["--cascade", "resnet", promise[0], promise[1]],
            "efficientnet-lite0",
        ),
        (promise.to_vec(), "name it with --cascade"),
    ] {
        let said = refused_label(EMBEDDED, &with(&more));
        assert!(said.contains(right), "{more:?}: {said}");
    }
    // A detector of other things, which embeds nothing that it could be taught by.
    let goldfish = [
        "--model",
        "efficientnet-lite0",
        "--categories",
        "goldfish",
        "--cascade",
        "coco-ssd",
    ];
    let said = refused_label(EMBEDDED, &[&goldfish[..], &promise].concat());
    assert!(said.contains("name a model that embeds images"), "{said}");
    for (flag, value) in [
        ("--min-recall", "1"),
        ("--min-precision", "0"),
        ("--confidence", "2"),
        ("--audit", "-1"),
    ] {
        let cache = tempfile::tempdir().unwrap();
        let flag_value = format!("{flag}={value}");
        let args = [
            "label",
            EMBEDDED,
            "-o",
            "/nowhere/x",
            "--cascade",
            "efficientnet-lite0",
            &flag_value,
        ];
        let output = command(args, cache.path()).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(flag), "{}", stderr(&output));
    }
}

#[test]
fn heads_of_another_model_and_promises_of_a_file_that_none_can_keep() {
    let photos = Photos::get();
    let heads = photos.heads();
    let heads = heads.to_str().unwrap();
    // The detector embeds nothing that a head could be about.
    let flags = [
        "--model",
        "efficientnet-lite0",
        "--categories",
        "person",
        "--cascade",
        "coco-ssd",
    ];
    let more = ["--heads", heads, "--min-recall", "0.9"];
    let said = refused_label(EMBEDDED, &[&flags[..], &more].concat());
    assert!(
        said.contains("coco-ssd") && said.contains("embed"),
        "{said}"
    );
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("categories.toml");
    std::fs::write(&file, "[bird]\nmin_recall = 1.5\n").unwrap();
    let more = ["--model", "coco-ssd", "--cascade", "efficientnet-lite0"];
    let named = ["--categories-file", file.to_str().unwrap()];
    let said = stderr_of_label(&[&more[..], &named].concat());
    assert!(
        said.contains("between 0 and 1") && said.contains("line 2"),
        "{said}"
    );
}

fn stderr_of_label(more: &[&str]) -> String {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let output = folder.path().join("labelled");
    let mut args = vec!["label", EMBEDDED, "-o", output.to_str().unwrap()];
    args.extend(more);
    let output = command(args, cache.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    stderr(&output)
}

#[test]
fn tables_and_bounds_that_are_too_small_for_a_sample() {
    let cascade = ["--cascade", "efficientnet-lite0", "--min-recall", "0.9"];
    let bird = ["--model", "coco-ssd", "--categories", "bird"];
    let few = [&bird[..], &cascade, &["--limit", "150"]].concat();
    let said = refused_label(EMBEDDED, &few);
    assert!(
        said.contains("150 rows") && said.contains("at least 200"),
        "{said}"
    );
    let bounded = [&bird[..], &cascade, &["--max-asked", "50"]].concat();
    let said = refused_label(EMBEDDED, &bounded);
    assert!(
        said.contains("--max-asked 50 is too few") && said.contains("promise less"),
        "{said}"
    );
    let shared = [&bird[..], &cascade, &["--shard", "1/2"]].concat();
    let said = refused_label(EMBEDDED, &shared);
    assert!(said.contains("--cascade"), "{said}");
}

#[test]
fn a_calibration_goes_into_a_file_of_its_own() {
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let there = folder.path().join("cascade.toml");
    std::fs::write(&there, "mine").unwrap();
    let refuse = |output: &Path, more: &[&str]| {
        let mut args = vec!["calibrate", EMBEDDED, "-o", output.to_str().unwrap()];
        args.extend([
            "--model",
            "coco-ssd",
            "--cascade",
            "efficientnet-lite0",
            "--categories",
            "bird",
        ]);
        args.extend(more);
        refused(&command(args, cache.path()).output().unwrap())
    };
    let promise = ["--min-recall", "0.9"];
    assert!(refuse(&there, &promise).contains("--overwrite"));
    assert!(refuse(folder.path(), &promise).contains("such as cascade.toml"));
    assert!(refuse(&folder.path().join("new.toml"), &[]).contains("needs a promise"));
    assert_eq!(std::fs::read_to_string(&there).unwrap(), "mine");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
