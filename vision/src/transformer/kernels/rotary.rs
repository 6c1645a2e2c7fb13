//! Rotary position embedding of queries and keys where they lie (Su et al., arXiv:2104.09864).
//!
//! The first half of each head's dimensions is rotated, in pairs `(j, j + rotated / 2)` by the angle
//! `position * 10000^(-2j / rotated)`; the rest stays. Position and dimension alone decide, so the tables are made once.

#[cfg(feature = "cuda")]
use candle_core::DType;
use candle_core::{CpuStorage, Device, InplaceOp3, Layout, Result, Tensor};
use rayon::prelude::*;

use super::super::format::Format;
use super::attention::Keys;
#[cfg(feature = "cuda")]
use super::cuda;
use super::{Room, Steps, contiguous};

/// Base of the frequencies' geometric series.
const THETA: f32 = 10_000.0;

/// Cosines and sines by position, `[positions, rotated / 2]` each.
#[derive(Debug, Clone)]
pub(crate) struct Rotary {
    cos: Tensor,
    sin: Tensor,
}

impl Rotary {
    /// Tables for heads of `head_dim` dimensions and positions from 0 to `positions - 1`, in the number format of the network; in f32
    /// for its kernels. Computed in f32, like the reference's, on the CPU.
    pub(crate) fn new(head_dim: usize, positions: usize, format: &Format) -> Result<Self> {
        let dtype = match format.steps {
            #[cfg(feature = "cuda")]
            Steps::Cuda(_) => DType::F32,
            _ => format.dtype,
        };
        let rotated = head_dim / 2;
        let half = rotated / 2;
        let frequencies: Vec<f32> = (0..half)
            .map(|j| 1.0 / THETA.powf((2 * j) as f32 / rotated as f32))
            .collect();
        let angles = (0..positions).flat_map(|at| frequencies.iter().map(move |f| at as f32 * f));
        let (cos, sin): (Vec<f32>, Vec<f32>) = angles.map(|a| (a.cos(), a.sin())).unzip();
        let table = |values| {
            Tensor::from_vec(values, (positions, half), &Device::Cpu)?
                .to_device(&format.device)?
                .to_dtype(dtype)
        };
        Ok(Self {
            cos: table(cos)?,
            sin: table(sin)?,
        })
    }

    /// The tables' rows for these positions.
    pub(crate) fn at(&self, positions: &[u32]) -> Result<Self> {
        let index = Tensor::new(positions, self.cos.device())?;
        Ok(Self {
            cos: self.cos.index_select(&index, 0)?,
            sin: self.sin.index_select(&index, 0)?,
        })
    }
}

impl Steps {
    /// Rotates the queries and keys in `qkv`, `[batch, tokens, 3 * heads * head_dim]`, with one row of `rotary` per token; gives the
    /// queries, `[batch, tokens, heads * head_dim]`, and keys and values behind those that are in `room` already. May write over `qkv`,
    /// which must have no other user.
    pub(crate) fn rotate(
        self,
        qkv: Tensor,
        rotary: &Rotary,
        heads: usize,
        room: Option<Room>,
    ) -> Result<(Tensor, Room)> {
        let width = qkv.dim(2)? / 3;
        let qkv = match self {
            Self::Plain => plain(&qkv, rotary, heads)?,
            Self::Fused(_) => {
                qkv.inplace_op3(&rotary.cos, &rotary.sin, &Rotate { heads })?;
                qkv
            }
            #[cfg(feature = "cuda")]
            Self::Cuda(_) => {
                let (k, v) = cuda::rotate(&qkv, (&rotary.cos, &rotary.sin), heads)?;
                let room = Room::append(room, Keys { k, v })?;
                return Ok((qkv.narrow(2, 0, width)?, room));
            }
        };
        let part = |index: usize| qkv.narrow(2, index * width, width);
        let keys = Keys {
            k: part(1)?,
            v: part(2)?,
        };
        Ok((part(0)?, Room::append(room, keys)?))
    }
}

fn plain(qkv: &Tensor, rotary: &Rotary, heads: usize) -> Result<Tensor> {
    let (batch, tokens, width) = qkv.dims3()?;
    let head_dim = width / (3 * heads);
    let rotated = head_dim / 2;
    let parts = qkv.reshape((batch, tokens, 3, heads, head_dim))?;
    let turned = parts.narrow(2, 0, 2)?;
    let first = turned.narrow(4, 0, rotated / 2)?;
    let second = turned.narrow(4, rotated / 2, rotated / 2)?;
    let rest = turned.narrow(4, rotated, head_dim - rotated)?;
    let cos = rotary.cos.reshape((1, tokens, 1, 1, rotated / 2))?;
    let sin = rotary.sin.reshape((1, tokens, 1, 1, rotated / 2))?;
    let left = (first.broadcast_mul(&cos)? - second.broadcast_mul(&sin)?)?;
    let right = (first.broadcast_mul(&sin)? + second.broadcast_mul(&cos)?)?;
    let turned = Tensor::cat(&[left, right, rest], 4)?;
    Tensor::cat(&[turned, parts.narrow(2, 2, 1)?], 2)?.reshape((batch, tokens, width))
}

struct Rotate {
    heads: usize,
}

impl InplaceOp3 for Rotate {
    fn name(&self) -> &'static str {
        "rotate"
    }

    fn cpu_fwd(
        &self,
        qkv: &mut CpuStorage,
        qkv_at: &Layout,
        cos: &CpuStorage,
        cos_at: &Layout,
        sin: &CpuStorage,
        sin_at: &Layout,
    ) -> Result<()> {
        let (batch, tokens, width) = qkv_at.shape().dims3()?;
        let head_dim = width / (3 * self.heads);
        let half = head_dim / 4;
        let cos = contiguous(self.name(), cos.as_slice::<f32>()?, cos_at)?;
        let sin = contiguous(self.name(), sin.as_slice::<f32>()?, sin_at)?;
        let (CpuStorage::F32(values), Some((start, end))) = (qkv, qkv_at.contiguous_offsets())
        else {
            return Err(candle_core::Error::RequiresContiguous { op: self.name() });
        };
        if cos.len() != tokens * half
            || sin.len() != cos.len()
            || end - start != batch * tokens * width
        {
            candle_core::bail!(
                "rotary tables of {} values do not fit {tokens} tokens",
                cos.len()
            );
        }
        let turned = 2 * self.heads * head_dim;
        values[start..end]
            .par_chunks_mut(width)
            .enumerate()
            .for_each(|(row, values)| {
                let at = (row % tokens) * half;
                let (cos, sin) = (&cos[at..at + half], &sin[at..at + half]);
                for head in values[..turned].chunks_exact_mut(head_dim) {
                    let (first, rest) = head.split_at_mut(half);
                    for (((a, b), cos), sin) in first.iter_mut().zip(rest).zip(cos).zip(sin) {
                        (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
                    }
                }
            });
        Ok(())
    }
}
