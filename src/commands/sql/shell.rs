//! The interactive shell: statements over several lines, ended by a semicolon, with a history that outlives it.

use std::path::PathBuf;
use std::time::Instant;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};

use super::complete::Statements;
use super::print::Form;
use super::{is_about_the_terminal, run_statement};
use crate::commands::devices::Devices;
use crate::commands::printer::{note, say};
use crate::error::AppError;
use crate::sql::{Session, parse};

const WELCOME: &str = "picsift shell: SQL ends with a semicolon; help, or exit to leave";

const HELP: &str = "\
SELECT file, classify(image, 'dog') FROM 'photos/' LIMIT 10;   a path or URL is a table
SHOW FUNCTIONS LIKE 'classify%';                               what can be called
SHOW ALL;                                                      settings; SET picsift.threshold = 0.3;
COPY (SELECT ...) TO 'out/' STORED AS PARQUET PARTITIONED BY (label);
\\d           the tables and views of this session     \\d NAME or \\d 'photos/'   columns of a table
help or \\?   this     exit, quit, \\q or Ctrl-D   leave     Ctrl-C   stop the query     Tab   complete";

/// Statements kept in the history.
const HISTORY: usize = 1000;

/// Tables and views that a session made.
const TABLES: &str = "SELECT table_name, table_type FROM information_schema.tables \
                      WHERE table_schema <> 'information_schema' ORDER BY table_name";

/// What a line asks of the shell.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Nothing,
    Leave,
    Help,
    /// Statements to run.
    Script(String),
    Unknown(String),
}

impl Line {
    fn of(line: &str) -> Self {
        let line = line.trim();
        let word = line.trim_end_matches(';').trim_end();
        match word.to_ascii_lowercase().as_str() {
            "" => Self::Nothing,
            "\\q" | "exit" | "quit" => Self::Leave,
            "\\?" | "\\h" | "help" => Self::Help,
            "\\d" => Self::Script(TABLES.to_owned()),
            _ => match word.strip_prefix("\\d ") {
                Some(table) => Self::Script(format!("DESCRIBE {}", table.trim())),
                None if word.starts_with('\\') => Self::Unknown(word.to_owned()),
                None => Self::Script(line.to_owned()),
            },
        }
    }
}

/// Whether the shell takes the input as it is: a command, nothing, or text whose last statement is ended.
pub(super) fn is_complete(input: &str) -> bool {
    input.trim_end().ends_with(';')
        || !matches!(Line::of(input), Line::Script(text) if text == input.trim())
}

/// Reads and runs statements until the person leaves.
///
/// # Errors
/// The terminal's; a statement's error is printed and the shell goes on.
pub(super) async fn run(session: &Session, form: Form) -> Result<(), AppError> {
    let config = Config::builder()
        .max_history_size(HISTORY)
        .map_err(readline)?
        .auto_add_history(true)
        .completion_type(CompletionType::List)
        .build();
    let mut editor: Editor<Statements<'_>, FileHistory> =
        Editor::with_config(config).map_err(readline)?;
    editor.set_helper(Some(Statements::new(session)));
    let history = history_file();
    if let Some(path) = &history
        && path.exists()
        && let Err(error) = editor.load_history(path)
    {
        note!("the history {} cannot be read: {error}", path.display());
    }
    say!("{WELCOME}");
    let mut devices = Devices::default();
    loop {
        // Nothing else runs while the shell waits for a line, so waiting here keeps no task from its turn.
        match editor.readline("picsift> ") {
            Ok(line) => match Line::of(&line) {
                Line::Nothing => {}
                Line::Leave => break,
                Line::Help => say!("{HELP}"),
                Line::Unknown(command) => say!("{command} is no command; help lists them"),
                Line::Script(script) => {
                    tokio::select! {
                        done = run_all(session, &script, form) => done?,
                        _ = tokio::signal::ctrl_c() => say!("stopped"),
                    }
                    devices.say(session.engine());
                }
            },
            Err(ReadlineError::Interrupted) => {}
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(readline(error)),
        }
    }
    if let Some(path) = &history
        && let Err(error) = save(&mut editor, path)
    {
        note!("the history {} cannot be written: {error}", path.display());
    }
    Ok(())
}

async fn run_all(session: &Session, script: &str, form: Form) -> Result<(), AppError> {
    let outcome = async {
        for statement in parse(script)? {
            let begun = Instant::now();
            if let Some(rows) = run_statement(session, statement, form).await? {
                let unit = if rows == 1 { "row" } else { "rows" };
                say!("{rows} {unit} in {:.2} s", begun.elapsed().as_secs_f64());
            }
        }
        Ok(())
    };
    match outcome.await {
        Err(error) if is_about_the_terminal(&error) => Err(error),
        Err(error) => {
            note!("{error}");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}

fn save(
    editor: &mut Editor<Statements<'_>, FileHistory>,
    path: &std::path::Path,
) -> rustyline::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    editor.save_history(path)
}

/// Where the history is kept: the XDG state folder; nowhere for a person without a home.
fn history_file() -> Option<PathBuf> {
    let state = match std::env::var_os("XDG_STATE_HOME") {
        Some(state) if !state.is_empty() => PathBuf::from(state),
        _ => std::env::home_dir()?.join(".local/state"),
    };
    Some(state.join("picsift/history"))
}

fn readline(error: ReadlineError) -> AppError {
    AppError::Terminal(std::io::Error::other(error))
}

#[cfg(test)]
mod tests {
    use super::{Line, TABLES, is_complete};

    #[test]
    fn people_leave_and_ask_for_help_by_the_words_of_other_shells() {
        for (line, expected) in [
            ("exit", Line::Leave),
            ("QUIT;", Line::Leave),
            ("\\q", Line::Leave),
            ("help", Line::Help),
            (" ; ", Line::Nothing),
            ("\\d", Line::Script(TABLES.to_owned())),
            (
                "\\d 'photos/'",
                Line::Script("DESCRIBE 'photos/'".to_owned()),
            ),
            ("\\x", Line::Unknown("\\x".to_owned())),
            ("SELECT 1;", Line::Script("SELECT 1;".to_owned())),
        ] {
            assert_eq!(Line::of(line), expected, "{line}");
        }
    }

    #[test]
    fn a_statement_ends_with_its_semicolon() {
        assert!(!is_complete("SELECT 1"));
        assert!(!is_complete("SELECT 1\nFROM x"));
        assert!(is_complete("SELECT 1;  "));
        assert!(is_complete("\\q") && is_complete("exit") && is_complete("\\d t"));
        assert!(!is_complete("exits"));
        assert!(is_complete("  "));
    }
}
