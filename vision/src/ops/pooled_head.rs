//! The end of the network's convolutions: a pointwise one, then each channel's mean over the image.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape};
use pulp::{Arch, Simd, WithSimd};

use super::pointwise::{Pixels, Target};
use super::{Activation, BLOCK, Pointwise, blocks, padded, scratch};

/// A pointwise convolution and the mean of its results over height and width, to `[batch, outputs]`, with
/// outputs padded to whole blocks.
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
        let input = Activation::read(self.name(), storage, layout, self.product.inputs())?;
        let outputs = padded(self.product.outputs());
        let batch = input.batch;
        let mut output = vec![0.0; batch * outputs];
        scratch::with(input.pixels() * outputs, |memory| {
            Arch::new().dispatch(Head {
                op: self,
                input,
                memory,
                output: &mut output,
            });
        });
        Ok((CpuStorage::F32(output), Shape::from((batch, outputs))))
    }
}

struct Head<'a> {
    op: &'a PooledHead,
    input: Activation<'a>,
    memory: &'a mut [f32],
    output: &'a mut [f32],
}

impl WithSimd for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let product = &self.op.product;
        let count = self.input.pixels();
        let plane = count * BLOCK;
        let scale = 1.0 / count as f32;
        let images = self
            .input
            .values
            .chunks_exact(blocks(product.inputs()) * plane);
        let outputs = self.output.chunks_exact_mut(padded(product.outputs()));
        for (values, output) in images.zip(outputs) {
            let pixels = Pixels {
                values,
                plane,
                count,
            };
            let target = Target {
                values: &mut *self.memory,
                plane,
                start: |pixel| pixel * BLOCK,
                residual: None,
            };
            product.run(simd, pixels, target);
            let (means, _) = output.as_chunks_mut::<BLOCK>();
            for (mean, plane) in means.iter_mut().zip(self.memory.chunks_exact(plane)) {
                for pixel in plane.as_chunks::<BLOCK>().0 {
                    for (sum, &value) in mean.iter_mut().zip(pixel) {
                        *sum += value;
                    }
                }
                for sum in mean {
                    *sum *= scale;
                }
            }
        }
    }
}
