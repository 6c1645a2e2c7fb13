//! On AMX: products of bf16, of 32 rows by 32 columns at a time.
//!
//! Rows of activations are rounded to bf16 once. A task takes a group of panels, brings as many inputs of them as stay in the cache's second
//! level into bf16, and goes with them through all rows; so that a weight is turned once for all rows of a batch. Sums of f32 go on
//! where those of the inputs before ended.

use std::arch::x86_64::{
    __m512, __m512bh, __m512i, __mmask16, _mm256_loadu_si256, _mm512_and_si512, _mm512_cvtepi32_ps,
    _mm512_cvtne2ps_pbh, _mm512_cvtph_ps, _mm512_fmadd_ps, _mm512_loadu_si512,
    _mm512_maskz_loadu_ps, _mm512_mul_ps, _mm512_permutexvar_epi16, _mm512_set1_epi32,
    _mm512_set1_ps, _mm512_srli_epi32, _mm512_store_si512, _mm512_storeu_si512,
};
use std::mem::transmute;

use rayon::prelude::*;

use super::super::amx::{SIDE, Side, TILE, Tiles};
use super::super::lines::Lines;
use super::output::{Finish, Output};
use super::{BLOCK, Int8, PANEL, PANEL_BLOCK, STEP};

/// Rows up to which [`vnni`](super::vnni) is faster, which turns no weights: those of a question, of words, and of what is read off the
/// last layer.
pub(super) const FEW: usize = 24;

/// Panels that a task takes at most, and inputs of them that are in bf16 at once: a megabyte.
const PANELS: usize = 8;
const INPUTS: usize = 2048;

/// Rows of a tile.
const HALF: usize = SIDE / 2;

/// Pairs of bf16 in a tile, and in a row of it.
const PAIRS: usize = TILE / 4;
const ROW_PAIRS: usize = BLOCK / 2;

/// Values of a vector of f32.
const LANES: usize = 16;

/// `source`, `[rows, inputs]`, times weights that are for these units, and what follows.
pub(super) fn product(weights: &Int8, source: &[f32], rows: usize, finish: Finish<'_>) -> Vec<f32> {
    let blocks = weights.blocks();
    let whole_rows = rows.next_multiple_of(SIDE);
    let rounded = round(source, weights.inputs, rows, blocks);
    // Rows beyond the last are zeros, whose sums are dropped.
    let mut values = Vec::with_capacity(whole_rows * weights.outputs);
    let output = Output::new(&mut values, (rows, weights.outputs), finish);
    // As many panels as leave a few tasks for each thread.
    let panels = weights.outputs.div_ceil(PANEL);
    let group = (panels / (4 * rayon::current_num_threads())).clamp(1, PANELS);
    weights
        .panels
        .of::<u8>()
        .par_chunks((group * blocks * PANEL_BLOCK).max(1))
        .enumerate()
        .for_each_init(
            || Lines::new(group * PANEL * blocks.min(INPUTS / BLOCK) * BLOCK * 2),
            |turned, (index, panels)| {
                let task = Task {
                    output: &output,
                    column: index * group * PANEL,
                    panels,
                    blocks,
                    rounded: rounded.of::<u32>(),
                    rows,
                };
                // SAFETY: weights are for units that the machine has. Each task writes columns of its own, and the buffer behind
                // `output` outlives the loop.
                unsafe { task.run(turned.of_mut()) };
            },
        );
    // SAFETY: the tasks have written all columns of all rows.
    unsafe { values.set_len(rows * weights.outputs) };
    values
}

/// Rows in bf16 as tiles take them: `[rows / 16, blocks, 16, 16]` pairs, with zeros where a row or the rows end within a tile; as many
/// rows as are whole numbers of two tiles.
fn round(source: &[f32], inputs: usize, rows: usize, blocks: usize) -> Lines {
    let halves = rows.next_multiple_of(SIDE) / HALF;
    let mut rounded = Lines::new(halves * blocks * TILE);
    rounded
        .of_mut::<u32>()
        .par_chunks_exact_mut((blocks * PAIRS).max(1))
        .zip(source.par_chunks((HALF * inputs).max(1)))
        .for_each(|(tiles, rows)| {
            for (at, row) in rows.chunks_exact(inputs).enumerate() {
                // SAFETY: weights are for units that the machine has.
                unsafe { round_row(row, &mut tiles[at * ROW_PAIRS..]) };
            }
        });
    rounded
}

/// A row into every tile's row of this number.
///
/// # Safety
/// The machine has AVX-512 BF16.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn round_row(row: &[f32], tiles: &mut [u32]) {
    let (whole, rest) = row.as_chunks::<BLOCK>();
    let last: [f32; BLOCK] = std::array::from_fn(|at| rest.get(at).copied().unwrap_or(0.0));
    let last = (!rest.is_empty()).then_some(&last);
    for (tile, values) in tiles.chunks_mut(PAIRS).zip(whole.iter().chain(last)) {
        let target: &mut [u32; ROW_PAIRS] = match tile.first_chunk_mut() {
            Some(target) => target,
            None => return,
        };
        // SAFETY: both are vectors' sizes; any bits are bf16.
        unsafe {
            let [low, high] = [0, LANES].map(|at| {
                transmute::<__m512i, __m512>(_mm512_loadu_si512(values.as_ptr().add(at).cast()))
            });
            let pairs = transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
            _mm512_storeu_si512(target.as_mut_ptr().cast(), pairs);
        }
    }
}

/// Some panels and all rows.
struct Task<'a> {
    output: &'a Output<'a>,
    /// The first output.
    column: usize,
    panels: &'a [u8],
    blocks: usize,
    /// What [`round`] gives.
    rounded: &'a [u32],
    /// Rows that are wanted; memory is there for a whole number of tiles.
    rows: usize,
}

impl Task<'_> {
    /// # Safety
    /// The machine has AMX and AVX-512 BF16, `output` has room for these rows and as many more as make up a whole tile, and nobody else
    /// writes to these columns of it.
    #[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
    unsafe fn run(&self, turned: &mut [u32]) {
        let panel_bytes = self.blocks * PANEL_BLOCK;
        let count = self.panels.len() / panel_bytes;
        // SAFETY: the machine has them.
        let mut tiles = unsafe { Tiles::new() };
        let mut scratch = Lines::new(SIDE * SIDE * 4);
        let target = &self.output.target;
        for first in (0..self.blocks).step_by(INPUTS / BLOCK) {
            let steps = (self.blocks - first).min(INPUTS / BLOCK);
            let turned_panel = steps * 2 * PAIRS;
            let panels = self.panels.chunks_exact(panel_bytes);
            for (panel, turned) in panels.zip(turned.chunks_exact_mut(turned_panel)) {
                for (block, turned) in panel[first * PANEL_BLOCK..]
                    .chunks_exact(PANEL_BLOCK)
                    .zip(turned.chunks_exact_mut(2 * PAIRS))
                {
                    turn(block, turned);
                }
            }
            let last = first + steps == self.blocks;
            for row in (0..self.rows).step_by(SIDE) {
                let upper = &self.rounded[(row / HALF * self.blocks + first) * PAIRS..];
                let left = Side {
                    halves: [
                        upper.as_ptr().cast(),
                        upper[self.blocks * PAIRS..].as_ptr().cast(),
                    ],
                    row: ROW_PAIRS * 4,
                    step: TILE,
                };
                // Behind those of this task lies what former ones have left.
                let panels = turned.chunks_exact(turned_panel).take(count);
                for (index, turned) in panels.enumerate() {
                    let column = self.column + index * PANEL;
                    let width = target.columns - column;
                    let right = Side {
                        halves: [turned.as_ptr().cast(), turned[PAIRS..].as_ptr().cast()],
                        row: ROW_PAIRS * 4,
                        step: 2 * TILE,
                    };
                    let at = target.at(row, column);
                    // SAFETY: the slices hold so many tiles from where the sides begin, and the rows and columns are there.
                    unsafe {
                        if width >= PANEL {
                            tiles.multiply(left, right, steps, at, target.columns * 4, first > 0);
                        } else {
                            let sums = scratch.of_mut::<f32>();
                            part(at, target.columns, sums, width, first > 0);
                            let sums = sums.as_mut_ptr();
                            tiles.multiply(left, right, steps, sums, SIDE * 4, first > 0);
                            let sums = scratch.of_mut::<f32>();
                            for (row, sums) in sums.chunks_exact(SIDE).enumerate() {
                                let at = at.add(row * target.columns);
                                std::ptr::copy_nonoverlapping(sums.as_ptr(), at, width);
                            }
                        }
                        if last {
                            self.finish(row, column, width.min(PANEL));
                        }
                    }
                }
            }
        }
    }

    /// What follows the sums of a tile, which are stored.
    ///
    /// # Safety
    /// As that of [`Task::run`]; the outputs are there.
    #[target_feature(enable = "avx512f")]
    unsafe fn finish(&self, first: usize, column: usize, width: usize) {
        let all = u32::MAX >> (PANEL - width);
        for row in first..self.rows.min(first + SIDE) {
            for (half, there) in [all, all >> LANES].into_iter().enumerate() {
                let (column, there) = (column + half * LANES, there as __mmask16);
                // SAFETY: as this function's.
                unsafe {
                    let sums = _mm512_maskz_loadu_ps(there, self.output.target.at(row, column));
                    self.output.store(row, column, there, sums);
                }
            }
        }
    }
}

/// The sums so far of a panel that ends within its columns, as a whole one.
///
/// # Safety
/// 32 rows of `width` columns can be read.
unsafe fn part(at: *const f32, outputs: usize, sums: &mut [f32], width: usize, add: bool) {
    for (row, sums) in sums.chunks_exact_mut(SIDE).enumerate() {
        sums.fill(0.0);
        if add {
            // SAFETY: as this function's.
            unsafe {
                std::ptr::copy_nonoverlapping(at.add(row * outputs), sums.as_mut_ptr(), width)
            };
        }
    }
}

/// A panel's block in bf16: a tile for each half of its outputs, which begin at lines.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
fn turn(block: &[u8], tiles: &mut [u32]) {
    assert!(
        block.len() == PANEL_BLOCK && tiles.len() == 2 * PAIRS,
        "a block fills two tiles"
    );
    // What is first of all 16 pairs and what is second of them, as pairs.
    let order: [u16; 2 * LANES] = std::array::from_fn(|at| (at / 2 + at % 2 * LANES) as u16);
    // SAFETY: the assertion above holds all that is read and written within its slice; the tiles lie on lines.
    unsafe {
        let order = _mm512_loadu_si512(order.as_ptr().cast());
        let byte = _mm512_set1_epi32(0xff);
        for half in 0..2 {
            let scales = block.as_ptr().add(PANEL * BLOCK + half * LANES * 2);
            let scales = _mm512_cvtph_ps(_mm256_loadu_si256(scales.cast()));
            let less = _mm512_mul_ps(scales, _mm512_set1_ps(-128.0));
            let value = |bytes: __m512i| _mm512_fmadd_ps(_mm512_cvtepi32_ps(bytes), scales, less);
            let pairs = |first: __m512i, second: __m512i| {
                let both = _mm512_cvtne2ps_pbh(value(second), value(first));
                _mm512_permutexvar_epi16(order, transmute::<__m512bh, __m512i>(both))
            };
            for step in 0..BLOCK / STEP {
                let at = block.as_ptr().add((step * PANEL + half * LANES) * STEP);
                let bytes = _mm512_loadu_si512(at.cast());
                let first = pairs(
                    _mm512_and_si512(bytes, byte),
                    _mm512_and_si512(_mm512_srli_epi32::<8>(bytes), byte),
                );
                let second = pairs(
                    _mm512_and_si512(_mm512_srli_epi32::<16>(bytes), byte),
                    _mm512_srli_epi32::<24>(bytes),
                );
                let at = tiles.as_mut_ptr().add(half * PAIRS + step * 2 * LANES);
                _mm512_store_si512(at.cast(), first);
                _mm512_store_si512(at.add(LANES).cast(), second);
            }
        }
    }
}
