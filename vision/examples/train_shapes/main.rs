//! Trains `shapes`, the tiny vision-language model in `vision/data/shapes/`, on drawn scenes, and measures it.
//!
//!     cargo run --release -p picsift-vision --example train_shapes -- train --output DIR [--steps N] [--seed N]
//!     ... -- evaluate --model DIR [--scenes N]
//!     ... -- draw --output DIR [--count N] [--seed N]
//!     ... -- reference --model DIR --output DIR [--count N] [--seed N]
//!
//! `train` writes the model's files and then prints `evaluate`'s tables. `draw` writes pictures and what is on them;
//! `reference` adds what the model says of pictures that `draw` wrote with the same count and seed.

// An example has no public interface; `scene.rs` is public for the tests that include it.
#![allow(missing_docs, unreachable_pub)]

mod batch;
mod checkpoint;
mod evaluate;
mod fused;
mod gradient;
mod network;
mod parameters;
mod questions;
mod samples;
mod scene;
mod stitch;
mod train;
mod words;

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Steps of a run unless the command line says otherwise.
const STEPS: usize = 6500;
/// Scenes a column of the tables.
const SCENES: usize = 2000;
/// Pictures that `draw` writes.
const COUNT: usize = 8;

/// The command line after the command: each option with its value.
struct Options(Vec<(String, String)>);

impl Options {
    fn parse(arguments: &[String], known: &[&str]) -> Result<Self> {
        let mut options = Vec::new();
        for pair in arguments.chunks(2) {
            match pair {
                [name, value] if known.contains(&name.as_str()) => {
                    options.push((name.clone(), value.clone()))
                }
                _ => {
                    return Err(format!(
                        "'{}' is not one of {} with a value",
                        pair[0],
                        known.join(", ")
                    )
                    .into());
                }
            }
        }
        Ok(Self(options))
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(option, _)| option == name)
            .map(|(_, value)| value.as_str())
    }

    fn folder(&self, name: &str) -> Result<PathBuf> {
        self.get(name)
            .map(PathBuf::from)
            .ok_or_else(|| format!("{name} is missing: it names a folder").into())
    }

    fn number(&self, name: &str, default: usize) -> Result<usize> {
        match self.get(name) {
            None => Ok(default),
            Some(text) => text
                .parse()
                .map_err(|_| format!("{name} takes a whole number, not '{text}'").into()),
        }
    }
}

/// The variable that says how many threads one tensor operation takes.
const THREADS: &str = "RAYON_NUM_THREADS";

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if std::env::var_os(THREADS).is_none() {
        // Threads work on whole batches here. Within an operation candle's threads wait for one another in a loop, which on
        // tensors this small took two thirds of the time; candle reads the variable when it starts.
        let status = Command::new(std::env::current_exe()?)
            .args(&arguments)
            .env(THREADS, "1")
            .status()?;
        std::process::exit(status.code().unwrap_or(1));
    }
    let workers = std::thread::available_parallelism()?.get();
    rayon::ThreadPoolBuilder::new()
        .num_threads(workers)
        .build()?
        .install(|| run(&arguments))
}

fn run(arguments: &[String]) -> Result<()> {
    let (command, rest) = arguments
        .split_first()
        .ok_or("name a command: train, evaluate, draw or reference")?;
    let options = |known: &[&str]| Options::parse(rest, known);
    match command.as_str() {
        "train" => {
            let options = options(&["--output", "--steps", "--seed"])?;
            let plan = train::Plan {
                seed: options.number("--seed", 1)? as u64,
                steps: options.number("--steps", STEPS)?,
            };
            let network = train::train(checkpoint::config()?, plan, &options.folder("--output")?)?;
            print!("{}", evaluate::table(&network, SCENES)?);
        }
        "evaluate" => {
            let options = options(&["--model", "--scenes"])?;
            let network = checkpoint::read(&options.folder("--model")?)?;
            print!(
                "{}",
                evaluate::table(&network, options.number("--scenes", SCENES)?)?
            );
        }
        "draw" => {
            let options = options(&["--output", "--count", "--seed"])?;
            let (seed, count) = (
                options.number("--seed", 1)? as u64,
                options.number("--count", COUNT)?,
            );
            samples::draw(
                &checkpoint::config()?,
                seed,
                count,
                &options.folder("--output")?,
            )?;
        }
        "reference" => {
            let options = options(&["--model", "--output", "--count", "--seed"])?;
            let (seed, count) = (
                options.number("--seed", 1)? as u64,
                options.number("--count", COUNT)?,
            );
            let network = checkpoint::read(&options.folder("--model")?)?;
            samples::reference(&network, seed, count, &options.folder("--output")?)?;
        }
        other => {
            return Err(format!(
                "there is no command '{other}': train, evaluate, draw or reference"
            )
            .into());
        }
    }
    Ok(())
}
