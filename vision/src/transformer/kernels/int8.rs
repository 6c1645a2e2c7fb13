//! Products with weights of 8 bits on CPUs with AVX-512 VNNI.
//!
//! The numbers are those of GGML's Q8_0, for weights and activations alike: blocks of 32 along a row with one scale each,
//! `round(x / scale)` with `scale = max |x| / 127`. candle has the same product; this one keeps the weights once, in the order in
//! which they are used, and has a register tile of rows and columns, for two to three times the speed.
//!
//! A panel is [`PANEL`] outputs. For each block of 32 inputs it holds 8 steps of 4 inputs for each output, neighbours in
//! memory, then the outputs' scales. Weights are stored plus 128, because the instruction multiplies unsigned by signed
//! bytes; what that adds, 128 times the sum of a block of activations, is taken off where a block begins.

use std::arch::x86_64::{
    __m512, __m512i, __mmask16, _mm256_loadu_si256, _mm512_cvtepi32_ps, _mm512_cvtph_ps,
    _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_si512, _mm512_mask_storeu_ps, _mm512_mul_ps,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps,
};

use candle_core::{Result, Tensor};
use half::f16;
use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

/// Inputs with one scale.
const BLOCK: usize = 32;

/// Outputs of a panel: two vectors.
const PANEL: usize = 32;

/// Inputs that one instruction multiplies for an output.
const STEP: usize = 4;

/// Rows of a tile: 2 vectors of sums and 2 of block sums for each row, 24 of the 32 registers.
const ROWS: usize = 6;

/// Bytes of a panel's block: weights, then scales.
const PANEL_BLOCK: usize = PANEL * BLOCK + PANEL * 2;

/// Weights `[outputs, inputs]` in blocks of 8 bits.
#[derive(Debug, Clone)]
pub(crate) struct Int8 {
    outputs: usize,
    inputs: usize,
    panels: std::sync::Arc<Vec<u8>>,
}

/// Rows of activations in blocks of 8 bits.
struct Activations {
    /// `[rows, inputs]`.
    values: Vec<i8>,
    /// `[rows, blocks]`: scale, and -128 times the sum of the block.
    scales: Vec<f32>,
    offsets: Vec<i32>,
}

impl Int8 {
    /// Whether this machine has the instructions.
    pub(crate) fn available() -> bool {
        is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni")
    }

    /// Quantises weights `[outputs, inputs]` of f32; `None` on a machine without the instructions.
    pub(crate) fn new(weight: &Tensor) -> Result<Option<Self>> {
        if !Self::available() {
            return Ok(None);
        }
        let (outputs, inputs) = weight.dims2()?;
        let values = weight.flatten_all()?.to_vec1::<f32>()?;
        let blocks = inputs.div_ceil(BLOCK);
        let mut panels = vec![0_u8; outputs.div_ceil(PANEL) * blocks * PANEL_BLOCK];
        panels
            .par_chunks_mut(blocks * PANEL_BLOCK)
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
            panels: std::sync::Arc::new(panels),
        }))
    }

    /// Bytes of the weights.
    pub(crate) fn bytes(&self) -> usize {
        self.panels.len()
    }

    /// `x`, `[rows, inputs]` of f32 on the CPU, times the weights: `[rows, outputs]`.
    pub(crate) fn product(&self, x: &Tensor) -> Result<Tensor> {
        let (rows, inputs) = x.dims2()?;
        if inputs != self.inputs {
            candle_core::bail!("weights over {} inputs are given {inputs}", self.inputs);
        }
        let activations = Activations::new(&x.contiguous()?, rows, inputs)?;
        let mut output = vec![0_f32; rows * self.outputs];
        let target = Target {
            values: output.as_mut_ptr(),
            outputs: self.outputs,
        };
        let blocks = inputs.div_ceil(BLOCK);
        self.panels
            .par_chunks_exact(blocks * PANEL_BLOCK)
            .enumerate()
            .for_each(|(index, panel)| {
                // SAFETY: `new` gives weights only on a machine with the instructions. Each panel writes columns of its own,
                // and the buffer behind `target` outlives the loop.
                unsafe { run_panel(&target, index * PANEL, panel, blocks, rows, &activations) };
            });
        Tensor::from_vec(output, (rows, self.outputs), x.device())
    }
}

/// The output, written by all panels at once, each its own columns.
struct Target {
    values: *mut f32,
    outputs: usize,
}

// SAFETY: threads write through it to columns that no other thread touches, and read nothing.
unsafe impl Sync for Target {}

impl Activations {
    fn new(x: &Tensor, rows: usize, inputs: usize) -> Result<Self> {
        let blocks = inputs.div_ceil(BLOCK);
        let (storage, layout) = x.storage_and_layout();
        let candle_core::Storage::Cpu(candle_core::CpuStorage::F32(source)) = &*storage else {
            candle_core::bail!("activations are to be f32 on the CPU");
        };
        let source = super::contiguous("int8-product", source, layout)?;
        let mut values = vec![0_i8; rows * blocks * BLOCK];
        let mut scales = vec![0_f32; rows * blocks];
        let mut offsets = vec![0_i32; rows * blocks];
        let arch = Arch::new();
        values
            .par_chunks_mut(blocks * BLOCK)
            .zip(scales.par_chunks_mut(blocks))
            .zip(offsets.par_chunks_mut(blocks))
            .zip(source.par_chunks(inputs))
            .for_each(|(((values, scales), offsets), row)| {
                arch.dispatch(Quantise {
                    row,
                    values,
                    scales,
                    offsets,
                });
            });
        Ok(Self {
            values,
            scales,
            offsets,
        })
    }
}

/// Brings a row into blocks.
struct Quantise<'a> {
    row: &'a [f32],
    values: &'a mut [i8],
    scales: &'a mut [f32],
    offsets: &'a mut [i32],
}

impl NullaryFnOnce for Quantise<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (block, values) in self.values.chunks_exact_mut(BLOCK).enumerate() {
            let row = &self.row[block * BLOCK..self.row.len().min((block + 1) * BLOCK)];
            let largest = magnitude(row);
            let scale = largest / 127.0;
            let inverse = inverse(scale);
            let mut sum = 0_i32;
            for (value, &x) in values.iter_mut().zip(row) {
                let quantised = rounded(x * inverse);
                *value = quantised as i8;
                sum = sum.wrapping_add(quantised);
            }
            // A NaN among the inputs stays one in the outputs.
            self.scales[block] = if largest.is_finite() { scale } else { f32::NAN };
            self.offsets[block] = sum.wrapping_mul(-128);
        }
    }
}

/// The largest magnitude, or none that is finite where one of the values is not: without their signs, numbers are ordered as their bits are,
/// and whole numbers are what every instruction set compares a vector of at once.
#[inline(always)]
fn magnitude(values: &[f32]) -> f32 {
    const SIGN: u32 = 1 << 31;
    let bits = values
        .iter()
        .fold(0, |largest: u32, x| largest.max(x.to_bits() & !SIGN));
    f32::from_bits(bits)
}

/// The nearest whole number, of two the even one, of a value between -2^22 and 2^22. What is added leaves no bits for a fraction and the
/// number in the last ones, which unlike a call to round every instruction set does to a vector at once. No number gives any.
#[inline(always)]
fn rounded(x: f32) -> i32 {
    /// 1.5 * 2^23.
    const SHIFT: f32 = 12_582_912.0;
    ((x + SHIFT).to_bits() as i32).wrapping_sub(SHIFT.to_bits() as i32)
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

/// All rows of one panel.
///
/// # Safety
/// The machine has AVX-512 VNNI, and `target` has `rows` rows.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn run_panel(
    target: &Target,
    column: usize,
    panel: &[u8],
    blocks: usize,
    rows: usize,
    x: &Activations,
) {
    let mut row = 0;
    while row < rows {
        // SAFETY: as this function's; the tiles lie within the rows.
        unsafe {
            match rows - row {
                1 => run_tile::<1>(target, column, panel, blocks, row, x),
                2 => run_tile::<2>(target, column, panel, blocks, row, x),
                3 => run_tile::<3>(target, column, panel, blocks, row, x),
                4 => run_tile::<4>(target, column, panel, blocks, row, x),
                5 => run_tile::<5>(target, column, panel, blocks, row, x),
                _ => run_tile::<ROWS>(target, column, panel, blocks, row, x),
            }
        }
        row += ROWS;
    }
}

/// `COUNT` rows from `first` on.
///
/// # Safety
/// The machine has AVX-512 VNNI, and `target` has these rows.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn run_tile<const COUNT: usize>(
    target: &Target,
    column: usize,
    panel: &[u8],
    blocks: usize,
    first: usize,
    x: &Activations,
) {
    const LANES: usize = 16;
    assert!(
        panel.len() == blocks * PANEL_BLOCK
            && x.values.len() >= (first + COUNT) * blocks * BLOCK
            && x.scales.len() >= (first + COUNT) * blocks
            && x.offsets.len() == x.scales.len()
    );
    let mut sums: [[__m512; 2]; COUNT] = [[_mm512_setzero_ps(); 2]; COUNT];
    for block in 0..blocks {
        // SAFETY: the assertion above holds all reads within their slices.
        unsafe {
            let weights = panel.as_ptr().add(block * PANEL_BLOCK);
            let mut products: [[__m512i; 2]; COUNT] = [[_mm512_set1_epi32(0); 2]; COUNT];
            for (row, products) in products.iter_mut().enumerate() {
                *products =
                    [_mm512_set1_epi32(*x.offsets.get_unchecked((first + row) * blocks + block));
                        2];
            }
            for step in 0..BLOCK / STEP {
                let at = weights.add(step * PANEL * STEP);
                let left = _mm512_loadu_si512(at.cast());
                let right = _mm512_loadu_si512(at.add(LANES * STEP).cast());
                for (row, products) in products.iter_mut().enumerate() {
                    let values = x
                        .values
                        .as_ptr()
                        .add(((first + row) * blocks + block) * BLOCK + step * STEP);
                    let values = _mm512_set1_epi32(values.cast::<i32>().read_unaligned());
                    products[0] = _mm512_dpbusd_epi32(products[0], left, values);
                    products[1] = _mm512_dpbusd_epi32(products[1], right, values);
                }
            }
            let scales = weights.add(PANEL * BLOCK);
            let left = _mm512_cvtph_ps(_mm256_loadu_si256(scales.cast()));
            let right = _mm512_cvtph_ps(_mm256_loadu_si256(scales.add(LANES * 2).cast()));
            for (row, (sums, products)) in sums.iter_mut().zip(&products).enumerate() {
                let scale = _mm512_set1_ps(*x.scales.get_unchecked((first + row) * blocks + block));
                sums[0] = _mm512_fmadd_ps(
                    _mm512_cvtepi32_ps(products[0]),
                    _mm512_mul_ps(left, scale),
                    sums[0],
                );
                sums[1] = _mm512_fmadd_ps(
                    _mm512_cvtepi32_ps(products[1]),
                    _mm512_mul_ps(right, scale),
                    sums[1],
                );
            }
        }
    }
    // As many of the panel's outputs as there are, which for all panels but the last is all.
    let width = PANEL.min(target.outputs - column);
    let all = u32::MAX >> (PANEL - width);
    for (row, sums) in sums.iter().enumerate() {
        // SAFETY: `target` has the row, and `width` values from `column` on in it.
        unsafe {
            let at = target.values.add((first + row) * target.outputs + column);
            _mm512_mask_storeu_ps(at, all as __mmask16, sums[0]);
            _mm512_mask_storeu_ps(at.wrapping_add(LANES), (all >> LANES) as __mmask16, sums[1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    fn matrix(rows: usize, columns: usize, seed: u32) -> Tensor {
        let values: Vec<f32> = (0..rows * columns)
            .map(|at| {
                ((at as u32 + seed).wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32
                    - 1.0
            })
            .collect();
        Tensor::from_vec(values, (rows, columns), &Device::Cpu).unwrap()
    }

    /// What rounding to 8 bits explains: each of the products is off by up to half a step of either factor.
    fn tolerance(inputs: usize) -> f32 {
        (inputs as f32).sqrt() / 127.0 * 2.0
    }

    #[test]
    fn agrees_with_the_product_in_f32() {
        // Widths that are no whole number of panels or blocks, rows that are no whole number of tiles.
        for (rows, inputs, outputs) in [
            (1, 32, 32),
            (5, 64, 16),
            (7, 100, 33),
            (13, 256, 96),
            (730, 96, 70),
        ] {
            let (x, weight) = (matrix(rows, inputs, 1), matrix(outputs, inputs, 7));
            let Some(quantised) = Int8::new(&weight).unwrap() else {
                return;
            };
            let ours = quantised.product(&x).unwrap();
            let theirs = x.matmul(&weight.t().unwrap()).unwrap();
            let difference = (ours - theirs)
                .unwrap()
                .abs()
                .unwrap()
                .flatten_all()
                .unwrap();
            let largest = difference
                .max(0)
                .unwrap()
                .to_dtype(DType::F32)
                .unwrap()
                .to_scalar::<f32>()
                .unwrap();
            assert!(
                largest < tolerance(inputs),
                "{rows} x {inputs} x {outputs}: {largest}"
            );
        }
    }

    #[test]
    fn a_row_with_a_nan_has_no_numbers_and_spoils_no_other() {
        let Some(quantised) = Int8::new(&matrix(8, 64, 3)).unwrap() else {
            return;
        };
        let mut values = matrix(3, 64, 5)
            .flatten_all()
            .unwrap()
            .to_vec1::<f32>()
            .unwrap();
        values[64 + 9] = f32::NAN;
        let x = Tensor::from_vec(values, (3, 64), &Device::Cpu).unwrap();
        let rows = quantised.product(&x).unwrap().to_vec2::<f32>().unwrap();
        assert!(rows[1].iter().all(|value| value.is_nan()));
        assert!(
            rows[0]
                .iter()
                .chain(&rows[2])
                .all(|value| value.is_finite())
        );
    }
}
