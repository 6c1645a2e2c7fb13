//! The models that this build knows by name, and how each is loaded.

use candle_core::Device;

use crate::device::DeviceChoice;
use crate::efficientnet;
use crate::error::VisionError;
use crate::model::Loaded;
use crate::options::LoadOptions;

/// The model that needs nothing beyond this program.
pub const DEFAULT_MODEL: &str = efficientnet::NAME;

/// A model that [`load`] knows.
#[derive(Debug, Clone, Copy)]
pub struct ModelEntry {
    /// The name that [`load`] takes.
    pub name: &'static str,
    /// What it is, in one line.
    pub description: &'static str,
    /// Whether it can run on a CUDA device.
    pub cuda: bool,
    load: fn(&Device, &LoadOptions) -> Result<Loaded, VisionError>,
}

static MODELS: [ModelEntry; 1] = [ModelEntry {
    name: efficientnet::NAME,
    description: "EfficientNet-Lite0, an ImageNet-1k classifier inside this program: categories are nouns \
                  that cover some of its 1000 classes; CPU only",
    cuda: false,
    load: |_, options| efficientnet::load(options),
}];

/// Every known model.
pub fn models() -> &'static [ModelEntry] {
    &MODELS
}

/// Loads the model of this name as the options say. The device `Auto` is the CPU for a model that runs on the CPU only.
///
/// # Errors
/// [`VisionError::UnknownModel`] with the known names; [`VisionError::CpuOnly`] or [`VisionError::Device`]
/// when the device does not go with the model, this build or this machine; whatever the model's own loading gives.
pub fn load(name: &str, options: &LoadOptions) -> Result<Loaded, VisionError> {
    let entry = models()
        .iter()
        .find(|entry| entry.name == name)
        .ok_or_else(|| VisionError::UnknownModel {
            name: name.to_owned(),
            known: models()
                .iter()
                .map(|entry| entry.name)
                .collect::<Vec<_>>()
                .join(", "),
        })?;
    let device = match options.device {
        DeviceChoice::Cuda(_) if !entry.cuda => {
            return Err(VisionError::CpuOnly {
                model: name.to_owned(),
                device: options.device.to_string(),
            });
        }
        DeviceChoice::Auto if !entry.cuda => Device::Cpu,
        choice => choice.open()?,
    };
    (entry.load)(&device, options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = models().iter().map(|entry| entry.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), models().len());
    }

    #[test]
    fn an_unknown_model_is_an_error_that_lists_the_known_ones() {
        let error = load("resnet", &LoadOptions::default())
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("'resnet'") && error.contains("efficientnet-lite0"),
            "{error}"
        );
    }

    #[test]
    fn a_cpu_only_model_refuses_cuda() {
        let error = load(
            DEFAULT_MODEL,
            &LoadOptions {
                device: DeviceChoice::Cuda(0),
                ..LoadOptions::default()
            },
        )
        .unwrap_err()
        .to_string();
        assert!(error.contains("runs on the CPU only"), "{error}");
    }
}
