//! The shell on a real terminal.

use std::path::Path;
use std::process::Command;

use tempfile::tempdir;

use crate::support::*;

/// What the terminal shows after these lines; `None` where no Python is there to type them.
fn typed(lines: &[&str]) -> Option<String> {
    typed_on("xterm", "62;22c", lines)
}

/// The same of a terminal of this name that gives this answer when it is asked for its attributes.
fn typed_on(terminal: &str, answer: &str, lines: &[&str]) -> Option<String> {
    typed_in(&root(), terminal, answer, lines)
}

/// The same in this folder.
pub(crate) fn typed_in(
    folder: &Path,
    terminal: &str,
    answer: &str,
    lines: &[&str],
) -> Option<String> {
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
        .arg(root().join("tests/shell/type.py"))
        .arg(env!("CARGO_BIN_EXE_picsift"))
        .args(lines)
        .current_dir(folder)
        .env("TERM", terminal)
        .env("TERMINAL_ANSWER", answer)
        .env_remove("TERM_PROGRAM")
        .env_remove("LC_TERMINAL")
        .env_remove("KITTY_WINDOW_ID")
        .env_remove("TMUX")
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

/// Where sixels begin, and kitty's and iTerm2's pictures.
const SIXELS: &str = "\u{1b}P0;1;0q";
const KITTY: &str = "\u{1b}_Ga=T,f=100,";
const ITERM2: &str = "\u{1b}]1337;File=inline=1;";

#[test]
fn pictures_stand_below_a_result_where_the_terminal_shows_them() {
    let photos = "FROM 'datasets/photos/embedded' ORDER BY file LIMIT 3;";
    let Some(shown) = typed_on("foot", "62;4;22c", &[photos, "SELECT 7 AS seven;", "exit"]) else {
        return;
    };
    let (table, below) = shown.split_once(SIXELS).unwrap();
    assert!(
        table.contains("<WEBP ") || table.contains("<JPEG "),
        "{table}"
    );
    assert!(!below.contains(SIXELS), "{below}");
    assert!(
        below.contains("row 1             row 2             row 3"),
        "{below}"
    );
    assert!(
        below.contains("| 7 ") && below.contains("1 row in 0."),
        "{below}"
    );

    // Those of a folder of pictures are read where it has them; what is no picture is left out, and eight are enough.
    let folder = tempdir().unwrap();
    for n in 0..12 {
        std::fs::write(
            folder.path().join(format!("{n:02}.jpg")),
            photo("fish27_149.jpg"),
        )
        .unwrap();
    }
    std::fs::write(folder.path().join("01.jpg"), "no picture").unwrap();
    let folder = folder.path().to_str().unwrap();
    let pictures = format!("FROM '{folder}/' ORDER BY file;");
    let shown = typed_on("xterm-kitty", "", &[&pictures, "exit"]).unwrap();
    assert_eq!(shown.matches(KITTY).count(), 1, "{shown}");
    let captions = "row 1             row 3             row 4             row 5             row 6             row 7             row 8\n";
    assert!(shown.contains(captions), "{shown}");
    assert!(
        !shown.contains("\u{1b}[c"),
        "it was asked what its name says: {shown}"
    );
}

#[test]
fn pictures_are_a_persons_to_choose_and_never_for_a_program() {
    let one = "FROM 'datasets/photos/embedded' LIMIT 1;";
    let Some(shown) = typed(&[
        one,
        "\\images",
        "\\images",
        "\\images iterm2",
        one,
        "\\images off",
        one,
        "exit",
    ]) else {
        return;
    };
    for part in [
        "pictures are not shown",
        "the terminal does not say that it can show pictures",
        "pictures are shown, by iTerm2's protocol",
    ] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    assert_eq!(shown.matches("\u{1b}[c").count(), 1, "{shown}");
    assert_eq!(shown.matches(ITERM2).count(), 1, "{shown}");
    assert!(!shown.contains(SIXELS) && !shown.contains(KITTY), "{shown}");

    let folder = tempdir().unwrap();
    let file = folder.path().join("rows.csv");
    let lines = [
        &format!("\\o {}", file.display()),
        "SELECT image FROM 'datasets/photos/references' LIMIT 1;",
        "exit",
    ];
    let shown = typed_on("xterm-kitty", "", &lines).unwrap();
    assert!(!shown.contains(KITTY), "{shown}");
    assert!(!std::fs::read_to_string(&file).unwrap().contains('\u{1b}'));
}

/// What a command writes to a terminal where the environment says this.
fn on_terminal(args: &[&str], variables: &[(&str, &str)]) -> Option<String> {
    let python = python("pty").ok()?;
    let spawn = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";
    let mut command = Command::new(python);
    command
        .args(["-c", spawn, env!("CARGO_BIN_EXE_picsift")])
        .args(args)
        .stdin(std::process::Stdio::null())
        .current_dir(root());
    // `CI` counts as a terminal with colours whatever `TERM` says.
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "CI"] {
        command.env_remove(name);
    }
    let output = command.envs(variables.iter().copied()).output().unwrap();
    Some(String::from_utf8_lossy(&output.stdout).into_owned())
}

#[test]
fn colours_are_for_terminals_that_have_them_and_people_who_want_them() {
    for args in [&["label", "--help"][..], &["label", "-h"]] {
        let Some(shown) = on_terminal(args, &[("TERM", "xterm")]) else {
            return;
        };
        assert!(
            shown.contains("--categories") && shown.contains("\u{1b}["),
            "{shown}"
        );
        for plain in [
            &[("TERM", "xterm"), ("NO_COLOR", "1")][..],
            &[("TERM", "xterm"), ("CLICOLOR", "0")],
            &[("TERM", "dumb")],
        ] {
            let shown = on_terminal(args, plain).unwrap();
            assert!(shown.contains("--categories"), "{shown}");
            assert!(!shown.contains('\u{1b}'), "{plain:?}: {shown}");
        }
    }
    // Results and errors have none.
    for args in [
        &["sql", "-c", "SELECT 1 AS one"][..],
        &["sql", "-c", "SELEC 1"],
        &["label", "photos/", "--categorys", "cat"],
    ] {
        let shown = on_terminal(args, &[("TERM", "xterm")]).unwrap();
        assert!(!shown.is_empty() && !shown.contains('\u{1b}'), "{shown}");
    }
}
