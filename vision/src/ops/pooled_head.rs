//! The end of the network's convolutions: a pointwise one, then each channel's mean over the image.

use candle_core::{CpuStorage, CustomOp1, Error, Layout, Result, Shape};
use pulp::{Arch, Simd, WithSimd};

use super::pointwise::{Pixels, Target};
use super::{Pointwise, nhwc, padded, scratch};

/// A pointwise convolution over `[batch, height, width, padded(inputs)]` and the mean over height and width, to
/// `[batch, padded(outputs)]`.
#[derive(Debug, Clone)]
pub struct PooledHead {
    product: Pointwise,
}

impl PooledHead {
    /// The mean of what this convolution gives.
    pub fn new(product: Pointwise) -> Self {
        Self { product }
    }
}

impl CustomOp1 for PooledHead {
    fn name(&self) -> &'static str {
        "pooled head"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let stored = padded(self.product.inputs());
        let (values, [n, h, w, _]) = nhwc(self.name(), storage, layout, stored)?;
        if h == 0 || w == 0 {
            return Err(Error::Msg(format!("{} takes no empty image", self.name())));
        }
        let outputs = padded(self.product.outputs());
        let mut output = vec![0.0; n * outputs];
        scratch::with(h * w * outputs, |memory| {
            Arch::new().dispatch(Head {
                op: self,
                pixels: h * w,
                memory,
                input: values,
                output: &mut output,
            });
        });
        Ok((CpuStorage::F32(output), Shape::from((n, outputs))))
    }
}

struct Head<'a> {
    op: &'a PooledHead,
    pixels: usize,
    memory: &'a mut [f32],
    input: &'a [f32],
    output: &'a mut [f32],
}

impl WithSimd for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let product = &self.op.product;
        let (stride, outputs) = (padded(product.inputs()), padded(product.outputs()));
        let starts: Vec<usize> = (0..self.pixels).map(|pixel| pixel * outputs).collect();
        let scale = 1.0 / self.pixels as f32;
        let images = self.input.chunks_exact(self.pixels * stride);
        for (values, output) in images.zip(self.output.chunks_exact_mut(outputs)) {
            let pixels = Pixels {
                values,
                stride,
                rows: self.pixels,
            };
            let target = Target {
                values: &mut *self.memory,
                starts: &starts,
                residual: None,
            };
            product.run(simd, pixels, target);
            for channels in self.memory.chunks_exact(outputs) {
                for (sum, &value) in output.iter_mut().zip(channels) {
                    *sum += value;
                }
            }
            for sum in output {
                *sum *= scale;
            }
        }
    }
}
