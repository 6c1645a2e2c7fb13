//! The commands: flags become plain options, the work is done below, and what came of it is said.
//!
//! Owns everything that a person or a shell sees: standard output and error, signals, progress and exit codes. Nothing below prints,
//! exits or listens to signals.

mod cache;
mod calibrate;
mod cluster;
mod config;
mod devices;
mod doctor;
pub mod engine;
mod estimates;
mod eval;
mod export;
mod gallery;
mod image;
mod label;
mod logs;
mod man;
mod models;
pub mod printer;
mod progress;
mod sample;
mod serve;
mod signals;
mod sql;
mod summary;
mod teach;
mod tune;
mod units;

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

use clap::CommandFactory;

use crate::cli::{Cli, Command, Refused};
use crate::config::Settings;
use crate::error::AppError;
use printer::note;

/// How long work that nobody waits for any more may take to end.
const SHUTDOWN: Duration = Duration::from_secs(1);

/// Runs the program with these words, the first of which is its name, and says what is wrong. The exit code.
pub fn start(words: impl IntoIterator<Item = OsString>) -> u8 {
    let mut are_of_folder = false;
    let settings = || {
        let settings = Settings::read()?;
        are_of_folder = settings.are_of_folder();
        Ok(settings)
    };
    let done = match Cli::of(words, settings) {
        Ok(cli) => {
            if cli.quiet {
                printer::be_quiet();
            }
            if are_of_folder {
                note!(
                    "note: settings of picsift.toml in this folder hold; picsift config shows them"
                );
            }
            run(cli)
        }
        Err(Refused::Answer(answer)) => {
            // Where nobody reads there is nobody to tell.
            let _ = answer.print();
            return u8::try_from(answer.exit_code()).unwrap_or(2);
        }
        Err(Refused::Wrong(error)) => Err(error),
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            printer::remark(format_args!("picsift: {error}"));
            error.exit_code()
        }
    }
}

/// Runs one command to its end.
///
/// # Errors
/// [`AppError`], whose [`AppError::exit_code`] is the program's.
pub fn run(cli: Cli) -> Result<(), AppError> {
    // A server says who asked what, wherever nobody says otherwise.
    let serves = matches!(cli.command, Command::Serve(_) | Command::Cluster(_));
    logs::begin(&cli.log, serves.then_some(logs::SERVING))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(AppError::Runtime)?;
    let done = runtime.block_on(async {
        match cli.command {
            Command::Label(args) => label::label(*args).await,
            Command::Status(args) => units::status(args).await,
            Command::Publish(args) => units::publish(args).await,
            Command::Sql(args) => sql::sql(args).await,
            Command::Eval(args) => eval::eval(args).await,
            Command::Sample(args) => sample::sample(args).await,
            Command::Teach(args) => teach::teach(*args).await,
            Command::Calibrate(args) => calibrate::calibrate(*args).await,
            Command::Tune(args) => tune::tune(*args).await,
            Command::Gallery(args) => gallery::gallery(*args).await,
            Command::Export(args) => export::export(*args).await,
            Command::Serve(args) => serve::serve(*args).await,
            Command::Token(args) => serve::token(&args),
            Command::Cluster(args) => cluster::cluster(args.command).await,
            Command::Image(args) => image::image(args).await,
            Command::Models(args) => models::models(&args),
            Command::Completions(args) => completions(args.shell),
            Command::Man(args) => man::man(&args),
            Command::Config => config::config(),
            Command::Doctor => tokio::task::block_in_place(doctor::doctor),
            Command::Cache(args) => tokio::task::block_in_place(|| cache::cache(args)),
        }
    });
    // A file that is still being read or an image still being decoded for a job that was stopped keeps nobody waiting.
    runtime.shutdown_timeout(SHUTDOWN);
    printer::outcome(done)
}

/// Prints what makes a shell complete commands and flags.
fn completions(shell: clap_complete::Shell) -> Result<(), AppError> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "picsift", &mut script);
    let mut out = printer::Lines::new(std::io::stdout().lock());
    out.write_all(&script)
        .and_then(|()| out.flush())
        .map_err(AppError::Terminal)
}
