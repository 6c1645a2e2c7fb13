//! How a network is computed: where, in which numbers, by which steps.
//!
//! Owns what goes with what, and what a person may ask for of it: a CPU can compute in bf16, slowly, which is of use only to
//! check a GPU against.

#[cfg(feature = "cuda")]
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::quantized::GgmlDType;
use candle_core::{DType, Device};

#[cfg(feature = "cuda")]
use super::kernels::cuda;
use super::kernels::{CpuSteps, CudaSteps, Steps, Units};
use crate::error::VisionError;
use crate::options::{ComputeDtype, LoadOptions, Quantization};

/// The form in which a network is read and computed.
#[derive(Debug, Clone)]
pub struct Format {
    /// Where its weights are and all is computed.
    pub device: Device,
    /// The number format of activations, and of weights that are not quantised.
    pub dtype: DType,
    /// The number format of the weights of linear layers, where they are quantised.
    pub quantize: Option<Quantization>,
    /// How the steps between matrix products are computed.
    pub steps: Steps,
    /// What computes products on its device, once one has been asked for.
    #[cfg(feature = "cuda")]
    pub(crate) products: Arc<Mutex<Option<cuda::Products>>>,
}

/// What the fast kernels for quantised weights take at once: rows of weights are padded to a multiple of it, which costs
/// at most an eighth more arithmetic at the 2B model's widths and saves most of the time.
pub(crate) const BLOCK: usize = 256;

impl Format {
    /// Computing in `dtype`, by default the device's own: bf16 on a GPU, f32 on a CPU and wherever weights are quantised.
    /// Steps are fused where they can be.
    pub fn new(
        device: &Device,
        dtype: Option<ComputeDtype>,
        quantize: Option<Quantization>,
    ) -> Self {
        let dtype = match (dtype, quantize) {
            (Some(ComputeDtype::F32), _) => DType::F32,
            (Some(ComputeDtype::Bf16), _) => DType::BF16,
            (None, None) if !device.is_cpu() => DType::BF16,
            (None, _) => DType::F32,
        };
        let steps = match (device, dtype) {
            (Device::Cpu, DType::F32) => Steps::Fused(CpuSteps::default()),
            #[cfg(feature = "cuda")]
            (Device::Cuda(_), _) => Steps::Cuda(CudaSteps::default()),
            _ => Steps::Plain,
        };
        Self {
            device: device.clone(),
            dtype,
            quantize,
            steps,
            #[cfg(feature = "cuda")]
            products: Arc::default(),
        }
    }

    /// What computes products of its device with what follows them; `None` where nothing does.
    ///
    /// # Errors
    /// The driver's.
    #[cfg(feature = "cuda")]
    pub(crate) fn products(&self) -> candle_core::Result<Option<cuda::Products>> {
        let wanted = matches!(self.steps, Steps::Cuda(steps) if steps.products);
        if !wanted || self.dtype != DType::BF16 || self.quantize.is_some() {
            return Ok(None);
        }
        let mut products = self.products.lock().unwrap_or_else(PoisonError::into_inner);
        if products.is_none() {
            *products = Some(cuda::Products::new(self.device.as_cuda_device()?)?);
        }
        Ok(products.clone())
    }

    /// The same sharing nothing with this one, so that what it takes of the device's memory goes with it.
    #[cfg(feature = "cuda")]
    pub(crate) fn apart(&self) -> Self {
        Self {
            products: Arc::default(),
            ..self.clone()
        }
    }

    /// The same with other than the usual steps on a CUDA device; no other device has them.
    pub fn with_cuda_steps(self, steps: CudaSteps) -> Self {
        match self.steps {
            #[cfg(feature = "cuda")]
            Steps::Cuda(_) => Self {
                steps: Steps::Cuda(steps),
                ..self
            },
            _ => {
                let _ = steps;
                self
            }
        }
    }

    /// The same on these units of a CPU, which must be [the machine's](Units::of_this_machine); no other device has any.
    pub fn with_units(self, units: Units) -> Self {
        let steps = match self.steps {
            Steps::Fused(cpu) => Steps::Fused(CpuSteps { units, ..cpu }),
            other => other,
        };
        Self { steps, ..self }
    }

    /// The form that a person's options ask for.
    ///
    /// # Errors
    /// [`VisionError::OptionUnsupported`] for bf16 where nothing is gained by it, and for quantised weights on a GPU.
    pub(crate) fn asked(
        model: &str,
        device: &Device,
        options: &LoadOptions,
    ) -> Result<Self, VisionError> {
        match refused(device.is_cpu(), options.dtype, options.quantize) {
            Some((option, reason)) => Err(VisionError::OptionUnsupported {
                model: model.to_owned(),
                option,
                reason,
            }),
            None => Ok(Self::new(device, options.dtype, options.quantize)),
        }
    }

    /// The same with the steps of every other device, for a check of them where there is none.
    pub fn plain(self) -> Self {
        Self {
            steps: Steps::Plain,
            ..self
        }
    }

    /// The same for a network whose answers bear attention in bf16 beside weights of 8 bits, which lose as much.
    pub(crate) fn with_rounded_attention(&self) -> Self {
        let rounds = self.quantize == Some(Quantization::Q8_0);
        let steps = match self.steps {
            Steps::Fused(cpu) => Steps::Fused(CpuSteps {
                bf16: rounds,
                ..cpu
            }),
            other => other,
        };
        Self {
            steps,
            ..self.clone()
        }
    }

    /// The name of the number format, as [`crate::ModelInfo::dtype`] has it.
    pub fn name(&self) -> &'static str {
        match (self.quantize, self.dtype) {
            (Some(quantization), _) => quantization.name(),
            (None, DType::BF16) => ComputeDtype::Bf16.name(),
            (None, _) => ComputeDtype::F32.name(),
        }
    }

    /// About how many bytes so many weights take.
    pub(crate) fn weight_bytes(&self, weights: u64) -> u64 {
        let bits = match (self.quantize, self.dtype) {
            (Some(Quantization::Q8_0), _) => 8.5,
            (Some(Quantization::Q4K), _) => 4.5,
            (None, dtype) => 8.0 * dtype.size_in_bytes() as f64,
        };
        (weights as f64 * bits / 8.0) as u64
    }

    pub(crate) fn blocks(&self) -> Option<GgmlDType> {
        self.quantize.map(|quantization| match quantization {
            Quantization::Q8_0 => GgmlDType::Q8_0,
            Quantization::Q4K => GgmlDType::Q4K,
        })
    }

    /// The width to which a hidden layer is padded with zeros, so that the product over it need not be padded each time.
    pub(crate) fn padded_hidden(&self, width: usize) -> usize {
        match self.quantize {
            None => width,
            Some(_) => width.next_multiple_of(BLOCK),
        }
    }
}

/// The option that cannot be had with the others, and why.
fn refused(
    on_cpu: bool,
    dtype: Option<ComputeDtype>,
    quantize: Option<Quantization>,
) -> Option<(String, &'static str)> {
    match (dtype, quantize) {
        (_, Some(quantization)) if !on_cpu => Some((
            format!("quantize = {quantization}"),
            "quantised weights are for CPUs: on a GPU they are computed with in f32, without its kernels, and nobody has measured them \
             there; leave the option out, or choose the device 'cpu'",
        )),
        (Some(ComputeDtype::Bf16), Some(_)) => Some((
            format!("dtype = {}", ComputeDtype::Bf16),
            "quantised weights are computed with in f32; leave one of the two options out",
        )),
        (Some(ComputeDtype::Bf16), None) if on_cpu => Some((
            format!("dtype = {}", ComputeDtype::Bf16),
            "a CPU computes in f32, which is faster there; leave the option out",
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_gains_nothing_is_refused_with_the_reason() {
        let (bf16, f32) = (Some(ComputeDtype::Bf16), Some(ComputeDtype::F32));
        let q8_0 = Some(Quantization::Q8_0);
        for (on_cpu, dtype, quantize) in [
            (true, None, None),
            (true, f32, None),
            (true, None, q8_0),
            (true, f32, q8_0),
            (false, None, None),
            (false, bf16, None),
            (false, f32, None),
        ] {
            let refused = refused(on_cpu, dtype, quantize);
            assert_eq!(refused, None, "{on_cpu} {dtype:?} {quantize:?}");
        }
        for (on_cpu, dtype, quantize, option) in [
            (true, bf16, None, "dtype = bf16"),
            (true, bf16, q8_0, "dtype = bf16"),
            (false, None, q8_0, "quantize = q8_0"),
            (false, bf16, q8_0, "quantize = q8_0"),
        ] {
            let (named, reason) = refused(on_cpu, dtype, quantize).unwrap();
            assert_eq!(named, option);
            assert!(reason.contains("leave"), "{reason}");
        }
    }
}
