//! Answers are kept: what one run found out, the next does not ask.

use std::path::Path;
use std::process::Output;

use arrow::array::Float32Array;

use crate::support::*;

fn label(output: &Path, cache: &Path, categories: &str, more: &[&str]) -> Output {
    let mut all = vec!["label", EMBEDDED, "--output", output.to_str().unwrap()];
    all.extend(["--overwrite", "--categories", categories]);
    all.extend(more);
    command(all, cache).output().unwrap()
}

/// Images that the model was shown, by the manifest.
fn asked(output: &Path) -> u64 {
    let text = std::fs::read_to_string(output.join("_picsift.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_str(&text).unwrap();
    manifest["counts"]["asked"].as_u64().unwrap()
}

#[test]
fn the_second_run_asks_nothing_and_one_more_category_only_that() {
    let folder = tempfile::tempdir().unwrap();
    let (output, cache) = (folder.path().join("out"), folder.path().join("cache"));
    stdout(&label(&output, &cache, "fish,tool", &[]));
    assert_eq!(asked(&output), 221);
    let first = read_table(&output);
    let said = stdout(&label(&output, &cache, "fish,tool", &[]));
    assert!(said.contains("221 images were not asked again"), "{said}");
    assert_eq!(asked(&output), 0);
    assert_eq!(read_table(&output), first);
    stdout(&label(
        &output,
        &cache,
        "fish,tool",
        &["--threshold", "0.9"],
    ));
    assert_eq!(asked(&output), 0, "a threshold is not asked");
    stdout(&label(&output, &cache, "tool,building,fish", &[]));
    assert_eq!(asked(&output), 221);
    let third = read_table(&output);
    for name in ["score_fish", "score_tool"] {
        let (a, b) = (
            column::<Float32Array>(&first, name),
            column::<Float32Array>(&third, name),
        );
        assert_eq!(a, b, "{name}");
    }
    let fresh = folder.path().join("fresh");
    stdout(&label(
        &fresh,
        &cache,
        "tool,building,fish",
        &["--no-cache"],
    ));
    // Kept answers and new ones are put together rightly.
    assert_same_rows(&read_table(&fresh), &third);
}

#[test]
fn a_query_knows_what_a_job_found_out() {
    let folder = tempfile::tempdir().unwrap();
    let (output, cache) = (folder.path().join("out"), folder.path().join("cache"));
    stdout(&label(&output, &cache, "fish", &[]));
    let query = format!("EXPLAIN ANALYZE SELECT classify(image, 'fish') FROM '{EMBEDDED}'");
    let said = stdout(&command(["sql", "-c", &query], &cache).output().unwrap());
    assert!(
        said.contains("reused=221") && said.contains("encoded=0"),
        "{said}"
    );
}

#[test]
fn the_cache_can_be_looked_at_checked_and_cleared() {
    let folder = tempfile::tempdir().unwrap();
    let (output, cache) = (folder.path().join("out"), folder.path().join("cache"));
    stdout(&label(&output, &cache, "fish,tool", &[]));
    let run = |what: &str| command(["cache", what], &cache).output().unwrap();
    let said = stdout(&run("info"));
    assert!(said.contains("442 answers about 221 images"), "{said}");
    assert!(said.contains("pocket"), "{said}");
    stdout(&run("verify"));
    let said = stdout(&run("clear"));
    assert!(said.contains("221 images"), "{said}");
    assert!(stdout(&run("info")).contains("0 answers about 0 images"));
}

#[test]
fn a_damaged_cache_is_said_and_gives_no_wrong_label() {
    let folder = tempfile::tempdir().unwrap();
    let (output, cache) = (folder.path().join("out"), folder.path().join("cache"));
    stdout(&label(&output, &cache, "fish,tool", &[]));
    let right = read_table(&output);
    let files: Vec<_> = walkdir::WalkDir::new(&cache)
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.is_file() && std::fs::metadata(path).unwrap().len() > 8192)
        .collect();
    assert!(!files.is_empty());
    for path in &files {
        let mut bytes = std::fs::read(path).unwrap();
        for at in (5000..bytes.len()).step_by(997) {
            bytes[at] ^= 0x55;
        }
        std::fs::write(path, bytes).unwrap();
    }
    let again = label(&output, &cache, "fish,tool", &[]);
    stdout(&again);
    assert_same_rows(&read_table(&output), &right);
    let verified = command(["cache", "verify"], &cache).output().unwrap();
    let said = format!("{}{}", stderr(&again), stderr(&verified));
    assert!(said.contains("damaged") || said.contains("anew"), "{said}");
    // What only `verify` found is asked once more.
    stdout(&label(&output, &cache, "fish,tool", &[]));
    stdout(&label(&output, &cache, "fish,tool", &[]));
    assert_eq!(asked(&output), 0, "it is whole again");
}

/// A folder of somebody's own work that is named by mistake loses nothing.
#[test]
fn a_project_is_no_cache_to_be_swept() {
    let folder = tempfile::tempdir().unwrap();
    let project = folder.path().join("proj");
    std::fs::create_dir_all(project.join("new.db")).unwrap();
    std::fs::write(project.join("new.db/mine"), "mine").unwrap();
    std::fs::write(project.join("answers-00000000000000000007.db"), "mine").unwrap();
    for what in ["info", "verify", "clear"] {
        stdout(&command(["cache", what], &project).output().unwrap());
    }
    let text = |name: &str| std::fs::read_to_string(project.join(name)).unwrap();
    assert_eq!(text("new.db/mine"), "mine");
    assert_eq!(text("answers-00000000000000000007.db"), "mine");
}
