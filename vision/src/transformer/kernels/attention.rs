//! Softmax attention of queries over keys that lie in two pieces: an image's prefix, shared by all that is asked about
//! it, and what came after.
//!
//! The pieces are never put together in memory; only their scores are. On the CPU a block of query rows is taken through
//! scores, softmax and values for one head at a time, so that the scores stay in the cache: in f32, or where a quantised network bears it and the CPU
//! can, [in bf16](super::attention_bf16).

use candle_core::{CpuStorage, D, Device, Result, Storage, Tensor};
use pulp::{Arch, NullaryFnOnce};
use rayon::prelude::*;

use super::Steps;
#[cfg(target_arch = "x86_64")]
use super::attention_bf16;
#[cfg(feature = "cuda")]
use super::cuda;
use super::exp::exp;
use super::product::{Matrix, product};

/// Query rows of one task at most: their scores over some 800 keys take 600 KB.
const ROWS: usize = 192;

/// Scores of one launch of candle's operations at most: a quarter of what their kernels can count (`LAUNCH`), and in
/// bf16 a gigabyte, of which three are there at once. 64 images with one question need half of it; with sixty they
/// go through in five groups.
const SCORES: usize = 1 << 29;

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
            Self::Plain => in_groups(q, pieces, hidden, heads, SCORES),
            Self::Fused { bf16 } => fused(q, pieces, hidden, heads, bf16),
            #[cfg(feature = "cuda")]
            Self::Cuda(steps) => {
                let seen = mask.and_then(|mask| mask.seen.as_ref());
                let fused = match steps.attention {
                    true => cuda::attention(q, pieces, seen, heads)?,
                    false => None,
                };
                match fused {
                    Some(seen) => Ok(seen),
                    None => in_groups(q, pieces, hidden, heads, SCORES),
                }
            }
        }
    }
}

/// Takes as many of the batch through [`plain`] at once as have `scores` scores together, at least one.
fn in_groups(
    q: &Tensor,
    pieces: &[&Keys],
    mask: Option<&Tensor>,
    heads: usize,
    scores: usize,
) -> Result<Tensor> {
    let (batch, rows, _) = q.dims3()?;
    let mut keys = 0;
    for piece in pieces {
        keys += piece.k.dim(1)?;
    }
    let at_once = (scores / (heads * rows * keys).max(1)).max(1);
    if batch <= at_once {
        return plain(q, pieces, mask, heads);
    }
    // Groups of one size, so that no launch is left with a small rest.
    let share = batch.div_ceil(batch.div_ceil(at_once));
    let mut seen = Vec::new();
    for start in (0..batch).step_by(share) {
        let count = share.min(batch - start);
        let pieces: Vec<Keys> = pieces
            .iter()
            .map(|keys| {
                Ok(Keys {
                    k: keys.k.narrow(0, start, count)?,
                    v: keys.v.narrow(0, start, count)?,
                })
            })
            .collect::<Result<_>>()?;
        let pieces: Vec<&Keys> = pieces.iter().collect();
        seen.push(plain(&q.narrow(0, start, count)?, &pieces, mask, heads)?);
    }
    Tensor::cat(&seen, 0)
}

fn plain(q: &Tensor, pieces: &[&Keys], mask: Option<&Tensor>, heads: usize) -> Result<Tensor> {
    let (batch, rows, width) = q.dims3()?;
    let head_dim = width / heads;
    let split = |x: &Tensor| -> Result<Tensor> {
        let tokens = x.dim(1)?;
        x.reshape((batch, tokens, heads, head_dim))?
            .transpose(1, 2)?
            .contiguous()
    };
    let q = (split(&q.contiguous()?)? * (1.0 / (head_dim as f64).sqrt()))?;
    let mut scores = Vec::with_capacity(pieces.len());
    for (index, keys) in pieces.iter().enumerate() {
        let piece = q.matmul(&split(&keys.k.contiguous()?)?.transpose(2, 3)?)?;
        scores.push(match mask {
            Some(mask) if index + 1 == pieces.len() => {
                piece.broadcast_add(&mask.to_dtype(piece.dtype())?)?
            }
            _ => piece,
        });
    }
    let weights = candle_nn::ops::softmax_last_dim(&Tensor::cat(&scores, D::Minus1)?)?;
    let mut sum: Option<Tensor> = None;
    let mut start = 0;
    for keys in pieces {
        let count = keys.k.dim(1)?;
        let part = weights
            .narrow(D::Minus1, start, count)?
            .contiguous()?
            .matmul(&split(&keys.v.contiguous()?)?)?;
        sum = Some(match sum {
            None => part,
            Some(sum) => (sum + part)?,
        });
        start += count;
    }
    match sum {
        Some(sum) => sum.transpose(1, 2)?.reshape((batch, rows, width)),
        None => candle_core::bail!("attention needs keys"),
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
    bf16: bool,
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

    // Blocks of one size, so that no thread is left with a small rest.
    let threads = rayon::current_num_threads();
    let blocks = rows
        .div_ceil(ROWS)
        .next_multiple_of(if batch >= threads { 1 } else { threads });
    let block = rows.div_ceil(blocks.max(1)).max(1);
    let scale = 1.0 / (head_dim as f32).sqrt();
    let arch = Arch::new();
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
    #[cfg(target_arch = "x86_64")]
    if bf16 && attention_bf16::available() {
        tasks.into_par_iter().for_each_init(
            || attention_bf16::Scratch::new(keys, head_dim),
            |scratch, (image, first, output)| {
                for head in 0..heads {
                    let head = attention_bf16::Head {
                        q,
                        first,
                        pieces: &pieces,
                        mask: mask.as_ref().map(|mask| &mask[first * last..]),
                        image,
                        head,
                        head_dim,
                        scale,
                    };
                    // SAFETY: the machine has the instructions.
                    unsafe { head.run(scratch, output, width) };
                }
            },
        );
        return Tensor::from_vec(output, (batch, rows, width), &Device::Cpu);
    }
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
    use super::*;

    #[test]
    fn what_is_no_number_gives_none() {
        let random = |tokens| Tensor::rand(-1_f32, 1.0, (1, tokens, 8), &Device::Cpu).unwrap();
        let q = random(3);
        let hidden = f32::NEG_INFINITY;
        // The first row does not see the last key; what a mask takes from a score that is none is none.
        let mask = [0.0, 0.0, hidden, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let mask = Steps::Plain
            .mask(mask.to_vec(), (3, 3), &Device::Cpu)
            .unwrap();
        for number in [
            f32::NAN,
            f32::from_bits(0x7fff_ffff),
            f32::from_bits(0xff80_0001),
        ] {
            let spoilt = Tensor::full(number, (1, 1, 8), &Device::Cpu).unwrap();
            let k = Tensor::cat(&[random(2), spoilt], 1).unwrap();
            let keys = Keys { k, v: random(3) };
            for bf16 in [false, true] {
                let steps = Steps::Fused { bf16 };
                let seen = steps.attention(&q, &[&keys], Some(&mask), 2).unwrap();
                let seen = seen.get(0).unwrap().to_vec2::<f32>().unwrap();
                assert!(
                    seen.iter().flatten().all(|value| value.is_nan()),
                    "{bf16}: {seen:?}"
                );
            }
            let keys = Keys {
                k: random(3),
                v: keys.k,
            };
            for bf16 in [false, true] {
                let steps = Steps::Fused { bf16 };
                let seen = steps.attention(&q, &[&keys], Some(&mask), 2).unwrap();
                let seen = seen.get(0).unwrap().to_vec2::<f32>().unwrap();
                assert!(
                    seen[1..].iter().flatten().all(|value| value.is_nan()),
                    "{bf16}: {seen:?}"
                );
            }
        }
    }

    #[test]
    fn a_batch_in_groups_sees_what_it_sees_at_once() {
        let (batch, heads, width) = (5, 2, 8);
        let random =
            |tokens| Tensor::rand(-1_f32, 1.0, (batch, tokens, width), &Device::Cpu).unwrap();
        let pieces = [7, 3].map(|tokens| Keys {
            k: random(tokens),
            v: random(tokens),
        });
        let pieces: Vec<&Keys> = pieces.iter().collect();
        let q = random(3);
        let hidden = f32::NEG_INFINITY;
        let mask = [0.0, hidden, hidden, 0.0, 0.0, hidden, 0.0, hidden, 0.0];
        let mask = Tensor::from_vec(mask.to_vec(), (3, 3), &Device::Cpu).unwrap();
        let at_once = plain(&q, &pieces, Some(&mask), heads).unwrap();
        let each = heads * 3 * (7 + 3);
        for images in [0, 1, 2, 4, 5] {
            let grouped = in_groups(&q, &pieces, Some(&mask), heads, images * each).unwrap();
            assert_eq!(grouped.dims(), at_once.dims());
            let difference = (grouped - &at_once).unwrap().abs().unwrap();
            let difference = difference.max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(difference < 1e-6, "{images} at once differ by {difference}");
        }
    }
}
