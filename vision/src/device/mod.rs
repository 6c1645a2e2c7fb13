//! Where a model is to run, as a person says it, and the device that this names on this machine.
//!
//! What a device is asked to compute is the models' business; what its failures mean is `failure`'s.

#[cfg(feature = "cuda")]
mod cuda;
mod failure;

pub(crate) use failure::Failure;

use std::fmt;
use std::str::FromStr;

use candle_core::{Device, DeviceLocation};

use crate::error::VisionError;
#[cfg(feature = "cuda")]
use crate::error::without_backtrace;

/// A device as [`DeviceChoice`] writes it.
pub(crate) fn device_name(device: &Device) -> String {
    match device.location() {
        DeviceLocation::Cpu => "cpu".to_owned(),
        DeviceLocation::Cuda { gpu_id } => format!("cuda:{gpu_id}"),
        DeviceLocation::Metal { gpu_id } => format!("metal:{gpu_id}"),
    }
}

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

/// How a CUDA device is used; the default is the fast one, and the rest is there to be measured against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CudaOptions {
    /// Whether every tensor has events by which streams wait for each other. There is one stream.
    pub events: bool,
    /// Whether memory that tensors free stays with the process, or is given back whenever the device is waited for.
    pub keep_memory: bool,
}

impl Default for CudaOptions {
    fn default() -> Self {
        Self {
            events: false,
            keep_memory: true,
        }
    }
}

impl DeviceChoice {
    /// Opens the device, for a model that runs on any.
    ///
    /// # Errors
    /// [`VisionError::Device`] when CUDA is asked for and this build has no CUDA or no such device answers.
    pub fn open(self) -> Result<Device, VisionError> {
        self.open_with(CudaOptions::default())
    }

    /// The same with other than the usual options for CUDA.
    ///
    /// # Errors
    /// As [`DeviceChoice::open`].
    pub fn open_with(self, options: CudaOptions) -> Result<Device, VisionError> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Auto => Ok(Self::Cuda(0).open_with(options).unwrap_or(Device::Cpu)),
            Self::Cuda(ordinal) => cuda(ordinal, options).map_err(|reason| VisionError::Device {
                device: self.to_string(),
                reason,
            }),
        }
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda(_: usize, _: CudaOptions) -> Result<Device, String> {
    Err("this build has no CUDA support; build it with the feature 'cuda' or choose 'cpu'".into())
}

/// Opens a CUDA device, or says in a sentence why it cannot be used.
#[cfg(feature = "cuda")]
fn cuda(ordinal: usize, options: CudaOptions) -> Result<Device, String> {
    let shown = |version: u32| format!("{}.{}", version / 1000, version % 1000 / 10);
    if let Some((driver, built)) = cuda::versions()
        && driver < built
    {
        return Err(format!(
            "its driver knows CUDA {} and this program was built with CUDA {}; update the driver, build with an older \
             toolkit, or choose 'cpu'",
            shown(driver),
            shown(built)
        ));
    }
    cuda::open(ordinal, options).map_err(|source| {
        let source = without_backtrace(source);
        format!("no CUDA device answers ({source}); choose 'cpu' or 'auto'")
    })
}

/// Bytes that are free on a device, where it can say.
pub(crate) fn free_memory(device: &Device) -> Option<u64> {
    #[cfg(feature = "cuda")]
    if !device.is_cpu() {
        return cuda::free_memory(device);
    }
    let _ = device;
    None
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
