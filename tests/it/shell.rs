//! The shell on a real terminal.

use std::process::Command;

use tempfile::tempdir;

use crate::support::*;

/// What the terminal shows after these lines; `None` where no Python is there to type them.
fn typed(lines: &[&str]) -> Option<String> {
    let python = match python("pty") {
        Ok(python) => python,
        Err(reason) if std::env::var_os("PICSIFT_REQUIRE_READERS").is_some() => panic!("{reason}"),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return None;
        }
    };
    let state = tempdir().unwrap();
    let output = Command::new(python)
        .arg("tests/shell/type.py")
        .arg(env!("CARGO_BIN_EXE_picsift"))
        .args(lines)
        .current_dir(root())
        .env("XDG_STATE_HOME", state.path())
        .env("XDG_CACHE_HOME", state.path())
        .output()
        .unwrap();
    let shown = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    assert!(output.status.success(), "{shown}{}", stderr(&output));
    Some(shown)
}

#[test]
fn results_say_rows_and_time_and_words_of_other_shells_are_understood() {
    let Some(shown) = typed(&[
        "FROM 'datasets/photos/references' LIMIT 2;",
        "CREATE TABLE animals AS SELECT 1 AS legs;",
        "\\d",
        "\\d animals",
        "SELEC 1;",
        "help",
        "exit",
    ]) else {
        return;
    };
    for part in [
        "giraffe_000.webp",
        "2 rows in 0.",
        "| animals    | BASE TABLE |",
        "| legs ",
        "SELEC",
        "exit, quit",
    ] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
}

#[test]
fn the_tab_key_completes_words_tables_and_paths() {
    let Some(shown) = typed(&[
        "CREATE TABLE animals AS SELECT 42 AS legs;",
        "sel\t legs FROM anim\t;",
        "SELECT count(*) AS photos FROM 'datasets/ph\treferences';",
        "exit",
    ]) else {
        return;
    };
    assert!(shown.contains("| 42 "), "{shown}");
    assert!(
        shown.contains("| photos |") && shown.contains("| 221 "),
        "{shown}"
    );
}

#[test]
fn a_shell_completes_commands_and_flags() {
    let script = stdout(&picsift(["completions", "bash"]));
    assert!(script.contains("--categories-file") && script.contains("gallery"));
    let bash = Command::new("bash")
        .args([
            "-c",
            "eval \"$1\"; COMP_WORDS=(picsift gal); COMP_CWORD=1; _picsift picsift gal picsift; echo \"${COMPREPLY[*]}\"",
            "bash",
            &script,
        ])
        .output();
    match bash {
        Ok(done) => assert_eq!(stdout(&done).trim(), "gallery"),
        Err(error) => eprintln!("skipped: no bash: {error}"),
    }
}
