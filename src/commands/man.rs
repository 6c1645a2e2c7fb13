//! `picsift man`: the manual page of the program or of one of its commands, for `man`.

use std::io::Write;

use clap::CommandFactory;
use clap_mangen::Man;

use super::printer::{Lines, say};
use crate::cli::{Cli, ManArgs};
use crate::error::AppError;

/// Runs the command.
///
/// # Errors
/// [`AppError::Usage`] for a command that there is not, [`AppError::File`] for a folder that cannot be written.
pub(super) fn man(args: &ManArgs) -> Result<(), AppError> {
    let mut program = Cli::command();
    program.build();
    if let Some(folder) = &args.output {
        std::fs::create_dir_all(folder).map_err(AppError::file("make the folder", folder))?;
        clap_mangen::generate_to(Cli::command(), folder)
            .map_err(AppError::file("write in", folder))?;
        say!(
            "the manual pages are in {0}; man -l {0}/picsift.1 shows the first",
            folder.display()
        );
        return Ok(());
    }
    let page = match &args.command {
        None => program,
        Some(name) => match program.find_subcommand(name) {
            Some(command) => command.clone(),
            None => {
                return Err(AppError::Usage(format!(
                    "there is no command '{name}'; picsift --help lists them"
                )));
            }
        },
    };
    let mut text = Vec::new();
    Man::new(page)
        .render(&mut text)
        .map_err(AppError::Terminal)?;
    let mut out = Lines::new(std::io::stdout().lock());
    out.write_all(&text)
        .and_then(|()| out.flush())
        .map_err(AppError::Terminal)
}
