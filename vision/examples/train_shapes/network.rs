//! The differentiable forward pass, in the shape of a Moondream2 checkpoint of 2025-06-21.
//!
//! It owns the parameters and the arithmetic on batches of equal form. How scenes become batches and what is made of
//! the logits is not its business.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor, bail};
use picsift_vision::moondream::Config;

use crate::fused::{Mask, gelu, layer_norm, linear, rotary, softmax};
use crate::parameters::PATCH_HEADS;
use crate::stitch::stitching;

/// The views of some pictures as patches.
#[derive(Debug, Clone)]
pub(crate) struct Pictures {
    /// `[views * tokens, 3 * patch * patch]`, normalised.
    pub(crate) patches: Tensor,
    /// Of each picture, the rows and columns of its local views, which follow its overview; (1, 1) has none.
    pub(crate) grids: Vec<(usize, usize)>,
}

/// Views of a picture beside the overview, which is its own single tile.
fn local_views((rows, columns): (usize, usize)) -> usize {
    if (rows, columns) == (1, 1) {
        0
    } else {
        rows * columns
    }
}

/// What the language model keeps of some pictures: keys and values `[pictures, heads, 1 + tokens, head dim]` by layer.
#[derive(Debug)]
pub(crate) struct Prefix {
    layers: Vec<(Tensor, Tensor)>,
}

/// The model with its parameters.
#[derive(Debug)]
pub(crate) struct Network {
    pub(crate) config: Config,
    tensors: BTreeMap<String, Tensor>,
}

impl Network {
    /// A model with these tensors, f32.
    pub(crate) fn new(config: Config, tensors: BTreeMap<String, Tensor>) -> Self {
        Self { config, tensors }
    }

    fn tensor(&self, name: &str) -> Result<&Tensor> {
        match self.tensors.get(name) {
            Some(tensor) => Ok(tensor),
            None => bail!("there is no tensor '{name}'"),
        }
    }

    fn linear(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        linear(
            x,
            self.tensor(&format!("{name}.weight"))?,
            self.tensor(&format!("{name}.bias"))?,
        )
    }

    fn layer_norm(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        layer_norm(
            x,
            self.tensor(&format!("{name}.weight"))?,
            self.tensor(&format!("{name}.bias"))?,
        )
    }

    fn mlp(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let hidden = gelu(&self.linear(x, &format!("{name}.fc1"))?)?;
        self.linear(&hidden, &format!("{name}.fc2"))
    }

    /// One of query, key and value (0, 1, 2) of `sequences * length` rows: `[sequences, heads, length, head dim]`.
    fn heads(
        &self,
        x: &Tensor,
        name: &str,
        part: usize,
        sequences: usize,
        heads: usize,
    ) -> Result<Tensor> {
        let (rows, dim) = x.dims2()?;
        let weight = self
            .tensor(&format!("{name}.qkv.weight"))?
            .narrow(0, part * dim, dim)?;
        let bias = self
            .tensor(&format!("{name}.qkv.bias"))?
            .narrow(0, part * dim, dim)?;
        linear(x, &weight, &bias)?
            .reshape((sequences, rows / sequences, heads, dim / heads))?
            .transpose(1, 2)?
            .contiguous()
    }

    /// `[sequences, heads, length, head dim]` back to rows, through the attention's last layer.
    fn joined(&self, x: &Tensor, name: &str) -> Result<Tensor> {
        let (sequences, heads, length, head_dim) = x.dims4()?;
        let rows = x
            .transpose(1, 2)?
            .reshape((sequences * length, heads * head_dim))?;
        self.linear(&rows, &format!("{name}.proj"))
    }

    /// The encoder's features of every view, `[views * tokens, dim]`.
    pub(crate) fn encode(&self, patches: &Tensor) -> Result<Tensor> {
        let vision = &self.config.vision;
        let (tokens, heads) = (vision.tokens(), vision.heads);
        let views = patches.dim(0)? / tokens;
        let x = self.linear(patches, "model.vision.patch_emb")?;
        let mut x = x
            .reshape((views, tokens, vision.dim))?
            .broadcast_add(self.tensor("model.vision.pos_emb")?)?
            .reshape((views * tokens, vision.dim))?;
        let scale = 1.0 / ((vision.dim / heads) as f32).sqrt();
        for layer in 0..vision.layers {
            let name = format!("model.vision.blocks.{layer}");
            let attn = format!("{name}.attn");
            let h = self.layer_norm(&x, &format!("{name}.ln1"))?;
            let [q, k, v] = [0, 1, 2].map(|part| self.heads(&h, &attn, part, views, heads));
            let shares = softmax(&q?.matmul(&k?.t()?)?, scale, Mask::None)?;
            x = (x + self.joined(&shares.matmul(&v?)?, &attn)?)?;
            let h = self.layer_norm(&x, &format!("{name}.ln2"))?;
            x = (x + self.mlp(&h, &format!("{name}.mlp"))?)?;
        }
        self.layer_norm(&x, "model.vision.post_ln")
    }

    /// Of the views' features those of the overviews, `[pictures * tokens, dim]`.
    pub(crate) fn overviews(&self, features: &Tensor, grids: &[(usize, usize)]) -> Result<Tensor> {
        let tokens = self.config.vision.tokens();
        let (mut overviews, mut start) = (Vec::new(), 0);
        for &grid in grids {
            overviews.push(features.narrow(0, start, tokens)?);
            start += tokens * (1 + local_views(grid));
        }
        Tensor::cat(&overviews, 0)
    }

    /// From the views' features and the overviews among them the pictures' embeddings, `[pictures * tokens, text dim]`.
    pub(crate) fn project(
        &self,
        features: &Tensor,
        overviews: &Tensor,
        grids: &[(usize, usize)],
    ) -> Result<Tensor> {
        let vision = &self.config.vision;
        let tokens = vision.tokens();
        let (mut locals, mut start) = (Vec::new(), 0);
        for (picture, &grid) in grids.iter().enumerate() {
            start += tokens;
            let count = local_views(grid) * tokens;
            if count == 0 {
                locals.push(overviews.narrow(0, picture * tokens, tokens)?);
            } else {
                let pool = stitching(vision, grid.0, grid.1);
                let pool = Tensor::from_vec(pool, (tokens, count), features.device())?;
                locals.push(pool.matmul(&features.narrow(0, start, count)?)?);
            }
            start += count;
        }
        let both = Tensor::cat(&[overviews, &Tensor::cat(&locals, 0)?], 1)?;
        self.mlp(&both, "model.vision.proj_mlp")
    }

    /// The logits of both patch heads for the overviews' features.
    pub(crate) fn patch_logits(&self, global: &Tensor) -> Result<[Tensor; 2]> {
        let [colour, shape] = PATCH_HEADS.map(|name| self.linear(global, name));
        Ok([colour?, shape?])
    }

    /// BOS and the pictures' embeddings through the language model.
    pub(crate) fn prefix(&self, embeddings: &Tensor) -> Result<Prefix> {
        let text = &self.config.text;
        let tokens = self.config.vision.tokens();
        let (pictures, length) = (embeddings.dim(0)? / tokens, tokens + 1);
        let bos = self.embed(&[self.config.template.bos])?;
        let bos = bos.unsqueeze(0)?.broadcast_as((pictures, 1, text.dim))?;
        let embeddings = embeddings.reshape((pictures, tokens, text.dim))?;
        let mut x = Tensor::cat(&[&bos, &embeddings], 1)?.reshape((pictures * length, text.dim))?;
        let scale = 1.0 / ((text.dim / text.heads) as f32).sqrt();
        let mut layers = Vec::new();
        for layer in 0..text.layers {
            let name = format!("model.text.blocks.{layer}");
            let attn = format!("{name}.attn");
            let h = self.layer_norm(&x, &format!("{name}.ln"))?;
            let k = rotary(&self.heads(&h, &attn, 1, pictures, text.heads)?, 0, length)?;
            let v = self.heads(&h, &attn, 2, pictures, text.heads)?;
            // Nobody reads what the prefix itself becomes in the last block.
            if layer + 1 < text.layers {
                let q = rotary(&self.heads(&h, &attn, 0, pictures, text.heads)?, 0, length)?;
                let shares = softmax(&q.matmul(&k.t()?)?, scale, Mask::None)?;
                let seen = self.joined(&shares.matmul(&v)?, &attn)?;
                x = ((x + seen)? + self.mlp(&h, &format!("{name}.mlp"))?)?;
            }
            layers.push((k, v));
        }
        Ok(Prefix { layers })
    }

    fn embed(&self, ids: &[u32]) -> Result<Tensor> {
        self.tensor("model.text.wte")?
            .index_select(&Tensor::new(ids, &Device::Cpu)?, 0)
    }

    /// The logits `[rows.len(), vocabulary]` after the tokens numbered `rows` of `ids`, which are `[pictures,
    /// questions, length]`: every question follows its picture and sees it and itself only.
    pub(crate) fn logits(
        &self,
        prefix: &Prefix,
        ids: &[u32],
        length: usize,
        rows: &[u32],
    ) -> Result<Tensor> {
        let text = &self.config.text;
        let (pictures, heads, before, head_dim) = prefix.layers[0].0.dims4()?;
        let packed = ids.len() / pictures;
        let sequences = (pictures * heads * packed / length, length, head_dim);
        let scale = 1.0 / (head_dim as f32).sqrt();
        let mask = Mask::Causal {
            prefix: before,
            length,
        };
        let mut x = self.embed(ids)?;
        for (layer, (prefix_k, prefix_v)) in prefix.layers.iter().enumerate() {
            let name = format!("model.text.blocks.{layer}");
            let attn = format!("{name}.attn");
            let h = self.layer_norm(&x, &format!("{name}.ln"))?;
            let q = rotary(&self.heads(&h, &attn, 0, pictures, heads)?, before, length)?;
            let k = rotary(&self.heads(&h, &attn, 1, pictures, heads)?, before, length)?;
            let v = self.heads(&h, &attn, 2, pictures, heads)?;
            let own = q.reshape(sequences)?.matmul(&k.reshape(sequences)?.t()?)?;
            let own = own.reshape((pictures, heads, packed, length))?;
            let scores = Tensor::cat(&[&q.matmul(&prefix_k.t()?)?, &own], 3)?;
            let shares = softmax(&scores, scale, mask)?;
            let own = shares
                .narrow(3, before, length)?
                .reshape((sequences.0, length, length))?;
            let own = own
                .matmul(&v.reshape(sequences)?)?
                .reshape((pictures, heads, packed, head_dim))?;
            let seen = (shares
                .narrow(3, 0, before)?
                .contiguous()?
                .matmul(prefix_v)?
                + own)?;
            x = ((x + self.joined(&seen, &attn)?)? + self.mlp(&h, &format!("{name}.mlp"))?)?;
        }
        let x = x.index_select(&Tensor::new(rows, &Device::Cpu)?, 0)?;
        let x = self.layer_norm(&x, "model.text.post_ln")?;
        debug_assert_eq!(x.dim(1)?, text.dim);
        self.linear(&x, "model.text.lm_head")
    }
}
