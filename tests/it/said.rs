//! What a job says while it runs and when it is done, to people and to programs.

use serde_json::Value;
use tempfile::tempdir;

use crate::support::*;

fn label(output: &str, more: &[&str]) -> std::process::Output {
    let args = ["label", REFERENCES, "-o", output, "--categories", "fish"];
    picsift(args.iter().chain(more).copied())
}

#[test]
fn a_summary_for_programs_says_what_the_manifest_says() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("out").to_string_lossy().into_owned();
    let run = label(&out, &["--summary", "json", "--limit", "30"]);
    let said: Value = serde_json::from_str(&stdout(&run)).unwrap();
    assert_eq!(said["rows"], 30);
    assert_eq!(said["failures"], 0);
    assert_eq!(said["model"]["name"], "pocket");
    let manifest = std::fs::read(format!("{out}/_picsift.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!(said["held"]["fish"], manifest["categories"][0]["held"]);
    // Nothing left to do is the same summary again, and the reason is a note.
    let again = label(&out, &["--summary", "json", "--limit", "30"]);
    assert!(
        stderr(&again).contains("nothing to do"),
        "{}",
        stderr(&again)
    );
    let again: Value = serde_json::from_str(&stdout(&again)).unwrap();
    assert_eq!(again["rows"], 30);
}

#[test]
fn progress_is_a_json_object_a_line_where_a_program_watches() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("out").to_string_lossy().into_owned();
    let run = label(&out, &["--progress", "json", "--no-cache"]);
    stdout(&run);
    let said = stderr(&run);
    let objects: Vec<Value> = said
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    for object in &objects {
        assert_eq!(object["total"], 221, "{said}");
        assert!(object["rows"].as_u64().unwrap() <= 221, "{said}");
    }
    let none = label(&out, &["--progress", "none", "--overwrite", "--no-cache"]);
    assert!(!stderr(&none).contains("images/s"), "{}", stderr(&none));
}

#[test]
fn quiet_leaves_results_and_errors() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("out").to_string_lossy().into_owned();
    let table = folder.path().join("t.csv");
    std::fs::write(&table, "image\nnone.jpg\n").unwrap();
    let table = table.to_str().unwrap();
    let run = |more: &[&str]| {
        let args = ["label", table, "-o", &out, "--categories", "fish"];
        picsift(args.iter().chain(more).copied())
    };
    let loud = stderr(&run(&[]));
    let lost = "warning: 1 of 1 images could not be read or judged; most frequent: fetch";
    assert!(loud.contains(lost), "{loud}");
    let quiet = stderr(&run(&["--quiet", "--overwrite"]));
    assert!(!quiet.contains("warning"), "{quiet}");
    assert!(quiet.contains("the only image failed"), "{quiet}");
}

#[test]
fn a_limit_of_nothing_is_refused() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("out").to_string_lossy().into_owned();
    let said = refused(&label(&out, &["--limit", "0"]));
    assert!(said.contains("--limit 0 leaves no row to label"), "{said}");
}

#[test]
fn logs_have_a_span_for_job_and_shard_and_no_secret() {
    let folder = tempdir().unwrap();
    let table = folder.path().join("t.csv");
    std::fs::write(&table, "image\nhttp://127.0.0.1:9/a.jpg?token=hunter2\n").unwrap();
    let out = folder.path().join("out").to_string_lossy().into_owned();
    let args = [
        "label",
        table.to_str().unwrap(),
        "-o",
        &out,
        "--categories",
        "fish",
        "--log-level",
        "debug",
        "--log-format",
        "json",
    ];
    let said = stderr(&picsift(args));
    assert!(!said.contains("hunter2"), "{said}");
    let events: Vec<Value> = said
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let done = events
        .iter()
        .find(|event| event["fields"]["message"] == "shard done");
    let done = done.unwrap_or_else(|| panic!("{said}"));
    assert_eq!(done["fields"]["rows"], 1);
    let spans: Vec<&str> = done["spans"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|span| span["name"].as_str())
        .collect();
    assert_eq!(spans, ["job", "shard"]);
    let wrong = refused(&picsift(["sql", "-c", "SELECT 1", "--log-level", "loud"]));
    assert!(wrong.contains("--log-level loud"), "{wrong}");
}

#[test]
fn a_dry_run_and_an_estimate_say_what_would_be_done_and_write_nothing() {
    let folder = tempdir().unwrap();
    let out = folder.path().join("out").to_string_lossy().into_owned();
    let said = stdout(&label(&out, &["--dry-run", "--limit", "30"]));
    for part in [
        "would label 221 rows of 7 files",
        "limit   30 rows",
        "asks    pocket on cpu: fish",
        "is_fish, score_fish, labels",
        "nothing was written",
    ] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    let said = stdout(&label(&out, &["--estimate", "--where", "width > 10"]));
    assert!(
        said.contains("images/s") && said.contains("sample  32 rows"),
        "{said}"
    );
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    stdout(&label(&out, &[]));
    let said = stdout(&label(&out, &["--dry-run"]));
    assert!(said.contains("has 221 rows already"), "{said}");
    let wrong = refused(&label(&out, &["--dry-run", "--categories", "bluebear"]));
    assert!(wrong.contains("bluebear"), "{wrong}");
}
