//! Softmax attention of queries over keys that lie in two pieces: an image's prefix, shared by all that is asked about
//! it, and what came after.
//!
//! The pieces are never put together in memory; only their scores are. On the CPU a block of query rows is taken through
//! scores, softmax and values for one head at a time, so that the scores stay in the cache: in f32, or where a quantised network bears it and the CPU
//! can, [in bf16](super::attention_packed).

use candle_core::{CpuStorage, Device, Result, Storage, Tensor};
use pulp::NullaryFnOnce;
use rayon::prelude::*;

use super::attention_few;
#[cfg(target_arch = "x86_64")]
use super::attention_packed::{Head, Packed};
use super::attention_plain::in_groups;
#[cfg(feature = "cuda")]
use super::cuda;
use super::exp::exp;
use super::product::{Matrix, product};
#[cfg(target_arch = "x86_64")]
use super::target::Target;
use super::{CpuSteps, Steps};

/// Query rows of one task at most: their scores over some 800 keys take 600 KB.
const ROWS: usize = 192;

/// Keys and values, `[batch, keys, heads * head_dim]` each.
#[derive(Debug, Clone)]
pub(crate) struct Keys {
    pub(crate) k: Tensor,
    pub(crate) v: Tensor,
}

/// Which of some keys are seen by each query.
#[derive(Debug, Clone)]
pub(crate) struct Mask {
    /// `[rows, keys]`: 0 where a query sees a key, -inf where not.
    hidden: Tensor,
    /// `[rows, words]` of u32: key `i` is seen where bit `i % 32` of word `i / 32` is set.
    #[cfg(feature = "cuda")]
    seen: Option<Tensor>,
}

impl Mask {
    /// The rows of these queries, `[n]` of u32.
    pub(crate) fn rows(&self, rows: &Tensor) -> Result<Self> {
        Ok(Self {
            hidden: self.hidden.index_select(rows, 0)?,
            #[cfg(feature = "cuda")]
            seen: match &self.seen {
                Some(seen) => Some(seen.index_select(rows, 0)?),
                None => None,
            },
        })
    }
}

impl Steps {
    /// A mask of `[rows, keys]` values, row by row, 0 where a query sees a key and -inf where not.
    pub(crate) fn mask(
        self,
        hidden: Vec<f32>,
        (rows, keys): (usize, usize),
        device: &Device,
    ) -> Result<Mask> {
        #[cfg(feature = "cuda")]
        let seen = match self {
            Self::Cuda(steps) if steps.attention => {
                let words = keys.div_ceil(32);
                let bits = hidden.chunks_exact(keys.max(1)).flat_map(|row| {
                    row.chunks(32).map(|some| {
                        let set = some
                            .iter()
                            .enumerate()
                            .filter(|(_, hidden)| **hidden == 0.0);
                        set.fold(0_u32, |word, (bit, _)| word | 1 << bit)
                    })
                });
                Some(Tensor::from_vec(
                    bits.collect::<Vec<_>>(),
                    (rows, words),
                    device,
                )?)
            }
            _ => None,
        };
        Ok(Mask {
            hidden: Tensor::from_vec(hidden, (rows, keys), device)?,
            #[cfg(feature = "cuda")]
            seen,
        })
    }

    /// `softmax(q k^T / sqrt(head_dim)) v` for each head: `q` is `[batch, rows, heads * head_dim]`, and so is the result.
    ///
    /// `pieces` are all seen by every query, except where `mask`, of the rows and the keys of the last piece, hides
    /// keys of the last piece.
    pub(crate) fn attention(
        self,
        q: &Tensor,
        pieces: &[&Keys],
        mask: Option<&Mask>,
        heads: usize,
    ) -> Result<Tensor> {
        let hidden = mask.map(|mask| &mask.hidden);
        match self {
            Self::Plain => in_groups(q, pieces, hidden, heads),
            Self::Fused(cpu) => fused(q, pieces, hidden, heads, cpu),
            #[cfg(feature = "cuda")]
            Self::Cuda(steps) => {
                let seen = mask.and_then(|mask| mask.seen.as_ref());
                let fused = match steps.attention {
                    true => cuda::attention(q, pieces, seen, heads)?,
                    false => None,
                };
                match fused {
                    Some(seen) => Ok(seen),
                    None => in_groups(q, pieces, hidden, heads),
                }
            }
        }
    }
}

/// A tensor `[batch, tokens, width]` within its storage; a token's values are neighbours.
pub(super) struct Tokens<'a> {
    values: &'a [f32],
    batch_step: usize,
    token_step: usize,
    pub(super) tokens: usize,
}

impl Tokens<'_> {
    /// The values of one head in one image, `[tokens, head_dim]`.
    pub(super) fn head(&self, image: usize, head: usize, head_dim: usize) -> Matrix<'_> {
        Matrix {
            values: &self.values[image * self.batch_step + head * head_dim..],
            rows: self.tokens,
            columns: head_dim,
            row_step: self.token_step,
            column_step: 1,
        }
    }
}

fn fused(
    q: &Tensor,
    pieces: &[&Keys],
    mask: Option<&Tensor>,
    heads: usize,
    cpu: CpuSteps,
) -> Result<Tensor> {
    let (batch, rows, width) = q.dims3()?;
    let head_dim = width / heads;
    let mask = mask
        .map(|mask| mask.flatten_all()?.to_vec1::<f32>())
        .transpose()?;
    let storages: Vec<_> = std::iter::once(q)
        .chain(pieces.iter().flat_map(|keys| [&keys.k, &keys.v]))
        .map(Tensor::storage_and_layout)
        .collect();
    let mut views = Vec::with_capacity(storages.len());
    for (storage, layout) in &storages {
        let (Storage::Cpu(CpuStorage::F32(values)), [batch_step, token_step, 1]) =
            (&**storage, layout.stride())
        else {
            candle_core::bail!("attention takes f32 of neighbouring dimensions, not {layout:?}");
        };
        views.push(Tokens {
            values: &values[layout.start_offset()..],
            batch_step: *batch_step,
            token_step: *token_step,
            tokens: layout.shape().dims3()?.1,
        });
    }
    let Some((q, pieces)) = views.split_first() else {
        candle_core::bail!("attention needs queries");
    };
    let pieces: Vec<(&Tokens, &Tokens)> = pieces
        .chunks_exact(2)
        .map(|pair| (&pair[0], &pair[1]))
        .collect();
    let keys: usize = pieces.iter().map(|(k, _)| k.tokens).sum();
    let last = pieces.last().map_or(0, |(k, _)| k.tokens);
    if mask.as_ref().is_some_and(|mask| mask.len() != rows * last) {
        candle_core::bail!("an attention mask does not fit {rows} queries and {last} keys");
    }

    let arch = cpu.units.arch();
    if rows <= attention_few::ROWS {
        let few = attention_few::Few {
            q,
            pieces: &pieces,
            mask: mask.as_deref(),
            heads,
            head_dim,
        };
        return Tensor::from_vec(few.run(batch, arch), (batch, rows, width), &Device::Cpu);
    }
    #[cfg(target_arch = "x86_64")]
    if let Some(packed) = Packed::of(cpu) {
        let threads = rayon::current_num_threads();
        // As few blocks of rows as leave work for each thread: each packs the head anew.
        let blocks = threads.div_ceil(batch * heads).min(rows);
        let block = rows.div_ceil(blocks.max(1)).max(1);
        let mut output = vec![0_f32; batch * rows * width];
        let target = Target {
            values: output.as_mut_ptr(),
            columns: width,
        };
        let tasks = (0..batch * heads)
            .into_par_iter()
            .flat_map_iter(|place| (0..rows).step_by(block).map(move |first| (place, first)));
        tasks.for_each_init(
            || packed.scratch(keys, head_dim),
            |scratch, (place, first)| {
                let (image, head) = (place / heads, place % heads);
                let count = block.min(rows - first);
                let seen = Target {
                    values: target.at(image * rows + first, head * head_dim),
                    columns: width,
                };
                let head = Head {
                    q,
                    first,
                    pieces: &pieces,
                    mask: mask.as_ref().map(|mask| &mask[first * last..]),
                    image,
                    head,
                    head_dim,
                };
                // SAFETY: the machine has the units of the steps, each task has rows and columns of its own, and the output outlives them.
                unsafe { packed.run(&head, scratch, count, &seen) };
            },
        );
        return Tensor::from_vec(output, (batch, rows, width), &Device::Cpu);
    }
    // Blocks of one size, so that no thread is left with a small rest.
    let threads = rayon::current_num_threads();
    let blocks = rows
        .div_ceil(ROWS)
        .next_multiple_of(if batch >= threads { 1 } else { threads });
    let block = rows.div_ceil(blocks.max(1)).max(1);
    let scale = 1.0 / (head_dim as f32).sqrt();
    let mut output = vec![0_f32; batch * rows * width];
    let tasks = output
        .chunks_mut((rows * width).max(1))
        .enumerate()
        .flat_map(|(image, output)| {
            output
                .chunks_mut(block * width)
                .enumerate()
                .map(move |(i, o)| (image, i * block, o))
        })
        .collect::<Vec<_>>();
    tasks.into_par_iter().for_each_init(
        || vec![0_f32; block * keys],
        |scores, (image, first, output)| {
            let count = output.len() / width;
            for head in 0..heads {
                let all = q.head(image, head, head_dim);
                let queries = Matrix {
                    values: &all.values[first * all.row_step..],
                    rows: count,
                    ..all
                };
                let mut start = 0;
                for (k, _) in &pieces {
                    product(
                        &mut scores[start..],
                        keys,
                        false,
                        scale,
                        queries,
                        k.head(image, head, head_dim).transposed(),
                    );
                    start += k.tokens;
                }
                arch.dispatch(Weights {
                    scores: &mut scores[..count * keys],
                    keys,
                    mask: mask.as_ref().map(|mask| &mask[first * last..]),
                    last,
                });
                let mut start = 0;
                for (index, (k, v)) in pieces.iter().enumerate() {
                    let weights = Matrix {
                        values: &scores[start..],
                        rows: count,
                        columns: k.tokens,
                        row_step: keys,
                        column_step: 1,
                    };
                    product(
                        &mut output[head * head_dim..],
                        width,
                        index > 0,
                        1.0,
                        weights,
                        v.head(image, head, head_dim),
                    );
                    start += k.tokens;
                }
            }
        },
    );
    Tensor::from_vec(output, (batch, rows, width), &Device::Cpu)
}

/// Makes weights of the scores of query rows, each over `keys` keys, of which the mask hides some of the `last`.
struct Weights<'a> {
    scores: &'a mut [f32],
    keys: usize,
    mask: Option<&'a [f32]>,
    last: usize,
}

impl NullaryFnOnce for Weights<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        for (row, scores) in self.scores.chunks_exact_mut(self.keys).enumerate() {
            if let Some(mask) = self.mask {
                let hidden = &mask[row * self.last..][..self.last];
                for (score, hidden) in scores[self.keys - self.last..].iter_mut().zip(hidden) {
                    *score += hidden;
                }
            }
            softmax(scores);
        }
    }
}

/// Softmax in place. A row with a NaN becomes NaN.
#[inline(always)]
fn softmax(row: &mut [f32]) {
    let factor = 1.0 / softmax_weights(row);
    for x in row {
        *x *= factor;
    }
}

/// The exponentials of a softmax in place, and their sum. A row with a NaN becomes NaN.
#[inline(always)]
pub(super) fn softmax_weights(row: &mut [f32]) -> f32 {
    const LANES: usize = 16;
    let mut tops = [f32::NEG_INFINITY; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (top, &x) in tops.iter_mut().zip(chunk) {
            *top = if x > *top { x } else { *top };
        }
    }
    let top = tops
        .iter()
        .chain(rest)
        .fold(f32::NEG_INFINITY, |a, &b| a.max(b));
    let mut sums = [0_f32; LANES];
    let (chunks, rest) = row.as_chunks_mut::<LANES>();
    for chunk in chunks {
        for (sum, x) in sums.iter_mut().zip(chunk) {
            // What a mask hides is exactly nothing.
            let weight = if *x == f32::NEG_INFINITY {
                0.0
            } else {
                exp(*x - top)
            };
            *x = weight;
            *sum += weight;
        }
    }
    let mut sum: f32 = sums.iter().sum();
    for x in rest {
        *x = if *x == f32::NEG_INFINITY {
            0.0
        } else {
            exp(*x - top)
        };
        sum += *x;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::super::Units;
    use super::*;

    /// All that this machine has.
    fn cpu_steps() -> Vec<CpuSteps> {
        let both = |units| [false, true].map(|bf16| CpuSteps { bf16, units });
        Units::tested().into_iter().flat_map(both).collect()
    }

    #[test]
    fn what_is_no_number_gives_none() {
        let random = |tokens| Tensor::rand(-1_f32, 1.0, (1, tokens, 8), &Device::Cpu).unwrap();
        // So many rows that they are packed, and so few that they are not.
        for rows in [3, attention_few::ROWS + 1] {
            spoilt_by_what_is_no_number(&random, rows);
        }
    }

    fn spoilt_by_what_is_no_number(random: &dyn Fn(usize) -> Tensor, rows: usize) {
        let q = random(rows);
        let hidden = f32::NEG_INFINITY;
        // The first row does not see the last key; what a mask takes from a score that is none is none.
        let mut mask = vec![0.0; rows * 3];
        mask[2] = hidden;
        let mask = Steps::Plain.mask(mask, (rows, 3), &Device::Cpu).unwrap();
        for number in [
            f32::NAN,
            f32::from_bits(0x7fff_ffff),
            f32::from_bits(0xff80_0001),
        ] {
            let spoilt = Tensor::full(number, (1, 1, 8), &Device::Cpu).unwrap();
            let k = Tensor::cat(&[random(2), spoilt], 1).unwrap();
            let keys = Keys { k, v: random(3) };
            for cpu in cpu_steps() {
                let steps = Steps::Fused(cpu);
                let seen = steps.attention(&q, &[&keys], Some(&mask), 2).unwrap();
                let seen = seen.get(0).unwrap().to_vec2::<f32>().unwrap();
                assert!(
                    seen.iter().flatten().all(|value| value.is_nan()),
                    "{cpu:?}: {seen:?}"
                );
            }
            let keys = Keys {
                k: random(3),
                v: keys.k,
            };
            for cpu in cpu_steps() {
                let steps = Steps::Fused(cpu);
                let seen = steps.attention(&q, &[&keys], Some(&mask), 2).unwrap();
                let seen = seen.get(0).unwrap().to_vec2::<f32>().unwrap();
                assert!(
                    seen[1..].iter().flatten().all(|value| value.is_nan()),
                    "{cpu:?}: {seen:?}"
                );
            }
        }
    }
}
