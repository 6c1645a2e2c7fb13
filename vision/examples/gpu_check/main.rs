//! Is a GPU right? Parity with the reference, packed and batched against alone, large shapes, each step against f64.
//!
//! `gpu_check --goldens vision/tests/goldens parity steps shapes` runs the named checks in their order and prints a JSON
//! object a line; the exit code is 1 if one does not hold. All checks run on a CPU too, where they take longer. A program of
//! its own and not a test, because the machine with the GPU may have neither cargo nor the repository: the goldens are given
//! by path, and nothing else is read.

mod ask;
mod counts;
// The tests' own reading of the goldens: without them there is nothing to check.
#[allow(clippy::unwrap_used)]
#[path = "../../tests/it/golden_data.rs"]
mod golden_data;
mod parity;
mod shapes;
mod steps;
mod together;

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};
use clap::{Parser, ValueEnum};
use picsift_vision::moondream::{Layout, Network, OverlapCrops, Squash};
use picsift_vision::transformer::{Checkpoint, CudaSteps, Format};
use picsift_vision::{ComputeDtype, CropPolicy, CudaOptions, DeviceChoice, Preprocessor, Views};
use serde_json::{Value, json};

use golden_data::Golden;

#[derive(Parser)]
struct Args {
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cuda")]
    device: DeviceChoice,
    /// Folder of golden folders, for parity and together
    #[arg(long)]
    goldens: Option<PathBuf>,
    /// Number format of parity, together and shapes
    #[arg(long, default_value = "f32")]
    dtype: ComputeDtype,
    /// Images and categories of shapes
    #[arg(long, value_delimiter = ',', default_value = "64,60")]
    shape: Vec<usize>,
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
    /// What to check
    #[arg(required = true, value_enum)]
    checks: Vec<Check>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Check {
    /// Logits of small models against the reference's: in f32 within 5e-4; in bf16 no further off than bf16 is on a CPU
    Parity,
    /// Questions packed and images batched against each alone, small models
    Together,
    /// Many images and categories at once against few, at the 2B model's widths in one layer each
    Shapes,
    /// Each step of the network against f64 on random input, outputs poisoned
    Steps,
    /// Images through the service of the embedded model, and what became of them
    Ask,
    /// What each phase of the 2B model asks of the driver; needs the counting driver (tests/null_driver)
    Counts,
}

/// Where checks run and what they found.
struct Run {
    args: Args,
    device: Device,
    failed: bool,
    /// When the last finding was printed.
    lap: Instant,
}

type Outcome = Result<(), Box<dyn Error>>;

fn main() -> ExitCode {
    match checks() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            println!(
                "{}",
                json!({ "check": "error", "holds": false, "error": error.to_string() })
            );
            eprintln!("gpu_check: {error}");
            ExitCode::FAILURE
        }
    }
}

fn checks() -> Result<bool, Box<dyn Error>> {
    let args = Args::parse();
    // The checks are of one device; only `ask` takes all of them.
    let first = args.device.each()?.into_iter().next();
    let device = first.unwrap_or_default().open_with(CudaOptions {
        events: args.events,
        keep_memory: !args.give_back,
    })?;
    let checks = args.checks.clone();
    let mut run = Run {
        args,
        device,
        failed: false,
        lap: Instant::now(),
    };
    for check in checks {
        match check {
            Check::Parity => parity::run(&mut run)?,
            Check::Together => together::run(&mut run)?,
            Check::Shapes => shapes::run(&mut run)?,
            Check::Steps => steps::run(&mut run)?,
            Check::Ask => ask::run(&mut run)?,
            Check::Counts => counts::run(&run)?,
        }
    }
    Ok(!run.failed)
}

impl Run {
    /// Prints a finding, with the seconds since the one before.
    fn say(&mut self, check: &str, holds: bool, about: Value) {
        self.failed |= !holds;
        let seconds = self.lap.elapsed().as_secs_f64();
        self.lap = Instant::now();
        let mut line = json!({ "check": check, "holds": holds, "seconds": seconds });
        if let (Some(line), Value::Object(about)) = (line.as_object_mut(), about) {
            line.extend(about);
        }
        println!("{line}");
    }

    /// The form in which the device computes in the number format that was asked for.
    fn format(&self) -> Format {
        self.format_of(self.args.dtype)
    }

    /// The same in this number format.
    fn format_of(&self, dtype: ComputeDtype) -> Format {
        let format = Format::new(&self.device, Some(dtype), None);
        if self.args.plain {
            return format.plain();
        }
        format.with_cuda_steps(CudaSteps {
            products: !self.args.no_products,
            attention: !self.args.no_attention,
        })
    }

    fn goldens(&self) -> Result<Vec<Golden>, Box<dyn Error>> {
        let folder = self.args.goldens.as_deref();
        Ok(golden_data::folders_in(
            folder.ok_or("this check needs --goldens")?,
        ))
    }
}

fn network(golden: &Golden, format: &Format) -> Result<Network, Box<dyn Error>> {
    let bytes = golden.model_bytes();
    let checkpoint = Checkpoint::from_bytes("model.safetensors", &bytes)?;
    let config = picsift_vision::moondream::Config::of(&checkpoint, &golden.config_text())?;
    Ok(Network::read(config, &checkpoint, format)?)
}

fn views(golden: &Golden, network: &Network, id: &str) -> Result<Views, Box<dyn Error>> {
    let (vision, policy) = (&network.config().vision, CropPolicy::Reference);
    let image = golden.rgb(id);
    Ok(match golden.layout() {
        Layout::V2025 => OverlapCrops::new(vision, policy).views(image)?,
        Layout::V2024 => Squash::new(vision, policy).views(image)?,
    })
}

/// The values of a tensor, row by row.
fn values(x: &Tensor) -> candle_core::Result<Vec<f32>> {
    x.to_dtype(DType::F32)?.flatten_all()?.to_vec1()
}

/// The largest difference; NaN if one is.
fn largest(a: &[f32], b: &[f32]) -> f64 {
    let off = a.iter().zip(b).map(|(a, b)| f64::from((a - b).abs()));
    off.fold(0.0, |most, off| {
        if off > most || off.is_nan() {
            off
        } else {
            most
        }
    })
}
