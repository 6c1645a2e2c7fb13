//! Trains `shapes`, the tiny vision-language model in `vision/data/shapes/`, on drawn scenes, and measures it.
//!
//!     cargo run --release -p picsift-vision --example train_shapes -- train --output DIR [--steps N] [--seed N]

#![allow(missing_docs)]

mod batch;
mod checkpoint;
mod fused;
mod network;
mod questions;
mod scene;
mod stitch;
mod train;
mod words;

use std::error::Error;
use std::path::Path;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let steps = args[1].parse()?;
    train::train(checkpoint::config()?, train::Plan { seed: 1, steps }, Path::new(&args[0]))?;
    Ok(())
}
