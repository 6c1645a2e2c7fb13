//! Attention in bf16 on CPUs with AVX-512 BF16, for networks of which the weights are quantised and the answers bear it.
//!
//! Products of bf16 are summed in f32, at twice the rate of f32 and with a 256th of a value lost: what blocks of 8 bits lose as well.
//! The softmax is f32's. Keys and values of a head are brought into the order in which they are used once a block of query rows, not
//! once a product.
//!
//! The instruction multiplies pairs: of dimensions, where queries meet keys, and of keys, where weights meet values. So keys lie as
//! `[keys / 16][head_dim / 2][16 keys][2]` and values as `[keys / 2][head_dim / 16][16 dimensions][2]`, with zeros where a head or the
//! keys end within a group.

use std::arch::x86_64::{
    __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_ps,
    _mm512_setzero_si512, _mm512_storeu_ps,
};
use std::mem::transmute;

use super::attention::{Tokens, softmax_weights};

/// Values of a vector of f32, pairs of a vector of bf16.
const LANES: usize = 16;

/// Rows of a tile, and vectors of a row: 24 of the 32 registers hold sums.
const ROWS: usize = 6;
const GROUPS: usize = 4;

/// Query rows that go through scores, softmax and values together: their scores over some 800 keys take 75 KB.
const TOGETHER: usize = 4 * ROWS;

/// Whether this machine has the instructions.
pub(super) fn available() -> bool {
    is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bf16")
}

/// What one task writes on: a head's keys and values, and the rows that go through together. Numbers of 32 bits are pairs of bf16.
pub(super) struct Scratch {
    /// Keys, whole vectors of them.
    keys: usize,
    /// Dimensions of a head, whole vectors of them.
    dims: usize,
    k: Vec<u32>,
    v: Vec<u32>,
    /// `[TOGETHER, dims / 2]`.
    q: Vec<u32>,
    /// `[TOGETHER, keys]`.
    scores: Vec<f32>,
    /// `[TOGETHER, keys / 2]`.
    weights: Vec<u32>,
    /// What is seen, `[TOGETHER, dims]`, and the sum of the weights by which.
    seen: Vec<f32>,
    sums: [f32; TOGETHER],
}

impl Scratch {
    /// For so many keys and dimensions of a head.
    pub(super) fn new(keys: usize, head_dim: usize) -> Self {
        let keys = keys.next_multiple_of(LANES);
        let dims = head_dim.next_multiple_of(LANES);
        Self {
            keys,
            dims,
            k: vec![0; keys * dims / 2],
            v: vec![0; keys * dims / 2],
            q: vec![0; TOGETHER * dims / 2],
            scores: vec![0.0; TOGETHER * keys],
            weights: vec![0; TOGETHER * keys / 2],
            seen: vec![0.0; TOGETHER * dims],
            sums: [0.0; TOGETHER],
        }
    }
}

/// One head of one image for a block of query rows.
pub(super) struct Head<'a> {
    /// All rows of queries, of which those from `first` on are meant.
    pub(super) q: &'a Tokens<'a>,
    pub(super) first: usize,
    /// Keys and values.
    pub(super) pieces: &'a [(&'a Tokens<'a>, &'a Tokens<'a>)],
    /// `[rows, keys of the last piece]` of 0 and -inf, for rows from `first` on.
    pub(super) mask: Option<&'a [f32]>,
    pub(super) image: usize,
    pub(super) head: usize,
    pub(super) head_dim: usize,
    pub(super) scale: f32,
}

impl Head<'_> {
    /// Writes what the rows see into `output`, `[rows, width]` with the head's dimensions at their place.
    ///
    /// # Panics
    /// When the shapes do not go together: a mistake in this crate.
    ///
    /// # Safety
    /// [`available`] says that the machine has the instructions.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    pub(super) unsafe fn run(&self, scratch: &mut Scratch, output: &mut [f32], width: usize) {
        let keys: usize = self.pieces.iter().map(|(k, _)| k.tokens).sum();
        let last = self.pieces.last().map_or(0, |(k, _)| k.tokens);
        assert!(
            keys <= scratch.keys && self.head_dim <= scratch.dims,
            "a head fits what it is computed on"
        );
        self.pack(scratch);
        let rows = output.len() / width;
        for start in (0..rows).step_by(TOGETHER) {
            let count = TOGETHER.min(rows - start);
            self.round_queries(scratch, start, count);
            score(scratch, count, self.head_dim.div_ceil(2));
            for row in 0..count {
                let scores = &mut scratch.scores[row * scratch.keys..][..keys];
                if let Some(mask) = self.mask {
                    let hidden = &mask[(start + row) * last..][..last];
                    for (score, hidden) in scores[keys - last..].iter_mut().zip(hidden) {
                        *score += hidden;
                    }
                }
                scratch.sums[row] = softmax_weights(scores);
                let weights = &mut scratch.weights[row * scratch.keys / 2..][..keys.div_ceil(2)];
                into_pairs(scores, 1.0, weights);
            }
            see(scratch, count, keys.div_ceil(2));
            let output = output[start * width..].chunks_exact_mut(width);
            for (row, output) in output.enumerate().take(count) {
                let factor = 1.0 / scratch.sums[row];
                let seen = &scratch.seen[row * scratch.dims..];
                let output = &mut output[self.head * self.head_dim..][..self.head_dim];
                for (output, seen) in output.iter_mut().zip(seen) {
                    *output = seen * factor;
                }
            }
        }
    }

    /// Brings the head's keys and values into their order.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    fn pack(&self, scratch: &mut Scratch) {
        let dims = scratch.dims;
        let mut row = vec![0; self.head_dim.div_ceil(2)];
        let mut key = 0;
        for (k, v) in self.pieces {
            let k = k.head(self.image, self.head, self.head_dim);
            let v = v.head(self.image, self.head, self.head_dim);
            for token in 0..k.rows {
                into_pairs(
                    &k.values[token * k.row_step..][..self.head_dim],
                    1.0,
                    &mut row,
                );
                let group = &mut scratch.k[key / LANES * LANES * dims / 2..][..LANES * dims / 2];
                for (at, &pair) in group.iter_mut().skip(key % LANES).step_by(LANES).zip(&row) {
                    *at = pair;
                }
                let values = &v.values[token * v.row_step..][..self.head_dim];
                let pairs = &mut scratch.v[key / 2 * dims..][..self.head_dim];
                for (pair, &value) in pairs.iter_mut().zip(values) {
                    // The second of two keys joins the first, which leaves nothing of the head before.
                    *pair = match key % 2 {
                        0 => bf16(value),
                        _ => *pair | bf16(value) << 16,
                    };
                }
                key += 1;
            }
        }
    }

    /// Queries in bf16, scaled.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    fn round_queries(&self, scratch: &mut Scratch, start: usize, count: usize) {
        let q = self.q.head(self.image, self.head, self.head_dim);
        for row in 0..count {
            let values = &q.values[(self.first + start + row) * q.row_step..][..self.head_dim];
            let pairs = &mut scratch.q[row * scratch.dims / 2..][..self.head_dim.div_ceil(2)];
            into_pairs(values, self.scale, pairs);
        }
    }
}

/// Scores of `count` rows over all keys, from so many pairs of dimensions.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn score(scratch: &mut Scratch, count: usize, pairs: usize) {
    let (keys, dims) = (scratch.keys, scratch.dims);
    let groups = keys / LANES;
    // A group of keys meets all rows before the next is read.
    for group in (0..groups).step_by(GROUPS) {
        for first in (0..count).step_by(ROWS) {
            let rows = rows_of(first, count);
            let tile = Tile {
                left: &scratch.q,
                left_rows: rows.map(|row| row * dims / 2),
                right: &scratch.k[group * LANES * dims / 2..],
                right_step: LANES,
                right_groups: LANES * dims / 2,
                pairs,
                target: &mut scratch.scores,
                target_rows: rows.map(|row| row * keys + group * LANES),
            };
            tile.run(groups - group);
        }
    }
}

/// Values of `count` rows summed by their weights over so many pairs of keys.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
fn see(scratch: &mut Scratch, count: usize, pairs: usize) {
    let (keys, dims) = (scratch.keys, scratch.dims);
    let groups = dims / LANES;
    for first in (0..count).step_by(ROWS) {
        for group in (0..groups).step_by(GROUPS) {
            let rows = rows_of(first, count);
            let tile = Tile {
                left: &scratch.weights,
                left_rows: rows.map(|row| row * keys / 2),
                right: &scratch.v[group * LANES..],
                right_step: dims,
                right_groups: LANES,
                pairs,
                target: &mut scratch.seen,
                target_rows: rows.map(|row| row * dims + group * LANES),
            };
            tile.run(groups - group);
        }
    }
}

/// The rows of a tile; in the place of those beyond the last stands the last, which is computed again.
#[inline(always)]
fn rows_of(first: usize, count: usize) -> [usize; ROWS] {
    std::array::from_fn(|row| (first + row).min(count - 1))
}

/// Rows of pairs times vectors of pairs.
struct Tile<'a> {
    left: &'a [u32],
    /// Where each row begins.
    left_rows: [usize; ROWS],
    right: &'a [u32],
    /// From the vectors of one pair to those of the next, and from one vector of a pair to the next.
    right_step: usize,
    right_groups: usize,
    pairs: usize,
    target: &'a mut [f32],
    /// Where the sums of each row begin.
    target_rows: [usize; ROWS],
}

impl Tile<'_> {
    /// As many vectors as there are, at most [`GROUPS`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    fn run(self, groups: usize) {
        match groups {
            1 => self.sums::<1>(),
            2 => self.sums::<2>(),
            3 => self.sums::<3>(),
            _ => self.sums::<GROUPS>(),
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
    fn sums<const COUNT: usize>(self) {
        let last = self.pairs.saturating_sub(1);
        let left = self
            .left_rows
            .iter()
            .all(|row| row + last < self.left.len());
        let right = last * self.right_step + (COUNT - 1) * self.right_groups + LANES;
        assert!(
            left && right <= self.right.len(),
            "a tile lies within what it is computed from"
        );
        let mut sums = [[_mm512_setzero_ps(); COUNT]; ROWS];
        for pair in 0..self.pairs {
            // SAFETY: the assertion above holds all reads within their slices.
            unsafe {
                let at = self.right.as_ptr().add(pair * self.right_step);
                let mut right = [_mm512_setzero_si512(); COUNT];
                for (group, right) in right.iter_mut().enumerate() {
                    *right = _mm512_loadu_si512(at.add(group * self.right_groups).cast());
                }
                for (sums, row) in sums.iter_mut().zip(self.left_rows) {
                    let left = *self.left.get_unchecked(row + pair);
                    let left = _mm512_set1_epi32(left.cast_signed());
                    for (sum, right) in sums.iter_mut().zip(&right) {
                        *sum = _mm512_dpbf16_ps(*sum, pairs_of(left), pairs_of(*right));
                    }
                }
            }
        }
        for (sums, at) in sums.iter().zip(self.target_rows) {
            let target = self.target[at..][..COUNT * LANES]
                .as_chunks_mut::<LANES>()
                .0;
            for (sum, target) in sums.iter().zip(target) {
                // SAFETY: it has room for the vector.
                unsafe { _mm512_storeu_ps(target.as_mut_ptr(), *sum) };
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

/// Neighbours together; the last of an odd number with zero.
#[inline(always)]
fn into_pairs(values: &[f32], scale: f32, pairs: &mut [u32]) {
    let (whole, rest) = values.as_chunks::<2>();
    for (pair, [first, second]) in pairs.iter_mut().zip(whole) {
        *pair = bf16(first * scale) | bf16(second * scale) << 16;
    }
    if let (Some(pair), [last]) = (pairs.get_mut(whole.len()), rest) {
        *pair = bf16(last * scale);
    }
}

/// The nearest bf16, of two the even one; what is no number stays none. Without a branch, so that it is done to vectors.
#[inline(always)]
fn bf16(x: f32) -> u32 {
    const INFINITY: u32 = 0x7f80_0000;
    let bits = x.to_bits();
    // All ones for a NaN, whose bits rounded up could be those of a number.
    let nan = (INFINITY.wrapping_sub(bits & 0x7fff_ffff).cast_signed() >> 31).cast_unsigned();
    let up = 0x7fff + ((bits >> 16) & 1);
    (bits.wrapping_add(up & !nan) | (nan & 0x0040_0000)) >> 16
}
