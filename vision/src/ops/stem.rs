//! The first convolution: from bytes of RGB to channels, with normalisation, bias and ReLU6 fused.
//!
//! Normalising is linear, so it is folded into weights and bias, and the bytes are read as they are. A row of
//! outputs is one small matrix product over patches that overlap in memory, each [`KERNEL`] runs of bytes.

use candle_core::{CpuStorage, CustomOp1, Error, Layout, Result, Shape};
use pulp::{Arch, Simd, WithSimd};

use super::pointwise::{Pixels, Target};
use super::{BLOCK, Pointwise, Same, blocks, scratch};

/// Channels of the input.
const RGB: usize = 3;

/// Side of the filter.
const KERNEL: usize = 3;

/// Step of the filter in both directions.
const STRIDE: usize = 2;

/// Weights of one output channel.
const TAPS: usize = KERNEL * KERNEL * RGB;

/// A convolution over `[batch, height, width, 3]` u8 with a filter of 3, stride 2 and `SAME` padding, to blocks
/// of f32.
#[derive(Debug, Clone)]
pub struct Stem {
    /// The byte that stands for a normalised 0, which is what the padding holds.
    zero: f32,
    product: Pointwise,
}

impl Stem {
    /// Channels of the input: red, green and blue.
    pub const INPUTS: usize = RGB;
    /// Side of the filter.
    pub const KERNEL: usize = KERNEL;

    /// A convolution with weights `[outputs, 3, 3, 3]` in row-major order over `(byte - mean) / scale`.
    ///
    /// # Errors
    /// When the lengths do not fit together.
    pub fn new((mean, scale): (f32, f32), weights: &[f32], bias: &[f32]) -> Result<Self> {
        let mut by_tap = Vec::with_capacity(weights.len());
        let mut shifted = bias.to_vec();
        for (filter, bias) in weights.chunks_exact(TAPS).zip(&mut shifted) {
            for tap in 0..KERNEL * KERNEL {
                let channels = filter.iter().skip(tap).step_by(KERNEL * KERNEL);
                by_tap.extend(channels.map(|weight| weight / scale));
            }
            *bias -= filter.iter().sum::<f32>() * mean / scale;
        }
        Ok(Self {
            zero: mean,
            product: Pointwise::new(TAPS, &by_tap, &shifted, true)?,
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
        let rows = Same::new(h, KERNEL, STRIDE);
        let columns = Same::new(w, KERNEL, STRIDE);
        let outputs = blocks(self.product.outputs());
        let shape = [n, outputs, rows.output, columns.output, BLOCK];
        let mut output = vec![0.0; shape.iter().product()];
        let pitch = (w + columns.total) * RGB;
        let padded_image = (h + rows.total) * pitch;
        scratch::with(padded_image, |memory| {
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
        Ok((CpuStorage::F32(output), Shape::from(&shape[..])))
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
        let pitch = (w + columns.total) * RGB;
        let plane = rows.output * columns.output * BLOCK;
        self.memory.fill(op.zero);

        let images = self.bytes.chunks_exact(h * w * RGB);
        let size = blocks(op.product.outputs()) * plane;
        for (image, output) in images.zip(self.output.chunks_exact_mut(size)) {
            for (y, bytes) in image.chunks_exact(w * RGB).enumerate() {
                let start = (y + rows.before) * pitch + columns.before * RGB;
                let values = &mut self.memory[start..start + bytes.len()];
                for (value, &byte) in values.iter_mut().zip(bytes) {
                    *value = f32::from(byte);
                }
            }
            for y in 0..rows.output {
                let pixels = Pixels {
                    values: &self.memory[y * STRIDE * pitch..],
                    plane: pitch,
                    count: columns.output,
                };
                let target = Target {
                    values: &mut *output,
                    plane,
                    start: |x| (y * columns.output + x) * BLOCK,
                    residual: None,
                };
                op.product
                    .run_overlapping::<{ STRIDE * RGB }, { KERNEL * RGB }, S, _>(
                        simd, pixels, target,
                    );
            }
        }
    }
}
