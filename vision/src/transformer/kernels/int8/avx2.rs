//! On AVX2: an instruction multiplies 2 numbers of 16 bits by 2 for 8 outputs.
//!
//! There is one for bytes, but it takes one factor without a sign and gives up where two products exceed 16 bits, so that every pair of a
//! weight and an activation costs a change of signs besides. A panel is turned into numbers of 16 bits once for all rows instead.

use std::arch::x86_64::{
    __m256, __m256i, _mm_loadu_si128, _mm256_add_epi32, _mm256_cvtepi32_ps, _mm256_cvtph_ps,
    _mm256_fmadd_ps, _mm256_load_ps, _mm256_load_si256, _mm256_loadu_si256, _mm256_madd_epi16,
    _mm256_mul_ps, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setr_epi8,
    _mm256_setzero_ps, _mm256_shuffle_epi8, _mm256_store_ps, _mm256_store_si256, _mm256_storeu_ps,
    _mm256_sub_epi16,
};

use rayon::prelude::*;

use super::super::lines::Lines;
use super::activations::Activations;
use super::output::{Finish, Output};
use super::{BLOCK, Int8, PANEL, PANEL_BLOCK, STEP};

/// Rows of a tile, and vectors of outputs: 6 of the 16 registers sum a block, 6 the blocks.
const ROWS: usize = 3;
const VECTORS: usize = 2;

/// Values of a vector of f32, pairs of a vector of 16 bits.
const LANES: usize = 8;

/// Pairs of inputs in a block.
const PAIRS: usize = BLOCK / 2;

/// `source`, `[rows, inputs]`, times weights that are for these units, and what follows.
pub(super) fn product(weights: &Int8, source: &[f32], rows: usize, finish: Finish<'_>) -> Vec<f32> {
    let x = Activations::new(source, rows, weights.inputs, weights.units.arch());
    let mut values = vec![0_f32; rows * weights.outputs];
    let output = Output::new(&mut values, (rows, weights.outputs), finish);
    let blocks = weights.blocks();
    weights.panels().enumerate().for_each_init(
        || Turned::new(blocks),
        |turned, (index, panel)| {
            // SAFETY: weights are for units that the machine has. Each panel writes columns of its own, and the buffer behind `output`
            // outlives the loop.
            unsafe {
                turned.turn(panel);
                turned.run(&output, index * PANEL, rows, &x);
            }
        },
    );
    values
}

/// A panel as it is used.
struct Turned {
    blocks: usize,
    /// `[PANEL / 16, blocks, 16, 16]` pairs of 16 bits: outputs that go together, then pairs of inputs.
    pairs: Lines,
    /// `[PANEL / 16, blocks, 16]`.
    scales: Lines,
}

/// Outputs that go together.
const TOGETHER: usize = VECTORS * LANES;

impl Turned {
    fn new(blocks: usize) -> Self {
        Self {
            blocks,
            pairs: Lines::new(PANEL * blocks * BLOCK * 2),
            scales: Lines::new(PANEL * blocks * 4),
        }
    }

    /// # Safety
    /// The machine has AVX2 and F16C.
    #[target_feature(enable = "avx2,f16c")]
    unsafe fn turn(&mut self, panel: &[u8]) {
        assert!(
            panel.len() == self.blocks * PANEL_BLOCK,
            "a panel fits what it is turned into"
        );
        // The first two bytes of four, each with a byte of zeros behind it, and the last two.
        let low = _mm256_setr_epi8(
            0, -1, 1, -1, 4, -1, 5, -1, 8, -1, 9, -1, 12, -1, 13, -1, 0, -1, 1, -1, 4, -1, 5, -1,
            8, -1, 9, -1, 12, -1, 13, -1,
        );
        let high = _mm256_setr_epi8(
            2, -1, 3, -1, 6, -1, 7, -1, 10, -1, 11, -1, 14, -1, 15, -1, 2, -1, 3, -1, 6, -1, 7, -1,
            10, -1, 11, -1, 14, -1, 15, -1,
        );
        let middle = _mm256_set1_epi16(128);
        for part in 0..PANEL / TOGETHER {
            for (block, weights) in panel.chunks_exact(PANEL_BLOCK).enumerate() {
                let at = part * self.blocks + block;
                let pairs = &mut self.pairs.of_mut::<u32>()[at * PAIRS * TOGETHER..];
                let pairs = &mut pairs[..PAIRS * TOGETHER];
                let scales = &mut self.scales.of_mut::<f32>()[at * TOGETHER..][..TOGETHER];
                for vector in 0..VECTORS {
                    let output = part * TOGETHER + vector * LANES;
                    // SAFETY: what is read lies within the block, of which all outputs and steps are gone through, what is written within
                    // its pairs and scales, which begin at lines.
                    unsafe {
                        for step in 0..BLOCK / STEP {
                            let at = weights.as_ptr().add((step * PANEL + output) * STEP);
                            let bytes = _mm256_loadu_si256(at.cast());
                            let at = pairs.as_mut_ptr().add(2 * step * TOGETHER + vector * LANES);
                            let two = [low, high].map(|two| _mm256_shuffle_epi8(bytes, two));
                            _mm256_store_si256(at.cast(), _mm256_sub_epi16(two[0], middle));
                            let at = at.add(TOGETHER);
                            _mm256_store_si256(at.cast(), _mm256_sub_epi16(two[1], middle));
                        }
                        let at = weights.as_ptr().add(PANEL * BLOCK + output * 2);
                        let four = _mm256_cvtph_ps(_mm_loadu_si128(at.cast()));
                        _mm256_store_ps(scales.as_mut_ptr().add(vector * LANES), four);
                    }
                }
            }
        }
    }

    /// All rows.
    ///
    /// # Safety
    /// The machine has AVX2 and FMA, and `output` has `rows` rows, to whose columns of this panel nobody else writes.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn run(&self, output: &Output<'_>, column: usize, rows: usize, x: &Activations<i16>) {
        for part in 0..PANEL / TOGETHER {
            let column = column + part * TOGETHER;
            let Some(width) = output.target.columns.checked_sub(column) else {
                return;
            };
            let width = width.min(TOGETHER);
            for row in (0..rows).step_by(ROWS) {
                // SAFETY: as this function's; the tiles lie within the rows.
                unsafe {
                    match rows - row {
                        1 => self
                            .tile::<1>(part, row, x)
                            .write(output, row, column, width),
                        2 => self
                            .tile::<2>(part, row, x)
                            .write(output, row, column, width),
                        _ => self
                            .tile::<ROWS>(part, row, x)
                            .write(output, row, column, width),
                    }
                }
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn tile<const COUNT: usize>(
        &self,
        part: usize,
        first: usize,
        x: &Activations<i16>,
    ) -> Tile<COUNT> {
        let blocks = self.blocks;
        let pairs = &self.pairs.of::<u32>()[part * blocks * PAIRS * TOGETHER..];
        let scales = &self.scales.of::<f32>()[part * blocks * TOGETHER..];
        assert!(
            pairs.len() >= blocks * PAIRS * TOGETHER
                && scales.len() >= blocks * TOGETHER
                && x.values.len() >= (first + COUNT) * blocks * BLOCK
                && x.scales.len() >= (first + COUNT) * blocks,
            "a tile lies within what it is computed from"
        );
        let mut sums = [[_mm256_setzero_ps(); VECTORS]; COUNT];
        for block in 0..blocks {
            // SAFETY: the assertion above holds all reads within their slices; the panel's begin at lines.
            unsafe {
                let at = pairs.as_ptr().add(block * PAIRS * TOGETHER);
                let values: [*const i16; COUNT] = std::array::from_fn(|row| {
                    x.values
                        .as_ptr()
                        .add(((first + row) * blocks + block) * BLOCK)
                });
                let mut products = [[_mm256_set1_epi32(0); VECTORS]; COUNT];
                for pair in 0..PAIRS {
                    let weights: [__m256i; VECTORS] = std::array::from_fn(|vector| {
                        _mm256_load_si256(at.add(pair * TOGETHER + vector * LANES).cast())
                    });
                    for (products, values) in products.iter_mut().zip(values) {
                        let x = values.add(2 * pair).cast::<i32>().read_unaligned();
                        let x = _mm256_set1_epi32(x);
                        for (product, weights) in products.iter_mut().zip(weights) {
                            let two = _mm256_madd_epi16(weights, x);
                            *product = _mm256_add_epi32(*product, two);
                        }
                    }
                }
                let scales: [__m256; VECTORS] = std::array::from_fn(|vector| {
                    _mm256_load_ps(scales.as_ptr().add(block * TOGETHER + vector * LANES))
                });
                for (row, (sums, products)) in sums.iter_mut().zip(products).enumerate() {
                    let scale = *x.scales.get_unchecked((first + row) * blocks + block);
                    let scale = _mm256_set1_ps(scale);
                    for ((sum, product), weights) in sums.iter_mut().zip(products).zip(scales) {
                        let scale = _mm256_mul_ps(weights, scale);
                        *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(product), scale, *sum);
                    }
                }
            }
        }
        Tile(sums)
    }
}

/// The sums of some rows.
struct Tile<const COUNT: usize>([[__m256; VECTORS]; COUNT]);

impl<const COUNT: usize> Tile<COUNT> {
    /// `width` of its outputs, finished, to rows from `first` on.
    ///
    /// # Safety
    /// The rows have so many outputs from `column` on, which nobody else reads or writes.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    unsafe fn write(&self, output: &Output<'_>, first: usize, column: usize, width: usize) {
        for (row, sums) in self.0.iter().enumerate() {
            let mut values = [0.0; TOGETHER];
            for (vector, sum) in sums.iter().enumerate() {
                // SAFETY: there is room for the vector.
                unsafe { _mm256_storeu_ps(values.as_mut_ptr().add(vector * LANES), *sum) };
            }
            // SAFETY: as this function's.
            unsafe {
                let at = output.target.at(first + row, column);
                std::ptr::copy_nonoverlapping(values.as_ptr(), at, width);
                output.finish(first + row, column, width);
            }
        }
    }
}
