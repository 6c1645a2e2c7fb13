//! The 2B model's shape with random weights: seconds an image, by categories, batch and number format.
//!
//! `cargo bench -p picsift-vision --bench moondream -- --device cpu --size 378x378 --categories 1,10,50 --batch 1`
//! (`--help` lists the rest). Not criterion: one measurement takes seconds to minutes, and the answer is a table of where
//! they go. Prints a JSON object a line: first what the device makes of one large product, then a line for each combination.
//! The time of an image is that from pixels in memory to scores; its parts are measured apart. The weights are made in
//! memory and leave nothing behind.

use std::collections::HashMap;
use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use candle_core::{D, DType, Device, Tensor};
use clap::Parser;
use picsift_vision::moondream::{Checkpoint, Config, Network, OverlapCrops};
use picsift_vision::{CropPolicy, DeviceChoice, Preprocessor, Quantization, RgbImage, Views};
use serde_json::json;

#[derive(Parser)]
struct Args {
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// Width and height of the picture in pixels
    #[arg(long, default_value = "378x378")]
    size: String,
    /// Numbers of categories
    #[arg(long, value_delimiter = ',', default_value = "1,10,50")]
    categories: Vec<usize>,
    /// Numbers of images asked at once
    #[arg(long, value_delimiter = ',', default_value = "1")]
    batch: Vec<usize>,
    /// f32 (CPU), bf16 (CUDA), q8_0 or q4k; default: the device's own
    #[arg(long)]
    dtype: Option<String>,
    /// reference or global
    #[arg(long, default_value = "reference")]
    crops: CropPolicy,
    /// Least time that each combination is measured for
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// What cargo passes
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let device = args.device.open()?;
    let quantize = match args.dtype.as_deref() {
        None | Some("f32" | "bf16") => None,
        Some(name) => Some(name.parse::<Quantization>()?),
    };
    let (width, height) = args.size.split_once('x').ok_or("--size is WIDTHxHEIGHT")?;
    let (width, height): (u32, u32) = (width.parse()?, height.parse()?);
    println!("{}", json!({ "ceiling_tflops": ceiling(&device)? }));

    let before = resident_mb();
    let config = Config::v2025("{}")?;
    let network = Network::read(config.clone(), &Checkpoint::random(1), &device, quantize)?;
    let dtype = quantize.map_or(
        if network.dtype() == DType::BF16 {
            "bf16"
        } else {
            "f32"
        },
        Quantization::name,
    );
    let weights_mb = network.weight_bytes() as f64 / 1e6;
    let loaded_mb = resident_mb();
    eprintln!(
        "{weights_mb:.0} MB of weights; resident {before:.0} MB before, {loaded_mb:.0} MB after loading"
    );
    let preprocessor = OverlapCrops::new(&config.vision, args.crops);
    for &batch in &args.batch {
        let pictures: Vec<RgbImage> = (0..batch)
            .map(|seed| picture(width, height, seed as u32))
            .collect();
        for &categories in &args.categories {
            let questions = questions(&config, categories);
            let mut spent: HashMap<&str, Duration> = HashMap::new();
            let (mut rounds, mut views_each) = (0, 0);
            // Once untimed: kernels are compiled, memory is taken.
            run(
                &network,
                &preprocessor,
                &pictures,
                &questions,
                &mut HashMap::new(),
            )?;
            let started = Instant::now();
            while rounds == 0 || started.elapsed().as_secs_f64() < args.seconds {
                views_each = run(&network, &preprocessor, &pictures, &questions, &mut spent)?;
                rounds += 1;
            }
            let images = (rounds * batch) as f64;
            let part = |name: &str| spent.get(name).map_or(0.0, Duration::as_secs_f64) / images;
            let total: f64 = spent.values().map(Duration::as_secs_f64).sum::<f64>() / images;
            println!(
                "{}",
                json!({
                    "engine": "picsift", "device": args.device.to_string(), "dtype": dtype, "size": args.size,
                    "crops": args.crops.to_string(), "views": views_each, "categories": categories, "batch": batch,
                    "threads": rayon::current_num_threads(),
                    "seconds_per_image": total, "images_per_second": 1.0 / total,
                    "views_s": part("views"), "vision_s": part("vision"), "prefix_s": part("prefix"),
                    "questions_s": part("questions"),
                    "rss_mb": resident_mb(), "loaded_mb": loaded_mb, "weights_mb": weights_mb,
                })
            );
        }
    }
    Ok(())
}

/// One batch from pixels to scores; gives the views of an image.
fn run(
    network: &Network,
    preprocessor: &OverlapCrops,
    pictures: &[RgbImage],
    questions: &[Vec<u32>],
    spent: &mut HashMap<&'static str, Duration>,
) -> Result<usize, Box<dyn Error>> {
    let mut lap = Instant::now();
    let mut spend = |part, device: &Device| -> candle_core::Result<()> {
        device.synchronize()?;
        *spent.entry(part).or_default() += lap.elapsed();
        lap = Instant::now();
        Ok(())
    };
    let device = network.device();
    let views: Vec<Views> = pictures
        .iter()
        .map(|picture| preprocessor.views(picture.clone()))
        .collect::<Result<_, _>>()?;
    spend("views", device)?;
    let views: Vec<&Views> = views.iter().collect();
    let embeddings = network.embed_images(&views, &mut |_, _| {})?;
    spend("vision", device)?;
    let prefix = network.read_images(embeddings)?;
    spend("prefix", device)?;
    let questions: Vec<&[u32]> = questions.iter().map(Vec::as_slice).collect();
    let asked = network.ask(Some(&prefix), &questions, &mut |_, _| {})?;
    // A score needs two rows of the head: the rest of the work is here.
    black_box(
        asked
            .to_dtype(DType::F32)?
            .sum(D::Minus1)?
            .to_vec1::<f32>()?,
    );
    spend("questions", device)?;
    Ok(views[0].count())
}

/// Prompts as long as "Is there a dog in the image?\nAnswer yes or no." in the model's tokens: what differs is one token,
/// with 4 before it and 10 after it, in the template.
fn questions(config: &Config, count: usize) -> Vec<Vec<u32>> {
    (0..count as u32)
        .map(|category| {
            let words = (100..104).chain([1000 + category]).chain(200..210);
            config
                .template
                .before
                .iter()
                .copied()
                .chain(words)
                .chain(config.template.after.iter().copied())
                .collect()
        })
        .collect()
}

fn picture(width: u32, height: u32, seed: u32) -> RgbImage {
    let samples = 0..width * height * 3;
    RgbImage {
        width,
        height,
        data: samples
            .map(|at| (at.wrapping_add(seed << 20).wrapping_mul(2_654_435_761) >> 24) as u8)
            .collect(),
    }
}

/// TFLOP/s of one large product in the device's number format: what the model's own products are measured by.
fn ceiling(device: &Device) -> candle_core::Result<f64> {
    let (m, k, n, dtype) = match device {
        Device::Cpu => (730, 2048, 8192, DType::F32),
        _ => (8192, 8192, 8192, DType::BF16),
    };
    let left = Tensor::rand(-1_f32, 1.0, (m, k), device)?.to_dtype(dtype)?;
    let right = Tensor::rand(-1_f32, 1.0, (n, k), device)?.to_dtype(dtype)?;
    let mut best = Duration::MAX;
    for _ in 0..12 {
        let started = Instant::now();
        black_box(left.matmul(&right.t()?)?);
        device.synchronize()?;
        best = best.min(started.elapsed());
    }
    Ok(2.0 * (m * k * n) as f64 / best.as_secs_f64() / 1e12)
}

/// Resident megabytes of this process, 0 where the system does not say.
fn resident_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok())
        .unwrap_or(0.0)
        / 1e3
}
