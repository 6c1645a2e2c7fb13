//! Writes the corpus of bad images: `cargo run --release -p picsift-images --example bad_images -- FOLDER [SEED]`.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "../tests/corpus/mod.rs"]
mod corpus;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), seed) = (arguments.next(), arguments.next()) else {
        eprintln!("give a folder to write to, and a seed if it should not be 1");
        return ExitCode::from(2);
    };
    let Ok(seed) = seed.as_deref().unwrap_or("1").parse() else {
        eprintln!("the seed is not a number");
        return ExitCode::from(2);
    };
    let photos = Path::new(env!("CARGO_MANIFEST_DIR")).join("../datasets/photos/references/images");
    let written = corpus::cases(seed, &photos)
        .and_then(|cases| corpus::write(Path::new(&folder), &cases).map(|()| cases.len()));
    match written {
        Ok(files) => {
            println!("{files} files and expected.csv are in {folder}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("cannot write the images: {error}");
            ExitCode::FAILURE
        }
    }
}
