//! `picsift sql`: statements from the command line, a file, standard input or a shell.
//!
//! [`print`](mod@print) owns how results are written, `table` how they look to a person, `pictures` what of them a terminal can show
//! besides letters, `shell` the keyboard.

mod complete;
mod estimate;
mod line;
mod pictures;
mod print;
mod shell;
mod table;
mod working;

use std::io::{IsTerminal, Read, Write};
use std::path::Path;

use datafusion::error::DataFusionError;

use super::devices::Devices;
use super::engine;
use super::printer::note;
use crate::cli::{Format, SqlArgs};
use crate::cluster;
use crate::error::AppError;
use crate::requests;
use crate::sql::{Parsed, Session, parse};
use pictures::{Found, Pictures};
use print::Form;
use working::Working;

/// Runs the command.
///
/// # Errors
/// The first statement's that fails, outside the shell.
pub(super) async fn sql(args: SqlArgs) -> Result<(), AppError> {
    let mut session = Session::new(requests::session(&args, &engine::host())?).await?;
    if let Some(address) = &args.cluster.cluster {
        session = cluster::run_on(session, address, args.cluster.token_file.as_deref())?;
    }
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
            let mut out = std::io::stdout();
            run_statement(session, statement, form(args), &mut out, None).await?;
        }
    }
    Ok(())
}

/// How results are written.
fn form(args: &SqlArgs) -> Form {
    Form::of_output(args.format, args.csv_safe)
}

/// Runs a statement and prints its result to `out`, with `pictures` below its table: how many rows were printed, `None` for a statement
/// that has no result.
async fn run_statement(
    session: &Session,
    statement: Parsed,
    form: Form,
    out: &mut (dyn Write + Send),
    pictures: Option<&mut Pictures>,
) -> Result<Option<usize>, AppError> {
    // What is printed row by row would run into it.
    let is_shown = form.format == Format::Table || !form.is_terminal;
    let working = is_shown.then(Working::begin).flatten();
    let results = session.run(statement).await?;
    if let Some(working) = &working {
        working.counts(&results.stats);
    }
    for note in &results.notes {
        note!("{note}");
    }
    let rows = match results.silent {
        true => {
            print::drain(results.rows).await.map_err(AppError::Run)?;
            drop(working);
            None
        }
        false => {
            let mut found = match form {
                Form {
                    format: Format::Table,
                    width: Some(width),
                    ..
                } => pictures
                    .filter(|pictures| pictures.are_wanted())
                    .map(|pictures| {
                        let schema = results.rows.schema();
                        (pictures, Found::none(&schema, results.references), width)
                    }),
                _ => None,
            };
            let noted = found.as_mut().map(|(_, found, _)| found);
            let rows = print::print(results.rows, form, out, working, noted).await?;
            if let Some((pictures, found, width)) = found {
                pictures.show(session.engine(), found, width, out).await?;
            }
            Some(rows)
        }
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
