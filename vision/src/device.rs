//! Where a model is to run, as a person says it, and the device that this names on this machine.

use std::fmt;
use std::str::FromStr;

use candle_core::Device;

use crate::error::VisionError;

/// A device as a person chooses it: `auto`, `cpu`, `cuda` (which is `cuda:0`) or `cuda:N`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DeviceChoice {
    /// The first CUDA device if the model can use it and it answers, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of this number, or an error.
    Cuda(usize),
}

impl DeviceChoice {
    /// Opens the device, for a model that runs on any.
    ///
    /// # Errors
    /// [`VisionError::Device`] when CUDA is asked for and this build has no CUDA or no such device answers.
    pub fn open(self) -> Result<Device, VisionError> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto => Ok(Self::Cuda(0).open().unwrap_or(Device::Cpu)),
            Self::Cuda(_) if !cfg!(feature = "cuda") => Err(VisionError::Device {
                device: self.to_string(),
                reason:
                    "this build has no CUDA support; build it with the feature 'cuda' or choose \
                         'cpu'"
                        .to_owned(),
            }),
            Self::Cuda(ordinal) => {
                Device::new_cuda(ordinal).map_err(|source| VisionError::Device {
                    device: self.to_string(),
                    reason: format!("no CUDA device answers ({source}); choose 'cpu' or 'auto'"),
                })
            }
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = VisionError;

    fn from_str(text: &str) -> Result<Self, VisionError> {
        let unknown = || VisionError::UnknownDevice {
            text: text.to_owned(),
        };
        match text.trim().to_ascii_lowercase().as_str() {
            "auto" => Ok(Self::Auto),
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            other => other
                .strip_prefix("cuda:")
                .and_then(|ordinal| ordinal.parse().ok())
                .map(Self::Cuda)
                .ok_or_else(unknown),
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_it_writes() {
        for choice in [
            DeviceChoice::Auto,
            DeviceChoice::Cpu,
            DeviceChoice::Cuda(0),
            DeviceChoice::Cuda(3),
        ] {
            assert_eq!(choice.to_string().parse::<DeviceChoice>().unwrap(), choice);
        }
        assert_eq!(
            "CUDA".parse::<DeviceChoice>().unwrap(),
            DeviceChoice::Cuda(0)
        );
    }

    #[test]
    fn other_text_is_an_error_that_lists_what_works() {
        for text in ["", "gpu", "cuda:", "cuda:x", "cuda:-1"] {
            let error = text.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(
                error.contains("expected auto, cpu, cuda or cuda:N"),
                "{error}"
            );
        }
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn cuda_without_the_feature_says_so_and_auto_takes_the_cpu() {
        let error = DeviceChoice::Cuda(1).open().unwrap_err().to_string();
        assert!(
            error.contains("'cuda:1'") && error.contains("no CUDA support"),
            "{error}"
        );
        assert!(DeviceChoice::Auto.open().unwrap().is_cpu());
    }
}
