//! What cannot be tried is refused in a sentence that says what would be right, and nothing is written.

use super::*;

#[test]
fn what_cannot_be_tried_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let cache = folder.path().join("cache");
    std::fs::write(at("there.toml"), "").unwrap();
    std::fs::write(at("stranger.toml"), "[category.lamp]\n").unwrap();
    std::fs::write(at("wrong.toml"), "[category.fish]\nnouns = ['a']\n").unwrap();
    let (there, stranger, wrong) = (at("there.toml"), at("stranger.toml"), at("wrong.toml"));
    let lite = ["--models", "efficientnet-lite0"];
    for (more, said) in [
        (
            &["--categories", "dam", "--models", "pocket"][..],
            "'dam' is true of 5 rows and not of 216",
        ),
        (
            &["--categories", "fish", "--models", "pocket,pocket"],
            "--models names pocket twice",
        ),
        (&["--categories", "fish", "--models", "resnet"], "resnet"),
        (
            &["--categories", "person", lite[0], lite[1]],
            "no model takes every category",
        ),
        (&["--categories", "fish", "-o", &there], "is there already"),
        (
            &["--categories", "fish", "-o", "s3://bucket/c.toml"],
            "must be a local file",
        ),
        (
            &["--categories", "fish", "--candidates", &stranger],
            "has candidates for 'lamp'",
        ),
        (&["--categories", "fish", "--candidates", &wrong], "line 2"),
        (&["--categories", "fish", "--within", "0"], "above 0"),
        (
            &[
                "--categories",
                "fish",
                "--max-images",
                "5",
                lite[0],
                lite[1],
            ],
            "nothing was tried to its end",
        ),
        (&[], "no category is given"),
    ] {
        let output = run(&cache, more);
        assert_eq!(
            output.status.code(),
            Some(2),
            "{more:?}: {}",
            stderr(&output)
        );
        assert!(
            stderr(&output).contains(said),
            "{more:?}: {}",
            stderr(&output)
        );
    }
    let cheap = [
        "--categories",
        "fish",
        "--within",
        "0.001",
        lite[0],
        lite[1],
    ];
    let output = run(&cache, &[&cheap[..], &["-o", &at("new.toml")]].concat());
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("everything takes more than --within"),
        "{}",
        stderr(&output)
    );
    assert!(!Path::new(&at("new.toml")).exists());
    let output = command(["tune", EMBEDDED, "--categories", "fish"], &cache)
        .output()
        .unwrap();
    assert!(
        refused(&output).contains("--truth COLUMN"),
        "{}",
        stderr(&output)
    );
}
