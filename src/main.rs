//! The program: its words, and the exit code that comes of them. Or a decoder for another one, see `--sandbox`.

use std::process::ExitCode;

use picsift::commands::{self, engine};

fn main() -> ExitCode {
    if engine::is_decoder() {
        return picsift_images::serve_decoding();
    }
    ExitCode::from(commands::start(std::env::args_os()))
}
