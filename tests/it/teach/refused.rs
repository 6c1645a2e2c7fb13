//! What cannot be taught, and heads that do not fit.

use std::path::Path;

use arrow::array::{BooleanArray, Float64Array, StringArray};

use super::taught;
use crate::support::*;

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
