//! The interactive shell: statements over several lines, ended by a semicolon, with a history that outlives it.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustyline::error::ReadlineError;
use rustyline::history::FileHistory;
use rustyline::{CompletionType, Config, Editor};

use super::complete::Statements;
use super::line::{Images, Line};
use super::pictures::Pictures;
use super::print::Form;
use super::{is_about_the_terminal, run_statement};
use crate::cli::Format;
use crate::commands::devices::Devices;
use crate::commands::printer::{note, say};
use crate::disk::state_folder;
use crate::error::AppError;
use crate::sql::{Parsed, Session, parse};

const WELCOME: &str = "picsift shell: SQL ends with a semicolon; help, or exit to leave";

const HELP: &str = "\
SELECT file, classify(image, 'dog') FROM 'photos/' LIMIT 10;   a path or URL is a table
DESCRIBE 'photos/';   SUMMARIZE 'photos/';                     its columns; what they hold
SHOW FUNCTIONS LIKE 'classify%';                               what can be called
SHOW ALL;                                                      settings; SET picsift.threshold = 0.3;
COPY (SELECT ...) TO 'out/' (FORMAT parquet, PARTITION_BY (label));
\\d           the tables and views of this session     \\d NAME or \\d 'photos/'   columns of a table
\\x           a line for each column, on and off       \\timing   the time of statements, on and off
\\o FILE      results into a .csv, .jsonl or .parquet file, until \\o alone
\\images      pictures of a result's first rows below it, on and off; kitty, iterm2 or sixel where the terminal does not say
help or \\?   this     exit, quit, \\q or Ctrl-D   leave     Ctrl-C   stop the query     Tab   complete";

/// What stands before a statement, and before each further line of it.
const PROMPT: &str = "picsift> ";
const GOES_ON: &str = "      -> ";

/// Statements kept in the history.
const HISTORY: usize = 1000;

/// How a person wants results.
struct Results {
    form: Form,
    /// Whether the time of a statement is said.
    timing: bool,
    /// Where they go but the terminal.
    file: Option<Output>,
    /// What the terminal shows besides.
    pictures: Pictures,
}

/// A file that gets results.
struct Output {
    path: PathBuf,
    file: File,
    form: Form,
    /// Whether it has one.
    written: bool,
}

impl Output {
    /// A new file, whose name says its format.
    fn new(path: &str, csv_safe: bool) -> Result<Self, AppError> {
        let path = PathBuf::from(path);
        let end = path.extension().map(|end| end.to_ascii_lowercase());
        let format = match end.as_ref().and_then(|end| end.to_str()) {
            Some("csv") => Format::Csv,
            Some("json" | "jsonl" | "ndjson") => Format::Json,
            Some("parquet") => Format::Parquet,
            _ => {
                return Err(AppError::Usage(format!(
                    "the name of '{}' says no format; \\o takes .csv, .jsonl and .parquet",
                    path.display()
                )));
            }
        };
        let file = File::create_new(&path).map_err(AppError::file("make", &path))?;
        let form = Form {
            format,
            csv_safe,
            expanded: false,
            is_terminal: false,
            width: None,
        };
        Ok(Self {
            path,
            file,
            form,
            written: false,
        })
    }
}

impl Results {
    /// Runs a statement, and says how many rows there were.
    async fn run(&mut self, session: &Session, statement: Parsed) -> Result<(), AppError> {
        let begun = Instant::now();
        let rows = match &mut self.file {
            None => {
                let (mut out, pictures) = (std::io::stdout(), Some(&mut self.pictures));
                run_statement(session, statement, self.form, &mut out, pictures).await?
            }
            Some(output) => {
                if output.written && output.form.format == Format::Parquet {
                    return Err(AppError::Usage(format!(
                        "'{}' has its result, and a Parquet file has one; \\o names another, or the terminal",
                        output.path.display()
                    )));
                }
                let out = &mut output.file;
                let rows = run_statement(session, statement, output.form, out, None).await?;
                output.written |= rows.is_some();
                let flushed = output.file.flush();
                flushed.map_err(AppError::file("write", &output.path))?;
                rows
            }
        };
        let Some(rows) = rows else { return Ok(()) };
        let unit = if rows == 1 { "row" } else { "rows" };
        let place = match &self.file {
            Some(output) => format!(" into {}", output.path.display()),
            None => String::new(),
        };
        match self.timing {
            true => say!(
                "{rows} {unit}{place} in {:.2} s",
                begun.elapsed().as_secs_f64()
            ),
            false => say!("{rows} {unit}{place}"),
        }
        Ok(())
    }

    /// Runs the statements of a script until one fails, which is said.
    async fn run_all(&mut self, session: &Session, script: &str) -> Result<(), AppError> {
        let outcome = async {
            for statement in parse(script)? {
                // The terminal may be another size by now.
                self.form.width = Form::of_output(self.form.format, false).width;
                self.run(session, statement).await?;
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

    fn put_into(&mut self, path: Option<String>) {
        self.file = None;
        match path.map(|path| Output::new(&path, self.form.csv_safe)) {
            None => say!("results come to the terminal"),
            Some(Err(error)) => note!("{error}"),
            Some(Ok(output)) => {
                say!("results go into {} until \\o", output.path.display());
                self.file = Some(output);
            }
        }
    }
}

/// Reads and runs statements until the person leaves.
///
/// # Errors
/// The terminal's; a statement's error is printed and the shell goes on.
pub(super) async fn run(session: &Session, form: Form) -> Result<(), AppError> {
    let config = Config::builder()
        .max_history_size(HISTORY)
        .map_err(readline)?
        .auto_add_history(false)
        .completion_type(CompletionType::List)
        .build();
    let mut editor: Editor<Statements<'_>, FileHistory> =
        Editor::with_config(config).map_err(readline)?;
    editor.set_helper(Some(Statements::new(session)));
    let history = state_folder().map(|state| state.join("history"));
    if let Some(path) = &history
        && path.exists()
        && let Err(error) = editor.load_history(path)
    {
        note!("the history {} cannot be read: {error}", path.display());
    }
    say!("{WELCOME}");
    let mut devices = Devices::default();
    let mut results = Results {
        form,
        timing: true,
        file: None,
        pictures: Pictures::new(),
    };
    let mut typed = String::new();
    loop {
        // Nothing else runs while the shell waits for a line, so waiting here keeps no task from its turn.
        let prompt = if typed.is_empty() { PROMPT } else { GOES_ON };
        match editor.readline(prompt) {
            Ok(line) => {
                if !typed.is_empty() {
                    typed.push('\n');
                }
                typed.push_str(&line);
            }
            Err(ReadlineError::Interrupted) => {
                typed.clear();
                continue;
            }
            Err(ReadlineError::Eof) => break,
            Err(error) => return Err(readline(error)),
        }
        if !Line::is_complete(&typed) {
            continue;
        }
        let input = std::mem::take(&mut typed);
        // One that is there already is not added.
        editor.add_history_entry(&input).map_err(readline)?;
        match Line::of(&input) {
            Line::Nothing => {}
            Line::Leave => break,
            Line::Help => say!("{HELP}"),
            Line::Unknown(command) => say!("{command} is no command; help lists them"),
            Line::Expanded(on) => {
                results.form.expanded = on.unwrap_or(!results.form.expanded);
                match results.form.expanded {
                    true => say!("each column of a row has a line"),
                    false => say!("each row has a line"),
                }
            }
            Line::Timing(on) => {
                results.timing = on.unwrap_or(!results.timing);
                match results.timing {
                    true => say!("the time of statements is said"),
                    false => say!("the time of statements is not said"),
                }
            }
            Line::Images(asked) => {
                match asked {
                    Images::Other => results.pictures.want(None),
                    Images::Shown(wanted) => results.pictures.want(Some(wanted)),
                    Images::By(drawing) => results.pictures.draw(drawing),
                }
                say!("{}", results.pictures.state());
            }
            Line::Output(path) => results.put_into(path),
            Line::Script(script) => {
                tokio::select! {
                    done = results.run_all(session, &script) => done?,
                    _ = tokio::signal::ctrl_c() => say!("stopped"),
                }
                devices.say(session.engine());
            }
        }
    }
    if let Some(path) = &history
        && let Err(error) = save(&mut editor, path)
    {
        note!("the history {} cannot be written: {error}", path.display());
    }
    Ok(())
}

fn save(editor: &mut Editor<Statements<'_>, FileHistory>, path: &Path) -> rustyline::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    editor.save_history(path)
}

fn readline(error: ReadlineError) -> AppError {
    AppError::Terminal(std::io::Error::other(error))
}
