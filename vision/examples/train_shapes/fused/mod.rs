//! Layers for training as one pass over memory each, with their gradients: bias, LayerNorm, tanh GELU.
//!
//! candle composes these of elementwise operations, each a pass over a new tensor on one thread, and their gradients
//! of more; with a model this small that took longer than the matrix products. All tensors are f32 on the CPU.

use candle_core::{
    CpuStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Storage, Tensor, bail,
};
use pulp::Arch;

mod attention;

pub(crate) use attention::{Mask, rotary, softmax};

/// LayerNorm's epsilon.
const EPSILON: f32 = 1e-5;

fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((start, end)) = layout.contiguous_offsets() else {
        bail!("a fused layer takes contiguous tensors")
    };
    Ok(&storage.as_slice::<f32>()?[start..end])
}

/// Runs `f` on the tensor's values.
fn with_values<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(f(slice(storage, layout)?)),
        _ => bail!("a fused layer runs on the CPU"),
    }
}

/// e to the x to about 2e-7, without a call, so that loops over it become vector code.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Adding 1.5 * 2^23 rounds to an integer and leaves it in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let series = 1.0
        + r * (1.0
            + r * (0.5
                + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r * (1.0 / 720.0))))));
    let power = (shifted
        .to_bits()
        .wrapping_sub(ROUND.to_bits())
        .wrapping_add(127))
        << 23;
    series * f32::from_bits(power)
}

#[inline(always)]
fn tanh(x: f32) -> f32 {
    1.0 - 2.0 / (exp(2.0 * x) + 1.0)
}

/// Adds up the rows of `[rows, width]`.
fn column_sums(values: &[f32], width: usize) -> Vec<f32> {
    let mut sums = vec![0f32; width];
    Arch::new().dispatch(|| {
        for row in values.chunks_exact(width) {
            for (sum, value) in sums.iter_mut().zip(row) {
                *sum += value;
            }
        }
    });
    sums
}

/// `[rows, width]` plus `[width]`.
struct Bias;

impl CustomOp2 for Bias {
    fn name(&self) -> &'static str {
        "bias"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        b: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (mut out, bias) = (slice(x, lx)?.to_vec(), slice(b, lb)?);
        Arch::new().dispatch(|| {
            for row in out.chunks_exact_mut(bias.len()) {
                for (value, bias) in row.iter_mut().zip(bias) {
                    *value += bias;
                }
            }
        });
        Ok((CpuStorage::F32(out), lx.shape().clone()))
    }

    fn bwd(
        &self,
        _: &Tensor,
        b: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let width = b.elem_count();
        let sums = with_values(grad, |grad| column_sums(grad, width))?;
        Ok((
            Some(grad.clone()),
            Some(Tensor::from_vec(sums, b.shape(), b.device())?),
        ))
    }
}

/// `x` `[rows, in]` through the weight `[out, in]` and the bias `[out]`.
pub(crate) fn linear(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.matmul(&weight.t()?)?.apply_op2(&bias.contiguous()?, Bias)
}

/// Mean and 1 / deviation of a row.
#[inline(always)]
fn moments(row: &[f32]) -> (f32, f32) {
    let count = row.len() as f32;
    let mean = row.iter().sum::<f32>() / count;
    let variance = row.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / count;
    (mean, 1.0 / (variance + EPSILON).sqrt())
}

struct LayerNorm;

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm-with-gradient"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        gain: &CpuStorage,
        lg: &Layout,
        bias: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (mut out, gain, bias) = (slice(x, lx)?.to_vec(), slice(gain, lg)?, slice(bias, lb)?);
        Arch::new().dispatch(|| {
            for row in out.chunks_exact_mut(gain.len()) {
                let (mean, scale) = moments(row);
                for ((value, gain), bias) in row.iter_mut().zip(gain).zip(bias) {
                    *value = (*value - mean) * scale * gain + bias;
                }
            }
        });
        Ok((CpuStorage::F32(out), lx.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gain: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let width = gain.elem_count();
        let (mut gains, mut out) = (vec![0f32; width], vec![0f32; x.elem_count()]);
        let biases = with_values(grad, |grad| {
            with_values(x, |x| {
                with_values(gain, |gain| {
                    Arch::new().dispatch(|| {
                        let rows = x.chunks_exact(width).zip(grad.chunks_exact(width));
                        for ((x, grad), out) in rows.zip(out.chunks_exact_mut(width)) {
                            let (mean, scale) = moments(x);
                            let (mut sum, mut product) = (0f32, 0f32);
                            for i in 0..width {
                                let normal = (x[i] - mean) * scale;
                                gains[i] += grad[i] * normal;
                                sum += grad[i] * gain[i];
                                product += grad[i] * gain[i] * normal;
                            }
                            let (sum, product) = (sum / width as f32, product / width as f32);
                            for i in 0..width {
                                let normal = (x[i] - mean) * scale;
                                out[i] = scale * (grad[i] * gain[i] - sum - normal * product);
                            }
                        }
                    });
                })
            })??;
            Ok::<_, candle_core::Error>(column_sums(grad, width))
        })??;
        let device = x.device();
        Ok((
            Some(Tensor::from_vec(out, x.shape(), device)?),
            Some(Tensor::from_vec(gains, gain.shape(), device)?),
            Some(Tensor::from_vec(biases, bias.shape(), device)?),
        ))
    }
}

/// LayerNorm over the last dimension.
pub(crate) fn layer_norm(x: &Tensor, gain: &Tensor, bias: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op3(gain, bias, LayerNorm)
}

/// sqrt(2 / pi) and the cubic factor of the tanh form.
const GELU: (f32, f32) = (0.797_884_6, 0.044_715);

struct Gelu;

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu-with-gradient"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut out = slice(x, lx)?.to_vec();
        Arch::new().dispatch(|| {
            for value in &mut out {
                let x = *value;
                *value = 0.5 * x * (1.0 + tanh(GELU.0 * x * (1.0 + GELU.1 * x * x)));
            }
        });
        Ok((CpuStorage::F32(out), lx.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let mut out = with_values(grad, <[f32]>::to_vec)?;
        with_values(x, |x| {
            Arch::new().dispatch(|| {
                for (out, &x) in out.iter_mut().zip(x) {
                    let tanh = tanh(GELU.0 * x * (1.0 + GELU.1 * x * x));
                    let inner = GELU.0 * (1.0 + 3.0 * GELU.1 * x * x);
                    *out *= 0.5 * (1.0 + tanh) + 0.5 * x * (1.0 - tanh * tanh) * inner;
                }
            });
        })?;
        Ok(Some(Tensor::from_vec(out, x.shape(), x.device())?))
    }
}

/// GELU in its tanh form.
pub(crate) fn gelu(x: &Tensor) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Gelu)
}
