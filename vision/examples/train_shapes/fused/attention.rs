//! What attention needs beside matrix products: a softmax that sees part of a row, and rotary positions.

use candle_core::{CpuStorage, CustomOp1, D, Layout, Result, Shape, Tensor};
use pulp::Arch;

use super::{exp, slice, with_values};

/// Which columns a row of scores sees.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Mask {
    /// All.
    None,
    /// Rows come in runs of `length`, one for each position of a sequence; position `i` sees `prefix + i + 1` columns.
    Causal { prefix: usize, length: usize },
}

impl Mask {
    #[inline(always)]
    fn visible(self, row: usize, width: usize) -> usize {
        match self {
            Self::None => width,
            Self::Causal { prefix, length } => prefix + row % length + 1,
        }
    }
}

struct Softmax {
    scale: f32,
    mask: Mask,
}

impl CustomOp1 for Softmax {
    fn name(&self) -> &'static str {
        "softmax-with-gradient"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout) -> Result<(CpuStorage, Shape)> {
        let width = lx.dims()[lx.dims().len() - 1];
        let mut out = slice(x, lx)?.to_vec();
        Arch::new().dispatch(|| {
            for (index, row) in out.chunks_exact_mut(width).enumerate() {
                let (seen, hidden) = row.split_at_mut(self.mask.visible(index, width));
                let largest = seen.iter().fold(f32::MIN, |a, &b| a.max(b));
                for value in seen.iter_mut() {
                    *value = exp((*value - largest) * self.scale);
                }
                let scale = 1.0 / seen.iter().sum::<f32>();
                seen.iter_mut().for_each(|value| *value *= scale);
                hidden.fill(0.0);
            }
        });
        Ok((CpuStorage::F32(out), lx.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, result: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let width = x.dim(D::Minus1)?;
        let mut out = with_values(grad, <[f32]>::to_vec)?;
        with_values(result, |result| {
            Arch::new().dispatch(|| {
                for (out, p) in out.chunks_exact_mut(width).zip(result.chunks_exact(width)) {
                    let product: f32 = out.iter().zip(p).map(|(g, p)| g * p).sum();
                    for (out, p) in out.iter_mut().zip(p) {
                        *out = self.scale * p * (*out - product);
                    }
                }
            });
        })?;
        Ok(Some(Tensor::from_vec(out, x.shape(), x.device())?))
    }
}

/// Softmax of `scale * x` over the last dimension, of what each row sees; 0 elsewhere.
pub(crate) fn softmax(x: &Tensor, scale: f32, mask: Mask) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Softmax { scale, mask })
}

/// The rotation of a head's first half by the positions `start + row % length`.
struct Rotary {
    start: usize,
    length: usize,
    /// 1 forwards; -1 turns back, which is the gradient.
    direction: f32,
}

impl Rotary {
    fn turn(&self, values: &mut [f32], head_dim: usize) {
        let pairs = head_dim / 4;
        let turns: Vec<(f32, f32)> = (self.start..self.start + self.length)
            .flat_map(|position| {
                (0..pairs).map(move |j| {
                    let frequency = 10_000f64.powf(-(j as f64) / pairs as f64);
                    let (sin, cos) = (position as f64 * frequency).sin_cos();
                    (sin as f32, cos as f32)
                })
            })
            .collect();
        for (index, row) in values.chunks_exact_mut(head_dim).enumerate() {
            let turns = &turns[index % self.length * pairs..][..pairs];
            for (j, &(sin, cos)) in turns.iter().enumerate() {
                let (a, b, sin) = (row[j], row[j + pairs], sin * self.direction);
                row[j] = a * cos - b * sin;
                row[j + pairs] = a * sin + b * cos;
            }
        }
    }
}

impl CustomOp1 for Rotary {
    fn name(&self) -> &'static str {
        "rotary-with-gradient"
    }

    fn cpu_fwd(&self, x: &CpuStorage, lx: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut out = slice(x, lx)?.to_vec();
        self.turn(&mut out, lx.dims()[lx.dims().len() - 1]);
        Ok((CpuStorage::F32(out), lx.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let mut out = with_values(grad, <[f32]>::to_vec)?;
        let back = Self {
            direction: -self.direction,
            ..*self
        };
        back.turn(&mut out, x.dim(D::Minus1)?);
        Ok(Some(Tensor::from_vec(out, x.shape(), x.device())?))
    }
}

/// Rotary embedding of `[.., rows, head dim]`, whose rows are runs of `length` positions from `start`.
pub(crate) fn rotary(x: &Tensor, start: usize, length: usize) -> Result<Tensor> {
    x.contiguous()?.apply_op1(Rotary {
        start,
        length,
        direction: 1.0,
    })
}
