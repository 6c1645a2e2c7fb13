//! A query's way through fetching, decoding, preparation and the model's service, in images a second: whether what the CPU does
//! for the next images is hidden behind what the model does with these.
//!
//! `cargo bench --bench service -- --device cuda --categories 1,10,50` takes the 2B model's shape with random weights;
//! `--layers N` makes it N layers deep, for a machine without a GPU, and `--timed 5 20` takes a model that prepares an image in 5
//! milliseconds and answers one in 20, doing nothing else. A JSON object a line, beside `model_busy`, the share of
//! the time in which the model ran: near 1 the model is the bound, below it something keeps it waiting. `--behind` has the model
//! prepare its own batches, for comparison.

#![allow(clippy::unwrap_used)]

#[expect(dead_code, reason = "it makes its own table")]
mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::{D, DType};
use clap::Parser;
use picsift::session::session;
use picsift_udf::{Engine, EngineOptions};
use picsift_vision::moondream::{Config, Network, OverlapCrops, Prepared};
use picsift_vision::transformer::{Checkpoint, Format};
use picsift_vision::{
    Answer, BatchAdvice, Category, ComputeDtype, CropPolicy, DeviceChoice, Generation,
    InputGeometry, Job, Loaded, Model, ModelInfo, Prompt, Question, Questions, Service,
    ServiceOptions, Staged, Stager, Views, VisionError,
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
    /// Milliseconds for preparing an image and for answering one, of a model that only waits
    #[arg(long, num_args = 2)]
    timed: Option<Vec<f64>>,
    /// Prepare a batch when it is its turn, not while the one before is computed
    #[arg(long)]
    behind: bool,
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
    network: Arc<Network>,
    behind: bool,
}

/// Prepares an image and answers one in a set time each.
struct Timed {
    prepare: Duration,
    answer: Duration,
    behind: bool,
}

struct Prepare(Arc<Network>);

impl Stager for Prepare {
    fn stage(&self, views: &Views) -> Option<Staged> {
        Some(Box::new(self.0.prepare(views).unwrap()))
    }
}

struct Wait(Duration);

impl Stager for Wait {
    fn stage(&self, _: &Views) -> Option<Staged> {
        std::thread::sleep(self.0);
        Some(Box::new(()))
    }
}

impl Model for Timed {
    fn answer(&mut self, jobs: &[Job]) -> Vec<Result<Vec<Answer>, VisionError>> {
        self.answer_staged(jobs, &[])
    }

    fn stager(&self) -> Option<Arc<dyn Stager>> {
        (!self.behind).then(|| Arc::new(Wait(self.prepare)) as Arc<dyn Stager>)
    }

    fn answer_staged(
        &mut self,
        jobs: &[Job],
        staged: &[Option<Staged>],
    ) -> Vec<Result<Vec<Answer>, VisionError>> {
        let ready = staged.iter().flatten().count();
        std::thread::sleep(self.prepare * (jobs.len() - ready) as u32);
        std::thread::sleep(self.answer * jobs.len() as u32);
        jobs.iter()
            .map(|job| Ok(vec![Answer::Score(0.5); job.questions.len()]))
            .collect()
    }
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
        let views = jobs.iter().map(|job| self.network.prepare(&job.views));
        let staged: Vec<Option<Staged>> = views
            .map(|prepared| Some(Box::new(prepared.unwrap()) as Staged))
            .collect();
        self.answer_staged(jobs, &staged)
    }

    fn stager(&self) -> Option<Arc<dyn Stager>> {
        let stager = Prepare(Arc::clone(&self.network));
        (!self.behind).then(|| Arc::new(stager) as Arc<dyn Stager>)
    }

    fn answer_staged(
        &mut self,
        jobs: &[Job],
        staged: &[Option<Staged>],
    ) -> Vec<Result<Vec<Answer>, VisionError>> {
        if self.behind && staged.iter().any(Option::is_none) {
            return self.answer(jobs);
        }
        let prepared: Vec<&Prepared> = staged
            .iter()
            .flatten()
            .filter_map(|staged| staged.downcast_ref())
            .collect();
        let questions: Vec<&[u32]> = jobs[0]
            .questions
            .iter()
            .map(|question| match question {
                Question::YesNo(prompt) => &*prompt.tokens,
                _ => &[],
            })
            .collect();
        let prefix = self
            .network
            .encode_prepared(&prepared, &mut |_, _| {})
            .unwrap();
        let asked = self.network.ask(Some(&prefix), &questions, None).unwrap();
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
    let behind = args.behind;
    let model: Box<dyn Model> = match args.timed.as_deref() {
        Some(&[prepare, answer]) => Box::new(Timed {
            prepare: Duration::from_secs_f64(prepare / 1e3),
            answer: Duration::from_secs_f64(answer / 1e3),
            behind,
        }),
        _ => {
            let network = Network::read(config.clone(), &Checkpoint::random(1), &format);
            let network = Arc::new(network.unwrap());
            Box::new(Random { network, behind })
        }
    };
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
        model,
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
                    "prepared": if args.behind { "in its turn" } else { "ahead" }, "images": images, "categories": categories, "images_per_second": images as f64 / seconds,
                    "model_busy": (after.busy - before.busy).as_secs_f64() / seconds,
                    "mean_batch": asked as f64 / (after.batches - before.batches) as f64,
                    "halved": after.halved - before.halved,
                })
            );
        }
    }
}
