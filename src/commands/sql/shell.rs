//! The interactive shell: statements over several lines, ended by a semicolon, with a history that outlives it.

use std::path::PathBuf;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::validate::{ValidationContext, ValidationResult, Validator};
use rustyline::{Completer, Config, Editor, Helper, Highlighter, Hinter};

use super::print::Form;
use super::{is_about_the_terminal, run_statement};
use crate::commands::devices::Devices;
use crate::commands::printer::{note, say};
use crate::error::AppError;
use crate::sql::{Session, parse};

const WELCOME: &str =
    "picsift shell: SQL ends with a semicolon; \\? for help, \\q or Ctrl-D to leave";

const HELP: &str = "\
SELECT file, classify(image, 'dog') FROM 'photos/' LIMIT 10;   a path or URL is a table
SHOW FUNCTIONS LIKE 'classify%';                               what can be called
SHOW ALL;                                                      settings; SET picsift.threshold = 0.3;
COPY (SELECT ...) TO 'out/' STORED AS PARQUET PARTITIONED BY (label);
\\?  this help    \\q  leave    Ctrl-C  stop the query";

/// Statements kept in the history.
const HISTORY: usize = 1000;

/// Reads a statement's lines until its semicolon.
#[derive(Helper, Completer, Hinter, Highlighter)]
struct Statements;

impl Validator for Statements {
    fn validate(&self, input: &mut ValidationContext<'_>) -> rustyline::Result<ValidationResult> {
        Ok(if is_complete(input.input()) {
            ValidationResult::Valid(None)
        } else {
            ValidationResult::Incomplete
        })
    }
}

/// Whether the shell takes the input as it is: a command, nothing, or text whose last statement is ended.
fn is_complete(input: &str) -> bool {
    let input = input.trim();
    input.is_empty() || input.starts_with('\\') || input.ends_with(';')
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
        .build();
    let mut editor: Editor<Statements, FileHistory> =
        Editor::with_config(config).map_err(readline)?;
    editor.set_helper(Some(Statements));
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
            Ok(line) => match line.trim() {
                "" => {}
                "\\q" => break,
                "\\?" => say!("{HELP}"),
                command if command.starts_with('\\') => {
                    say!("{command} is no command; \\? lists them");
                }
                script => {
                    tokio::select! {
                        done = run_all(session, script, form) => done?,
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
            run_statement(session, statement, form).await?;
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
    editor: &mut Editor<Statements, FileHistory>,
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
    use super::is_complete;

    #[test]
    fn a_statement_ends_with_its_semicolon() {
        assert!(!is_complete("SELECT 1"));
        assert!(!is_complete("SELECT 1\nFROM x"));
        assert!(is_complete("SELECT 1;  "));
        assert!(is_complete("\\q"));
        assert!(is_complete("  "));
    }
}
