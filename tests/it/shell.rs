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

#[test]
fn a_statement_goes_on_over_lines_and_results_fit_the_terminal() {
    let Some(shown) = typed(&[
        "SELECT repeat('wide ', 60) AS text,",
        "42 AS answer;",
        "\\x",
        "SELECT 1 AS one, 'two' AS two;",
        "\\x off",
        "\\timing",
        "SELECT 7 AS seven;",
        "SELECT image FROM 'datasets/photos/embedded' LIMIT 1;",
        "\\nothing",
        "exit",
    ]) else {
        return;
    };
    assert!(shown.contains("      -> "), "{shown}");
    let table: Vec<&str> = shown
        .lines()
        .filter(|line| line.starts_with("| "))
        .collect();
    assert!(
        table.iter().all(|line| line.chars().count() <= 160),
        "{shown}"
    );
    for part in [
        "wide w\u{2026}",
        "| 42 ",
        "-[ row 1 ]---",
        "one | 1\n",
        "two | two\n",
        "1 row in 0.",
        "<WEBP ",
        "\\nothing is no command",
    ] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    let behind = shown.split("seven").last().unwrap();
    assert!(behind.contains("1 row\n"), "{shown}");
}

#[test]
fn results_go_into_a_file_until_they_are_wanted_again() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (rows, table) = (path("rows.csv"), path("t.parquet"));
    let Some(shown) = typed(&[
        &format!("\\o {rows}"),
        "SELECT 1 AS one;",
        &format!("\\o {table}"),
        "SELECT 2 AS two;",
        "SELECT 3 AS three;",
        "\\o",
        "SELECT 4 AS four;",
        &format!("\\o {rows}"),
        "\\o notes",
        "exit",
    ]) else {
        return;
    };
    assert_eq!(std::fs::read_to_string(&rows).unwrap(), "one\n1\n");
    assert_eq!(
        read_table(folder.path()).schema().field(0).name(),
        "two",
        "{shown}"
    );
    for part in [
        &format!("1 row into {rows}"),
        "has its result, and a Parquet file has one",
        "| four |",
        "cannot make",
        "says no format",
    ] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
}

#[test]
fn a_long_statement_gives_a_sign_of_life() {
    let Some(shown) = typed(&[
        "SELECT count(*) FROM generate_series(1, 40000) a, generate_series(1, 40000) b WHERE a.value * b.value % 7 = 3;",
        "exit",
    ]) else {
        return;
    };
    let seconds: Option<f64> = shown
        .split("1 row in ")
        .nth(1)
        .and_then(|rest| rest.split(' ').next()?.parse().ok());
    // A machine may be too fast for one.
    if seconds.is_some_and(|seconds| seconds > 1.5) {
        assert!(shown.contains("Ctrl-C stops it"), "{shown}");
    }
}
