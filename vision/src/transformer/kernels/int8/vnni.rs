//! On AVX-512 VNNI: an instruction multiplies 4 bytes by 4 for 16 outputs.
//!
//! It takes unsigned by signed bytes, so the weights are as they are stored, plus 128; what that adds, 128 times the sum of a block of
//! activations, is taken off where a block begins.

use std::arch::x86_64::{
    __m512, __m512i, __mmask16, _mm256_loadu_si256, _mm512_cvtepi32_ps, _mm512_cvtph_ps,
    _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_si512, _mm512_mul_ps, _mm512_set1_epi32,
    _mm512_set1_ps, _mm512_setzero_ps,
};
use std::ops::Range;

use rayon::prelude::*;

use super::activations::Activations;
use super::output::{Finish, Output};
use super::shares::Shares;
use super::{BLOCK, Int8, PANEL, PANEL_BLOCK, STEP};

/// Rows of a tile: 2 vectors of sums and 2 of block sums for each row, 24 of the 32 registers.
const ROWS: usize = 6;

/// `source`, `[rows, inputs]`, times weights that are for these units, and what follows.
pub(super) fn product(weights: &Int8, source: &[f32], rows: usize, finish: Finish<'_>) -> Vec<f32> {
    let activations = Activations::new(source, rows, weights.inputs, weights.units.arch());
    let mut values = Vec::with_capacity(rows * weights.outputs);
    let output = Output::new(&mut values, (rows, weights.outputs), finish);
    let blocks = weights.blocks();
    let panels = weights.panels.of::<u8>();
    let shares = Shares::new(
        (rows, ROWS),
        (weights.outputs.div_ceil(PANEL), blocks * PANEL_BLOCK),
        rayon::current_num_threads(),
    );
    (0..shares.count()).into_par_iter().for_each(|index| {
        let (rows, group) = shares.share(index);
        let column = group.start * PANEL;
        let panels = &panels[group.start * blocks * PANEL_BLOCK..group.end * blocks * PANEL_BLOCK];
        // SAFETY: weights are for units that the machine has. Each task writes rows and columns of its own, and the buffer behind `output`
        // outlives the loop.
        unsafe { run_panels(&output, column, panels, blocks, rows, &activations) };
    });
    // SAFETY: the tasks have written all columns of all rows.
    unsafe { values.set_len(rows * weights.outputs) };
    values
}

/// Some rows of some panels that lie one behind the other, a tile of rows times all of them after the other: what is written of a row then
/// lies together, and the rows' activations stay in the cache's first level.
///
/// # Safety
/// The machine has AVX-512 VNNI, and `output` has these rows.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn run_panels(
    output: &Output<'_>,
    column: usize,
    panels: &[u8],
    blocks: usize,
    rows: Range<usize>,
    x: &Activations<i8>,
) {
    for row in rows.clone().step_by(ROWS) {
        for (index, panel) in panels.chunks_exact(blocks * PANEL_BLOCK).enumerate() {
            let column = column + index * PANEL;
            // SAFETY: as this function's; the tiles lie within the rows.
            unsafe {
                match rows.end - row {
                    1 => run_tile::<1>(output, column, panel, blocks, row, x),
                    2 => run_tile::<2>(output, column, panel, blocks, row, x),
                    3 => run_tile::<3>(output, column, panel, blocks, row, x),
                    4 => run_tile::<4>(output, column, panel, blocks, row, x),
                    5 => run_tile::<5>(output, column, panel, blocks, row, x),
                    _ => run_tile::<ROWS>(output, column, panel, blocks, row, x),
                }
            }
        }
    }
}

/// `COUNT` rows from `first` on.
///
/// # Safety
/// The machine has AVX-512 VNNI, and `output` has these rows.
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn run_tile<const COUNT: usize>(
    output: &Output<'_>,
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
    let width = PANEL.min(output.target.columns - column);
    let all = u32::MAX >> (PANEL - width);
    for (row, sums) in sums.iter().enumerate() {
        // SAFETY: `output` has the row, and `width` values from `column` on in it.
        unsafe {
            output.store(first + row, column, all as __mmask16, sums[0]);
            output.store(
                first + row,
                column + LANES,
                (all >> LANES) as __mmask16,
                sums[1],
            );
        }
    }
}
