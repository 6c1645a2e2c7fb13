//! The depthwise convolution: each channel is filtered on its own, with bias and ReLU6 fused.
//!
//! A vector holds one pixel's neighbouring channels, so the filter is a sum of whole vectors and needs no
//! shuffles. Several outputs of a row are computed at once: at stride 1 they share most of their inputs.

use candle_core::{CpuStorage, CustomOp1, Error, Layout, Result, Shape};
use pulp::{Arch, Simd, WithSimd};

use super::pointwise::SIX;
use super::{Same, nhwc, padded, scratch};

/// A depthwise convolution over `[batch, height, width, padded(channels)]` with `SAME` padding, bias and ReLU6.
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

    /// Channels that count; [`padded`] of them are stored.
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

    /// Computes consecutive output rows into `output`, each of `width` pixels; `input(r, tap)` is the start in
    /// `values` of the padded input row that the filter's row `tap` sees for output row `r`.
    #[inline(always)]
    pub(super) fn run<S: Simd>(
        &self,
        simd: S,
        values: &[f32],
        input: impl Fn(usize, usize) -> usize,
        width: usize,
        output: &mut [f32],
    ) {
        simd.vectorize(Filter {
            op: self,
            values,
            input,
            width,
            output,
        });
    }
}

struct Filter<'a, F> {
    op: &'a Depthwise,
    values: &'a [f32],
    input: F,
    width: usize,
    output: &'a mut [f32],
}

impl<F: Fn(usize, usize) -> usize> WithSimd for Filter<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match (self.op.kernel, self.op.stride) {
            (3, 1) => self.rows::<S, 3, 1>(simd),
            (3, _) => self.rows::<S, 3, 2>(simd),
            (_, 1) => self.rows::<S, 5, 1>(simd),
            (_, _) => self.rows::<S, 5, 2>(simd),
        }
    }
}

impl<F: Fn(usize, usize) -> usize> Filter<'_, F> {
    #[inline(always)]
    fn rows<S: Simd, const K: usize, const STRIDE: usize>(self, simd: S) {
        let Self {
            op,
            values,
            input,
            width,
            output,
        } = self;
        let stored = padded(op.channels);
        let step = stored / S::F32_LANES;
        let padded_width = (width - 1) * STRIDE + K;
        let weights = S::as_simd_f32s(&op.weights).0;
        let bias = S::as_simd_f32s(&op.bias).0;
        for lane in 0..step {
            let filter: [[S::f32s; K]; K] = std::array::from_fn(|y| {
                std::array::from_fn(|x| weights[(y * K + x) * step + lane])
            });
            for (row, output) in output.chunks_exact_mut(width * stored).enumerate() {
                let inputs: [&[S::f32s]; K] = std::array::from_fn(|y| {
                    let start = input(row, y);
                    &S::as_simd_f32s(&values[start..start + padded_width * stored]).0[lane..]
                });
                let mut line = Line {
                    inputs,
                    filter: &filter,
                    bias: bias[lane],
                    step,
                    output: &mut S::as_mut_simd_f32s(output).0[lane..],
                };
                let mut x = 0;
                while x + 4 <= width {
                    line.outputs::<STRIDE, 4>(simd, x);
                    x += 4;
                }
                match width - x {
                    3 => line.outputs::<STRIDE, 3>(simd, x),
                    2 => line.outputs::<STRIDE, 2>(simd, x),
                    1 => line.outputs::<STRIDE, 1>(simd, x),
                    _ => {}
                }
            }
        }
    }
}

/// One vector of channels along one output row.
struct Line<'a, S: Simd, const K: usize> {
    /// The padded input rows, from this vector's first pixel.
    inputs: [&'a [S::f32s]; K],
    filter: &'a [[S::f32s; K]; K],
    bias: S::f32s,
    /// Vectors from one pixel to the next.
    step: usize,
    output: &'a mut [S::f32s],
}

impl<S: Simd, const K: usize> Line<'_, S, K> {
    #[inline(always)]
    fn outputs<const STRIDE: usize, const WIDTH: usize>(&mut self, simd: S, x: usize) {
        let mut sums = [self.bias; WIDTH];
        for (row, filter) in self.inputs.iter().zip(self.filter) {
            let row = &row[x * STRIDE * self.step..];
            for pixel in 0..(WIDTH - 1) * STRIDE + K {
                let value = row[pixel * self.step];
                for (i, sum) in sums.iter_mut().enumerate() {
                    if let Some(&weight) = pixel
                        .checked_sub(i * STRIDE)
                        .and_then(|tap| filter.get(tap))
                    {
                        *sum = simd.mul_add_e_f32s(value, weight, *sum);
                    }
                }
            }
        }
        let low = simd.splat_f32s(0.0);
        let high = simd.splat_f32s(SIX);
        for (i, &sum) in sums.iter().enumerate() {
            self.output[(x + i) * self.step] = simd.min_f32s(simd.max_f32s(sum, low), high);
        }
    }
}

impl CustomOp1 for Depthwise {
    fn name(&self) -> &'static str {
        "depthwise convolution"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let stored = padded(self.channels);
        let (values, [n, h, w, _]) = nhwc(self.name(), storage, layout, stored)?;
        if h == 0 || w == 0 {
            return Err(Error::Msg(format!("{} takes no empty image", self.name())));
        }
        let (rows, columns) = (self.same(h), self.same(w));
        let pitch = (w + columns.total) * stored;
        let mut output = vec![0.0; n * rows.output * columns.output * stored];
        scratch::with((h + rows.total) * pitch, |padded_image| {
            let images = values.chunks_exact(h * w * stored);
            let outputs = output.chunks_exact_mut(rows.output * columns.output * stored);
            for (image, output) in images.zip(outputs) {
                padded_image.fill(0.0);
                for (y, line) in image.chunks_exact(w * stored).enumerate() {
                    let start = (y + rows.before) * pitch + columns.before * stored;
                    padded_image[start..start + line.len()].copy_from_slice(line);
                }
                Arch::new().dispatch(Filter {
                    op: self,
                    values: padded_image,
                    input: |row, tap| (row * self.stride + tap) * pitch,
                    width: columns.output,
                    output,
                });
            }
        });
        let shape = Shape::from((n, rows.output, columns.output, stored));
        Ok((CpuStorage::F32(output), shape))
    }
}
