//! From what a person calls a model to the model: the table of known names, and what else `--model` takes.
//!
//! Stands above the models and above `source`, which fetches: both are given what they need to know. What is in a model's
//! files is the models' own.

mod inspect;
mod reference;
mod table;

use candle_core::Device;

pub use inspect::{Inspection, inspect};
use reference::ModelRef;
pub use table::{DEFAULT_MODEL, EmbeddedModel, HubModel, ModelEntry, Origin, models};

use crate::device::DeviceChoice;
use crate::error::VisionError;
use crate::model::Loaded;
use crate::moondream;
use crate::options::LoadOptions;
use crate::source::{self, FetchProgress, HubSettings, ModelFiles, SourceError};

/// Whether a model can be meant by this name: one of the table, a repository at a revision, or a folder that exists. Nothing is
/// opened or fetched.
///
/// # Errors
/// [`SourceError::UnknownModel`] and the like.
pub fn check_name(model: &str) -> Result<(), SourceError> {
    ModelRef::parse(model).map(drop)
}

/// Finds the files of a model, and fetches those that are not on this machine. `model` is what [`load`] takes.
///
/// # Errors
/// [`SourceError`]; [`SourceError::Embedded`] for a model that has no files.
pub fn fetch(
    model: &str,
    settings: &HubSettings,
    progress: &dyn FetchProgress,
) -> Result<ModelFiles, SourceError> {
    match ModelRef::parse(model)? {
        ModelRef::Embedded(entry, _) => Err(SourceError::Embedded {
            name: entry.name.to_owned(),
        }),
        ModelRef::Hub(hub, _) => source::fetch(&hub, settings, progress),
        ModelRef::Folder(path) => source::folder(&path),
    }
}

/// Loads a model as the options say: a name of [`models`], `owner/name@revision` of the hub, or the path of a folder.
/// What is not on this machine is fetched, with `progress` (`&()` for none) told of it. The device `Auto` is the CPU for
/// a model that runs on the CPU only. Blocks for as long as that takes: minutes, for a model that is fetched.
///
/// # Errors
/// [`VisionError::Source`] when the model cannot be found or fetched; [`VisionError::CpuOnly`] or [`VisionError::Device`]
/// when the device does not go with the model, this build or this machine, which is found before anything is fetched;
/// whatever the model's own loading gives.
pub fn load(
    model: &str,
    options: &LoadOptions,
    progress: &dyn FetchProgress,
) -> Result<Loaded, VisionError> {
    match ModelRef::parse(model)? {
        ModelRef::Embedded(entry, embedded) => {
            let device = if entry.cuda {
                options.device.open()?
            } else {
                cpu(entry.name, options.device)?
            };
            (embedded.load)(&device, options)
        }
        ModelRef::Hub(hub, _) => {
            let device = options.device.open()?;
            let files = source::fetch(&hub, &HubSettings::from_env()?, progress)?;
            moondream::load(&files, &device, options)
        }
        ModelRef::Folder(path) => {
            let device = options.device.open()?;
            moondream::load(&source::folder(&path)?, &device, options)
        }
    }
}

/// Why a model for which `auto` chose the CPU is not on a CUDA device; `None` where none is to be expected: in a build
/// without CUDA, or for a model that runs on the CPU only.
pub fn why_no_cuda(model: &str) -> Option<String> {
    if !cfg!(feature = "cuda") || table::find(model).is_some_and(|entry| !entry.cuda) {
        return None;
    }
    let opened = DeviceChoice::Cuda(0).open();
    opened.err().map(|error| error.to_string())
}

/// The CPU, for a model that runs nowhere else.
fn cpu(model: &str, choice: DeviceChoice) -> Result<Device, VisionError> {
    match choice {
        DeviceChoice::Auto | DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda(_) => Err(VisionError::CpuOnly {
            model: model.to_owned(),
            device: choice.to_string(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_model_is_an_error_that_lists_the_known_ones() {
        let error = load("resnet", &LoadOptions::default(), &())
            .unwrap_err()
            .to_string();
        for known in ["'resnet'", "efficientnet-lite0", "moondream2-2024-08-26"] {
            assert!(error.contains(known), "{error}");
        }
    }

    #[test]
    fn a_cpu_only_model_refuses_cuda() {
        let error = load(
            DEFAULT_MODEL,
            &LoadOptions {
                device: DeviceChoice::Cuda(0),
                ..LoadOptions::default()
            },
            &(),
        )
        .unwrap_err()
        .to_string();
        assert!(error.contains("runs on the CPU only"), "{error}");
    }
}
