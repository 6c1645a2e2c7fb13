//! Results for a reader that has gone away, and for a disk that is full: no command panics, and work that is done is done.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::tempdir;

use crate::support::*;

/// Every command that prints, with what it needs in `folder`, in an order in which it is there.
fn commands(folder: &Path) -> Vec<Vec<String>> {
    let path = |name: &str| folder.join(name).to_str().unwrap().to_string();
    let (labelled, query) = (path("labelled"), format!("SELECT * FROM '{REFERENCES}'"));
    let all: [&[&str]; 9] = [
        &[
            "label",
            EMBEDDED,
            "-o",
            &labelled,
            "--categories",
            "fish,building,tool",
            "--limit",
            "60",
        ],
        &[
            "label",
            EMBEDDED,
            "-o",
            &labelled,
            "--categories",
            "fish,building,tool",
            "--limit",
            "60",
        ],
        &["eval", &labelled, "--truth", "truth"],
        &["sample", &labelled, "-o", &path("sample.parquet")],
        &["export", &labelled, "-o", &path("export"), "--format", "hf"],
        &[
            "gallery",
            &labelled,
            "-o",
            &path("gallery"),
            "--no-pictures",
        ],
        &["sql", "-c", &query],
        &["models"],
        &["cache", "info"],
    ];
    all.map(|args| args.iter().map(ToString::to_string).collect())
        .into()
}

fn run(command: &mut Command) -> (Option<i32>, String) {
    let output = command
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    (output.status.code(), stderr(&output))
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    let (folder, cache) = (tempdir().unwrap(), tempdir().unwrap());
    for args in commands(folder.path()) {
        // A pipe that nobody reads.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let (code, said) = run(command(&args, cache.path()).stdout(writer));
        assert_eq!(code, Some(0), "{args:?}: {said}");
        assert!(
            !said.contains("panicked") && !said.contains("Broken pipe"),
            "{args:?}: {said}"
        );
    }
    assert_eq!(read_table(&folder.path().join("labelled")).num_rows(), 60);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_said_in_one_line() {
    let (folder, cache) = (tempdir().unwrap(), tempdir().unwrap());
    for args in commands(folder.path()) {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let (code, said) = run(command(&args, cache.path()).stdout(full));
        assert_eq!(code, Some(1), "{args:?}: {said}");
        let last = said.trim().lines().last().unwrap().to_string();
        assert!(
            last.starts_with("picsift: ") && last.contains("No space left"),
            "{args:?}: {said}"
        );
    }
    // What was done before it was told stays done.
    assert_eq!(read_table(&folder.path().join("labelled")).num_rows(), 60);
}

#[cfg(unix)]
#[test]
fn a_closed_standard_error_hides_notes_and_no_results() {
    let (folder, cache) = (tempdir().unwrap(), tempdir().unwrap());
    for args in commands(folder.path()) {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let status = command(&args, cache.path())
            .stdout(Stdio::null())
            .stderr(writer)
            .status()
            .unwrap();
        assert_eq!(status.code(), Some(0), "{args:?}");
    }
}
