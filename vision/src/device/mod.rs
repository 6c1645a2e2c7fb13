//! Where a model is to run, as a person says it, and the device that this names on this machine.
//!
//! What a device is asked to compute is the models' business; what its failures mean is `failure`'s.

#[cfg(feature = "cuda")]
mod cuda;
mod failure;

pub(crate) use failure::Failure;

use std::fmt;
use std::str::FromStr;

use candle_core::{Device, DeviceLocation, Tensor};

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

/// Devices as a person chooses them: `auto`, `cpu`, `cuda` (which is `cuda:0`), `cuda:N` or `cuda:all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DeviceChoice {
    /// The first CUDA device if the model can use it and it answers, else the CPU.
    #[default]
    Auto,
    /// The CPU.
    Cpu,
    /// The CUDA device of this number, or an error.
    Cuda(usize),
    /// All CUDA devices, each with the whole model, or an error where there is none.
    AllCuda,
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
    /// The choices of one device that this one stands for: itself, or one for each CUDA device of this machine, in their order.
    ///
    /// # Errors
    /// [`VisionError::Device`] for [`DeviceChoice::AllCuda`] where this build has no CUDA or there is no device.
    pub fn each(self) -> Result<Vec<Self>, VisionError> {
        match self {
            Self::AllCuda => match cuda_devices() {
                Ok(0) => Err(self.unusable("there is no CUDA device; choose 'cpu' or 'auto'")),
                Ok(count) => Ok((0..count).map(Self::Cuda).collect()),
                Err(reason) => Err(self.unusable(reason)),
            },
            one => Ok(vec![one]),
        }
    }

    /// Opens the device, for a model that runs on any.
    ///
    /// # Errors
    /// [`VisionError::Device`] when CUDA is asked for and this build has no CUDA or no such device answers, and for
    /// [`DeviceChoice::AllCuda`], which is no single device.
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
            Self::Cuda(ordinal) => cuda(ordinal, options).map_err(|reason| self.unusable(reason)),
            Self::AllCuda => {
                Err(self.unusable("one device is wanted here; choose 'cuda:0' or another"))
            }
        }
    }

    fn unusable(self, reason: impl Into<String>) -> VisionError {
        VisionError::Device {
            device: self.to_string(),
            reason: reason.into(),
        }
    }
}

#[cfg(not(feature = "cuda"))]
const NO_CUDA: &str =
    "this build has no CUDA support; build it with the feature 'cuda' or choose 'cpu'";

#[cfg(not(feature = "cuda"))]
fn cuda(_: usize, _: CudaOptions) -> Result<Device, String> {
    Err(NO_CUDA.to_owned())
}

#[cfg(not(feature = "cuda"))]
fn cuda_devices() -> Result<usize, String> {
    Err(NO_CUDA.to_owned())
}

/// How many CUDA devices there are, or a sentence on why the driver does not say.
#[cfg(feature = "cuda")]
fn cuda_devices() -> Result<usize, String> {
    cuda::count()
        .map_err(|source| format!("no CUDA device answers ({source}); choose 'cpu' or 'auto'"))
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

/// Copies tensors to a device beside what it computes.
pub(crate) struct Uploads {
    #[cfg(feature = "cuda")]
    cuda: Option<cuda::Uploads>,
}

impl Uploads {
    /// To this device.
    ///
    /// # Errors
    /// The driver's.
    pub(crate) fn new(device: &Device) -> candle_core::Result<Self> {
        let _ = device;
        Ok(Self {
            #[cfg(feature = "cuda")]
            cuda: match device {
                Device::Cuda(device) => Some(cuda::Uploads::new(device)?),
                _ => None,
            },
        })
    }

    /// The tensor, which is in the CPU's memory, on the device, arrived: any thread may use it at once. What the device
    /// computes of it must have been waited for when it is let go.
    ///
    /// # Errors
    /// The driver's.
    pub(crate) fn copy(&self, x: Tensor) -> candle_core::Result<Tensor> {
        #[cfg(feature = "cuda")]
        if let Some(cuda) = &self.cuda {
            return cuda.copy(&x);
        }
        Ok(x)
    }
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
            "cuda:all" => Ok(Self::AllCuda),
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
            Self::AllCuda => f.write_str("cuda:all"),
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
            DeviceChoice::AllCuda,
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
                error.contains("expected auto, cpu, cuda, cuda:N or cuda:all"),
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
        let error = DeviceChoice::AllCuda.each().unwrap_err().to_string();
        assert!(
            error.contains("'cuda:all'") && error.contains("no CUDA support"),
            "{error}"
        );
        assert_eq!(DeviceChoice::Auto.each().unwrap(), [DeviceChoice::Auto]);
    }
}
