//! Attention by the tensor library's operations, for every device and number format: each writes a tensor of its own.

use candle_core::{D, Result, Tensor};

use super::attention::Keys;

/// Scores of one launch of candle's operations at most: a quarter of what their kernels can count (`LAUNCH`), and in
/// bf16 a gigabyte, of which three are there at once. 64 images with one question need half of it; with sixty they
/// go through in five groups.
const SCORES: usize = 1 << 29;

/// As [`Steps::attention`](super::Steps::attention); takes as many of the batch at once as fit a launch.
pub(super) fn in_groups(
    q: &Tensor,
    pieces: &[&Keys],
    mask: Option<&Tensor>,
    heads: usize,
) -> Result<Tensor> {
    in_groups_of(q, pieces, mask, heads, SCORES)
}

/// Takes as many of the batch through [`plain`] at once as have `scores` scores together, at least one.
fn in_groups_of(
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

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

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
            let grouped = in_groups_of(&q, &pieces, Some(&mask), heads, images * each).unwrap();
            assert_eq!(grouped.dims(), at_once.dims());
            let difference = (grouped - &at_once).unwrap().abs().unwrap();
            let difference = difference.max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(difference < 1e-6, "{images} at once differ by {difference}");
        }
    }
}
