//! On AVX-512 VNNI: an instruction multiplies 4 bytes by 4 for 16 outputs.
//!
//! It takes unsigned by signed bytes, so the weights are as they are stored, plus 128; what that adds, 128 times the sum of a block of
//! activations, is taken off where a block begins.

use std::arch::x86_64::{
    __m512, __m512i, __mmask16, _mm256_loadu_si256, _mm512_cvtepi32_ps, _mm512_cvtph_ps,
    _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_si512, _mm512_mask_storeu_ps, _mm512_mul_ps,
    _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps,
};

use rayon::prelude::*;

use super::super::target::Target;
use super::activations::Activations;
use super::{BLOCK, Int8, PANEL, PANEL_BLOCK, STEP};

/// Rows of a tile: 2 vectors of sums and 2 of block sums for each row, 24 of the 32 registers.
const ROWS: usize = 6;

/// `source`, `[rows, inputs]`, times weights that are for these units.
pub(super) fn product(weights: &Int8, source: &[f32], rows: usize) -> Vec<f32> {
    let activations = Activations::new(source, rows, weights.inputs, weights.units.arch());
    let mut output = Vec::with_capacity(rows * weights.outputs);
    let target = Target {
        values: output.as_mut_ptr(),
        columns: weights.outputs,
    };
    let blocks = weights.blocks();
    weights.panels().enumerate().for_each(|(index, panel)| {
        // SAFETY: weights are for units that the machine has. Each panel writes columns of its own, and the buffer behind `target`
        // outlives the loop.
        unsafe { run_panel(&target, index * PANEL, panel, blocks, rows, &activations) };
    });
    // SAFETY: the panels have written all columns of all rows.
    unsafe { output.set_len(rows * weights.outputs) };
    output
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
    x: &Activations<i8>,
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
    x: &Activations<i8>,
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
    let width = PANEL.min(target.columns - column);
    let all = u32::MAX >> (PANEL - width);
    for (row, sums) in sums.iter().enumerate() {
        // SAFETY: `target` has the row, and `width` values from `column` on in it.
        unsafe {
            let at = target.values.add((first + row) * target.columns + column);
            _mm512_mask_storeu_ps(at, all as __mmask16, sums[0]);
            _mm512_mask_storeu_ps(at.wrapping_add(LANES), (all >> LANES) as __mmask16, sums[1]);
        }
    }
}
