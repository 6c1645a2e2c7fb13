//! The program: parse, run, and turn the outcome into an exit code. Or decode for another one, see `--sandbox`.

use std::process::ExitCode;

use clap::Parser;
use picsift::cli::Cli;
use picsift::commands::{self, engine};

fn main() -> ExitCode {
    if engine::is_decoder() {
        return picsift_images::serve_decoding();
    }
    let cli = Cli::parse();
    match commands::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            commands::printer::remark(format_args!("picsift: {error}"));
            ExitCode::from(error.exit_code())
        }
    }
}
