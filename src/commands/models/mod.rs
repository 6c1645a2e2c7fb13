//! `picsift models`: what models there are, where their files come from, and whether those here are the right ones.
//!
//! Owns what is printed. Names, downloads and hashes are `picsift-vision`'s.

pub(super) mod progress;

use std::fmt::Write as _;
use std::io::{ErrorKind, Write as _};

use indicatif::DecimalBytes;
use picsift_vision::registry::{Inspection, fetch, inspect};
use picsift_vision::source::{ModelFile, Proof};
use picsift_vision::{Family, HubSettings, ModelEntry, Origin, models as known};

use super::printer::Lines;
use crate::cli::{ModelsArgs, ModelsCommand};
use crate::error::AppError;
use progress::FetchReport;

/// Digits of a commit in a table.
const SHORT_COMMIT: usize = 10;

/// Runs the command.
///
/// # Errors
/// When the model cannot be found or fetched, or a file of it is not the right one.
pub(super) fn models(args: &ModelsArgs) -> Result<(), AppError> {
    let settings = HubSettings::from_env()?;
    match args.command.as_ref().unwrap_or(&ModelsCommand::List) {
        ModelsCommand::List => print(&list(&settings)?),
        ModelsCommand::Show { model } => print(&show(&inspect(model, &settings)?, &settings)),
        ModelsCommand::Fetch { model } => fetch_model(model, &settings),
        ModelsCommand::Verify { model } => verify(&inspect(model, &settings)?),
    }
}

/// Writes a whole text; a reader that has seen enough is no failure.
fn print(text: &str) -> Result<(), AppError> {
    let mut out = Lines::new(std::io::stdout().lock());
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other.map_err(AppError::Terminal),
    }
}

fn list(settings: &HubSettings) -> Result<String, AppError> {
    let mut rows = vec![["NAME", "FROM", "SIZE", "LICENCE", "HERE", "WHAT"].map(str::to_string)];
    for entry in known() {
        let found = inspect(entry.name, settings)?;
        rows.push([
            entry.name.to_string(),
            origin(entry),
            size(entry, &found),
            entry.licence.to_string(),
            here(&found).to_string(),
            entry.description.to_string(),
        ]);
    }
    Ok(table(&rows))
}

fn origin(entry: &ModelEntry) -> String {
    match entry.origin {
        Origin::Embedded(_) => "this program".to_string(),
        Origin::Hub(hub) => {
            let commit = hub.weights.commit.get(..SHORT_COMMIT);
            format!(
                "{}@{}",
                hub.weights.repo,
                commit.unwrap_or(hub.weights.commit)
            )
        }
    }
}

fn size(entry: &ModelEntry, found: &Inspection) -> String {
    match entry.origin {
        Origin::Embedded(embedded) => DecimalBytes(embedded.bytes).to_string(),
        Origin::Hub(_) => match found.bytes() {
            Some(bytes) => DecimalBytes(bytes).to_string(),
            None => "unknown".to_string(),
        },
    }
}

fn here(found: &Inspection) -> &'static str {
    if found.complete() {
        "yes"
    } else if found.files.iter().any(|file| file.path.is_some()) {
        "in part"
    } else {
        "no"
    }
}

/// Columns as wide as their widest value, the last one as it is.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let mut text = String::new();
    for row in rows {
        for (column, value) in row.iter().enumerate() {
            if column + 1 == N {
                text.push_str(value);
            } else {
                let width = rows.iter().map(|row| row[column].chars().count()).max();
                let width = width.unwrap_or_default();
                // Writing to a String does not fail.
                let _ = write!(text, "{value:width$}  ");
            }
        }
        text.push('\n');
    }
    text
}

fn show(found: &Inspection, settings: &HubSettings) -> String {
    let mut rows = vec![["name".to_string(), found.name.clone()]];
    let mut row = |key: &str, value: String| rows.push([key.to_string(), value]);
    if let Some(entry) = found.entry {
        let names: Vec<_> = [entry.name]
            .iter()
            .chain(entry.aliases)
            .copied()
            .filter(|name| *name != found.name)
            .collect();
        if !names.is_empty() {
            row("also called", names.join(", "));
        }
        row("what", entry.description.to_string());
        row("licence", entry.licence.to_string());
        row(
            "runs on",
            if entry.cuda { "CPU, CUDA" } else { "CPU" }.to_string(),
        );
        row("size", size(entry, found));
        if let Origin::Hub(hub) = entry.origin
            && let Family::Moondream(layout) = hub.family
        {
            row("layout", layout.revision().to_string());
        }
    }
    if found.files.is_empty() {
        row("from", "this program".to_string());
    } else {
        row("here", here(found).to_string());
    }
    if found.files.iter().any(|file| file.repo.is_some()) {
        row("hub", settings.endpoint.clone());
        row("cache", settings.cache.display().to_string());
    }
    for file in &found.files {
        row(file.name, facts(file));
    }
    table(&rows)
}

/// All that is known of one file.
fn facts(file: &ModelFile) -> String {
    let mut facts = Vec::new();
    if let Some((repo, revision)) = &file.repo {
        facts.push(format!("of {repo}@{revision}"));
    }
    match (&file.path, file.expected_bytes) {
        (Some(_), Some(expected)) if expected != file.bytes => {
            facts.push(format!("{} of {expected} bytes", file.bytes));
        }
        (Some(_), _) => facts.push(format!("{} bytes", file.bytes)),
        (None, Some(expected)) => facts.push(format!("{expected} bytes")),
        (None, None) => {}
    }
    if let Some(hash) = &file.sha256 {
        facts.push(format!("SHA-256 {hash}"));
    }
    facts.push(match &file.path {
        Some(path) => path.display().to_string(),
        None => "not on this machine".to_string(),
    });
    facts.join(", ")
}

fn fetch_model(model: &str, settings: &HubSettings) -> Result<(), AppError> {
    if let Some(entry) = inspect(model, settings)?.entry
        && let Origin::Embedded(_) = entry.origin
    {
        return print(&format!(
            "{model} is inside this program: there is nothing to fetch\n"
        ));
    }
    let files = fetch(model, settings, &FetchReport::default())?;
    let mut text = String::new();
    for path in [&files.config, &files.weights, &files.tokenizer] {
        let _ = writeln!(text, "{}", path.display());
    }
    print(&text)
}

fn verify(found: &Inspection) -> Result<(), AppError> {
    if found.files.is_empty() {
        return print(&format!(
            "{} is inside this program: there is nothing to verify\n",
            found.name
        ));
    }
    let mut bad = 0;
    for file in &found.files {
        // Line by line: the weights take seconds.
        print(&match file.verify() {
            Ok(Proof::Hash) => format!("good: {}, its SHA-256 is the known one\n", file.name),
            Ok(Proof::Length) => format!("good: {}, its length is the known one\n", file.name),
            Ok(Proof::Presence) => {
                format!("here: {}, nothing is known to verify it by\n", file.name)
            }
            Err(error) => {
                bad += 1;
                format!("bad: {error}\n")
            }
        })?;
    }
    if bad == 0 {
        return Ok(());
    }
    Err(AppError::Unverified {
        model: found.name.clone(),
        bad,
        files: found.files.len(),
        repair: if found.files.iter().any(|file| file.repo.is_some()) {
            format!("remove them and run `picsift models fetch {}`", found.name)
        } else {
            "copy them into the folder again".to_string()
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_value() {
        let rows = [["a", "bb", "c"], ["aaa", "b", "c c"]].map(|row| row.map(str::to_string));
        assert_eq!(table(&rows), "a    bb  c\naaa  b   c c\n");
    }
}
