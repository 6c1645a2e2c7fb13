//! The application: commands, jobs, tables and output.
//!
//! A command line becomes one validated piece of work ([`cli`] to [`label`], [`sql`], [`image`] or [`models`]), which runs in a
//! DataFusion [`session`] with picsift's functions. What an image shows is asked through `picsift-udf`; nothing here decodes
//! or judges.

pub mod cli;
pub mod devices;
pub mod error;
pub mod image;
pub mod label;
pub mod models;
pub mod output;
pub mod session;
pub mod sql;
pub mod stores;
pub mod streamed;
pub mod tables;

use cli::{Cli, Command};
use error::AppError;

/// Runs one command to its end.
///
/// # Errors
/// [`AppError`], whose [`AppError::exit_code`] is the program's.
pub fn run(cli: Cli) -> Result<(), AppError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| AppError::Usage(format!("cannot start the runtime: {source}")))?;
    runtime.block_on(async {
        match cli.command {
            Command::Label(args) => label::label(*args).await,
            Command::Sql(args) => sql::sql(args).await,
            Command::Image(args) => image::image(args).await,
            Command::Models(args) => models::models(&args),
        }
    })
}
