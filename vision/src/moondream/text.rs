//! The language model: the image prefix once, then any number of continuations of it.
//!
//! Keys and values of the prefix are kept per layer and never copied for a question; what follows the prefix has its own,
//! and attention reads both where they lie. The last layer is computed only where its output is wanted.

use candle_core::{DType, Device, Result, Tensor};

use super::names::Names;
use super::{PrefixMask, TextConfig};
use crate::transformer::Linear;
use crate::transformer::Read;
use crate::transformer::{Keys, Mask, Room, Rotary, Steps};
use crate::transformer::{Norm, Reader};

/// The language model with its weights.
#[derive(Debug, Clone)]
pub(super) struct TextModel {
    steps: Steps,
    heads: usize,
    prefix_mask: PrefixMask,
    dtype: DType,
    embedding: Tensor,
    blocks: Vec<Block>,
    norm: Norm,
    head: Linear,
    rotary: Rotary,
}

#[derive(Debug, Clone)]
struct Block {
    norm: Norm,
    qkv: Linear,
    out: Linear,
    mlp: [Linear; 2],
    /// The biases of `out` and of the MLP's second layer together: both go into the same sum.
    bias: Tensor,
}

/// Keys and values of sequences, a pair per layer.
#[derive(Debug, Clone)]
pub(super) struct Cache {
    layers: Vec<Keys>,
}

/// Keys and values of what continues sequences, a layer each; made by [`TextModel::extend`], which adds to it.
pub(super) type Own = Vec<Room>;

/// Tokens that continue the sequences of a batch.
pub(super) struct Step<'a> {
    /// Token ids `[batch, tokens]`.
    pub(super) tokens: &'a Tensor,
    /// The position of each token.
    pub(super) positions: &'a [u32],
    /// Which of the own tokens so far and these each token sees.
    pub(super) mask: &'a Mask,
    /// The tokens whose output is wanted.
    pub(super) wanted: &'a [u32],
}

impl TextModel {
    pub(super) fn read(reader: &Reader<'_>, names: &Names, config: &TextConfig) -> Read<Self> {
        let dim = config.dim;
        let checkpoint = reader.checkpoint;
        let block = |index: usize| {
            let name = |part: &str| format!("{}.{index}.{part}", names.text_block);
            let out = reader.linear(&name(names.text_out), dim, dim)?;
            let mlp = reader.mlp(&name("mlp"), dim, config.ff_dim, dim)?;
            let bias = (out.bias() + mlp[1].bias())
                .map_err(|source| checkpoint.unusable(&name(names.text_out), source))?;
            Read::Ok(Block {
                norm: reader.norm(&name(names.text_norm), dim)?,
                qkv: reader.linear(&name(names.text_qkv), dim, 3 * dim)?,
                out,
                mlp,
                bias,
            })
        };
        let rotary = Rotary::new(dim / config.heads, config.context, reader.format);
        Ok(Self {
            steps: reader.format.steps,
            heads: config.heads,
            prefix_mask: config.prefix_mask,
            dtype: reader.format.dtype,
            // Only ever looked up, so it stays in the file's number format.
            embedding: reader.stored(names.embedding, &[config.vocab, dim])?,
            blocks: (0..config.layers).map(block).collect::<Read<_>>()?,
            norm: reader.norm(names.head_norm, dim)?,
            head: reader.linear(names.head, dim, config.vocab)?,
            rotary: rotary.map_err(|source| checkpoint.unusable(names.embedding, source))?,
        })
    }

    /// The embeddings of ids, `[batch, tokens]` to `[batch, tokens, dim]`.
    pub(super) fn embed(&self, ids: &Tensor) -> Result<Tensor> {
        let (batch, tokens) = ids.dims2()?;
        let rows = self
            .embedding
            .index_select(&ids.flatten_all()?, 0)?
            .to_dtype(self.dtype)?;
        rows.reshape((batch, tokens, self.embedding.dim(1)?))
    }

    /// Takes the prefix `[batch, tokens, dim]`, positions from 0, through all layers.
    pub(super) fn prefix(&self, embeddings: &Tensor) -> Result<Cache> {
        let (batch, tokens, dim) = embeddings.dims3()?;
        let positions: Vec<u32> = (0..tokens as u32).collect();
        let rotary = self.rotary.at(&positions)?;
        let mask = match self.prefix_mask {
            PrefixMask::Bidirectional => None,
            PrefixMask::Causal => Some(causal(self.steps, tokens, embeddings.device())?),
        };
        let mut x = embeddings.reshape((batch * tokens, dim))?;
        let mut layers = Vec::with_capacity(self.blocks.len());
        for (index, block) in self.blocks.iter().enumerate() {
            let h = block.norm.forward(&x)?;
            let (q, room) = self.project(block, &h, batch, &rotary, None)?;
            let keys = room.keys()?;
            if index + 1 < self.blocks.len() {
                let seen = self
                    .steps
                    .attention(&q, &[&keys], mask.as_ref(), self.heads)?;
                x = block.finish(self.steps, &x, &h, &seen)?;
            }
            layers.push(keys);
        }
        Ok(Cache { layers })
    }

    /// Continues the sequences of `prefix` (none: they begin here) by one step, after what `own` holds of former steps;
    /// gives the residual stream at the wanted tokens, `[batch * wanted, dim]`. `watch` sees the wanted tokens' rows before
    /// the first block and after each.
    pub(super) fn extend(
        &self,
        prefix: Option<&Cache>,
        own: &mut Own,
        step: &Step<'_>,
        mut watch: Option<&mut dyn FnMut(&Tensor)>,
    ) -> Result<Tensor> {
        let (batch, tokens) = step.tokens.dims2()?;
        let rotary = self.rotary.at(step.positions)?;
        let x = self.embed(step.tokens)?;
        let dim = x.dim(2)?;
        let mut x = x.reshape((batch * tokens, dim))?;
        let wanted = Tensor::new(step.wanted, x.device())?;
        let rows = |x: &Tensor| -> Result<Tensor> {
            let width = x.dim(1)?;
            let rows = x
                .reshape((batch, tokens, width))?
                .index_select(&wanted, 1)?;
            rows.reshape((batch * step.wanted.len(), width))
        };
        if let Some(watch) = &mut watch {
            watch(&rows(&x)?);
        }
        let mut former = std::mem::take(own).into_iter();
        for (index, block) in self.blocks.iter().enumerate() {
            let h = block.norm.forward(&x)?;
            let (mut q, room) = self.project(block, &h, batch, &rotary, former.next())?;
            let keys = room.keys()?;
            let pieces: Vec<&Keys> = prefix
                .iter()
                .map(|cache| &cache.layers[index])
                .chain([&keys])
                .collect();
            if index + 1 < self.blocks.len() {
                let seen = self
                    .steps
                    .attention(&q, &pieces, Some(step.mask), self.heads)?;
                x = block.finish(self.steps, &x, &h, &seen)?;
                if let Some(watch) = &mut watch {
                    watch(&rows(&x)?);
                }
            } else {
                q = q.contiguous()?.index_select(&wanted, 1)?;
                let mask = step.mask.rows(&wanted)?;
                let seen = self.steps.attention(&q, &pieces, Some(&mask), self.heads)?;
                x = block.finish(self.steps, &rows(&x)?, &rows(&h)?, &seen)?;
                if let Some(watch) = &mut watch {
                    watch(&x);
                }
            }
            own.push(room);
        }
        Ok(x)
    }

    /// The final norm: `[rows, dim]` of the residual stream to what a head multiplies.
    pub(super) fn normed(&self, x: &Tensor) -> Result<Tensor> {
        self.norm.forward(x)
    }

    /// The logits of all tokens, `[rows, dim]` after the norm to `[rows, vocab]` in f32.
    pub(super) fn logits(&self, normed: &Tensor) -> Result<Tensor> {
        self.head.forward(self.steps, normed)?.to_dtype(DType::F32)
    }

    /// The likeliest of all tokens but `barred` in each row, `[rows, dim]` after the norm; `None` where a logit is no number.
    pub(super) fn likeliest(
        &self,
        normed: &Tensor,
        barred: Option<u32>,
    ) -> Result<Vec<Option<u32>>> {
        let logits = self.head.forward(self.steps, normed)?;
        self.steps.choose(&logits, barred)
    }

    /// Queries of a block, `[batch, tokens, dim]`, and its keys and values behind those in `room`, rotated.
    fn project(
        &self,
        block: &Block,
        h: &Tensor,
        batch: usize,
        rotary: &Rotary,
        room: Option<Room>,
    ) -> Result<(Tensor, Room)> {
        let (rows, dim) = h.dims2()?;
        let qkv = block.qkv.forward(self.steps, h)?;
        let qkv = qkv.reshape((batch, rows / batch, 3 * dim))?;
        self.steps.rotate(qkv, rotary, self.heads, room)
    }
}

impl Block {
    /// The residual stream after the block: attention and MLP read the same norm and are added together.
    fn finish(&self, steps: Steps, x: &Tensor, h: &Tensor, seen: &Tensor) -> Result<Tensor> {
        let seen = seen.reshape(x.shape())?;
        let sum = self.out.add_to(steps, x, &seen, Some(&self.bias))?;
        let hidden = self.mlp[0].gelu(steps, h)?;
        self.mlp[1].add_to(steps, &sum, &hidden, None)
    }
}

impl Cache {
    /// The keys and values of a layer, `[batch, tokens, heads * head_dim]`.
    pub(super) fn layer(&self, index: usize) -> Option<(&Tensor, &Tensor)> {
        self.layers.get(index).map(|keys| (&keys.k, &keys.v))
    }

    /// Tokens of each sequence.
    pub(super) fn tokens(&self) -> usize {
        self.layers
            .first()
            .and_then(|keys| keys.k.dim(1).ok())
            .unwrap_or(0)
    }

    /// Sequences.
    pub(super) fn batch(&self) -> usize {
        self.layers
            .first()
            .and_then(|keys| keys.k.dim(0).ok())
            .unwrap_or(0)
    }
}

/// A mask with which each of some tokens sees those before it and itself.
fn causal(steps: Steps, tokens: usize, device: &Device) -> Result<Mask> {
    let mask = (0..tokens).flat_map(|row| {
        (0..tokens).map(move |column| {
            if column <= row {
                0.0
            } else {
                f32::NEG_INFINITY
            }
        })
    });
    steps.mask(mask.collect(), (tokens, tokens), device)
}
