//! The pointwise (1x1) convolution: a matrix product over pixels with bias, activation and residual fused.
//!
//! The weights are packed once, into panels of up to [`PANEL`] vectors of output channels that lie together for
//! each input channel; the inner loop keeps a tile of pixels x output channels in registers, so that each loaded
//! weight serves a whole tile and the result is written once. The activations are used as they lie in memory.

use candle_core::{CpuStorage, CustomOp1, Error, Layout, Result, Shape};
use pulp::{Arch, Simd, WithSimd};

use super::{Activation, BLOCK, blocks, padded};

/// Vectors in the widest panel: with 8 pixels they fill 32 registers, with 4 pixels 16.
const PANEL: usize = 3;

/// The upper end of ReLU6.
pub(super) const SIX: f32 = 6.0;

/// A pointwise convolution with bias and, if wanted, ReLU6.
#[derive(Debug, Clone)]
pub struct Pointwise {
    inputs: usize,
    outputs: usize,
    /// What the results are clamped to: ReLU6, or everything.
    range: (f32, f32),
    /// One panel after the other, each `[inputs, panel width]`.
    weights: Vec<f32>,
    /// `[padded(outputs)]`.
    bias: Vec<f32>,
}

/// The pixels that a product reads: `count` neighbouring ones, `plane` values from block (or run) to block.
pub(super) struct Pixels<'a> {
    pub(super) values: &'a [f32],
    pub(super) plane: usize,
    pub(super) count: usize,
}

/// Where a product writes: a pixel's first block at `start(pixel)`, each further block `plane` on. With a
/// residual, the value at the same place of that slice is added.
pub(super) struct Target<'a, F> {
    pub(super) values: &'a mut [f32],
    pub(super) plane: usize,
    pub(super) start: F,
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
            return Err(Error::Msg(format!(
                "a pointwise convolution of {inputs} to {outputs} channels cannot have {} weights",
                weights.len()
            )));
        }
        let lanes = Arch::new().dispatch(Lanes);
        let mut packed = vec![0.0; inputs * padded(outputs)];
        let mut rest = packed.as_mut_slice();
        for (start, width) in panels(padded(outputs), lanes) {
            let (panel, behind) = rest.split_at_mut(inputs * width);
            rest = behind;
            let rows = weights.chunks_exact(inputs).skip(start).take(width);
            for (column, row) in rows.enumerate() {
                for (packed, &weight) in panel.chunks_exact_mut(width).zip(row) {
                    packed[column] = weight;
                }
            }
        }
        let mut padded_bias = bias.to_vec();
        padded_bias.resize(padded(outputs), 0.0);
        Ok(Self {
            inputs,
            outputs,
            range: if relu6 {
                (0.0, SIX)
            } else {
                (f32::NEG_INFINITY, f32::INFINITY)
            },
            weights: packed,
            bias: padded_bias,
        })
    }

    /// Input channels.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Output channels.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Computes the product on vectors of the kind that `simd` stands for.
    #[inline(always)]
    pub(super) fn run<S: Simd>(
        &self,
        simd: S,
        pixels: Pixels<'_>,
        target: Target<'_, impl Fn(usize) -> usize>,
    ) {
        self.run_overlapping::<BLOCK, BLOCK, S, _>(simd, pixels, target);
    }

    /// The same over inputs that lie in runs of `RUN`, a pixel's run `STEP` values after its neighbour's: a
    /// convolution, where a pixel's inputs are also its neighbours'.
    #[inline(always)]
    pub(super) fn run_overlapping<
        const STEP: usize,
        const RUN: usize,
        S: Simd,
        F: Fn(usize) -> usize,
    >(
        &self,
        simd: S,
        pixels: Pixels<'_>,
        target: Target<'_, F>,
    ) {
        simd.vectorize(Product::<F, STEP, RUN> {
            op: self,
            pixels,
            target,
        });
    }
}

/// The panels of `outputs` channels in memory, as first channel and width: as few as can be, of nearly one width.
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

struct Product<'a, F, const STEP: usize, const RUN: usize> {
    op: &'a Pointwise,
    pixels: Pixels<'a>,
    target: Target<'a, F>,
}

impl<F: Fn(usize) -> usize, const STEP: usize, const RUN: usize> WithSimd
    for Product<'_, F, STEP, RUN>
{
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

impl<F: Fn(usize) -> usize, const STEP: usize, const RUN: usize> Product<'_, F, STEP, RUN> {
    /// All pixels by one panel of `COLUMNS` vectors, the first of which is output channel `start`.
    #[inline(always)]
    fn panel<S: Simd, const COLUMNS: usize>(&mut self, simd: S, weights: &[f32], start: usize) {
        let weights = S::as_simd_f32s(weights).0.as_chunks::<COLUMNS>().0;
        let tall = S::REGISTER_COUNT >= 32;
        let mut pixel = 0;
        while pixel < self.pixels.count {
            pixel += match self.pixels.count - pixel {
                8.. if tall => self.tile::<S, 8, COLUMNS>(simd, weights, pixel, start),
                4.. => self.tile::<S, 4, COLUMNS>(simd, weights, pixel, start),
                2.. => self.tile::<S, 2, COLUMNS>(simd, weights, pixel, start),
                _ => self.tile::<S, 1, COLUMNS>(simd, weights, pixel, start),
            };
        }
    }

    /// `ROWS` pixels from `pixel` on by one panel; gives `ROWS`.
    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize, const COLUMNS: usize>(
        &mut self,
        simd: S,
        weights: &[[S::f32s; COLUMNS]],
        pixel: usize,
        start: usize,
    ) -> usize {
        let Self { op, pixels, target } = self;
        let bias = S::as_simd_f32s(&op.bias[start..start + COLUMNS * S::F32_LANES]).0;
        let bias: [S::f32s; COLUMNS] = std::array::from_fn(|j| bias[j]);
        let mut sums = [bias; ROWS];
        for (run, weights) in weights.chunks(RUN).enumerate() {
            let start = run * pixels.plane + pixel * STEP;
            let values = &pixels.values[start..][..(ROWS - 1) * STEP + RUN];
            for (k, weights) in (0..RUN).zip(weights) {
                for i in 0..ROWS {
                    let value = simd.splat_f32s(values[i * STEP + k]);
                    for j in 0..COLUMNS {
                        sums[i][j] = simd.mul_add_e_f32s(value, weights[j], sums[i][j]);
                    }
                }
            }
        }
        let at = (target.start)(pixel);
        if (target.start)(pixel + ROWS - 1) == at + (ROWS - 1) * BLOCK {
            self.store(simd, &sums, at, start);
        } else {
            for (i, sums) in sums.into_iter().enumerate() {
                let at = (self.target.start)(pixel + i);
                self.store(simd, &[sums], at, start);
            }
        }
        ROWS
    }

    /// Finishes a tile and writes it where its pixels lie together, the first block of the first one at `at`.
    #[inline(always)]
    fn store<S: Simd, const ROWS: usize, const COLUMNS: usize>(
        &mut self,
        simd: S,
        sums: &[[S::f32s; COLUMNS]; ROWS],
        at: usize,
        start: usize,
    ) {
        // Column by column with constant indices: a loop over the columns is not unrolled, and would send the
        // whole tile through memory.
        self.store_column::<S, ROWS, COLUMNS, 0>(simd, sums, at, start);
        if COLUMNS > 1 {
            self.store_column::<S, ROWS, COLUMNS, 1>(simd, sums, at, start);
        }
        if COLUMNS > 2 {
            self.store_column::<S, ROWS, COLUMNS, 2>(simd, sums, at, start);
        }
    }

    #[inline(always)]
    fn store_column<S: Simd, const ROWS: usize, const COLUMNS: usize, const COLUMN: usize>(
        &mut self,
        simd: S,
        sums: &[[S::f32s; COLUMNS]; ROWS],
        at: usize,
        start: usize,
    ) {
        let Self { op, target, .. } = self;
        let low = simd.splat_f32s(op.range.0);
        let high = simd.splat_f32s(op.range.1);
        let channel = start + COLUMN * S::F32_LANES;
        let at = at + channel / BLOCK * target.plane + channel % BLOCK;
        let length = (ROWS - 1) * BLOCK + S::F32_LANES;
        let output = &mut target.values[at..][..length];
        if let Some(residual) = target.residual {
            let residual = &residual[at..][..length];
            for (i, sums) in sums.iter().enumerate() {
                let place = i * BLOCK..i * BLOCK + S::F32_LANES;
                let residual = S::as_simd_f32s(&residual[place.clone()]).0[0];
                let sum = simd.add_f32s(sums[COLUMN], residual);
                S::as_mut_simd_f32s(&mut output[place]).0[0] =
                    simd.min_f32s(simd.max_f32s(sum, low), high);
            }
        } else {
            for (i, sums) in sums.iter().enumerate() {
                let place = i * BLOCK..i * BLOCK + S::F32_LANES;
                S::as_mut_simd_f32s(&mut output[place]).0[0] =
                    simd.min_f32s(simd.max_f32s(sums[COLUMN], low), high);
            }
        }
    }
}

impl CustomOp1 for Pointwise {
    fn name(&self) -> &'static str {
        "pointwise convolution"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let input = Activation::read(self.name(), storage, layout, self.inputs)?;
        let plane = input.pixels() * BLOCK;
        let shape = [
            input.batch,
            blocks(self.outputs),
            input.height,
            input.width,
            BLOCK,
        ];
        let mut output = vec![0.0; shape.iter().product()];
        let images = input.values.chunks_exact(blocks(self.inputs) * plane);
        for (values, output) in images.zip(output.chunks_exact_mut(blocks(self.outputs) * plane)) {
            Arch::new().dispatch(Product::<_, BLOCK, BLOCK> {
                op: self,
                pixels: Pixels {
                    values,
                    plane,
                    count: input.pixels(),
                },
                target: Target {
                    values: output,
                    plane,
                    start: |pixel| pixel * BLOCK,
                    residual: None,
                },
            });
        }
        Ok((CpuStorage::F32(output), Shape::from(&shape[..])))
    }
}
