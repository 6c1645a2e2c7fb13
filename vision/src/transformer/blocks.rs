//! Blocks of a transformer whose tokens all see each other: norm, attention, norm, MLP, each half added to what goes through.
//!
//! The towers that read a picture or a short text are made of these, whatever the model calls their parts. Sequences of one batch do
//! not see one another.

use candle_core::{Result, Tensor};

use super::checkpoint::Read;
use super::kernels::{Keys, Steps};
use super::linear::Linear;
use super::weights::{Norm, Reader};

/// What a checkpoint calls the parts of its blocks, which are numbered from 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockNames<'a> {
    /// What stands before the number.
    pub(crate) block: &'a str,
    /// The norms before attention and before the MLP.
    pub(crate) norms: [&'a str; 2],
    /// Queries, keys and values: one layer, or three.
    pub(crate) qkv: &'a [&'a str],
    /// The layer behind attention.
    pub(crate) out: &'a str,
    /// The MLP, whose layers are `fc1` and `fc2`.
    pub(crate) mlp: &'a str,
}

/// The sizes of blocks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BlockSizes {
    pub(crate) layers: usize,
    pub(crate) dim: usize,
    pub(crate) ff_dim: usize,
    pub(crate) heads: usize,
}

/// Blocks with their weights.
#[derive(Debug, Clone)]
pub(crate) struct Blocks {
    steps: Steps,
    heads: usize,
    blocks: Vec<Block>,
}

#[derive(Debug, Clone)]
struct Block {
    norms: [Norm; 2],
    qkv: Linear,
    out: Linear,
    mlp: [Linear; 2],
}

impl Blocks {
    pub(crate) fn read(
        reader: &Reader<'_>,
        names: BlockNames<'_>,
        sizes: BlockSizes,
    ) -> Read<Self> {
        let dim = sizes.dim;
        let block = |index: usize| {
            let name = |part: &str| format!("{}.{index}.{part}", names.block);
            let qkv: Vec<String> = names.qkv.iter().map(|part| name(part)).collect();
            Read::Ok(Block {
                norms: [
                    reader.norm(&name(names.norms[0]), dim)?,
                    reader.norm(&name(names.norms[1]), dim)?,
                ],
                qkv: reader.joined_linear(&qkv, dim, 3 * dim / qkv.len().max(1))?,
                out: reader.linear(&name(names.out), dim, dim)?,
                mlp: reader.mlp(&name(names.mlp), dim, sizes.ff_dim, dim)?,
            })
        };
        Ok(Self {
            steps: reader.format.steps,
            heads: sizes.heads,
            blocks: (0..sizes.layers).map(block).collect::<Read<_>>()?,
        })
    }

    /// Tokens `[sequences * tokens, dim]` through all blocks. `watch` sees them before the first block and after each.
    pub(crate) fn forward(
        &self,
        mut x: Tensor,
        (sequences, tokens): (usize, usize),
        mut watch: impl FnMut(&Tensor),
    ) -> Result<Tensor> {
        let dim = x.dim(1)?;
        watch(&x);
        let steps = self.steps;
        for block in &self.blocks {
            let qkv = block.qkv.forward(steps, &block.norms[0].forward(&x)?)?;
            let qkv = qkv.reshape((sequences, tokens, 3 * dim))?;
            let keys = Keys {
                k: qkv.narrow(2, dim, dim)?,
                v: qkv.narrow(2, 2 * dim, dim)?,
            };
            let seen = steps.attention(&qkv.narrow(2, 0, dim)?, &[&keys], None, self.heads)?;
            let seen = seen.reshape((sequences * tokens, dim))?;
            x = block.out.add_to(steps, &x, &seen, Some(block.out.bias()))?;
            let [first, second] = &block.mlp;
            let hidden = first.gelu(steps, &block.norms[1].forward(&x)?)?;
            x = second.add_to(steps, &x, &hidden, Some(second.bias()))?;
            watch(&x);
        }
        Ok(x)
    }
}
