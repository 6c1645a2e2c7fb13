//! Attention on x86-64 for a head at a time, its keys and values brought into the order in which they are used.
//!
//! They are packed once a head, not once a product, and a few query rows go through scores, softmax and values together, so that all they
//! touch stays in the cache. What multiplies is a [`Kind`]: in f32, or where a network bears it in bf16, of which products are summed in f32, at
//! a multiple of f32's rate and with a 256th of a value lost: what blocks of 8 bits lose as well. The softmax is f32's.
//!
//! Numbers lie in units of 32 bits: one f32, or two bf16, for the instructions multiply pairs: of dimensions, where queries meet keys, and of
//! keys, where weights meet values. So keys lie as `[keys / 16][units of a head][16 keys]` and values as
//! `[units of keys][head_dim / 16][16 dimensions]`, with zeros where a head or the keys end within a unit or a vector.

mod bf16;
mod kinds;

use super::attention::Tokens;
use super::lines::Lines;
use super::target::Target;
use super::{CpuSteps, Units};
use kinds::{Kind, Pairs, Singles, TiledPairs};

/// Columns that go together: keys of a group, dimensions of one.
const LANES: usize = 16;

/// What computes attention.
#[derive(Debug, Clone, Copy)]
pub(super) enum Packed {
    /// In f32, on AVX2 with FMA.
    Singles,
    /// In bf16, on AVX-512 BF16.
    Pairs,
    /// In bf16, on AMX.
    TiledPairs,
}

impl Packed {
    /// What these steps take; `None` where [`gemm`](super::product) is as good.
    pub(super) fn of(steps: CpuSteps) -> Option<Self> {
        match (steps.units, steps.bf16) {
            (Units::Avx2, _) => Some(Self::Singles),
            (Units::Avx512, true) if Units::with_bf16() => Some(Self::Pairs),
            (Units::Amx, true) => Some(Self::TiledPairs),
            _ => None,
        }
    }

    /// What a task writes on, for so many keys and dimensions of a head.
    pub(super) fn scratch(self, keys: usize, head_dim: usize) -> Scratch {
        match self {
            Self::Singles => Scratch::new::<Singles>(keys, head_dim),
            Self::Pairs => Scratch::new::<Pairs>(keys, head_dim),
            Self::TiledPairs => Scratch::new::<TiledPairs>(keys, head_dim),
        }
    }

    /// Writes what `rows` rows of queries see into `output`, of which the first row and column are theirs.
    ///
    /// # Safety
    /// The machine has the units that [`Packed::of`] was told, and nobody else touches these rows and columns of `output`.
    pub(super) unsafe fn run(
        self,
        head: &Head<'_>,
        scratch: &mut Scratch,
        rows: usize,
        output: &Target,
    ) {
        // SAFETY: as this function's.
        unsafe {
            match self {
                Self::Singles => singles(head, scratch, rows, output),
                Self::Pairs => pairs(head, scratch, rows, output),
                Self::TiledPairs => tiled_pairs(head, scratch, rows, output),
            }
        }
    }
}

#[target_feature(enable = "avx2,fma")]
unsafe fn singles(head: &Head<'_>, scratch: &mut Scratch, rows: usize, output: &Target) {
    // SAFETY: as the caller's.
    unsafe { head.run::<Singles>(scratch, rows, output) };
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn pairs(head: &Head<'_>, scratch: &mut Scratch, rows: usize, output: &Target) {
    // SAFETY: as the caller's.
    unsafe { head.run::<Pairs>(scratch, rows, output) };
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
unsafe fn tiled_pairs(head: &Head<'_>, scratch: &mut Scratch, rows: usize, output: &Target) {
    // SAFETY: as the caller's.
    unsafe { head.run::<TiledPairs>(scratch, rows, output) };
}

/// What one task writes on: a head's keys and values, and the rows that go through together.
pub(super) struct Scratch {
    /// Keys and dimensions of a head, rounded up to what the kind takes, and the units that they are.
    keys: usize,
    dims: usize,
    key_units: usize,
    dim_units: usize,
    k: Lines,
    v: Lines,
    /// `[TOGETHER, dim_units]`.
    q: Lines,
    /// `[TOGETHER, keys]`.
    scores: Lines,
    /// `[TOGETHER, key_units]`.
    weights: Lines,
    /// What is seen, `[TOGETHER, dims]`, and the sums of the weights by which.
    seen: Lines,
    sums: Vec<f32>,
}

impl Scratch {
    fn new<K: Kind>(keys: usize, head_dim: usize) -> Self {
        let keys = keys.next_multiple_of(K::WHOLE);
        let dims = head_dim.next_multiple_of(K::WHOLE);
        let (key_units, dim_units) = (keys / K::DEPTH, dims / K::DEPTH);
        Self {
            keys,
            dims,
            key_units,
            dim_units,
            k: Lines::new(4 * keys * dim_units),
            v: Lines::new(4 * dims * key_units),
            q: Lines::new(4 * K::TOGETHER * dim_units),
            scores: Lines::new(4 * K::TOGETHER * keys),
            weights: Lines::new(4 * K::TOGETHER * key_units),
            seen: Lines::new(4 * K::TOGETHER * dims),
            sums: vec![0.0; K::TOGETHER],
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
}

impl Head<'_> {
    /// # Safety
    /// The machine has what the kind takes, and this is compiled for it; nobody else touches these rows and columns of `output`.
    #[inline(always)]
    unsafe fn run<K: Kind>(&self, scratch: &mut Scratch, rows: usize, output: &Target) {
        let keys: usize = self.pieces.iter().map(|(k, _)| k.tokens).sum();
        let last = self.pieces.last().map_or(0, |(k, _)| k.tokens);
        assert!(
            keys <= scratch.keys && self.head_dim <= scratch.dims,
            "a head fits what it is computed on"
        );
        let scale = 1.0 / (self.head_dim as f32).sqrt();
        // SAFETY: as this function's.
        unsafe {
            self.pack_keys::<K>(scratch);
            self.pack_values::<K>(scratch);
        }
        for start in (0..rows).step_by(K::TOGETHER) {
            let count = K::TOGETHER.min(rows - start);
            let q = self.q.head(self.image, self.head, self.head_dim);
            for row in 0..count {
                let values = &q.values[(self.first + start + row) * q.row_step..][..self.head_dim];
                let units = &mut scratch.q.of_mut::<u32>()[row * scratch.dim_units..];
                // SAFETY: as this function's.
                unsafe { K::along(values, scale, units) };
            }
            // SAFETY: as this function's.
            unsafe { self.score::<K>(scratch, count) };
            for row in 0..count {
                let scores = &mut scratch.scores.of_mut::<f32>()[row * scratch.keys..][..keys];
                if let Some(mask) = self.mask {
                    let hidden = &mask[(start + row) * last..][..last];
                    for (score, hidden) in scores[keys - last..].iter_mut().zip(hidden) {
                        *score += hidden;
                    }
                }
                let weights = &mut scratch.weights.of_mut::<u32>()[row * scratch.key_units..];
                // SAFETY: as this function's.
                scratch.sums[row] = unsafe { K::weigh(scores, weights) };
            }
            // SAFETY: as this function's.
            unsafe { self.see::<K>(scratch, count) };
            for row in 0..count {
                let factor = 1.0 / scratch.sums[row];
                let seen = &scratch.seen.of::<f32>()[row * scratch.dims..][..self.head_dim];
                let at = output.at(start + row, 0);
                // SAFETY: these columns of the row are this task's.
                let target = unsafe { std::slice::from_raw_parts_mut(at, self.head_dim) };
                for (target, seen) in target.iter_mut().zip(seen) {
                    *target = seen * factor;
                }
            }
        }
    }

    /// Brings the head's keys into their order, a group of them at a time.
    #[inline(always)]
    unsafe fn pack_keys<K: Kind>(&self, scratch: &mut Scratch) {
        let units = scratch.dim_units;
        let mut row = vec![0; units];
        let mut key = 0;
        for (k, _) in self.pieces {
            let k = k.head(self.image, self.head, self.head_dim);
            for token in 0..k.rows {
                let values = &k.values[token * k.row_step..][..self.head_dim];
                // SAFETY: the caller's.
                unsafe { K::along(values, 1.0, &mut row) };
                let group = &mut scratch.k.of_mut::<u32>()[key / LANES * LANES * units..];
                let places = group[..LANES * units].as_chunks_mut::<LANES>().0;
                for (place, &unit) in places.iter_mut().zip(&row) {
                    place[key % LANES] = unit;
                }
                key += 1;
            }
        }
    }

    /// Brings the head's values into their order: as many keys together as a unit holds.
    #[inline(always)]
    unsafe fn pack_values<K: Kind>(&self, scratch: &mut Scratch) {
        let dims = scratch.dims;
        let mut rows = self.pieces.iter().flat_map(|(_, v)| {
            let v = v.head(self.image, self.head, self.head_dim);
            (0..v.rows).map(move |token| &v.values[token * v.row_step..][..self.head_dim])
        });
        let units = scratch.v.of_mut::<u32>();
        for units in units.chunks_exact_mut(dims) {
            let Some(first) = rows.next() else {
                return;
            };
            let second = if K::DEPTH > 1 { rows.next() } else { None };
            // SAFETY: the caller's.
            unsafe { K::across(first, second, units) };
        }
    }

    /// Scores of `count` rows over all keys.
    #[inline(always)]
    unsafe fn score<K: Kind>(&self, scratch: &mut Scratch, count: usize) {
        let units = scratch.dim_units;
        let product = Product {
            left: scratch.q.of(),
            left_step: units,
            rows: count,
            right: scratch.k.of(),
            unit_step: LANES,
            group_step: LANES * units,
            units: K::units(self.head_dim),
            groups: scratch.keys / LANES,
            target_step: scratch.keys,
            target: scratch.scores.of_mut(),
        };
        // SAFETY: the caller's.
        unsafe { K::multiply(product) };
    }

    /// Values of `count` rows summed by their weights.
    #[inline(always)]
    unsafe fn see<K: Kind>(&self, scratch: &mut Scratch, count: usize) {
        let keys: usize = self.pieces.iter().map(|(k, _)| k.tokens).sum();
        let product = Product {
            left: scratch.weights.of(),
            left_step: scratch.key_units,
            rows: count,
            right: scratch.v.of(),
            unit_step: scratch.dims,
            group_step: LANES,
            units: K::units(keys),
            groups: scratch.dims / LANES,
            target_step: scratch.dims,
            target: scratch.seen.of_mut(),
        };
        // SAFETY: the caller's.
        unsafe { K::multiply(product) };
    }
}

/// Rows of units times groups of columns: `target[row][group][lane]` is the sum over units of `left[row]` by `right[group][lane]`.
struct Product<'a> {
    left: &'a [u32],
    /// From one row to the next.
    left_step: usize,
    rows: usize,
    right: &'a [u32],
    /// From one unit's columns to those of the next, and from one group to the next.
    unit_step: usize,
    group_step: usize,
    units: usize,
    groups: usize,
    target: &'a mut [f32],
    /// From one row to the next.
    target_step: usize,
}
