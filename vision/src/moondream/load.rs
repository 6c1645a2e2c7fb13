//! From a model's files to a model: what configuration and tokenizer say of it, and then its tensors.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::Device;
use sha2::{Digest, Sha256};

use super::{Config, Layout, Moondream, Network, OverlapCrops, Prompts, Squash, Vocabulary};
use crate::description::{DescribedModel, ModelDescription};
use crate::device::{Failure, device_name, free_memory};
use crate::error::VisionError;
use crate::model::{BatchAdvice, InputGeometry, Loaded, ModelInfo, Preprocessor};
use crate::options::{CropPolicy, LoadOptions};
use crate::source::{FetchProgress, ModelFiles, PlanningFiles, read_text, shown_hash};
use crate::transformer::conformance::checked;
use crate::transformer::{Checkpoint, CheckpointError, Format};

/// Images and views that fill a CPU: with one image its threads are all at work, and an image's prefix takes 290 MB of the
/// 2B model's memory.
const ON_CPU: BatchAdvice = BatchAdvice {
    max_images: 2,
    max_views: 26,
};

/// Images and views that fill a GPU.
const ON_GPU: BatchAdvice = BatchAdvice {
    max_images: 64,
    max_views: 128,
};

/// The files of the model that comes with this program.
const SHAPES: Embedded = Embedded {
    config: include_str!("../../data/shapes/config.json"),
    weights: include_bytes!("../../data/shapes/model.safetensors"),
    tokenizer: include_bytes!("../../data/shapes/tokenizer.json"),
};

/// The name of the embedded model.
pub const SHAPES_NAME: &str = "shapes";

/// Bytes of its weights.
pub(crate) const SHAPES_BYTES: u64 = SHAPES.weights.len() as u64;

struct Embedded {
    config: &'static str,
    weights: &'static [u8],
    tokenizer: &'static [u8],
}

impl Embedded {
    /// A name for exactly these files: they may be trained anew between two versions of the program.
    fn revision(&self) -> String {
        let mut hash = Sha256::new();
        for file in [self.config.as_bytes(), self.weights, self.tokenizer] {
            hash.update((file.len() as u64).to_le_bytes());
            hash.update(file);
        }
        format!("sha256:{}", shown_hash(hash))
    }
}

/// What a model is called and the texts that describe it, each with the name of its file.
struct Parts<'a> {
    name: &'a str,
    revision: String,
    licence: Option<&'static str>,
    config: (String, &'a str),
    tokenizer: (String, &'a [u8]),
}

/// All of a model but its weights.
#[derive(Clone)]
struct Plan {
    description: ModelDescription,
    config: Config,
    vocabulary: Arc<Vocabulary>,
    format: Format,
    crops: CropPolicy,
}

/// Describes a Moondream2 whose files are on this machine. Of the weights only the head is read, which names the tensors.
///
/// # Errors
/// [`VisionError::ModelFile`] when a file cannot be read or is not what it should be, [`VisionError::Checkpoint`] for weights that
/// are cut short or of no known layout.
pub fn describe(
    files: ModelFiles,
    device: &Device,
    options: &LoadOptions,
) -> Result<DescribedModel, VisionError> {
    let texts = Texts::read(&files.config, &files.tokenizer)?;
    let parts = texts.parts(&files.name, &files.revision, files.licence);
    let format = Format::asked(&files.name, device, options)?;
    let config = config(&parts, &Checkpoint::open(&files.weights)?)?;
    let plan = plan(parts, config, format, options)?;
    Ok(DescribedModel::new(plan.description.clone(), move |_| {
        plan.load(&Checkpoint::open(&files.weights)?)
    }))
}

/// Describes a Moondream2 of 2025, whose configuration and tokenizer say all; `weights` finds its weights, which need not be
/// here yet.
///
/// # Errors
/// [`VisionError::ModelFile`] when a file cannot be read or is not what it should be.
pub(crate) fn describe_2025(
    files: PlanningFiles,
    device: &Device,
    options: &LoadOptions,
    weights: impl Fn(&dyn FetchProgress) -> Result<PathBuf, VisionError> + Send + Sync + 'static,
) -> Result<DescribedModel, VisionError> {
    let texts = Texts::read(&files.config, &files.tokenizer)?;
    let parts = texts.parts(&files.name, &files.revision, files.licence);
    let format = Format::asked(&files.name, device, options)?;
    let config = Config::v2025(parts.config.1).map_err(in_file(&parts.config.0))?;
    let plan = plan(parts, config, format, options)?;
    Ok(DescribedModel::new(
        plan.description.clone(),
        move |progress| plan.load(&Checkpoint::open(&weights(progress)?)?),
    ))
}

/// Describes the small model that knows drawn shapes, which is in this program.
///
/// # Errors
/// As [`describe`].
pub fn describe_shapes(
    device: &Device,
    options: &LoadOptions,
) -> Result<DescribedModel, VisionError> {
    let inside = |file: &str| format!("{file} inside this program");
    let parts = Parts {
        name: SHAPES_NAME,
        revision: SHAPES.revision(),
        licence: Some("Apache-2.0"),
        config: (inside("config.json"), SHAPES.config),
        tokenizer: (inside("tokenizer.json"), SHAPES.tokenizer),
    };
    let open = move || Checkpoint::from_bytes(&inside("model.safetensors"), SHAPES.weights);
    let format = Format::asked(SHAPES_NAME, device, options)?;
    let config = config(&parts, &open()?)?;
    let plan = plan(parts, config, format, options)?;
    Ok(DescribedModel::new(plan.description.clone(), move |_| {
        plan.load(&open()?)
    }))
}

/// Configuration and tokenizer with the names of their files.
struct Texts {
    config: (String, String),
    tokenizer: (String, Vec<u8>),
}

impl Texts {
    fn read(config: &Path, tokenizer: &Path) -> Result<Self, VisionError> {
        let read = |path: &Path| {
            let name = path.display().to_string();
            match read_text(path) {
                Ok(bytes) => Ok((name, bytes)),
                Err(error) => Err(in_file(&name)(error)),
            }
        };
        let (name, text) = read(config)?;
        Ok(Self {
            config: (name, String::from_utf8_lossy(&text).into_owned()),
            tokenizer: read(tokenizer)?,
        })
    }

    fn parts<'a>(
        &'a self,
        name: &'a str,
        revision: &str,
        licence: Option<&'static str>,
    ) -> Parts<'a> {
        Parts {
            name,
            revision: revision.to_owned(),
            licence,
            config: (self.config.0.clone(), &self.config.1),
            tokenizer: (self.tokenizer.0.clone(), &self.tokenizer.1),
        }
    }
}

/// A function for `map_err` that names the file.
fn in_file<E: Error + Send + Sync + 'static>(file: &str) -> impl FnOnce(E) -> VisionError {
    let file = file.to_owned();
    move |error| VisionError::ModelFile {
        file,
        reason: Arc::new(error),
    }
}

/// The configuration; the layout comes first, as what does not fit an unknown one says nothing.
fn config(parts: &Parts<'_>, checkpoint: &Checkpoint<'_>) -> Result<Config, VisionError> {
    Layout::of(checkpoint)?;
    Config::of(checkpoint, parts.config.1).map_err(in_file(&parts.config.0))
}

fn plan(
    parts: Parts<'_>,
    config: Config,
    format: Format,
    options: &LoadOptions,
) -> Result<Plan, VisionError> {
    let vocabulary = Vocabulary::from_json(parts.tokenizer.1, &config);
    let vocabulary = Arc::new(vocabulary.map_err(in_file(&parts.tokenizer.0))?);
    let prompts = Prompts::new(parts.name, Arc::clone(&vocabulary), &config);
    let on_cpu = format.device.is_cpu();
    Ok(Plan {
        description: ModelDescription {
            info: ModelInfo {
                name: parts.name.to_owned(),
                revision: parts.revision,
                licence: parts.licence,
                device: device_name(&format.device),
                dtype: format.name(),
                crops: Some(options.crops),
                input: InputGeometry::Full,
                default_threshold: 0.5,
                can_talk: true,
            },
            questions: Arc::new(prompts),
            batch: if on_cpu { ON_CPU } else { ON_GPU },
        },
        config,
        vocabulary,
        format,
        crops: options.crops,
    })
}

impl Plan {
    /// The model with the weights of this checkpoint.
    fn load(&self, checkpoint: &Checkpoint<'_>) -> Result<Loaded, VisionError> {
        Layout::of(checkpoint)?;
        let ModelDescription {
            info,
            questions,
            batch,
        } = self.description.clone();
        let device = &self.format.device;
        let network = read(&info.name, checkpoint, &self.config, &checked(&self.format))?;
        let preprocessor: Arc<dyn Preprocessor> = match self.config.layout {
            Layout::V2025 => Arc::new(OverlapCrops::new(&self.config.vision, self.crops)),
            Layout::V2024 => Arc::new(Squash::new(&self.config.vision, self.crops)),
        };
        let vocabulary = Arc::clone(&self.vocabulary);
        let model = Moondream::new(&info.name, &info.device, network, vocabulary, checkpoint)?;
        if !device.is_cpu()
            && let Err(error) = model.warm_up(&*preprocessor)
        {
            if matches!(error, VisionError::DeviceLost { .. }) {
                // Its libraries would panic when they are told to let go.
                std::mem::forget(model);
            }
            return Err(error);
        }
        Ok(Loaded {
            info,
            questions,
            preprocessor,
            model: Box::new(model),
            batch,
        })
    }
}

/// The network, if the device has room for its weights.
fn read(
    model: &str,
    checkpoint: &Checkpoint<'_>,
    config: &Config,
    format: &Format,
) -> Result<Network, VisionError> {
    let (needed, free) = (
        format.weight_bytes(checkpoint.elements()),
        free_memory(&format.device),
    );
    let too_large = || VisionError::ModelTooLarge {
        model: model.to_owned(),
        device: device_name(&format.device),
        needed,
        free,
    };
    if free.is_some_and(|free| needed > free) {
        return Err(too_large());
    }
    Network::read(config.clone(), checkpoint, format).map_err(|error| match &error {
        CheckpointError::Tensor { source, .. }
            if Failure::of(&format.device, source) == Failure::OutOfMemory =>
        {
            too_large()
        }
        _ => error.into(),
    })
}
