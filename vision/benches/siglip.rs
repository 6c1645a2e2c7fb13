//! SigLIP 2 of published shapes with random weights: images/s by categories and number format.
//!
//! `cargo bench -p picsift-vision --bench siglip -- --shape b16-224 --categories 1,10,100 --batch 16` (`--help` lists the rest). One
//! JSON object a line. The time of an image begins with its pixels in memory, squashed already, and ends with a score for each category;
//! the texts of the categories are embedded before. Weights are made in memory and leave nothing behind.

use std::error::Error;
use std::sync::Arc;
use std::time::Instant;

use clap::Parser;
use picsift_vision::siglip::{Config, SigLip};
use picsift_vision::transformer::{Checkpoint, Format};
use picsift_vision::{
    ComputeDtype, DeviceChoice, Job, Model, Prompt, Quantization, Question, Views,
};
use serde_json::json;

#[derive(Parser)]
struct Args {
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// b16-224, b32-256 or so400m-384
    #[arg(long, default_value = "b16-224")]
    shape: String,
    /// Numbers of categories
    #[arg(long, value_delimiter = ',', default_value = "1,10,100")]
    categories: Vec<usize>,
    /// Images asked at once
    #[arg(long, default_value_t = 16)]
    batch: usize,
    /// f32, bf16, q8_0 or q4k; default: the device's own
    #[arg(long)]
    dtype: Option<String>,
    /// Least time that each number of categories is measured for
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// What cargo passes
    #[arg(long, hide = true)]
    bench: bool,
}

/// The `config.json` of a published checkpoint, without what has its default.
fn config(shape: &str) -> Result<Config, Box<dyn Error>> {
    let (vision, text) = match shape {
        "b16-224" => (json!({}), json!({ "vocab_size": 256_000 })),
        "b32-256" => (
            json!({ "image_size": 256, "patch_size": 32 }),
            json!({ "vocab_size": 256_000 }),
        ),
        "so400m-384" => (
            json!({ "image_size": 384, "patch_size": 14, "hidden_size": 1152, "intermediate_size": 4304,
                    "num_hidden_layers": 27, "num_attention_heads": 16 }),
            json!({ "vocab_size": 256_000, "hidden_size": 1152, "intermediate_size": 4304,
                    "num_hidden_layers": 27, "num_attention_heads": 16 }),
        ),
        other => return Err(format!("no shape '{other}'").into()),
    };
    let all = json!({ "model_type": "siglip", "vision_config": vision, "text_config": text });
    Ok(Config::from_json(&all.to_string())?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let (dtype, quantize) = match args.dtype.as_deref() {
        None => (None, None),
        Some(name) => match name.parse::<ComputeDtype>() {
            Ok(dtype) => (Some(dtype), None),
            Err(_) => (None, Some(name.parse::<Quantization>()?)),
        },
    };
    let format = Format::new(&args.device.open()?, dtype, quantize);
    let config = config(&args.shape)?;
    let mut model = SigLip::read("siglip", &config, &format, || Ok(Checkpoint::random(1)))?;
    let side = config.vision.side;
    for &categories in &args.categories {
        let positions = config.text.positions;
        let questions: Arc<[Question]> = (0..categories)
            .map(|category| {
                let tokens: Vec<u32> = (0..positions)
                    .map(|place| (category * positions + place) as u32)
                    .collect();
                let prompt = Prompt {
                    text: format!("category {category}").into(),
                    tokens: tokens.into(),
                };
                Question::Shows([[prompt].into()].into())
            })
            .collect();
        let jobs: Vec<Job> = (0..args.batch)
            .map(|seed| Job {
                views: Views {
                    side: side as u32,
                    grid: (1, 1),
                    data: (0..3 * side * side)
                        .map(|at| ((at + seed).wrapping_mul(2_654_435_761) >> 24) as u8)
                        .collect(),
                },
                questions: Arc::clone(&questions),
            })
            .collect();
        let mut round = || -> Result<(), Box<dyn Error>> {
            for answers in model.answer(&jobs) {
                answers?;
            }
            Ok(())
        };
        // Once untimed: the texts are embedded.
        round()?;
        let (mut rounds, started) = (0.0, Instant::now());
        while rounds == 0.0 || started.elapsed().as_secs_f64() < args.seconds {
            round()?;
            rounds += 1.0;
        }
        let images = rounds * jobs.len() as f64;
        println!(
            "{}",
            json!({
                "engine": "picsift", "shape": args.shape, "dtype": format.name(), "batch": args.batch,
                "categories": categories, "weights_mb": model.weight_bytes() as f64 / 1e6,
                "images_per_second": images / started.elapsed().as_secs_f64(),
            })
        );
    }
    Ok(())
}
