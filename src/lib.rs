//! The application: commands, jobs, tables and output.
//!
//! A command line becomes one validated piece of work ([`cli`] to [`label`], [`sql`], [`image`] or [`models`]), which runs in a
//! DataFusion [`session`] with picsift's functions. What an image shows is asked through `picsift-udf`; nothing here decodes
//! or judges.

pub mod batches;
pub mod cache;
pub mod cli;
pub mod corrections;
pub mod devices;
pub mod error;
pub mod eval;
pub mod export;
pub mod gallery;
pub mod image;
pub mod input;
pub mod label;
pub mod labelled;
pub mod models;
pub mod output;
pub mod printer;
pub mod sample;
pub mod session;
pub mod signals;
pub mod sql;
pub mod stores;
pub mod tables;

use std::time::Duration;

use cli::{Cli, Command};
use error::AppError;

/// How long work that nobody waits for any more may take to end.
const SHUTDOWN: Duration = Duration::from_secs(1);

/// Runs one command to its end.
///
/// # Errors
/// [`AppError`], whose [`AppError::exit_code`] is the program's.
pub fn run(cli: Cli) -> Result<(), AppError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| AppError::Usage(format!("cannot start the runtime: {source}")))?;
    let done = runtime.block_on(async {
        match cli.command {
            Command::Label(args) => label::label(*args).await,
            Command::Sql(args) => sql::sql(args).await,
            Command::Eval(args) => eval::eval(args).await,
            Command::Sample(args) => sample::sample(args).await,
            Command::Gallery(args) => gallery::gallery(*args).await,
            Command::Export(args) => export::export(*args).await,
            Command::Image(args) => image::image(args).await,
            Command::Models(args) => models::models(&args),
            Command::Cache(args) => tokio::task::block_in_place(|| cache::cache(args)),
        }
    });
    // A file that is still being read or an image still being decoded for a job that was stopped keeps nobody waiting.
    runtime.shutdown_timeout(SHUTDOWN);
    printer::outcome(done)
}
