//! A few rows on AVX2: the weights as they are stored, for turning a panel is more work than so few rows repay.
//!
//! What multiplies bytes takes one factor without a sign and sums two products in 16 bits. So the weights take the activations' signs, and of
//! the activations there are magnitudes up to 127: no two products exceed what they are summed in.

use std::arch::x86_64::{
    __m256, __m256i, _mm_loadu_si128, _mm256_abs_epi8, _mm256_add_epi32, _mm256_cvtepi32_ps,
    _mm256_cvtph_ps, _mm256_fmadd_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
    _mm256_mul_ps, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_setzero_ps, _mm256_setzero_si256, _mm256_sign_epi8, _mm256_storeu_ps, _mm256_xor_si256,
};

use rayon::prelude::*;

use super::activations::Activations;
use super::output::{Finish, Output};
use super::{BLOCK, Int8, PANEL, PANEL_BLOCK, STEP};

/// Rows up to which this is the faster way.
pub(super) const ROWS: usize = 4;

/// Outputs of a vector.
const LANES: usize = 8;

/// `source`, of at most [`ROWS`] rows, times weights that are for these units, and what follows.
pub(super) fn product(weights: &Int8, source: &[f32], rows: usize, finish: Finish<'_>) -> Vec<f32> {
    let x = Activations::new(source, rows, weights.inputs, weights.units.arch());
    let mut values = vec![0_f32; rows * weights.outputs];
    let output = Output::new(&mut values, (rows, weights.outputs), finish);
    weights.panels().enumerate().for_each(|(index, panel)| {
        let column = index * PANEL;
        // SAFETY: weights are for units that the machine has. Each panel writes columns of its own, and the buffer behind `output`
        // outlives the loop.
        unsafe {
            match rows {
                0 => {}
                1 => run::<1, 4>(&output, column, panel, &x),
                2 => run::<2, 2>(&output, column, panel, &x),
                3 => run::<3, 2>(&output, column, panel, &x),
                _ => run::<ROWS, 2>(&output, column, panel, &x),
            }
        }
    });
    values
}

/// A panel times all rows, some vectors of its outputs at a time.
///
/// # Safety
/// The machine has AVX2, FMA and F16C, and `output` has `COUNT` rows, to whose columns of this panel nobody else writes.
#[target_feature(enable = "avx2,fma,f16c")]
unsafe fn run<const COUNT: usize, const VECTORS: usize>(
    output: &Output<'_>,
    column: usize,
    panel: &[u8],
    x: &Activations<i8>,
) {
    let blocks = panel.len() / PANEL_BLOCK;
    assert!(
        x.values.len() >= COUNT * blocks * BLOCK && x.scales.len() >= COUNT * blocks,
        "rows are as long as a panel"
    );
    let (middle, ones) = (_mm256_set1_epi8(-128), _mm256_set1_epi16(1));
    for first in (0..PANEL).step_by(VECTORS * LANES) {
        let Some(width) = output.target.columns.checked_sub(column + first) else {
            return;
        };
        let mut sums = [[_mm256_setzero_ps(); VECTORS]; COUNT];
        for (block, stored) in panel.chunks_exact(PANEL_BLOCK).enumerate() {
            // SAFETY: what is read lies within the block, of which all steps are gone through, and within rows that are as long.
            unsafe {
                let values: [*const i8; COUNT] = std::array::from_fn(|row| {
                    x.values.as_ptr().add((row * blocks + block) * BLOCK)
                });
                let mut products = [[_mm256_setzero_si256(); VECTORS]; COUNT];
                for step in 0..BLOCK / STEP {
                    let at = stored.as_ptr().add((step * PANEL + first) * STEP);
                    // Less 128.
                    let weights: [__m256i; VECTORS] = std::array::from_fn(|vector| {
                        let bytes = _mm256_loadu_si256(at.add(vector * LANES * STEP).cast());
                        _mm256_xor_si256(bytes, middle)
                    });
                    for (products, values) in products.iter_mut().zip(values) {
                        let x = values.add(step * STEP).cast::<i32>().read_unaligned();
                        let x = _mm256_set1_epi32(x);
                        let magnitude = _mm256_abs_epi8(x);
                        for (product, weights) in products.iter_mut().zip(weights) {
                            let signed = _mm256_sign_epi8(weights, x);
                            let two = _mm256_maddubs_epi16(magnitude, signed);
                            *product = _mm256_add_epi32(*product, _mm256_madd_epi16(two, ones));
                        }
                    }
                }
                let scales: [__m256; VECTORS] = std::array::from_fn(|vector| {
                    let at = PANEL * BLOCK + (first + vector * LANES) * 2;
                    _mm256_cvtph_ps(_mm_loadu_si128(stored.as_ptr().add(at).cast()))
                });
                for (row, (sums, products)) in sums.iter_mut().zip(products).enumerate() {
                    let scale = _mm256_set1_ps(*x.scales.get_unchecked(row * blocks + block));
                    for ((sum, product), weights) in sums.iter_mut().zip(products).zip(scales) {
                        let scale = _mm256_mul_ps(weights, scale);
                        *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(product), scale, *sum);
                    }
                }
            }
        }
        // As many outputs as there are.
        let width = width.min(VECTORS * LANES);
        for (row, sums) in sums.iter().enumerate() {
            let mut values = [0_f32; PANEL];
            for (values, sum) in values.chunks_exact_mut(LANES).zip(sums) {
                // SAFETY: there is room for the vector.
                unsafe { _mm256_storeu_ps(values.as_mut_ptr(), *sum) };
            }
            // SAFETY: `output` has the row, and `width` values from there on in it.
            unsafe {
                let at = output.target.at(row, column + first);
                std::ptr::copy_nonoverlapping(values.as_ptr(), at, width);
                output.finish(row, column + first, width);
            }
        }
    }
}
