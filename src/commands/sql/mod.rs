//! `picsift sql`: statements from the command line, a file, standard input or a shell.
//!
//! [`print`](mod@print) owns how results look, `shell` the keyboard.

mod complete;
mod estimate;
mod print;
mod shell;

use std::io::{IsTerminal, Read};
use std::path::Path;

use datafusion::error::DataFusionError;
use datafusion::sql::parser::Statement;

use super::devices::Devices;
use super::engine;
use super::printer::note;
use crate::cli::SqlArgs;
use crate::error::AppError;
use crate::requests;
use crate::sql::{Session, parse};
use print::Form;

/// Runs the command.
///
/// # Errors
/// The first statement's that fails, outside the shell.
pub(super) async fn sql(args: SqlArgs) -> Result<(), AppError> {
    let session = Session::new(requests::session(&args, &engine::host())?).await?;
    let mut queries = args.command.iter().chain(&args.queries).peekable();
    if queries.peek().is_none()
        && args.file.is_none()
        && std::io::stdin().is_terminal()
        && !args.estimate
    {
        shell::run(&session, form(&args)).await?;
        say_met(&session);
        return Ok(());
    }
    let has_query = queries.peek().is_some();
    for query in queries {
        run_script(&session, query, &args).await?;
    }
    match &args.file {
        Some(path) => run_script(&session, &read(path)?, &args).await?,
        None if has_query => {}
        None => {
            let mut script = String::new();
            std::io::stdin()
                .read_to_string(&mut script)
                .map_err(AppError::file("read", "standard input"))?;
            run_script(&session, &script, &args).await?;
        }
    }
    Devices::default().say(session.engine());
    say_met(&session);
    Ok(())
}

/// Says how many of the corrected images the queries judged.
fn say_met(session: &Session) {
    if let Some(corrections) = session.corrections() {
        note!(
            "corrections: {} of {} corrected images came up in what was asked",
            corrections.met(),
            corrections.images()
        );
    }
}

fn read(path: &Path) -> Result<String, AppError> {
    std::fs::read_to_string(path)
        .map_err(|error| AppError::Usage(format!("cannot read {}: {error}", path.display())))
}

/// Runs all statements of `script`, printing each result.
async fn run_script(session: &Session, script: &str, args: &SqlArgs) -> Result<(), AppError> {
    for statement in parse(script)? {
        if args.estimate {
            estimate::estimate(session, statement).await?;
        } else {
            run_statement(session, statement, form(args)).await?;
        }
    }
    Ok(())
}

/// How results are written.
fn form(args: &SqlArgs) -> Form {
    Form {
        format: args.format,
        csv_safe: args.csv_safe,
    }
}

/// Runs a statement and prints its result: how many rows were printed, `None` for a statement that has no result.
async fn run_statement(
    session: &Session,
    statement: Statement,
    form: Form,
) -> Result<Option<usize>, AppError> {
    let results = session.run(statement).await?;
    for note in &results.notes {
        note!("{note}");
    }
    let rows = match results.silent {
        true => {
            print::drain(results.rows).await.map_err(AppError::Run)?;
            None
        }
        false => Some(print::print(results.rows, form).await?),
    };
    if let Some(lost) = results.losses.said() {
        note!("warning: {lost}");
    }
    Ok(rows)
}

/// A statement failed where the next may still run: the shell says so and goes on.
fn is_about_the_terminal(error: &AppError) -> bool {
    matches!(error, AppError::Terminal(_))
}

/// Wraps a failure of standard output.
fn terminal(error: std::io::Error) -> AppError {
    AppError::Terminal(error)
}

/// Wraps an Arrow or Parquet failure while a result is written.
fn unwritable(error: impl Into<DataFusionError>) -> AppError {
    AppError::Run(error.into())
}
