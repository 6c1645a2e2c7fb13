//! The 2B model's shape with random weights: seconds an image, by categories, batch and number format.
//!
//! `cargo bench -p picsift-vision --bench moondream -- --device cpu --size 378x378 --categories 1,10,50 --batch 1`
//! (`--help` lists the rest). Not criterion: one measurement takes seconds to minutes, and the answer is a table of where
//! they go. Prints a JSON object a line: first what the device makes of one large product, then a line for each combination.
//!
//! The time of an image is that of its views, made on all threads as a job's decoders make them, and of everything to its
//! scores, for which the device is waited for once a batch. A service makes views while the device computes:
//! `benches/service.rs` measures that. Where the time goes (`vision_s`, `prefix_s`, `questions_s`) is measured apart, waiting
//! after each part, so on a GPU the parts are more than the whole. The weights are made in memory and leave nothing behind.

use std::collections::{HashMap, HashSet};
use std::error::Error;
use std::hint::black_box;
use std::time::{Duration, Instant};

use candle_core::{D, DType, Device, Tensor};
use clap::Parser;
use picsift_vision::moondream::{Config, Network, OverlapCrops, Prefix, Request};
use picsift_vision::transformer::{Checkpoint, CudaSteps, Format, Steps, Units, speed};
use picsift_vision::{
    ComputeDtype, CropPolicy, CudaOptions, DeviceChoice, Generation, Preprocessor, PromptStyle,
    Quantization, RgbImage, Views,
};
use rayon::prelude::*;
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
    /// f32, bf16, q8_0 or q4k; default: the device's own
    #[arg(long)]
    dtype: Option<String>,
    /// reference or global
    #[arg(long, default_value = "reference")]
    crops: CropPolicy,
    /// vendor or shared: how categories are put
    #[arg(long, default_value_t)]
    style: PromptStyle,
    /// Least time that each combination is measured for
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Measure answers of so many tokens instead of categories
    #[arg(long)]
    words: Option<usize>,
    /// Measure products and attention of the model's shapes instead, on all units that the CPU has
    #[arg(long)]
    steps: bool,
    /// CPU: compute on these units, plain, avx2, avx512 or amx, instead of the best that there are
    #[arg(long)]
    units: Option<String>,
    /// CUDA: keep events for every tensor, as if there were several streams
    #[arg(long)]
    events: bool,
    /// CUDA: give freed memory back whenever the device is waited for
    #[arg(long)]
    give_back: bool,
    /// CUDA: candle's operations for every step
    #[arg(long)]
    plain: bool,
    /// CUDA: products and what follows them apart
    #[arg(long)]
    no_products: bool,
    /// CUDA: attention with its scores in memory
    #[arg(long)]
    no_attention: bool,
    /// A name for this variant in its lines
    #[arg(long)]
    name: Option<String>,
    /// What cargo passes
    #[arg(long, hide = true)]
    bench: bool,
}

impl Args {
    fn format(&self) -> Result<Format, Box<dyn Error>> {
        let device = self.device.open_with(CudaOptions {
            events: self.events,
            keep_memory: !self.give_back,
        })?;
        let (dtype, quantize) = match self.dtype.as_deref() {
            None => (None, None),
            Some(name) => match name.parse::<ComputeDtype>() {
                Ok(dtype) => (Some(dtype), None),
                Err(_) => (None, Some(name.parse::<Quantization>()?)),
            },
        };
        let format = Format::new(&device, dtype, quantize);
        if self.plain {
            return Ok(format.plain());
        }
        if let Some(name) = &self.units {
            let units = Units::of_this_machine().find(|units| units.name() == name);
            return Ok(format.with_units(units.ok_or("this machine has no such units")?));
        }
        Ok(format.with_cuda_steps(CudaSteps {
            products: !self.no_products,
            attention: !self.no_attention,
        }))
    }
}

/// The model and what it is shown.
struct Bench {
    network: Network,
    preprocessor: OverlapCrops,
    style: PromptStyle,
    /// What every line has.
    about: serde_json::Value,
}

fn main() -> Result<(), Box<dyn Error>> {
    let args = Args::parse();
    let format = args.format()?;
    let (width, height) = args.size.split_once('x').ok_or("--size is WIDTHxHEIGHT")?;
    let (width, height): (u32, u32) = (width.parse()?, height.parse()?);
    println!("{}", json!({ "ceiling_tflops": ceiling(&format.device)? }));
    if args.steps {
        return steps(&args, &format);
    }

    let before = resident_mb();
    let config = Config::v2025("{}")?;
    let network = Network::read(config.clone(), &Checkpoint::random(1), &format)?;
    let weights_mb = network.weight_bytes() as f64 / 1e6;
    let loaded_mb = resident_mb();
    eprintln!(
        "{weights_mb:.0} MB of weights; resident {before:.0} MB before, {loaded_mb:.0} MB after loading"
    );
    let bench = Bench {
        preprocessor: OverlapCrops::new(&config.vision, args.crops),
        style: args.style,
        about: json!({
            "engine": "picsift", "variant": args.name, "device": args.device.to_string(), "dtype": format.name(),
            "size": args.size, "crops": args.crops.to_string(), "style": args.style.to_string(), "threads": rayon::current_num_threads(),
            "loaded_mb": loaded_mb, "weights_mb": weights_mb,
        }),
        network,
    };
    for &batch in &args.batch {
        let pictures: Vec<RgbImage> = (0..batch)
            .map(|seed| picture(width, height, seed as u32))
            .collect();
        match args.words {
            Some(tokens) => bench.words(&pictures, tokens, args.seconds)?,
            None => {
                for &categories in &args.categories {
                    bench.categories(&pictures, categories, args.seconds)?;
                }
            }
        }
    }
    Ok(())
}

/// A line for each shape, in which all units take turns, so that what else the machine does meets all of them.
fn steps(args: &Args, format: &Format) -> Result<(), Box<dyn Error>> {
    let formats: Vec<Format> = match (&args.units, &format.device) {
        (None, Device::Cpu) => Units::of_this_machine()
            .map(|units| format.clone().with_units(units))
            .collect(),
        _ => vec![format.clone()],
    };
    let name = |format: &Format| match format.steps {
        Steps::Fused(cpu) => cpu.units.to_string(),
        other => format!("{other:?}"),
    };
    let turn = Duration::from_secs_f64(args.seconds / 10.0);
    let turns = |gflop: f64, step: &dyn Fn(&Format) -> candle_core::Result<f64>| {
        let mut best = vec![f64::MAX; formats.len()];
        for _ in 0..4 {
            for (best, format) in best.iter_mut().zip(&formats) {
                *best = best.min(step(format)?);
            }
        }
        let rates = formats.iter().zip(best);
        let rates = rates.map(|(format, seconds)| (name(format), json!((gflop / seconds).round())));
        Ok::<_, Box<dyn Error>>(rates.collect::<serde_json::Map<_, _>>())
    };
    // Of the encoder and the language model over an image, over a question, and for a word.
    for shape in [
        (729, 1152, 3456),
        (729, 1152, 4352),
        (729, 4352, 1152),
        (2916, 1152, 4352),
        (730, 2048, 6144),
        (730, 2048, 8192),
        (730, 8192, 2048),
        (17, 2048, 8192),
        (1, 2048, 8192),
    ] {
        let (rows, inputs, outputs) = shape;
        let gflop = 2.0 * (rows * inputs * outputs) as f64 / 1e9;
        let rates = turns(gflop, &|format| speed::product(format, shape, turn))?;
        println!("{}", json!({ "product": shape, "gflops": rates }));
    }
    for (shape, heads) in [
        ((1, 729, 729), (16, 72)),
        ((1, 730, 730), (32, 64)),
        ((1, 17, 747), (32, 64)),
        ((1, 1, 747), (32, 64)),
    ] {
        let (batch, rows, keys) = shape;
        let gflop = 4.0 * (batch * rows * keys * heads.0 * heads.1) as f64 / 1e9;
        let rates = turns(gflop, &|format| {
            speed::attention(format, shape, heads, turn)
        })?;
        println!(
            "{}",
            json!({ "attention": shape, "heads": heads, "gflops": rates })
        );
    }
    Ok(())
}

impl Bench {
    fn print(&self, line: serde_json::Value) {
        let mut all = self.about.clone();
        if let (Some(all), serde_json::Value::Object(line)) = (all.as_object_mut(), line) {
            all.extend(line);
        }
        println!("{all}");
    }

    /// Seconds from pictures to scores.
    fn categories(
        &self,
        pictures: &[RgbImage],
        categories: usize,
        seconds: f64,
    ) -> Result<(), Box<dyn Error>> {
        let questions = questions(self.network.config(), self.style, categories);
        let slices: Vec<&[u32]> = questions.iter().map(Vec::as_slice).collect();
        let views = self.views(pictures)?;
        let views: Vec<&Views> = views.iter().collect();
        // Once untimed: kernels are compiled, memory is taken.
        self.scores(&self.network.encode(&views, &mut |_, _| {})?, &slices)?;
        let images = pictures.len() as f64;
        let rounds = |least: f64, round: &mut dyn FnMut() -> Result<(), Box<dyn Error>>| {
            let (mut count, started) = (0.0, Instant::now());
            while count == 0.0 || started.elapsed().as_secs_f64() < least {
                round()?;
                count += 1.0;
            }
            Ok::<_, Box<dyn Error>>(started.elapsed().as_secs_f64() / count / images)
        };
        let views_s = rounds(seconds / 10.0, &mut || {
            black_box(self.views(pictures)?);
            Ok(())
        })?;
        let computed_s = rounds(seconds, &mut || {
            let prefix = self.network.encode(&views, &mut |_, _| {})?;
            self.scores(&prefix, &slices)
        })?;
        let mut spent: HashMap<&str, f64> = HashMap::new();
        let mut count = 0.0;
        rounds(seconds / 4.0, &mut || {
            count += images;
            self.parts(&views, &slices, &mut spent)
        })?;
        let part = |name: &str| spent.get(name).copied().unwrap_or(0.0) / count;
        let total = views_s + computed_s;
        self.print(json!({
            "views": views[0].count(), "categories": categories, "batch": pictures.len(),
            "question_tokens": packed_tokens(&questions),
            "seconds_per_image": total, "images_per_second": 1.0 / total,
            "views_s": views_s, "computed_s": computed_s,
            "vision_s": part("vision"), "prefix_s": part("prefix"), "questions_s": part("questions"),
            "rss_mb": resident_mb(),
        }));
        Ok(())
    }

    /// Tokens a second of answers in words, one question about each image.
    fn words(
        &self,
        pictures: &[RgbImage],
        tokens: usize,
        seconds: f64,
    ) -> Result<(), Box<dyn Error>> {
        let question = questions(self.network.config(), self.style, 1).remove(0);
        let views = self.views(pictures)?;
        let views: Vec<&Views> = views.iter().collect();
        let prefix = self.network.encode(&views, &mut |_, _| {})?;
        let request = Request {
            tokens: &question,
            generation: Generation {
                max_tokens: tokens,
                ..Generation::default()
            },
        };
        let seeds = vec![0; pictures.len()];
        let (mut made, mut spent) = (0, Duration::ZERO);
        for round in 0.. {
            let started = Instant::now();
            let answers = self.network.generate(&prefix, &[request], &seeds)?;
            if round > 0 {
                spent += started.elapsed();
                let all = answers.iter().flatten().flatten();
                made += all.map(Vec::len).sum::<usize>();
                if spent.as_secs_f64() >= seconds {
                    break;
                }
            }
        }
        self.print(json!({
            "words": tokens, "batch": pictures.len(), "tokens_per_second": made as f64 / spent.as_secs_f64(),
        }));
        Ok(())
    }

    fn views(&self, pictures: &[RgbImage]) -> Result<Vec<Views>, Box<dyn Error>> {
        let views = pictures
            .par_iter()
            .map(|picture| self.preprocessor.views(picture.clone()));
        Ok(views.collect::<Result<_, _>>()?)
    }

    /// A score needs two rows of the head: all the rest of the work is here.
    fn scores(&self, prefix: &Prefix, questions: &[&[u32]]) -> Result<(), Box<dyn Error>> {
        let asked = self.network.ask(Some(prefix), questions, None)?;
        let sums = asked.to_dtype(DType::F32)?.sum(D::Minus1)?;
        black_box(sums.to_vec1::<f32>()?);
        Ok(())
    }

    /// One batch, waiting after each part.
    fn parts(
        &self,
        views: &[&Views],
        questions: &[&[u32]],
        spent: &mut HashMap<&'static str, f64>,
    ) -> Result<(), Box<dyn Error>> {
        let device = self.network.device();
        let mut lap = Instant::now();
        let mut spend = |part| -> candle_core::Result<()> {
            device.synchronize()?;
            *spent.entry(part).or_default() += lap.elapsed().as_secs_f64();
            lap = Instant::now();
            Ok(())
        };
        let embeddings = self.network.embed_images(views, &mut |_, _| {})?;
        spend("vision")?;
        let prefix = self.network.read_images(embeddings)?;
        spend("prefix")?;
        self.scores(&prefix, questions)?;
        spend("questions")?;
        Ok(())
    }
}

/// Tokens that are computed for an image: what questions begin with is there once.
fn packed_tokens(questions: &[Vec<u32>]) -> usize {
    let begun = questions
        .iter()
        .flat_map(|tokens| (1..=tokens.len()).map(|end| &tokens[..end]));
    begun.collect::<HashSet<_>>().len()
}

/// Prompts as long as "Is there a dog in the image?\nAnswer yes or no." in the model's tokens, in the template: what differs is one
/// token, with 4 before it and 10 after it. Or as long as "Answer yes or no. Is this in the image: a dog", with 12 before it.
fn questions(config: &Config, style: PromptStyle, count: usize) -> Vec<Vec<u32>> {
    let (before, after) = match style {
        PromptStyle::Vendor => (100..104, 200..210),
        PromptStyle::Shared => (100..112, 200..200),
    };
    (0..count as u32)
        .map(|category| {
            let words = before.clone().chain([1000 + category]).chain(after.clone());
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

/// TFLOP/s of one large product in the device's number format: what the model's own products are measured by. Twenty are
/// queued before the device is waited for, so that neither waiting nor taking memory counts.
fn ceiling(device: &Device) -> candle_core::Result<f64> {
    let (m, k, n, dtype) = match device {
        Device::Cpu => (730, 2048, 8192, DType::F32),
        _ => (8192, 8192, 8192, DType::BF16),
    };
    let left = Tensor::rand(-1_f32, 1.0, (m, k), device)?.to_dtype(dtype)?;
    let right = Tensor::rand(-1_f32, 1.0, (n, k), device)?.to_dtype(dtype)?;
    let queued = 20;
    let mut best = Duration::MAX;
    for _ in 0..3 {
        device.synchronize()?;
        let started = Instant::now();
        for _ in 0..queued {
            black_box(left.matmul(&right.t()?)?);
        }
        device.synchronize()?;
        best = best.min(started.elapsed() / queued);
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
