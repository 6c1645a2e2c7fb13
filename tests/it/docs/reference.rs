//! The book's reference is what the program says of itself: flags by its help, functions and settings by its catalog.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;

use serde_json::Value;

use super::writing;
use crate::support::*;

/// Compares a page with what the program says today.
fn compare(page: &str, text: &str) {
    let path = root().join("docs/reference").join(page);
    if writing() {
        fs::write(&path, text).unwrap();
    }
    let found = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == text,
        "docs/reference/{page} is not what the program says any more; \
         PICSIFT_DOCS=write cargo test --release --workspace --locked --test it -- docs::reference writes it anew"
    );
}

/// What the command's own help says.
fn help(words: &[&str]) -> String {
    let args = words.iter().copied().chain(["--help"]);
    let cache = tempfile::tempdir().unwrap();
    let output = command(args, cache.path())
        .env("COLUMNS", "120")
        .env_remove("PICSIFT_LOG")
        .output()
        .unwrap();
    let said = stdout(&output).replace(&cache.path().display().to_string(), "~/.cache/picsift");
    said.lines()
        .map(str::trim_end)
        .collect::<Vec<_>>()
        .join("\n")
}

/// The commands below this one, as its help lists them.
fn below(help: &str) -> Vec<String> {
    let Some((_, list)) = help.split_once("\nCommands:\n") else {
        return Vec::new();
    };
    let list = list.split("\n\n").next().unwrap_or_default();
    let names = list
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next());
    names
        .filter(|name| *name != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_flag_is_in_the_reference() {
    let mut text = String::from(
        "# Commands\n\nWhat `picsift COMMAND --help` says, for every command. This page is written by a test.\n",
    );
    let mut words: Vec<Vec<String>> = vec![Vec::new()];
    while let Some(name) = words.pop() {
        let said = help(&name.iter().map(String::as_str).collect::<Vec<_>>());
        let title = ["picsift".to_owned()].into_iter().chain(name.clone());
        let title = title.collect::<Vec<_>>().join(" ");
        write!(text, "\n## {title}\n\n```text\n{}\n```\n", said.trim_end()).unwrap();
        for below in below(&said).into_iter().rev() {
            words.push(name.iter().cloned().chain([below]).collect());
        }
    }
    assert!(text.matches("\n## picsift").count() > 10, "{text}");
    compare("commands.md", &text);
}

/// Rows that a query gives.
fn rows(query: &str) -> Vec<Value> {
    let said = stdout(&picsift(["sql", "--format", "json", "-c", query]));
    match serde_json::from_str(&said) {
        Ok(Value::Array(rows)) => rows,
        _ => said
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect(),
    }
}

fn cell(row: &Value, name: &str) -> String {
    row[name]
        .as_str()
        .unwrap_or_default()
        .replace('|', "\\|")
        .replace('\n', " ")
}

/// A sentence as text of a page, in which a type's brackets are no tags.
fn sentence(row: &Value) -> String {
    cell(row, "description")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[test]
fn every_function_is_in_the_reference() {
    let stock = datafusion::prelude::SessionContext::new();
    let state = stock.state();
    let stock: BTreeSet<&String> = state
        .scalar_functions()
        .keys()
        .chain(state.aggregate_functions().keys())
        .chain(state.window_functions().keys())
        .collect();
    let query = "SELECT DISTINCT routine_name, function_type, description, syntax_example FROM information_schema.routines ORDER BY 2 DESC, 1";
    let mut text = String::from(
        "# Functions\n\nWhat picsift adds to the functions of DataFusion, whose own are in \
         [its documentation](https://datafusion.apache.org/user-guide/sql/scalar_functions.html). `SHOW FUNCTIONS LIKE 'classify%'` says \
         the same of one with its types. This page is written by a test.\n\n\
         | call | kind | what it is |\n| --- | --- | --- |\n",
    );
    let mut known = 0;
    for row in rows(query) {
        let name = cell(&row, "routine_name");
        if stock.contains(&name) {
            continue;
        }
        known += 1;
        let (kind, what) = (cell(&row, "function_type"), sentence(&row));
        let call = cell(&row, "syntax_example");
        assert!(
            !call.is_empty() && !what.is_empty(),
            "{name} is not described"
        );
        writeln!(text, "| `{call}` | {} | {what} |", kind.to_lowercase()).unwrap();
    }
    assert!(known >= 20, "{text}");
    compare("functions.md", &text);
}

#[test]
fn every_setting_is_in_the_reference() {
    let query = "SELECT name, value, description FROM information_schema.df_settings WHERE name LIKE 'picsift.%' ORDER BY name";
    let mut text = String::from(
        "# Settings\n\n`SET picsift.threshold = 0.5` in a query, `RESET picsift.threshold` takes it back, `SET ... = NULL` an optional one. \
         This page is written by a test.\n\n| setting | begins as | what it is |\n| --- | --- | --- |\n",
    );
    let all = rows(query);
    assert!(all.len() >= 10, "{all:?}");
    for row in all {
        let (name, value) = (cell(&row, "name"), cell(&row, "value"));
        let value = if value.is_empty() {
            "unset".to_owned()
        } else {
            format!("`{value}`")
        };
        writeln!(text, "| `{name}` | {value} | {} |", sentence(&row)).unwrap();
    }
    compare("settings.md", &text);
}
