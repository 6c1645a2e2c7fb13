//! The end of a detector of which only "is it there" is asked: a 3x3 convolution, then each output's largest value over the image.
//!
//! The filter is computed as nine pointwise products in one, a row of the product for each output and tap, and the nine are then summed
//! at their shifted places. So few outputs cost little, and nothing is copied to make patches.

use candle_core::{CpuStorage, CustomOp1, Error, Layout, Result, Shape};
use pulp::{Arch, Simd, WithSimd};

use super::pointwise::{Pixels, Target};
use super::{Activation, BLOCK, Pointwise, blocks, padded, scratch};

/// Side of the filter.
const KERNEL: usize = 3;

/// Taps of the filter.
const TAPS: usize = KERNEL * KERNEL;

/// A convolution with a filter of 3, stride 1, `SAME` padding and bias, and the maximum of its results over height and width, to
/// `[batch, outputs]`.
#[derive(Debug, Clone)]
pub struct PeakHead {
    /// One row for each tap and output, taps first.
    product: Pointwise,
    bias: Vec<f32>,
}

impl PeakHead {
    /// Weights of one output and input.
    pub const TAPS: usize = TAPS;

    /// A head with weights `[outputs, 9, inputs]` in row-major order, the taps in rows from the top left, and a bias per output.
    ///
    /// # Errors
    /// When the lengths do not fit together.
    pub fn new(inputs: usize, weights: &[f32], bias: &[f32]) -> Result<Self> {
        let outputs = bias.len();
        if inputs == 0 || weights.len() != outputs * TAPS * inputs {
            return Err(Error::Msg(format!(
                "a 3x3 convolution of {inputs} to {outputs} channels cannot have {} weights",
                weights.len()
            )));
        }
        let mut by_tap = Vec::with_capacity(weights.len());
        for tap in 0..TAPS {
            for filter in weights.chunks_exact(TAPS * inputs) {
                by_tap.extend_from_slice(&filter[tap * inputs..(tap + 1) * inputs]);
            }
        }
        Ok(Self {
            product: Pointwise::new(inputs, &by_tap, &vec![0.0; outputs * TAPS], false)?,
            bias: bias.to_vec(),
        })
    }

    /// Output channels.
    pub fn outputs(&self) -> usize {
        self.bias.len()
    }
}

impl CustomOp1 for PeakHead {
    fn name(&self) -> &'static str {
        "peak head"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let input = Activation::read(self.name(), storage, layout, self.product.inputs())?;
        let (batch, outputs) = (input.batch, self.outputs());
        let mut output = vec![0.0; batch * outputs];
        let product = input.pixels() * padded(self.product.outputs());
        scratch::with(product + input.pixels(), |memory| {
            let (product, sums) = memory.split_at_mut(product);
            Arch::new().dispatch(Head {
                op: self,
                input,
                product,
                sums,
                output: &mut output,
            });
        });
        Ok((CpuStorage::F32(output), Shape::from((batch, outputs))))
    }
}

struct Head<'a> {
    op: &'a PeakHead,
    input: Activation<'a>,
    /// The products of one image.
    product: &'a mut [f32],
    /// The sums of one output over the taps.
    sums: &'a mut [f32],
    output: &'a mut [f32],
}

impl WithSimd for Head<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let op = self.op;
        let (h, w) = (self.input.height, self.input.width);
        let count = h * w;
        let plane = count * BLOCK;
        let images = (self.input.values).chunks_exact(blocks(op.product.inputs()) * plane);
        for (values, output) in images.zip(self.output.chunks_exact_mut(op.outputs())) {
            let pixels = Pixels {
                values,
                plane,
                count,
            };
            let target = Target {
                values: &mut *self.product,
                plane,
                start: |pixel| pixel * BLOCK,
                residual: None,
            };
            op.product.run(simd, pixels, target);
            for (index, (output, bias)) in output.iter_mut().zip(&op.bias).enumerate() {
                self.sums.fill(*bias);
                for tap in 0..TAPS {
                    let channel = tap * op.outputs() + index;
                    let values = &self.product[channel / BLOCK * plane..][..plane];
                    let shift = (tap / KERNEL, tap % KERNEL);
                    add_shifted(values, channel % BLOCK, shift, (h, w), self.sums);
                }
                *output = self.sums.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            }
        }
    }
}

/// Adds one lane of a block to the places whose filter has it at this row and column of its taps.
#[inline(always)]
fn add_shifted(
    values: &[f32],
    lane: usize,
    (row, column): (usize, usize),
    (h, w): (usize, usize),
    sums: &mut [f32],
) {
    // The place at y sees the input row y + row - 1.
    let places = |shift: usize, length: usize| {
        1_usize.saturating_sub(shift)..(length + 1).saturating_sub(shift).min(length)
    };
    let columns = places(column, w);
    if columns.is_empty() {
        return;
    }
    for y in places(row, h) {
        let sums = &mut sums[y * w..][columns.clone()];
        let first = (y + row - 1) * w + columns.start + column - 1;
        let inputs = values[first * BLOCK + lane..].iter().step_by(BLOCK);
        for (sum, value) in sums.iter_mut().zip(inputs) {
            *sum += value;
        }
    }
}
