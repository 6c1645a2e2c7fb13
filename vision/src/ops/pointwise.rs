//! The pointwise (1x1) convolution: a matrix product over pixels with bias, activation and residual fused.
//!
//! The weights are packed once, into panels of up to [`PANEL`] vectors of output channels that lie together for
//! each input channel; the inner loop keeps a tile of pixels x output channels in registers, so that each loaded weight
//! serves a whole tile and the result is written once. The activations are used as they lie in memory.

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape};
use pulp::{Arch, Simd, WithSimd};

use super::{nhwc, padded};

/// Vectors in the widest panel: with 8 pixels they fill 32 registers, with 4 pixels 16.
const PANEL: usize = 3;

/// The upper end of ReLU6.
pub(super) const SIX: f32 = 6.0;

/// A pointwise convolution over `[batch, height, width, padded(inputs)]`, with bias and, if wanted, ReLU6.
#[derive(Debug, Clone)]
pub struct Pointwise {
    inputs: usize,
    outputs: usize,
    relu6: bool,
    /// One panel after the other, each `[inputs, panel width]`.
    weights: Vec<f32>,
    /// `[padded(outputs)]`.
    bias: Vec<f32>,
}

/// Where a product reads its pixels: `rows` rows of `stride` values, of which the first `inputs` count.
pub(super) struct Pixels<'a> {
    pub(super) values: &'a [f32],
    pub(super) stride: usize,
    pub(super) rows: usize,
}

/// Where a product writes: pixel `i` begins at `starts[i]`. With a residual, the value at the same place of
/// that slice is added.
pub(super) struct Target<'a> {
    pub(super) values: &'a mut [f32],
    pub(super) starts: &'a [usize],
    pub(super) residual: Option<&'a [f32]>,
}

impl Pointwise {
    /// A convolution with weights `[outputs, inputs]` in row-major order and a bias per output.
    ///
    /// # Errors
    /// When the lengths do not fit together.
    pub fn new(inputs: usize, weights: &[f32], bias: &[f32], relu6: bool) -> Result<Self> {
        let outputs = bias.len();
        if inputs == 0 || outputs == 0 || weights.len() != inputs * outputs {
            return Err(candle_core::Error::Msg(format!(
                "a pointwise convolution of {inputs} to {outputs} channels cannot have {} weights",
                weights.len()
            )));
        }
        let mut packed = Vec::with_capacity(inputs * padded(outputs));
        let lanes = Arch::new().dispatch(Lanes);
        for (start, width) in panels(padded(outputs), lanes) {
            for input in 0..inputs {
                packed.extend((start..start + width).map(|output| {
                    weights
                        .get(output * inputs + input)
                        .copied()
                        .filter(|_| output < outputs)
                        .unwrap_or(0.0)
                }));
            }
        }
        let mut padded_bias = bias.to_vec();
        padded_bias.resize(padded(outputs), 0.0);
        Ok(Self {
            inputs,
            outputs,
            relu6,
            weights: packed,
            bias: padded_bias,
        })
    }

    /// Input channels that count.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Output channels that count; [`padded`] of them are stored.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Computes the product on vectors of the kind that `simd` stands for.
    #[inline(always)]
    pub(super) fn run<S: Simd>(&self, simd: S, pixels: Pixels<'_>, target: Target<'_>) {
        simd.vectorize(Product {
            op: self,
            pixels,
            target,
        });
    }
}

/// The panels of `outputs` stored channels, as first channel and width: as few as can be, of nearly one width.
fn panels(outputs: usize, lanes: usize) -> impl Iterator<Item = (usize, usize)> {
    let vectors = outputs / lanes;
    let count = vectors.div_ceil(PANEL);
    (0..count).map(move |index| {
        let start = vectors * index / count;
        let end = vectors * (index + 1) / count;
        (start * lanes, (end - start) * lanes)
    })
}

/// The lanes of this machine's vectors, which is the width that the weights are packed for.
struct Lanes;

impl WithSimd for Lanes {
    type Output = usize;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) -> usize {
        S::F32_LANES
    }
}

struct Product<'a> {
    op: &'a Pointwise,
    pixels: Pixels<'a>,
    target: Target<'a>,
}

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let op = self.op;
        let mut weights = op.weights.as_slice();
        for (start, width) in panels(padded(op.outputs), S::F32_LANES) {
            let (panel, rest) = weights.split_at(op.inputs * width);
            weights = rest;
            match width / S::F32_LANES {
                3 => self.panel::<S, 3>(simd, panel, start),
                2 => self.panel::<S, 2>(simd, panel, start),
                _ => self.panel::<S, 1>(simd, panel, start),
            }
        }
    }
}

impl Product<'_> {
    /// All pixels by one panel of `COLUMNS` vectors, the first of which is output channel `start`.
    #[inline(always)]
    fn panel<S: Simd, const COLUMNS: usize>(&mut self, simd: S, weights: &[f32], start: usize) {
        let weights = S::as_simd_f32s(weights).0.as_chunks::<COLUMNS>().0;
        let tall = S::REGISTER_COUNT >= 32;
        let mut row = 0;
        while row < self.pixels.rows {
            row += match self.pixels.rows - row {
                8.. if tall => self.tile::<S, 8, COLUMNS>(simd, weights, row, start),
                4.. => self.tile::<S, 4, COLUMNS>(simd, weights, row, start),
                2.. => self.tile::<S, 2, COLUMNS>(simd, weights, row, start),
                _ => self.tile::<S, 1, COLUMNS>(simd, weights, row, start),
            };
        }
    }

    /// `ROWS` pixels from `row` on by one panel; gives `ROWS`.
    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize, const COLUMNS: usize>(
        &mut self,
        simd: S,
        weights: &[[S::f32s; COLUMNS]],
        row: usize,
        start: usize,
    ) -> usize {
        let Self { op, pixels, target } = self;
        let width = COLUMNS * S::F32_LANES;
        let bias = S::as_simd_f32s(&op.bias[start..start + width]).0;
        let bias: [S::f32s; COLUMNS] = std::array::from_fn(|j| bias[j]);
        let mut sums = [bias; ROWS];
        let inputs = weights.len();
        let values: [&[f32]; ROWS] =
            std::array::from_fn(|i| &pixels.values[(row + i) * pixels.stride..][..inputs]);
        for (k, weights) in weights.iter().enumerate() {
            for i in 0..ROWS {
                let value = simd.splat_f32s(values[i][k]);
                for j in 0..COLUMNS {
                    sums[i][j] = simd.mul_add_e_f32s(value, weights[j], sums[i][j]);
                }
            }
        }
        let low = simd.splat_f32s(0.0);
        let high = simd.splat_f32s(SIX);
        for (i, sums) in sums.iter_mut().enumerate() {
            let first = target.starts[row + i] + start;
            let span = first..first + width;
            if let Some(residual) = target.residual {
                let residual = S::as_simd_f32s(&residual[span.clone()]).0;
                for (sum, &value) in sums.iter_mut().zip(residual) {
                    *sum = simd.add_f32s(*sum, value);
                }
            }
            let output = S::as_mut_simd_f32s(&mut target.values[span]).0;
            for (output, &sum) in output.iter_mut().zip(sums.iter()) {
                *output = if op.relu6 {
                    simd.min_f32s(simd.max_f32s(sum, low), high)
                } else {
                    sum
                };
            }
        }
        ROWS
    }
}

impl CustomOp1 for Pointwise {
    fn name(&self) -> &'static str {
        "pointwise convolution"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let stride = padded(self.inputs);
        let (values, [n, h, w, _]) = nhwc(self.name(), storage, layout, stride)?;
        let stored = padded(self.outputs);
        let rows = n * h * w;
        let starts: Vec<usize> = (0..rows).map(|row| row * stored).collect();
        let mut output = vec![0.0; rows * stored];
        Arch::new().dispatch(Product {
            op: self,
            pixels: Pixels {
                values,
                stride,
                rows,
            },
            target: Target {
                values: &mut output,
                starts: &starts,
                residual: None,
            },
        });
        Ok((CpuStorage::F32(output), Shape::from((n, h, w, stored))))
    }
}
