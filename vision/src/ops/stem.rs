//! The first convolution: from bytes of RGB to channels, with normalisation, bias and ReLU6 fused.
//!
//! Normalising is linear, so it is folded into weights and bias, and the bytes are read as they are. A row of
//! outputs is one small matrix product over patches that are three runs of neighbouring bytes each.

use candle_core::{CpuStorage, CustomOp1, Error, Layout, Result, Shape};
use pulp::{Arch, Simd, WithSimd};

use super::pointwise::{Pixels, Target};
use super::{Pointwise, Same, padded, scratch};

/// Channels of the input.
const RGB: usize = 3;

/// A convolution over `[batch, height, width, 3]` u8 with `SAME` padding, to `[batch, .., padded(outputs)]` f32.
#[derive(Debug, Clone)]
pub struct Stem {
    kernel: usize,
    stride: usize,
    /// The byte that stands for a normalised 0, which is what the padding holds.
    zero: f32,
    product: Pointwise,
}

impl Stem {
    /// A convolution with weights `[outputs, 3, kernel, kernel]` in row-major order over `(byte - mean) / scale`.
    ///
    /// # Errors
    /// When the lengths do not fit together, or kernel or stride is 0.
    pub fn new(
        kernel: usize,
        stride: usize,
        (mean, scale): (f32, f32),
        weights: &[f32],
        bias: &[f32],
    ) -> Result<Self> {
        let taps = kernel * kernel;
        if stride == 0 || taps == 0 || weights.len() != bias.len() * RGB * taps {
            return Err(Error::Msg(format!(
                "a first convolution of kernel {kernel}, stride {stride} and {} outputs cannot have {} weights",
                bias.len(),
                weights.len()
            )));
        }
        let mut by_tap = Vec::with_capacity(weights.len());
        let mut shifted = bias.to_vec();
        for (filter, bias) in weights.chunks_exact(RGB * taps).zip(&mut shifted) {
            for tap in 0..taps {
                by_tap.extend((0..RGB).map(|channel| filter[channel * taps + tap] / scale));
            }
            *bias -= filter.iter().sum::<f32>() * mean / scale;
        }
        Ok(Self {
            kernel,
            stride,
            zero: mean,
            product: Pointwise::new(RGB * taps, &by_tap, &shifted, true)?,
        })
    }
}

impl CustomOp1 for Stem {
    fn name(&self) -> &'static str {
        "first convolution"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let op = self.name();
        let (n, h, w, channels) = layout.shape().dims4()?;
        if channels != RGB || h == 0 || w == 0 {
            return Err(Error::Msg(format!(
                "{op} takes RGB images of at least one pixel, not {:?}",
                layout.shape()
            )));
        }
        let Some((start, end)) = layout.contiguous_offsets() else {
            return Err(Error::RequiresContiguous { op });
        };
        let bytes = &storage.as_slice::<u8>()?[start..end];
        let rows = Same::new(h, self.kernel, self.stride);
        let columns = Same::new(w, self.kernel, self.stride);
        let outputs = padded(self.product.outputs());
        let shape = Shape::from((n, rows.output, columns.output, outputs));
        let mut output = vec![0.0; shape.elem_count()];
        let pitch = (w + columns.total) * RGB;
        let padded_image = (h + rows.total) * pitch;
        let patches = columns.output * self.product.inputs();
        scratch::with(padded_image + patches, |memory| {
            Arch::new().dispatch(FirstConvolution {
                op: self,
                size: (h, w),
                rows,
                columns,
                memory,
                bytes,
                output: &mut output,
            });
        });
        Ok((CpuStorage::F32(output), shape))
    }
}

struct FirstConvolution<'a> {
    op: &'a Stem,
    size: (usize, usize),
    rows: Same,
    columns: Same,
    memory: &'a mut [f32],
    bytes: &'a [u8],
    output: &'a mut [f32],
}

impl WithSimd for FirstConvolution<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self {
            op,
            size: (h, w),
            rows,
            columns,
            ..
        } = self;
        let outputs = padded(op.product.outputs());
        let inputs = op.product.inputs();
        let run = op.kernel * RGB;
        let pitch = (w + columns.total) * RGB;
        let (padded_image, patches) = self.memory.split_at_mut((h + rows.total) * pitch);
        let starts: Vec<usize> = (0..columns.output).map(|x| x * outputs).collect();
        padded_image.fill(op.zero);

        let images = self.bytes.chunks_exact(h * w * RGB);
        let line = columns.output * outputs;
        for (image, output) in images.zip(self.output.chunks_exact_mut(rows.output * line)) {
            for (y, bytes) in image.chunks_exact(w * RGB).enumerate() {
                let start = (y + rows.before) * pitch + columns.before * RGB;
                let values = &mut padded_image[start..start + bytes.len()];
                for (value, &byte) in values.iter_mut().zip(bytes) {
                    *value = f32::from(byte);
                }
            }
            for (y, output) in output.chunks_exact_mut(line).enumerate() {
                for (x, patch) in patches.chunks_exact_mut(inputs).enumerate() {
                    for (tap, part) in patch.chunks_exact_mut(run).enumerate() {
                        let start = (y * op.stride + tap) * pitch + x * op.stride * RGB;
                        part.copy_from_slice(&padded_image[start..start + run]);
                    }
                }
                let pixels = Pixels {
                    values: patches,
                    stride: inputs,
                    rows: columns.output,
                };
                let target = Target {
                    values: output,
                    starts: &starts,
                    residual: None,
                };
                op.product.run(simd, pixels, target);
            }
        }
    }
}
