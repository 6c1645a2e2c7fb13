//! From a model's files to a SigLIP: what configuration and tokenizer say of it, and then its tensors.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use serde::Deserialize;

use super::config::{Config, KIND, Resampling};
use super::model::SigLip;
use super::text::Embedder;
use super::words::Words;
use crate::description::{DescribedModel, ModelDescription};
use crate::device::device_name;
use crate::error::VisionError;
use crate::model::{
    BatchAdvice, Category, Embeddings, InputGeometry, Loaded, ModelInfo, Prompt, Question,
    Questions, Scale, TextEmbeddings,
};
use crate::options::{Generation, LoadOptions};
use crate::source::{FetchProgress, ModelFiles, PREPROCESSOR, PlanningFiles, read_text};
use crate::transformer::conformance::checked;
use crate::transformer::{Checkpoint, Format};

/// Images that fill a CPU: the threads share the rows of all of them.
const ON_CPU: BatchAdvice = BatchAdvice {
    max_images: 16,
    max_views: 16,
};

/// Images that fill a GPU.
const ON_GPU: BatchAdvice = BatchAdvice {
    max_images: 256,
    max_views: 256,
};

/// A `preprocessor_config.json` that a model needs and that is not there.
#[derive(Debug, thiserror::Error)]
#[error(
    "it has no {PREPROCESSOR}, which says how its pictures are resized; copy it from where the weights are from"
)]
struct NoPreprocessor;

/// Whether a `config.json` is that of a SigLIP of any kind, the unsupported ones included; false where it cannot be read.
pub fn is_siglip(config: &Path) -> bool {
    #[derive(Deserialize)]
    struct Kind {
        #[serde(default)]
        model_type: String,
    }
    let text = read_text(config).unwrap_or_default();
    let kind: Option<Kind> = serde_json::from_slice(&text).ok();
    kind.is_some_and(|kind| kind.model_type.starts_with(KIND))
}

/// Describes a SigLIP whose files are on this machine.
///
/// # Errors
/// [`VisionError::ModelFile`] when a file cannot be read or is not what it should be.
pub fn describe(
    files: ModelFiles,
    device: &Device,
    options: &LoadOptions,
) -> Result<DescribedModel, VisionError> {
    let weights = files.weights.clone();
    let planning = PlanningFiles {
        name: files.name,
        revision: files.revision,
        licence: files.licence,
        config: files.config,
        tokenizer: files.tokenizer,
        preprocessor: files.preprocessor,
    };
    describe_planned(planning, device, options, move |_| Ok(weights.clone()))
}

/// Describes a SigLIP whose weights, which `weights` finds, need not be here yet.
///
/// # Errors
/// As [`describe`].
pub(crate) fn describe_planned(
    files: PlanningFiles,
    device: &Device,
    options: &LoadOptions,
    weights: impl Fn(&dyn FetchProgress) -> Result<PathBuf, VisionError> + Send + Sync + 'static,
) -> Result<DescribedModel, VisionError> {
    let config = read(&files.config)?;
    let config =
        Config::from_json(&String::from_utf8_lossy(&config)).map_err(in_file(&files.config))?;
    let resampling = files.preprocessor.as_deref().ok_or(NoPreprocessor);
    let resampling = resampling.map_err(in_file(files.config.parent().unwrap_or(&files.config)))?;
    let resampling = (resampling, read(resampling)?);
    let resampling =
        Resampling::from_json(&String::from_utf8_lossy(&resampling.1), config.vision.side)
            .map_err(in_file(resampling.0))?;
    let tokenizer = read(&files.tokenizer)?;
    let (positions, vocabulary) = (config.text.positions, config.text.vocabulary);
    let words = Words::from_json(&files.name, &tokenizer, positions, vocabulary)
        .map_err(in_file(&files.tokenizer))?;
    let format = Format::asked(&files.name, device, options)?;
    let open = move |progress: &dyn FetchProgress| Ok(Checkpoint::open(&weights(progress)?)?);
    let embedder = Arc::new(Embedder::new(&files.name, &config, &format, open));
    let texts = Texts {
        words,
        embedder: Arc::clone(&embedder),
    };
    let description = ModelDescription {
        info: ModelInfo {
            name: files.name,
            revision: files.revision,
            licence: files.licence,
            device: device_name(device),
            dtype: format.name(),
            crops: None,
            input: InputGeometry::Full,
            default_threshold: 0.5,
            can_talk: false,
        },
        questions: Arc::new(Planned {
            texts: Arc::new(texts),
            width: config.vision.dim,
        }),
        batch: if device.is_cpu() { ON_CPU } else { ON_GPU },
    };
    let plan = Plan {
        description: description.clone(),
        config,
        resampling,
        format,
        embedder,
    };
    Ok(DescribedModel::new(description, move |progress| {
        plan.load(progress)
    }))
}

/// The half that embeds texts.
struct Texts {
    words: Words,
    embedder: Arc<Embedder>,
}

impl TextEmbeddings for Texts {
    fn prompt(&self, text: &str) -> Result<Prompt, VisionError> {
        self.words.text(text)
    }

    fn embed(
        &self,
        texts: &[&Prompt],
        progress: &dyn FetchProgress,
    ) -> Result<Vec<Arc<[f32]>>, VisionError> {
        self.embedder.embed(texts, progress)
    }

    fn scale(&self, progress: &dyn FetchProgress) -> Result<Scale, VisionError> {
        self.embedder.scale(progress)
    }
}

/// The planning half.
struct Planned {
    texts: Arc<Texts>,
    width: usize,
}

impl Questions for Planned {
    fn category(&self, category: &Category) -> Result<Question, VisionError> {
        self.texts.words.category(category)
    }

    fn open(&self, text: &str, generation: Generation) -> Result<Question, VisionError> {
        self.texts.words.open(text, generation)
    }

    fn embeddings(&self) -> Option<Embeddings> {
        Some(Embeddings {
            width: self.width,
            texts: Some(Arc::clone(&self.texts) as Arc<dyn TextEmbeddings>),
        })
    }
}

/// All of a model but its weights.
struct Plan {
    description: ModelDescription,
    config: Config,
    resampling: Resampling,
    format: Format,
    embedder: Arc<Embedder>,
}

impl Plan {
    fn load(&self, progress: &dyn FetchProgress) -> Result<Loaded, VisionError> {
        let ModelDescription {
            info,
            questions,
            batch,
        } = self.description.clone();
        let texts = Arc::clone(&self.embedder);
        let format = checked(&self.format);
        let model = SigLip::beside(&info.name, &self.config, &format, texts, progress)?;
        Ok(Loaded {
            info,
            questions,
            preprocessor: Arc::new(self.resampling.square(self.config.vision.side)),
            model: Box::new(model),
            batch,
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, VisionError> {
    read_text(path).map_err(in_file(path))
}

/// A function for `map_err` that names the file.
fn in_file<E: Error + Send + Sync + 'static>(file: &Path) -> impl FnOnce(E) -> VisionError {
    let file = file.display().to_string();
    move |error| VisionError::ModelFile {
        file,
        reason: Arc::new(error),
    }
}
