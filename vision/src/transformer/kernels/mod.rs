//! The steps of a transformer block between its matrix products, computed in one of two ways.
//!
//! candle's own element-wise operations run on one thread and write a new tensor each, which for a model of this size
//! costs as much time as a quarter of its matrix products; on a GPU its walks over strided tensors cost several times the products.
//! So each step here is there three times: fused for f32 on the CPU, on all threads of rayon's pool; as a kernel for NVIDIA GPUs
//! (`cuda/`); and in candle's operations for everything else. All compute the same, and
//! [`conformance`](super::conformance) holds all to one definition.
//!
//! What `pulp` dispatches to a machine's vectors is a type with one method, never a closure: one that could be called again is called through
//! a function of its own, which is compiled for the vectors that every machine has.

mod activation;
mod after;
#[cfg(target_arch = "x86_64")]
mod amx;
mod attention;
mod attention_few;
#[cfg(target_arch = "x86_64")]
mod attention_packed;
mod attention_plain;
mod choose;
#[cfg(feature = "cuda")]
pub(crate) mod cuda;
mod exp;
#[cfg(target_arch = "x86_64")]
mod int8;
#[cfg(target_arch = "x86_64")]
mod lines;
mod product;
mod room;
mod rotary;
#[cfg(target_arch = "x86_64")]
mod target;
mod units;

pub(crate) use after::After;
pub(crate) use attention::{Keys, Mask};
pub(crate) use choose::likeliest;
#[cfg(target_arch = "x86_64")]
pub(crate) use int8::Int8;
pub(crate) use room::Room;
pub(crate) use rotary::Rotary;
pub use units::Units;

use candle_core::{Layout, Result};

/// Most elements of one launch: candle's kernels for CUDA count them in 32 bits with a sign.
pub(crate) const LAUNCH: usize = i32::MAX as usize;

/// How the steps between matrix products are computed; [`super::Format`] says which one a network takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Steps {
    /// One pass over memory for each, on the CPU's threads. For f32 on the CPU alone: an error elsewhere.
    Fused(CpuSteps),
    /// A launch for each, on a CUDA device, in bf16 or f32.
    #[cfg(feature = "cuda")]
    Cuda(CudaSteps),
    /// One of candle's operations after another, on every device and in every number format.
    Plain,
}

/// How steps are computed on a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CpuSteps {
    /// Whether attention may be computed in bf16, where the units have instructions for it.
    pub bf16: bool,
    /// What computes.
    pub units: Units,
}

impl Default for CpuSteps {
    /// In f32, on the best that the machine has.
    fn default() -> Self {
        Self {
            bf16: false,
            units: Units::best(),
        }
    }
}

/// Which steps are fused on a CUDA device; the default is all, and the rest is there to be measured against it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CudaSteps {
    /// Whether a product in bf16 and what follows it are one launch.
    pub products: bool,
    /// Whether attention is one launch, without its scores in memory.
    pub attention: bool,
}

impl Default for CudaSteps {
    fn default() -> Self {
        Self {
            products: true,
            attention: true,
        }
    }
}

/// The values of a contiguous tensor within its storage.
fn contiguous<'a>(op: &'static str, values: &'a [f32], layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => Err(candle_core::Error::RequiresContiguous { op }),
    }
}
