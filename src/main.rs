//! The program: parse, run, and turn the outcome into an exit code.

use std::process::ExitCode;

use clap::Parser;
use picsift::cli::Cli;
use picsift::commands;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            commands::printer::remark(format_args!("picsift: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}
