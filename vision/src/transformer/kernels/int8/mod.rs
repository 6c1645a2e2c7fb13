//! Products with weights of 8 bits on the CPU.
//!
//! The weights are those of GGML's Q8_0: blocks of 32 along a row with one scale each, `round(x / scale)` with `scale = max |x| / 127`.
//! candle has the same product; this one keeps the weights once, in the order in which they are used, and multiplies rows and columns
//! of them at a time, for two to nine times the speed. What multiplies is a matter of [`Units`]: [`vnni`], [`avx2`] and, for a few
//! rows, [`avx2_few`] bring the rows of activations into such blocks too, [`tiles`] rounds them, and the weights while they are used, to
//! bf16, which loses less; a few rows go to `vnni` on every machine with tiles. What follows a product is done where its sums are stored
//! ([`output`]).
//!
//! A panel is [`PANEL`] outputs. For each block of 32 inputs it holds 8 steps of 4 inputs for each output, neighbours in
//! memory, then the outputs' scales as f16. Weights are stored plus 128.

mod activations;
mod avx2;
mod avx2_few;
mod output;
mod shares;
mod tiles;
mod vnni;

use std::sync::Arc;

use candle_core::{CpuStorage, Layout, Result, Storage, Tensor};
use half::f16;
use rayon::prelude::*;

use super::lines::Lines;
use super::{After, Units};
use output::Finish;

/// Inputs with one scale.
const BLOCK: usize = 32;

/// Outputs of a panel.
const PANEL: usize = 32;

/// Inputs of an output that are neighbours in memory.
const STEP: usize = 4;

/// Bytes of a panel's block: weights, then scales. Whole lines of the cache.
const PANEL_BLOCK: usize = PANEL * BLOCK + PANEL * 2;

/// Weights `[outputs, inputs]` in blocks of 8 bits.
#[derive(Debug, Clone)]
pub(crate) struct Int8 {
    outputs: usize,
    inputs: usize,
    units: Units,
    panels: Arc<Lines>,
}

impl Int8 {
    /// Quantises weights `[outputs, inputs]` of f32 for these units, which are the machine's; `None` where candle's product is as good.
    pub(crate) fn new(weight: &Tensor, units: Units) -> Result<Option<Self>> {
        let (outputs, inputs) = weight.dims2()?;
        if units == Units::Plain || inputs == 0 {
            return Ok(None);
        }
        let values = weight.flatten_all()?.to_vec1::<f32>()?;
        let blocks = inputs.div_ceil(BLOCK);
        let mut panels = Lines::new(outputs.div_ceil(PANEL) * blocks * PANEL_BLOCK);
        panels
            .of_mut::<u8>()
            .par_chunks_mut((blocks * PANEL_BLOCK).max(1))
            .enumerate()
            .for_each(|(panel, bytes)| {
                for (block, bytes) in bytes.chunks_exact_mut(PANEL_BLOCK).enumerate() {
                    let (weights, scales) = bytes.split_at_mut(PANEL * BLOCK);
                    // Zero, which is stored as 128, where the matrix ends within a block.
                    weights.fill(128);
                    for column in 0..PANEL.min(outputs - panel * PANEL) {
                        let row = &values[(panel * PANEL + column) * inputs..][..inputs];
                        let row = &row[block * BLOCK..inputs.min((block + 1) * BLOCK)];
                        let scale = f16::from_f32(largest(row) / 127.0);
                        scales[column * 2..column * 2 + 2].copy_from_slice(&scale.to_le_bytes());
                        let inverse = inverse(scale.to_f32());
                        for (at, &weight) in row.iter().enumerate() {
                            let quantised =
                                (weight * inverse).round_ties_even().clamp(-127.0, 127.0);
                            weights[at / STEP * PANEL * STEP + column * STEP + at % STEP] =
                                (quantised + 128.0) as u8;
                        }
                    }
                }
            });
        Ok(Some(Self {
            outputs,
            inputs,
            units,
            panels: Arc::new(panels),
        }))
    }

    /// Bytes of the weights.
    pub(crate) fn bytes(&self) -> usize {
        self.panels.bytes()
    }

    /// Blocks along a row.
    fn blocks(&self) -> usize {
        self.inputs.div_ceil(BLOCK)
    }

    /// The panels, one behind the other.
    fn panels(&self) -> impl IndexedParallelIterator<Item = &[u8]> {
        self.panels
            .of::<u8>()
            .par_chunks_exact((self.blocks() * PANEL_BLOCK).max(1))
    }

    /// `x`, `[rows, inputs]` of f32 on the CPU, times the weights, and what follows: `[rows, outputs]`.
    pub(crate) fn product(&self, x: &Tensor, after: Option<After<'_>>) -> Result<Tensor> {
        let (rows, inputs) = x.dims2()?;
        if inputs != self.inputs {
            candle_core::bail!("weights over {} inputs are given {inputs}", self.inputs);
        }
        let (through, bias) = match after {
            None => (None, None),
            Some(After::Bias(bias) | After::Gelu(bias)) => (None, Some(bias)),
            Some(After::Sum(through, bias)) => (Some(through), bias),
        };
        let fits = |x: Option<&Tensor>, shape: &[usize]| x.is_none_or(|x| x.dims() == shape);
        if !fits(through, &[rows, self.outputs]) || !fits(bias, &[self.outputs]) {
            candle_core::bail!(
                "a product of {rows} x {} does not fit what follows",
                self.outputs
            );
        }
        // Each storage is held as long as its numbers are read.
        let x = x.contiguous()?;
        let (storage, layout) = x.storage_and_layout();
        let source = numbers(&storage, layout)?;
        let through = through.map(Tensor::contiguous).transpose()?;
        let through = through.as_ref().map(Tensor::storage_and_layout);
        let bias = bias.map(Tensor::contiguous).transpose()?;
        let bias = bias.as_ref().map(Tensor::storage_and_layout);
        let finish = Finish {
            through: match &through {
                Some((storage, layout)) => Some(numbers(storage, layout)?),
                None => None,
            },
            bias: match &bias {
                Some((storage, layout)) => Some(numbers(storage, layout)?),
                None => None,
            },
            gelu: matches!(after, Some(After::Gelu(_))),
        };
        let output = match self.units {
            Units::Amx if rows > tiles::FEW => tiles::product(self, source, rows, finish),
            Units::Amx | Units::Avx512 => vnni::product(self, source, rows, finish),
            Units::Avx2 if rows <= avx2_few::ROWS => avx2_few::product(self, source, rows, finish),
            Units::Avx2 => avx2::product(self, source, rows, finish),
            Units::Plain => candle_core::bail!("weights of 8 bits have no units to multiply them"),
        };
        Tensor::from_vec(output, (rows, self.outputs), x.device())
    }
}

/// The numbers of a contiguous tensor, which is to be f32 on the CPU.
fn numbers<'a>(storage: &'a Storage, layout: &Layout) -> Result<&'a [f32]> {
    let Storage::Cpu(CpuStorage::F32(values)) = storage else {
        candle_core::bail!("a product of 8 bits takes and gives f32 on the CPU");
    };
    super::contiguous("int8-product", values, layout)
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(
        0.0,
        |largest: f32, x| if x.abs() > largest { x.abs() } else { largest },
    )
}

#[inline(always)]
fn inverse(scale: f32) -> f32 {
    if scale > 0.0 { 1.0 / scale } else { 0.0 }
}

#[cfg(test)]
mod tests;
