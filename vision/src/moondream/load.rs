//! From a model's files to a model that is ready: configuration, tokenizer, tensors, and the parts that plan for it.

use std::path::Path;
use std::sync::Arc;

use candle_core::{Device, DeviceLocation};
use sha2::{Digest, Sha256};

use super::{
    Checkpoint, CheckpointError, Config, Format, Layout, Moondream, Network, OverlapCrops, Prompts,
    Squash, Vocabulary,
};
use crate::device::{Failure, free_memory};
use crate::error::VisionError;
use crate::model::{BatchAdvice, InputGeometry, Loaded, ModelInfo, Preprocessor};
use crate::options::{ComputeDtype, LoadOptions};
use crate::source::{ModelFiles, read_text, shown_hash};

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

/// What is to be loaded, and what it is called.
struct Parts<'a> {
    name: &'a str,
    revision: String,
    licence: Option<&'static str>,
    config: (String, &'a str),
    tokenizer: (String, &'a [u8]),
    checkpoint: Checkpoint<'a>,
}

/// Loads a Moondream2 from its files.
///
/// # Errors
/// [`VisionError::ModelFile`] when a file cannot be read or is not what it should be, [`VisionError::Checkpoint`] for the
/// tensors.
pub fn load(
    files: &ModelFiles,
    device: &Device,
    options: &LoadOptions,
) -> Result<Loaded, VisionError> {
    let read = |path: &Path| {
        read_text(path).map_err(|source| VisionError::ModelFile {
            file: path.display().to_string(),
            reason: Arc::new(source),
        })
    };
    let config = read(&files.config)?;
    let config = String::from_utf8_lossy(&config);
    let tokenizer = read(&files.tokenizer)?;
    let checkpoint = Checkpoint::open(&files.weights)?;
    let parts = Parts {
        name: &files.name,
        revision: files.revision.clone(),
        licence: files.licence,
        config: (files.config.display().to_string(), &config),
        tokenizer: (files.tokenizer.display().to_string(), &tokenizer),
        checkpoint,
    };
    build(parts, device, options)
}

/// Loads the small model that knows drawn shapes, from this program.
///
/// # Errors
/// As [`load`].
pub fn load_shapes(device: &Device, options: &LoadOptions) -> Result<Loaded, VisionError> {
    let inside = |file: &str| format!("{file} inside this program");
    let parts = Parts {
        name: SHAPES_NAME,
        revision: SHAPES.revision(),
        licence: Some("Apache-2.0"),
        config: (inside("config.json"), SHAPES.config),
        tokenizer: (inside("tokenizer.json"), SHAPES.tokenizer),
        checkpoint: Checkpoint::from_bytes(&inside("model.safetensors"), SHAPES.weights)?,
    };
    build(parts, device, options)
}

fn build(parts: Parts<'_>, device: &Device, options: &LoadOptions) -> Result<Loaded, VisionError> {
    let format = format(parts.name, device, options)?;
    // The layout comes first: what does not fit an unknown one says nothing.
    parts.checkpoint.layout()?;
    let config =
        Config::of(&parts.checkpoint, parts.config.1).map_err(|source| VisionError::ModelFile {
            file: parts.config.0,
            reason: Arc::new(source),
        })?;
    let vocabulary = Vocabulary::from_json(parts.tokenizer.1, &config).map_err(|source| {
        VisionError::ModelFile {
            file: parts.tokenizer.0,
            reason: Arc::new(source),
        }
    })?;
    let vocabulary = Arc::new(vocabulary);
    let network = read(parts.name, &parts.checkpoint, &config, &format)?;
    let place = place(device);
    let preprocessor: Arc<dyn Preprocessor> = match config.layout {
        Layout::V2025 => Arc::new(OverlapCrops::new(&config.vision, options.crops)),
        Layout::V2024 => Arc::new(Squash::new(&config.vision, options.crops)),
    };
    let model = Moondream::new(
        parts.name,
        &place,
        network,
        Arc::clone(&vocabulary),
        &parts.checkpoint,
    )?;
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
        info: ModelInfo {
            name: parts.name.to_owned(),
            revision: parts.revision,
            licence: parts.licence,
            device: place,
            dtype: format.name(),
            crops: Some(options.crops),
            input: InputGeometry::Full,
            default_threshold: 0.5,
            can_talk: true,
        },
        questions: Arc::new(Prompts::new(parts.name, Arc::clone(&vocabulary), &config)),
        preprocessor,
        model: Box::new(model),
        batch: if device.is_cpu() { ON_CPU } else { ON_GPU },
    })
}

/// The form that these options ask for.
fn format(model: &str, device: &Device, options: &LoadOptions) -> Result<Format, VisionError> {
    let refused = match (options.dtype, options.quantize) {
        (Some(ComputeDtype::Bf16), Some(_)) => {
            Some("quantised weights are computed with in f32; leave one of the two options out")
        }
        (Some(ComputeDtype::Bf16), None) if device.is_cpu() => {
            Some("a CPU computes in f32, which is faster there; leave the option out")
        }
        _ => None,
    };
    match (refused, options.dtype) {
        (Some(reason), Some(dtype)) => Err(VisionError::OptionUnsupported {
            model: model.to_owned(),
            option: format!("dtype = {dtype}"),
            reason,
        }),
        _ => Ok(Format::new(device, options.dtype, options.quantize)),
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
        device: place(&format.device),
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

/// A device as [`crate::DeviceChoice`] writes it.
fn place(device: &Device) -> String {
    match device.location() {
        DeviceLocation::Cpu => "cpu".to_owned(),
        DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
    }
}
