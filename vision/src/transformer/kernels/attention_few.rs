//! Attention of few query rows on the CPU, as each word of an answer has: keys and values are read once, where they lie.
//!
//! With one row there is nothing over which to spread the work of bringing keys and values into another order, and no block of rows for
//! each thread; so every head of every image is a task. All in f32: the time is that of reading.

use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

use super::attention::{Tokens, softmax_weights};

/// Rows up to which this is the faster way.
pub(super) const ROWS: usize = 8;

/// Values of a vector, or several.
const LANES: usize = 16;

/// What is computed: as [`Steps::attention`](super::Steps::attention) defines it.
pub(super) struct Few<'a> {
    pub(super) q: &'a Tokens<'a>,
    /// Keys and values.
    pub(super) pieces: &'a [(&'a Tokens<'a>, &'a Tokens<'a>)],
    /// `[rows, keys of the last piece]` of 0 and -inf.
    pub(super) mask: Option<&'a [f32]>,
    pub(super) heads: usize,
    pub(super) head_dim: usize,
}

impl Few<'_> {
    /// What the rows of so many images see, `[batch, rows, heads * head_dim]`.
    pub(super) fn run(&self, batch: usize, arch: Arch) -> Vec<f32> {
        let (rows, heads, head_dim) = (self.q.tokens, self.heads, self.head_dim);
        let width = heads * head_dim;
        let seen: Vec<Vec<f32>> = (0..batch * heads)
            .into_par_iter()
            .map(|place| {
                arch.dispatch(Head {
                    few: self,
                    image: place / heads,
                    head: place % heads,
                })
            })
            .collect();
        let mut output = vec![0.0; batch * rows * width];
        for (place, seen) in seen.iter().enumerate() {
            let (image, head) = (place / heads, place % heads);
            for (row, seen) in seen.chunks_exact(head_dim).enumerate() {
                let at = (image * rows + row) * width + head * head_dim;
                output[at..at + head_dim].copy_from_slice(seen);
            }
        }
        output
    }
}

/// One head of one image; gives `[rows, head_dim]`.
struct Head<'a, 'b> {
    few: &'a Few<'b>,
    image: usize,
    head: usize,
}

impl NullaryFnOnce for Head<'_, '_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn call(self) -> Vec<f32> {
        let Few {
            q, pieces, mask, ..
        } = self.few;
        let head_dim = self.few.head_dim;
        let keys: usize = pieces.iter().map(|(k, _)| k.tokens).sum();
        let last = pieces.last().map_or(0, |(k, _)| k.tokens);
        let scale = 1.0 / (head_dim as f32).sqrt();
        let queries = q.head(self.image, self.head, head_dim);
        let mut scores = vec![0.0; queries.rows * keys];
        let mut at = 0;
        for (k, _) in *pieces {
            let k = k.head(self.image, self.head, head_dim);
            for token in 0..k.rows {
                let key = &k.values[token * k.row_step..][..head_dim];
                for row in 0..queries.rows {
                    let query = &queries.values[row * queries.row_step..][..head_dim];
                    scores[row * keys + at] = dot(query, key) * scale;
                }
                at += 1;
            }
        }
        let mut sums = [0.0; ROWS];
        for (row, scores) in scores.chunks_exact_mut(keys.max(1)).enumerate() {
            if let Some(mask) = mask {
                let hidden = &mask[row * last..][..last];
                for (score, hidden) in scores[keys - last..].iter_mut().zip(hidden) {
                    *score += hidden;
                }
            }
            sums[row] = softmax_weights(scores);
        }
        let mut seen = vec![0.0; queries.rows * head_dim];
        let mut at = 0;
        for (_, v) in *pieces {
            let v = v.head(self.image, self.head, head_dim);
            for token in 0..v.rows {
                let value = &v.values[token * v.row_step..][..head_dim];
                for (row, seen) in seen.chunks_exact_mut(head_dim).enumerate() {
                    let weight = scores[row * keys + at];
                    for (seen, value) in seen.iter_mut().zip(value) {
                        *seen += weight * value;
                    }
                }
                at += 1;
            }
        }
        for (seen, sum) in seen.chunks_exact_mut(head_dim).zip(sums) {
            let factor = 1.0 / sum;
            for seen in seen {
                *seen *= factor;
            }
        }
        seen
    }
}

#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for ((sum, a), b) in sums.iter_mut().zip(a).zip(b) {
            *sum += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}
