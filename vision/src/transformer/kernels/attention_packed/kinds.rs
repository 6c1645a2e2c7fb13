//! What multiplies units: vectors of f32, vectors of bf16, tiles of bf16.

use std::arch::x86_64::{
    __m512bh, __m512i, _mm256_castsi256_ps, _mm256_fmadd_ps, _mm256_load_si256, _mm256_set1_ps,
    _mm256_setzero_ps, _mm256_storeu_ps, _mm512_dpbf16_ps, _mm512_load_si512, _mm512_set1_epi32,
    _mm512_setzero_ps, _mm512_setzero_si512, _mm512_storeu_ps,
};
use std::mem::transmute;

use super::super::amx::{SIDE, Side, Tiles};
use super::super::attention::softmax_weights;
use super::{LANES, Product, bf16};

/// Rows of a tile of registers.
const ROWS: usize = 6;

/// How numbers lie in units, and what multiplies them.
pub(super) trait Kind {
    /// Numbers of a unit.
    const DEPTH: usize;
    /// Query rows that go through together: their scores over some 800 keys take about 75 KB.
    const TOGETHER: usize;
    /// What keys and dimensions are rounded up to.
    const WHOLE: usize;

    /// So many numbers as units of a product.
    fn units(numbers: usize) -> usize {
        numbers.div_ceil(Self::DEPTH)
    }

    /// Neighbours together, scaled; what is missing of the last unit is zero.
    ///
    /// # Safety
    /// The machine has the instructions, and this is compiled for them.
    unsafe fn along(values: &[f32], scale: f32, units: &mut [u32]);

    /// Numbers of one place of two rows together, or of one row.
    ///
    /// # Safety
    /// As above.
    unsafe fn across(first: &[f32], second: Option<&[f32]>, units: &mut [u32]);

    /// The exponentials of a softmax over scores, of which nothing is left, as units along them; and their sum.
    ///
    /// # Safety
    /// As above.
    unsafe fn weigh(scores: &mut [f32], units: &mut [u32]) -> f32;

    /// # Safety
    /// As above.
    unsafe fn multiply(product: Product<'_>);
}

/// f32 on AVX2.
pub(super) struct Singles;

impl Kind for Singles {
    const DEPTH: usize = 1;
    const TOGETHER: usize = 4 * ROWS;
    const WHOLE: usize = LANES;

    #[inline(always)]
    unsafe fn along(values: &[f32], scale: f32, units: &mut [u32]) {
        for (unit, value) in units.iter_mut().zip(values) {
            *unit = (value * scale).to_bits();
        }
    }

    #[inline(always)]
    unsafe fn across(first: &[f32], _: Option<&[f32]>, units: &mut [u32]) {
        // SAFETY: the caller's.
        unsafe { Self::along(first, 1.0, units) };
    }

    #[inline(always)]
    unsafe fn weigh(scores: &mut [f32], units: &mut [u32]) -> f32 {
        let sum = softmax_weights(scores);
        // SAFETY: the caller's.
        unsafe { Self::along(scores, 1.0, units) };
        sum
    }

    #[inline(always)]
    unsafe fn multiply(mut product: Product<'_>) {
        for group in 0..product.groups {
            for first in (0..product.rows).step_by(ROWS) {
                // SAFETY: the caller's.
                unsafe { product.singles(group, first) };
            }
        }
    }
}

/// bf16 on AVX-512.
pub(super) struct Pairs;

/// Vectors of a row in a tile of registers: 24 of the 32 hold sums.
const GROUPS: usize = 4;

impl Kind for Pairs {
    const DEPTH: usize = 2;
    const TOGETHER: usize = 4 * ROWS;
    const WHOLE: usize = LANES;

    #[inline(always)]
    unsafe fn along(values: &[f32], scale: f32, units: &mut [u32]) {
        // SAFETY: the caller's.
        unsafe { bf16::along(values, scale, units) };
    }

    #[inline(always)]
    unsafe fn across(first: &[f32], second: Option<&[f32]>, units: &mut [u32]) {
        // SAFETY: the caller's.
        unsafe { bf16::across(first, second, units) };
    }

    #[inline(always)]
    unsafe fn weigh(scores: &mut [f32], units: &mut [u32]) -> f32 {
        // SAFETY: the caller's.
        unsafe { bf16::weigh(scores, units) }
    }

    #[inline(always)]
    unsafe fn multiply(mut product: Product<'_>) {
        // Some groups meet all rows before the next are read: as many each time, so that none is left alone with too few sums to wait for.
        let together = product
            .groups
            .div_ceil(product.groups.div_ceil(GROUPS).max(1))
            .max(1);
        for group in (0..product.groups).step_by(together) {
            for first in (0..product.rows).step_by(ROWS) {
                // SAFETY: the caller's.
                unsafe {
                    match together.min(product.groups - group) {
                        1 => product.pairs::<1>(group, first),
                        2 => product.pairs::<2>(group, first),
                        3 => product.pairs::<3>(group, first),
                        _ => product.pairs::<GROUPS>(group, first),
                    }
                }
            }
        }
    }
}

/// bf16 on AMX.
pub(super) struct TiledPairs;

impl Kind for TiledPairs {
    const DEPTH: usize = 2;
    const TOGETHER: usize = SIDE;
    const WHOLE: usize = SIDE;

    /// Whole tiles.
    fn units(numbers: usize) -> usize {
        numbers.next_multiple_of(SIDE) / Self::DEPTH
    }

    #[inline(always)]
    unsafe fn along(values: &[f32], scale: f32, units: &mut [u32]) {
        // SAFETY: the caller's.
        unsafe { bf16::along(values, scale, units) };
    }

    #[inline(always)]
    unsafe fn across(first: &[f32], second: Option<&[f32]>, units: &mut [u32]) {
        // SAFETY: the caller's.
        unsafe { bf16::across(first, second, units) };
    }

    #[inline(always)]
    unsafe fn weigh(scores: &mut [f32], units: &mut [u32]) -> f32 {
        // SAFETY: the caller's.
        unsafe { bf16::weigh(scores, units) }
    }

    #[inline(always)]
    unsafe fn multiply(product: Product<'_>) {
        const HALF: usize = SIDE / 2;
        let Product {
            left,
            left_step,
            right,
            unit_step,
            group_step,
            units,
            groups,
            target,
            target_step,
            ..
        } = product;
        assert!(
            units.is_multiple_of(HALF)
                && groups.is_multiple_of(2)
                && left.len() >= (SIDE - 1) * left_step + units
                && right.len() >= (units - 1) * unit_step + (groups - 1) * group_step + LANES
                && target.len() >= (SIDE - 1) * target_step + groups * LANES,
            "tiles lie within what they are computed from"
        );
        // SAFETY: the assertion above holds all tiles within their slices.
        unsafe {
            let mut tiles = Tiles::new();
            let left = Side {
                halves: [
                    left.as_ptr().cast(),
                    left.as_ptr().add(HALF * left_step).cast(),
                ],
                row: left_step * 4,
                step: HALF * 4,
            };
            for group in (0..groups).step_by(2) {
                let at = right.as_ptr().add(group * group_step);
                let right = Side {
                    halves: [at.cast(), at.add(group_step).cast()],
                    row: unit_step * 4,
                    step: HALF * unit_step * 4,
                };
                let at = target.as_mut_ptr().add(group * LANES);
                tiles.multiply(left, right, units / HALF, at, target_step * 4, false);
            }
        }
    }
}

impl Product<'_> {
    /// The rows of a tile; in the place of those beyond the last stands the last, which is computed again.
    #[inline(always)]
    fn tile_rows(&self, first: usize) -> [usize; ROWS] {
        std::array::from_fn(|row| (first + row).min(self.rows - 1))
    }

    /// Checks that some groups and rows lie within their slices.
    #[inline(always)]
    fn check(&self, group: usize, groups: usize, last: usize) {
        let units = self.units.saturating_sub(1);
        assert!(
            last * self.left_step + units < self.left.len()
                && units * self.unit_step + (group + groups - 1) * self.group_step + LANES
                    <= self.right.len()
                && last * self.target_step + (group + groups) * LANES <= self.target.len(),
            "a tile lies within what it is computed from"
        );
    }

    #[inline(always)]
    unsafe fn singles(&mut self, group: usize, first: usize) {
        const HALF: usize = LANES / 2;
        let rows = self.tile_rows(first);
        self.check(group, 1, rows[ROWS - 1]);
        // SAFETY: checked above; groups begin at lines.
        unsafe {
            let mut sums = [[_mm256_setzero_ps(); 2]; ROWS];
            for unit in 0..self.units {
                let at = self
                    .right
                    .as_ptr()
                    .add(unit * self.unit_step + group * self.group_step);
                let right =
                    [at, at.add(HALF)].map(|at| _mm256_castsi256_ps(_mm256_load_si256(at.cast())));
                for (sums, row) in sums.iter_mut().zip(rows) {
                    let left = *self.left.get_unchecked(row * self.left_step + unit);
                    let left = _mm256_set1_ps(f32::from_bits(left));
                    for (sum, right) in sums.iter_mut().zip(right) {
                        *sum = _mm256_fmadd_ps(left, right, *sum);
                    }
                }
            }
            for (sums, row) in sums.iter().zip(rows) {
                let at = self
                    .target
                    .as_mut_ptr()
                    .add(row * self.target_step + group * LANES);
                _mm256_storeu_ps(at, sums[0]);
                _mm256_storeu_ps(at.add(HALF), sums[1]);
            }
        }
    }

    #[inline(always)]
    unsafe fn pairs<const COUNT: usize>(&mut self, group: usize, first: usize) {
        let rows = self.tile_rows(first);
        self.check(group, COUNT, rows[ROWS - 1]);
        // SAFETY: checked above; groups begin at lines.
        unsafe {
            let mut sums = [[_mm512_setzero_ps(); COUNT]; ROWS];
            for unit in 0..self.units {
                let at = self
                    .right
                    .as_ptr()
                    .add(unit * self.unit_step + group * self.group_step);
                let mut right = [_mm512_setzero_si512(); COUNT];
                for (group, right) in right.iter_mut().enumerate() {
                    *right = _mm512_load_si512(at.add(group * self.group_step).cast());
                }
                for (sums, row) in sums.iter_mut().zip(rows) {
                    let left = *self.left.get_unchecked(row * self.left_step + unit);
                    let left = _mm512_set1_epi32(left.cast_signed());
                    for (sum, right) in sums.iter_mut().zip(&right) {
                        *sum = _mm512_dpbf16_ps(*sum, pairs_of(left), pairs_of(*right));
                    }
                }
            }
            for (sums, row) in sums.iter().zip(rows) {
                let at = self
                    .target
                    .as_mut_ptr()
                    .add(row * self.target_step + group * LANES);
                for (group, sum) in sums.iter().enumerate() {
                    _mm512_storeu_ps(at.add(group * LANES), *sum);
                }
            }
        }
    }
}

/// Bits as pairs of bf16.
#[inline(always)]
fn pairs_of(bits: __m512i) -> __m512bh {
    // SAFETY: both are 512 bits of which every combination is a value.
    unsafe { transmute(bits) }
}
