//! The steps of a transformer block between its matrix products, fused for the CPU.
//!
//! candle's own element-wise operations run on one thread and write a new tensor each, which for a model of this size
//! costs as much time as a quarter of its matrix products. Each function here has a path for f32 on the CPU, on all
//! threads of rayon's pool, and another in candle's operations for every other device and type; both compute the same.

mod activation;
mod attention;
mod exp;
#[cfg(target_arch = "x86_64")]
mod int8;
mod product;
mod rotary;

pub(super) use activation::{add_bias, bias_gelu, residual};
pub(super) use attention::{Keys, attention};
#[cfg(target_arch = "x86_64")]
pub(super) use int8::Int8;
pub(super) use rotary::{Rotary, rotate};

use candle_core::{DType, Layout, Result, Tensor};

/// Whether the fused path can run: f32 on the CPU.
fn on_cpu(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && tensor.dtype() == DType::F32
}

/// The values of a contiguous tensor within its storage.
fn contiguous<'a>(op: &'static str, values: &'a [f32], layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&values[start..end]),
        None => Err(candle_core::Error::RequiresContiguous { op }),
    }
}
