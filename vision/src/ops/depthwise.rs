//! The depthwise convolution: each channel is filtered on its own, with bias and ReLU6 fused.
//!
//! A vector holds channels of one pixel, so the filter is a sum of whole vectors and needs no shuffles. Several outputs of a row are computed at once: at stride 1 they share most of their inputs.

use candle_core::{CpuStorage, CustomOp1, Error, Layout, Result, Shape};
use pulp::{Arch, Simd, WithSimd};

use super::pointwise::SIX;
use super::{Activation, BLOCK, Same, blocks, padded, scratch};

/// A depthwise convolution with `SAME` padding, bias and ReLU6.
#[derive(Debug, Clone)]
pub struct Depthwise {
    channels: usize,
    kernel: usize,
    stride: usize,
    /// `[kernel * kernel, padded(channels)]`.
    weights: Vec<f32>,
    /// `[padded(channels)]`.
    bias: Vec<f32>,
}

impl Depthwise {
    /// A convolution with weights `[channels, kernel, kernel]` in row-major order and a bias per channel.
    ///
    /// # Errors
    /// When the lengths do not fit together, the kernel is not 3 or 5, or the stride not 1 or 2.
    pub fn new(kernel: usize, stride: usize, weights: &[f32], bias: &[f32]) -> Result<Self> {
        let channels = bias.len();
        let taps = kernel * kernel;
        if !matches!(kernel, 3 | 5) || !matches!(stride, 1 | 2) {
            return Err(Error::Msg(format!(
                "a depthwise convolution has a kernel of 3 or 5 and a stride of 1 or 2, not {kernel} and \
                 {stride}"
            )));
        }
        if weights.len() != channels * taps {
            return Err(Error::Msg(format!(
                "a depthwise convolution of {channels} channels with {taps} taps cannot have {} weights",
                weights.len()
            )));
        }
        let stored = padded(channels);
        let mut by_tap = vec![0.0; taps * stored];
        for (channel, filter) in weights.chunks_exact(taps).enumerate() {
            for (tap, &weight) in filter.iter().enumerate() {
                by_tap[tap * stored + channel] = weight;
            }
        }
        let mut padded_bias = bias.to_vec();
        padded_bias.resize(stored, 0.0);
        Ok(Self {
            channels,
            kernel,
            stride,
            weights: by_tap,
            bias: padded_bias,
        })
    }

    /// Input and output channels.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Side of the square filter.
    pub fn kernel(&self) -> usize {
        self.kernel
    }

    /// Step of the filter in both directions.
    pub fn stride(&self) -> usize {
        self.stride
    }

    pub(super) fn same(&self, input: usize) -> Same {
        Same::new(input, self.kernel, self.stride)
    }

    /// Computes consecutive output rows of `width` pixels into `output`, `[blocks, rows, width, BLOCK]`.
    /// `input(r, tap)` is the start in `values` of the first block of the padded input row that the filter's row
    /// `tap` sees for output row `r`; each further block is `plane` values on.
    #[inline(always)]
    pub(super) fn run<S: Simd>(
        &self,
        simd: S,
        values: &[f32],
        plane: usize,
        input: impl Fn(usize, usize) -> usize,
        width: usize,
        output: &mut [f32],
    ) {
        simd.vectorize(Filter {
            op: self,
            values,
            plane,
            input,
            width,
            output,
        });
    }
}

struct Filter<'a, F> {
    op: &'a Depthwise,
    values: &'a [f32],
    plane: usize,
    input: F,
    width: usize,
    output: &'a mut [f32],
}

impl<F: Fn(usize, usize) -> usize> WithSimd for Filter<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match (self.op.kernel, self.op.stride) {
            (3, 1) => self.blocks::<S, 3, 1>(simd),
            (3, _) => self.blocks::<S, 3, 2>(simd),
            (_, 1) => self.blocks::<S, 5, 1>(simd),
            (_, _) => self.blocks::<S, 5, 2>(simd),
        }
    }
}

impl<F: Fn(usize, usize) -> usize> Filter<'_, F> {
    #[inline(always)]
    fn blocks<S: Simd, const K: usize, const STRIDE: usize>(self, simd: S) {
        let blocks = blocks(self.op.channels);
        // Vectors from one pixel to the next, and from one tap's weights to the next.
        let step = BLOCK / S::F32_LANES;
        let taps = blocks * step;
        let seen = ((self.width - 1) * STRIDE + K) * BLOCK;
        let weights = S::as_simd_f32s(&self.op.weights).0;
        let bias = S::as_simd_f32s(&self.op.bias).0;
        let size = self.output.len() / blocks;
        for (block, output) in self.output.chunks_exact_mut(size).enumerate() {
            for lane in 0..step {
                let vector = block * step + lane;
                let filter: [[S::f32s; K]; K] = std::array::from_fn(|y| {
                    std::array::from_fn(|x| weights[(y * K + x) * taps + vector])
                });
                for (row, output) in output.chunks_exact_mut(self.width * BLOCK).enumerate() {
                    let mut line = Line {
                        inputs: std::array::from_fn(|y| {
                            let start = (self.input)(row, y) + block * self.plane;
                            S::as_simd_f32s(&self.values[start..start + seen]).0
                        }),
                        filter: &filter,
                        bias: bias[vector],
                        lane,
                        output: S::as_mut_simd_f32s(output).0,
                    };
                    let mut x = 0;
                    while x + 4 <= self.width {
                        line.outputs::<STRIDE, 4>(simd, x);
                        x += 4;
                    }
                    match self.width - x {
                        3 => line.outputs::<STRIDE, 3>(simd, x),
                        2 => line.outputs::<STRIDE, 2>(simd, x),
                        1 => line.outputs::<STRIDE, 1>(simd, x),
                        _ => {}
                    }
                }
            }
        }
    }
}

/// One vector of channels along one output row.
struct Line<'a, S: Simd, const K: usize> {
    /// The padded input rows of the vector's block.
    inputs: [&'a [S::f32s]; K],
    filter: &'a [[S::f32s; K]; K],
    bias: S::f32s,
    /// Which vector of the block.
    lane: usize,
    /// The output row of the vector's block.
    output: &'a mut [S::f32s],
}

impl<S: Simd, const K: usize> Line<'_, S, K> {
    /// `WIDTH` outputs from `x` on.
    #[inline(always)]
    fn outputs<const STRIDE: usize, const WIDTH: usize>(&mut self, simd: S, x: usize) {
        let step = BLOCK / S::F32_LANES;
        let mut sums = [self.bias; WIDTH];
        for (row, filter) in self.inputs.iter().zip(self.filter) {
            let row = &row[x * STRIDE * step..][..((WIDTH - 1) * STRIDE + K) * step];
            for pixel in 0..(WIDTH - 1) * STRIDE + K {
                let value = row[pixel * step + self.lane];
                for (i, sum) in sums.iter_mut().enumerate() {
                    let tap = pixel.checked_sub(i * STRIDE);
                    if let Some(&weight) = tap.and_then(|tap| filter.get(tap)) {
                        *sum = simd.mul_add_e_f32s(value, weight, *sum);
                    }
                }
            }
        }
        let low = simd.splat_f32s(0.0);
        let high = simd.splat_f32s(SIX);
        let output = &mut self.output[x * step..][..WIDTH * step];
        for (i, &sum) in sums.iter().enumerate() {
            output[i * step + self.lane] = simd.min_f32s(simd.max_f32s(sum, low), high);
        }
    }
}

impl CustomOp1 for Depthwise {
    fn name(&self) -> &'static str {
        "depthwise convolution"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let input = Activation::read(self.name(), storage, layout, self.channels)?;
        let (h, w) = (input.height, input.width);
        let (rows, columns) = (self.same(h), self.same(w));
        let pitch = (w + columns.total) * BLOCK;
        let plane = (h + rows.total) * pitch;
        let blocks = blocks(self.channels);
        let shape = [input.batch, blocks, rows.output, columns.output, BLOCK];
        let mut output = vec![0.0; shape.iter().product()];
        scratch::with(blocks * plane, |padded_image| {
            padded_image.fill(0.0);
            let images = input.values.chunks_exact(blocks * h * w * BLOCK);
            let size = blocks * rows.output * columns.output * BLOCK;
            for (image, output) in images.zip(output.chunks_exact_mut(size)) {
                for (index, line) in image.chunks_exact(w * BLOCK).enumerate() {
                    let start = index / h * plane
                        + (index % h + rows.before) * pitch
                        + columns.before * BLOCK;
                    padded_image[start..start + line.len()].copy_from_slice(line);
                }
                Arch::new().dispatch(Filter {
                    op: self,
                    values: padded_image,
                    plane,
                    input: |row, tap| (row * self.stride + tap) * pitch,
                    width: columns.output,
                    output,
                });
            }
        });
        Ok((CpuStorage::F32(output), Shape::from(&shape[..])))
    }
}
