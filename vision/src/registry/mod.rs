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
pub use table::{DEFAULT_MODEL, EmbeddedModel, Family, HubModel, ModelEntry, Origin, models};

use crate::description::DescribedModel;
use crate::device::DeviceChoice;
use crate::error::VisionError;
use crate::model::Loaded;
use crate::moondream::{self, Layout};
use crate::options::LoadOptions;
use crate::siglip;
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
        ModelRef::Hub(hub, _) => {
            let files = source::fetch(&hub, settings, progress)?;
            match files.preprocessor.is_none() && siglip::is_siglip(&files.config) {
                true => source::fetch(&hub.with_preprocessor(), settings, progress),
                false => Ok(files),
            }
        }
        ModelRef::Folder(path) => source::folder(&path),
    }
}

/// Describes a model as the options say: a name of [`models`], `owner/name@revision` of the hub, or the path of a folder.
///
/// What that takes is fetched where it is not on this machine, with `progress` (`&()` for none) told of it: configuration and
/// tokenizer, and the weights only where they alone say which model this is. The device `Auto` is the CPU for a model that
/// runs on the CPU only. Blocks for as long as that takes.
///
/// # Errors
/// [`VisionError::Source`] when the model cannot be found or fetched; [`VisionError::CpuOnly`] or [`VisionError::Device`]
/// when the device does not go with the model, this build or this machine, which is found before anything is fetched;
/// what is wrong with its configuration, its tokenizer or the head of its weights.
pub fn describe(
    model: &str,
    options: &LoadOptions,
    progress: &dyn FetchProgress,
) -> Result<DescribedModel, VisionError> {
    let on = |device| describe_on_one(model, &LoadOptions { device, ..*options }, progress);
    let devices = match options.device {
        // Before the devices are looked for: a model of the CPU is refused whether there are any or not.
        DeviceChoice::AllCuda if runs_on_cpu_only(model) => vec![options.device],
        choice => choice.each()?,
    };
    let Some((&first, others)) = devices.split_first() else {
        return on(options.device);
    };
    let mut described = on(first)?;
    for &device in others {
        described = described.and(on(device)?);
    }
    Ok(described)
}

/// The same on a single device.
fn describe_on_one(
    model: &str,
    options: &LoadOptions,
    progress: &dyn FetchProgress,
) -> Result<DescribedModel, VisionError> {
    match ModelRef::parse(model)? {
        ModelRef::Embedded(entry, embedded) => {
            let device = if entry.cuda {
                options.device.open()?
            } else {
                cpu(entry.name, options.device)?
            };
            (embedded.describe)(&device, options)
        }
        ModelRef::Hub(hub, entry) => {
            let device = options.device.open()?;
            let settings = HubSettings::from_env()?;
            if family(entry) == Some(Family::Moondream(Layout::V2024)) {
                let files = source::fetch(&hub, &settings, progress)?;
                return moondream::describe(files, &device, options);
            }
            let mut hub = *hub;
            let mut files = source::fetch_for_planning(&hub, &settings, progress)?;
            let is_siglip = match family(entry) {
                Some(family) => family == Family::SigLip,
                None => siglip::is_siglip(&files.config),
            };
            if is_siglip && files.preprocessor.is_none() {
                hub = hub.with_preprocessor();
                files = source::fetch_for_planning(&hub, &settings, progress)?;
            }
            if !is_siglip && entry.is_none() {
                // Its tensors say which layout they have.
                let files = source::fetch(&hub, &settings, progress)?;
                return moondream::describe(files, &device, options);
            }
            let weights = move |progress: &dyn FetchProgress| {
                let files = source::fetch(&hub, &settings, progress)?;
                Ok(files.weights)
            };
            match is_siglip {
                true => siglip::describe_planned(files, &device, options, weights),
                false => moondream::describe_2025(files, &device, options, weights),
            }
        }
        ModelRef::Folder(path) => {
            let device = options.device.open()?;
            let files = source::folder(&path)?;
            match siglip::is_siglip(&files.config) {
                true => siglip::describe(files, &device, options),
                false => moondream::describe(files, &device, options),
            }
        }
    }
}

/// What kind of model it is, where the table has it.
fn family(entry: Option<&ModelEntry>) -> Option<Family> {
    match entry?.origin {
        Origin::Hub(hub) => Some(hub.family),
        Origin::Embedded(_) => None,
    }
}

/// Loads a model onto one device, at once. Blocks for minutes where it is fetched first.
///
/// # Errors
/// As [`describe`] and [`DescribedModel::load`]; [`VisionError::Device`] for a choice of several devices.
pub fn load(
    model: &str,
    options: &LoadOptions,
    progress: &dyn FetchProgress,
) -> Result<Loaded, VisionError> {
    describe_on_one(model, options, progress)?.load(progress)
}

/// Why a model for which `auto` chose the CPU is not on a CUDA device; `None` where none is to be expected: in a build
/// without CUDA, or for a model that runs on the CPU only.
pub fn why_no_cuda(model: &str) -> Option<String> {
    if !cfg!(feature = "cuda") || runs_on_cpu_only(model) {
        return None;
    }
    let opened = DeviceChoice::Cuda(0).open();
    opened.err().map(|error| error.to_string())
}

/// Whether it is a known model that runs nowhere else.
fn runs_on_cpu_only(model: &str) -> bool {
    table::find(model).is_some_and(|entry| !entry.cuda)
}

/// The CPU, for a model that runs nowhere else.
fn cpu(model: &str, choice: DeviceChoice) -> Result<Device, VisionError> {
    match choice {
        DeviceChoice::Auto | DeviceChoice::Cpu => Ok(Device::Cpu),
        DeviceChoice::Cuda(_) | DeviceChoice::AllCuda => Err(VisionError::CpuOnly {
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
        for device in [DeviceChoice::Cuda(0), DeviceChoice::AllCuda] {
            let options = LoadOptions {
                device,
                ..LoadOptions::default()
            };
            let error = describe(DEFAULT_MODEL, &options, &()).unwrap_err();
            let error = error.to_string();
            assert!(error.contains("runs on the CPU only"), "{error}");
        }
    }
}
