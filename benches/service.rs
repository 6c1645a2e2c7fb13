//! A query's way through fetching, decoding, preparation and the model's service, in images a second: whether what the CPU does
//! for the next images is hidden behind what the model does with these.
//!
//! `cargo bench --bench service -- --device cuda --categories 1,10,50` takes the 2B model's shape with random weights;
//! `--layers N` makes it N layers deep, for a machine without a GPU. A JSON object a line, beside `model_busy`, the share of
//! the time in which the model ran: near 1 the model is the bound, below it something keeps it waiting.

#![allow(clippy::unwrap_used)]

#[expect(dead_code, reason = "it makes its own table")]
mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use candle_core::{D, DType};
use clap::Parser;
use picsift::session::session;
use picsift_udf::{Engine, EngineOptions};
use picsift_vision::moondream::{Config, Network, OverlapCrops};
use picsift_vision::transformer::{Checkpoint, Format};
use picsift_vision::{
    Answer, BatchAdvice, Category, ComputeDtype, CropPolicy, DeviceChoice, Generation,
    InputGeometry, Job, Loaded, Model, ModelInfo, Prompt, Question, Questions, Service,
    ServiceOptions, Views, VisionError,
};
use serde_json::json;

#[derive(Parser)]
struct Args {
    /// cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    device: DeviceChoice,
    /// f32 or bf16; default: the device's own
    #[arg(long)]
    dtype: Option<ComputeDtype>,
    /// Numbers of categories
    #[arg(long, value_delimiter = ',', default_value = "1")]
    categories: Vec<usize>,
    /// Layers of encoder and language model; default: all of them
    #[arg(long)]
    layers: Option<usize>,
    /// Images of the first query, which is not measured, and of the others
    #[arg(long, default_value_t = 64)]
    images: usize,
    /// Least time that each setting is measured for: the images become as many as that takes
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Folder of JPEG files; default: the repository's photographs
    #[arg(long)]
    photographs: Option<PathBuf>,
    /// What cargo passes
    #[arg(long, hide = true)]
    bench: bool,
}

/// The network behind the interface of a model, with questions as long as those of the published one.
struct Random {
    network: Network,
}

struct Asks {
    config: Config,
}

impl Questions for Asks {
    fn category(&self, category: &Category) -> Result<Question, VisionError> {
        let number: u32 = category.name[1..].parse().unwrap_or(0);
        let words = (100..104).chain([1000 + number]).chain(200..210);
        let template = &self.config.template;
        let before = template.before.iter().copied();
        Ok(Question::YesNo(Prompt {
            text: category.name.as_str().into(),
            tokens: before
                .chain(words)
                .chain(template.after.iter().copied())
                .collect(),
        }))
    }

    fn open(&self, _: &str, _: Generation) -> Result<Question, VisionError> {
        Err(VisionError::CannotTalk {
            model: "random".to_owned(),
        })
    }
}

impl Model for Random {
    fn answer(&mut self, jobs: &[Job]) -> Vec<Result<Vec<Answer>, VisionError>> {
        let views: Vec<&Views> = jobs.iter().map(|job| &job.views).collect();
        let questions: Vec<&[u32]> = jobs[0]
            .questions
            .iter()
            .map(|question| match question {
                Question::YesNo(prompt) => &*prompt.tokens,
                _ => &[],
            })
            .collect();
        let prefix = self.network.encode(&views, &mut |_, _| {}).unwrap();
        let asked = self
            .network
            .ask(Some(&prefix), &questions, &mut |_, _| {})
            .unwrap();
        let sums = asked.to_dtype(DType::F32).unwrap().sum(D::Minus1).unwrap();
        assert_eq!(
            sums.to_vec1::<f32>().unwrap().len(),
            jobs.len() * questions.len()
        );
        // Weights that mean nothing give answers that mean nothing.
        let answers = vec![Answer::Score(0.5); questions.len()];
        jobs.iter().map(|_| Ok(answers.clone())).collect()
    }
}

fn service(args: &Args) -> Service {
    let device = args.device.open().unwrap();
    let format = Format::new(&device, args.dtype, None);
    let mut config = Config::v2025("{}").unwrap();
    if let Some(layers) = args.layers {
        (config.vision.layers, config.text.layers) = (layers, layers);
    }
    let network = Network::read(config.clone(), &Checkpoint::random(1), &format).unwrap();
    let batch = match device.is_cpu() {
        true => BatchAdvice {
            max_images: 2,
            max_views: 26,
        },
        false => BatchAdvice {
            max_images: 64,
            max_views: 128,
        },
    };
    let loaded = Loaded {
        info: ModelInfo {
            name: "random".to_owned(),
            revision: "1".to_owned(),
            licence: None,
            device: args.device.to_string(),
            dtype: format.name(),
            crops: Some(CropPolicy::Global),
            input: InputGeometry::Full,
            default_threshold: 0.5,
            can_talk: false,
        },
        preprocessor: Arc::new(OverlapCrops::new(&config.vision, CropPolicy::Global)),
        questions: Arc::new(Asks { config }),
        model: Box::new(Random { network }),
        batch,
    };
    Service::start(loaded, ServiceOptions::default()).unwrap()
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    let service = service(&args);
    let folder = tempfile::tempdir().unwrap();
    for &categories in &args.categories {
        // Once to warm up and to see how many images fill the time.
        let mut images = args.images;
        for measured in [false, true] {
            // References to files beside the table, so that fetching is in it.
            support::files(folder.path(), images, args.photographs.as_deref());
            let names: String = (0..images)
                .map(|number| format!("{number}.jpg\n"))
                .collect();
            let table = folder.path().join("table.csv");
            std::fs::write(&table, format!("image\n{names}")).unwrap();
            let engine = Arc::new(Engine::new(EngineOptions::default()).unwrap());
            engine.add_service("random", service.clone());
            let context = session(&engine, 1).unwrap();
            let calls: Vec<String> = (0..categories)
                .map(|number| format!("count(*) FILTER (WHERE classify(image, 'c{number}'))"))
                .collect();
            let run =
                async |query: &str| context.sql(query).await.unwrap().collect().await.unwrap();
            run("SET picsift.model = 'random'").await;
            let before = service.stats();
            let started = Instant::now();
            run(&format!(
                "SELECT {} FROM '{}'",
                calls.join(", "),
                table.display()
            ))
            .await;
            let seconds = started.elapsed().as_secs_f64();
            let after = service.stats();
            let asked = after.images - before.images;
            assert_eq!(asked, images as u64, "every image is asked once");
            if !measured {
                images =
                    ((args.seconds * images as f64 / seconds) as usize).clamp(args.images, 20_000);
                continue;
            }
            println!(
                "{}",
                json!({
                    "engine": "picsift", "device": args.device.to_string(), "dtype": service.info().dtype,
                    "images": images, "categories": categories, "images_per_second": images as f64 / seconds,
                    "model_busy": (after.busy - before.busy).as_secs_f64() / seconds,
                    "mean_batch": asked as f64 / (after.batches - before.batches) as f64,
                    "halved": after.halved - before.halved,
                })
            );
        }
    }
}
