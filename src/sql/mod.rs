//! `picsift sql`: statements from the command line, a file, standard input or a shell.
//!
//! Owns which statements run in which order; `print` owns how results look, `shell` the keyboard.

mod estimate;
mod print;
mod shell;
mod statement;

use std::io::{IsTerminal, Read};
use std::path::Path;
use std::sync::Arc;

use datafusion::common::config::ExtensionOptions;
use datafusion::error::DataFusionError;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::{DFParser, Statement};
use picsift_udf::{Corrections, Engine, EngineOptions, PicsiftOptions};

use crate::cli::{Format, ModelArgs, SqlArgs};
use crate::devices::Devices;
use crate::error::AppError;
use crate::printer::note;
use crate::{batches, corrections, session};

/// Runs the command.
///
/// # Errors
/// The first statement's that fails, outside the shell.
pub async fn sql(args: SqlArgs) -> Result<(), AppError> {
    let corrections = match &args.corrections {
        Some(file) => Some(corrections::load(file).await?.corrections),
        None => None,
    };
    let engine = Arc::new(Engine::new(EngineOptions {
        corrections: corrections.clone(),
        ..args
            .limits
            .engine_options(Some(&args.cache), Some(&args.fetch))?
    })?);
    let partitions = std::thread::available_parallelism().map_or(2, |n| n.get());
    let context = session::session(&engine, partitions).map_err(AppError::Plan)?;
    choose_model(&context, &args.model).map_err(AppError::Plan)?;

    if args.command.is_empty()
        && args.file.is_none()
        && std::io::stdin().is_terminal()
        && !args.estimate
    {
        shell::run(&context, &engine, args.format).await?;
        say_met(corrections.as_deref());
        return Ok(());
    }
    for query in &args.command {
        run_script(&context, query, &args).await?;
    }
    match &args.file {
        Some(path) => run_script(&context, &read(path)?, &args).await?,
        None if !args.command.is_empty() => {}
        None => {
            let mut script = String::new();
            std::io::stdin()
                .read_to_string(&mut script)
                .map_err(AppError::file("read", "standard input"))?;
            run_script(&context, &script, &args).await?;
        }
    }
    Devices::default().say(&engine);
    say_met(corrections.as_deref());
    Ok(())
}

/// Says how many of the corrected images the queries judged.
fn say_met(corrections: Option<&Corrections>) {
    if let Some(corrections) = corrections {
        note!(
            "corrections: {} of {} corrected images came up in what was asked",
            corrections.met(),
            corrections.images()
        );
    }
}

/// Makes the flags the settings that the session begins with.
fn choose_model(context: &SessionContext, args: &ModelArgs) -> Result<(), DataFusionError> {
    let state = context.state_ref();
    let mut state = state.write();
    let options = state.config_mut().options_mut();
    if let Some(settings) = options.extensions.get_mut::<PicsiftOptions>() {
        settings.set("model", &args.model)?;
        settings.load = args.load_options();
        settings.keep_as_defaults();
    }
    Ok(())
}

fn read(path: &Path) -> Result<String, AppError> {
    std::fs::read_to_string(path)
        .map_err(|error| AppError::Usage(format!("cannot read {}: {error}", path.display())))
}

/// Runs all statements of `script`, printing each result.
async fn run_script(
    context: &SessionContext,
    script: &str,
    args: &SqlArgs,
) -> Result<(), AppError> {
    // All are parsed before one runs: a slip at the end of a script must not show after an hour.
    for statement in parse(script)? {
        if args.estimate {
            estimate::estimate(context, statement).await?;
        } else {
            run_statement(context, statement, args.format).await?;
        }
    }
    Ok(())
}

/// The statements of `script`.
fn parse(script: &str) -> Result<Vec<Statement>, AppError> {
    // A file may begin with the line that makes it executable.
    let script = match script.strip_prefix("#!") {
        Some(rest) => rest.split_once('\n').map_or("", |(_, script)| script),
        None => script,
    };
    let statements = DFParser::parse_sql(script).map_err(AppError::Plan)?;
    Ok(statements.into())
}

async fn run_statement(
    context: &SessionContext,
    statement: Statement,
    format: Format,
) -> Result<(), AppError> {
    let losses = statement::watch_losses(context);
    let frame = statement::planned(context, statement).await?;
    let silent = statement::is_silent(&frame);
    let plan = frame.create_physical_plan().await.map_err(AppError::Plan)?;
    let task = batches::task_context(&context.state(), &plan);
    let stream = datafusion::physical_plan::execute_stream(plan, task).map_err(AppError::Run)?;
    match silent {
        true => print::drain(stream).await.map_err(AppError::Run)?,
        false => print::print(stream, format).await?,
    }
    if let Some(lost) = losses.said() {
        note!("warning: {lost}");
    }
    Ok(())
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
