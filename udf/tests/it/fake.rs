//! A model whose answers follow from the colour of an image, and images of one colour.

use std::io::Cursor;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use datafusion::prelude::{SessionConfig, SessionContext};
use image::{ImageFormat, Rgb, RgbImage as Picture};
use picsift_udf::{Engine, EngineOptions, PicsiftOptions, register_all, with_settings};
use picsift_vision::{
    Answer, BatchAdvice, Category, DescribedModel, Embedding, Embeddings, FetchProgress,
    Generation, InputGeometry, Job, Loaded, Model, ModelDescription, ModelInfo, Preprocessor,
    Prompt, Question, Questions, RgbImage, Scale, Service, ServiceOptions, TextEmbeddings, Views,
    VisionError,
};

/// The categories that the model knows; class N is scored by colour channel N.
const CATEGORIES: [&str; 3] = ["red", "green", "blue"];

struct Colours;

impl Questions for Colours {
    fn category(&self, category: &Category) -> Result<Question, VisionError> {
        match CATEGORIES.iter().position(|known| *known == category.name) {
            Some(class) => Ok(Question::Classes([class as u16].into())),
            None => Err(VisionError::CannotTalk {
                model: format!("fake (no category {})", category.name),
            }),
        }
    }

    fn open(&self, text: &str, generation: Generation) -> Result<Question, VisionError> {
        let prompt = Prompt {
            text: text.into(),
            tokens: [].into(),
        };
        Ok(Question::Open(prompt, generation))
    }

    /// A colour is its own embedding.
    fn embeddings(&self) -> Option<Embeddings> {
        Some(Embeddings {
            width: 3,
            texts: Some(Arc::new(Colours)),
        })
    }
}

/// The name of a colour is embedded as that colour.
impl TextEmbeddings for Colours {
    fn prompt(&self, text: &str) -> Result<Prompt, VisionError> {
        match CATEGORIES.iter().position(|known| *known == text) {
            Some(channel) => Ok(Prompt {
                text: text.into(),
                tokens: [channel as u32].into(),
            }),
            None => Err(VisionError::Prompt(Arc::from(Box::from(format!(
                "'{text}' says nothing"
            ))))),
        }
    }

    fn embed(
        &self,
        texts: &[&Prompt],
        _: &dyn FetchProgress,
    ) -> Result<Vec<Arc<[f32]>>, VisionError> {
        let colour = |text: &&Prompt| {
            let mut colour = [0.0; 3];
            colour[text.tokens[0] as usize] = 1.0;
            Arc::from(colour)
        };
        Ok(texts.iter().map(colour).collect())
    }

    fn scale(&self, _: &dyn FetchProgress) -> Result<Scale, VisionError> {
        Ok(Scale {
            factor: 1.0,
            bias: 0.0,
        })
    }
}

/// Shows the model the upper left pixel of the whole image; an image of one column is more than it can take.
impl Preprocessor for Colours {
    fn views(&self, image: RgbImage) -> Result<Views, VisionError> {
        if image.width == 1 {
            return Err(VisionError::ImageSize {
                model: "fake".to_string(),
                expected: "2 x 1 or more".to_string(),
                actual: format!("{} x {}", image.width, image.height),
            });
        }
        Ok(Views {
            side: 1,
            grid: (1, 1),
            data: image.data[..3].to_vec(),
        })
    }
}

/// Sizes of the batches that the model was given.
pub(crate) type Batches = Arc<Mutex<Vec<usize>>>;

struct Eyes(Batches);

/// The colour at the sight of which the model's device breaks.
pub(crate) const FATAL: [u8; 3] = [66, 6, 66];

impl Model for Eyes {
    fn answer(&mut self, jobs: &[Job]) -> Vec<Result<Vec<Answer>, VisionError>> {
        self.0.lock().unwrap().push(jobs.len());
        if jobs.iter().any(|job| job.views.data[..3] == FATAL) {
            let lost = VisionError::DeviceLost {
                model: "fake".to_string(),
                device: "cuda:0".to_string(),
                reason: "an illegal address".to_string(),
            };
            return jobs.iter().map(|_| Err(lost.clone())).collect();
        }
        // A real model takes time, and meanwhile the next images gather.
        std::thread::sleep(std::time::Duration::from_millis(2));
        jobs.iter()
            .map(|job| {
                let pixel = &job.views.data[..3];
                let answer = |question: &Question| match question {
                    Question::Classes(classes) => {
                        Answer::Score(f32::from(pixel[usize::from(classes[0])]) / 255.0)
                    }
                    Question::Embedding => {
                        let colour = pixel.iter().map(|&channel| f32::from(channel) + 1.0);
                        Answer::Embedding(Embedding::new(colour.collect()).unwrap())
                    }
                    Question::YesNo(_) | Question::Shows(_) | Question::Taught(_) => {
                        unreachable!("never made here, or never asked")
                    }
                    Question::Open(prompt, generation) if pixel[0] > 128 => Answer::Text(format!(
                        "Two dogs and a cat. ({}; {}/{})",
                        prompt.text, generation.max_tokens, generation.temperature
                    )),
                    Question::Open(..) => Answer::Text(String::new()),
                };
                Ok(job.questions.iter().map(answer).collect())
            })
            .collect()
    }
}

/// A session whose default model is the fake one, and the batches that it gets.
pub(crate) fn session() -> (SessionContext, Batches) {
    let fake = Fake::new(1);
    (fake.context, fake.batches)
}

/// A session with the fake model, and what stands behind it.
pub(crate) struct Fake {
    pub(crate) context: SessionContext,
    pub(crate) engine: Arc<Engine>,
    pub(crate) service: Service,
    pub(crate) batches: Batches,
}

impl Fake {
    /// The model's name is set; scans have so many partitions at most.
    pub(crate) fn new(partitions: usize) -> Self {
        Self::with(partitions, EngineOptions::default())
    }

    /// The same with an engine of these options.
    pub(crate) fn with(partitions: usize, mut options: EngineOptions) -> Self {
        let batches = Batches::default();
        // Pictures that a test writes for itself.
        options.policy.folders.push(std::env::temp_dir());
        let engine = Arc::new(Engine::new(options).unwrap());
        let service = Service::start(loaded(&batches), ServiceOptions::default()).unwrap();
        engine.add_service("fake", service.clone());
        let mut config = with_settings(
            SessionConfig::new()
                .with_target_partitions(partitions)
                .with_batch_size(64),
        );
        let settings = config.options_mut().extensions.get_mut::<PicsiftOptions>();
        settings.unwrap().model = "fake".to_string();
        let context = SessionContext::new_with_config(config).enable_url_table();
        register_all(&context, &engine).unwrap();
        Self {
            context,
            engine,
            service,
            batches,
        }
    }

    /// Has the model loaded only when it is asked, and counts how often that is.
    pub(crate) fn loaded_late(&self) -> Arc<AtomicUsize> {
        let loads = Arc::new(AtomicUsize::new(0));
        let (counted, batches) = (Arc::clone(&loads), Arc::clone(&self.batches));
        let Loaded {
            info,
            questions,
            batch,
            ..
        } = loaded(&batches);
        let description = ModelDescription {
            info,
            questions,
            batch,
        };
        let model = DescribedModel::new(description, move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            // Long enough for every stream to want it meanwhile.
            std::thread::sleep(std::time::Duration::from_millis(50));
            Ok(loaded(&batches))
        });
        self.engine.add_described("fake", model);
        loads
    }

    /// Images that the model was shown so far.
    pub(crate) fn encoded(&self) -> usize {
        self.batches.lock().unwrap().iter().sum()
    }
}

/// A service of another name that answers alike.
pub(crate) fn service(name: &str, batches: &Batches) -> Service {
    let mut loaded = loaded(batches);
    loaded.info.name = name.to_string();
    Service::start(loaded, ServiceOptions::default()).unwrap()
}

pub(crate) fn loaded(batches: &Batches) -> Loaded {
    Loaded {
        info: ModelInfo {
            name: "fake".to_string(),
            revision: "1".to_string(),
            licence: None,
            device: "cpu".to_string(),
            dtype: "u8",
            crops: None,
            input: InputGeometry::Full,
            default_threshold: 0.5,
            can_talk: true,
        },
        questions: Arc::new(Colours),
        preprocessor: Arc::new(Colours),
        model: Box::new(Eyes(Arc::clone(batches))),
        batch: BatchAdvice::default(),
    }
}

/// A PNG of one colour.
pub(crate) fn png(colour: [u8; 3]) -> Vec<u8> {
    sized_png(colour, 4)
}

/// A PNG of one colour, four pixels high.
pub(crate) fn sized_png(colour: [u8; 3], width: u32) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    Picture::from_pixel(width, 4, Rgb(colour))
        .write_to(&mut bytes, ImageFormat::Png)
        .unwrap();
    bytes.into_inner()
}
