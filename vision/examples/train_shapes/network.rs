//! The differentiable forward pass, in the shape of a Moondream2 checkpoint of 2025-06-21.
//!
//! It owns the parameters and the arithmetic on batches of equal form. How scenes become batches and what is made of
//! the logits is not its business.

use std::collections::BTreeMap;

use candle_core::{Device, Result, Tensor, Var, bail};
use picsift_vision::moondream::Config;
use rand::Rng;
use rand::rngs::StdRng;

use crate::fused::{Mask, gelu, layer_norm, linear, rotary, softmax};
use crate::stitch::stitching;

/// Names of the two heads that only training has: they say which shape and which colour a patch shows.
const PATCH_HEADS: [&str; 2] = ["patch.colour", "patch.shape"];

/// The views of some pictures as patches.
#[derive(Debug, Clone)]
pub(crate) struct Pictures {
    /// `[views * tokens, 3 * patch * patch]`, normalised.
    pub(crate) patches: Tensor,
    /// Of each picture, the rows and columns of its local views, which follow its overview; (1, 1) has none.
    pub(crate) grids: Vec<(usize, usize)>,
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
    /// A model with random weights, and its variables by name.
    pub(crate) fn random(
        config: Config,
        classes: [usize; 2],
        rng: &mut StdRng,
    ) -> Result<(Self, BTreeMap<String, Var>)> {
        let mut variables = BTreeMap::new();
        for (name, shape) in shapes(&config, classes) {
            // Layers that write to a residual stream start small, so that deep streams do not start loud.
            let writes =
                name.contains(".proj.") || name.contains(".blocks") && name.contains("fc2.");
            let scale = match shape.as_slice() {
                _ if name.ends_with("pos_emb") => 0.05,
                _ if name.ends_with("wte") => 0.3,
                [_, width] => 1.0 / (*width as f32).sqrt() * if writes { 0.5 } else { 1.0 },
                _ => 0.0,
            };
            let offset = if name.contains("ln") && name.ends_with("weight") {
                1.0
            } else {
                0.0
            };
            // A uniform distribution of this width has the deviation `scale`.
            let width = scale * 3f32.sqrt();
            let values: Vec<f32> = (0..shape.iter().product())
                .map(|_| {
                    if width > 0.0 {
                        rng.random_range(-width..width)
                    } else {
                        offset
                    }
                })
                .collect();
            variables.insert(name, Var::from_vec(values, shape, &Device::Cpu)?);
        }
        let tensors = variables
            .iter()
            .map(|(name, var)| (name.clone(), var.as_tensor().clone()))
            .collect();
        Ok((Self { config, tensors }, variables))
    }

    /// A model with these weights, f32.
    pub(crate) fn with_weights(config: Config, tensors: BTreeMap<String, Tensor>) -> Self {
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

    /// From the views' features, those of the overviews `[pictures * tokens, dim]`, and the pictures' embeddings
    /// `[pictures * tokens, text dim]`.
    pub(crate) fn project(
        &self,
        features: &Tensor,
        grids: &[(usize, usize)],
    ) -> Result<(Tensor, Tensor)> {
        let vision = &self.config.vision;
        let tokens = vision.tokens();
        let (mut global, mut local, mut start) = (Vec::new(), Vec::new(), 0);
        for &(rows, columns) in grids {
            let overview = features.narrow(0, start, tokens)?;
            start += tokens;
            if (rows, columns) == (1, 1) {
                local.push(overview.clone());
            } else {
                let count = rows * columns * tokens;
                let pool = stitching(vision, rows, columns);
                let pool = Tensor::from_vec(pool, (tokens, count), features.device())?;
                local.push(pool.matmul(&features.narrow(0, start, count)?)?);
                start += count;
            }
            global.push(overview);
        }
        let global = Tensor::cat(&global, 0)?;
        let both = Tensor::cat(&[&global, &Tensor::cat(&local, 0)?], 1)?;
        Ok((global, self.mlp(&both, "model.vision.proj_mlp")?))
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

/// Every parameter's name and shape.
fn shapes(config: &Config, classes: [usize; 2]) -> Vec<(String, Vec<usize>)> {
    let (vision, text) = (&config.vision, &config.text);
    let mut shapes = vec![
        (
            "model.vision.pos_emb".to_owned(),
            vec![1, vision.tokens(), vision.dim],
        ),
        ("model.text.wte".to_owned(), vec![text.vocab, text.dim]),
    ];
    let mut layer = |name: String, output: usize, input: Option<usize>| {
        shapes.push((
            format!("{name}.weight"),
            [Some(output), input].into_iter().flatten().collect(),
        ));
        shapes.push((format!("{name}.bias"), vec![output]));
    };
    let mut mlp = |name: String, input: usize, hidden: usize, output: usize| {
        layer(format!("{name}.fc1"), hidden, Some(input));
        layer(format!("{name}.fc2"), output, Some(hidden));
    };
    for i in 0..vision.layers {
        mlp(
            format!("model.vision.blocks.{i}.mlp"),
            vision.dim,
            vision.ff_dim,
            vision.dim,
        );
    }
    mlp(
        "model.vision.proj_mlp".to_owned(),
        2 * vision.dim,
        vision.projection_dim,
        text.dim,
    );
    for i in 0..text.layers {
        mlp(
            format!("model.text.blocks.{i}.mlp"),
            text.dim,
            text.ff_dim,
            text.dim,
        );
    }
    layer(
        "model.vision.patch_emb".to_owned(),
        vision.dim,
        Some(3 * vision.patch * vision.patch),
    );
    layer("model.vision.post_ln".to_owned(), vision.dim, None);
    layer("model.text.post_ln".to_owned(), text.dim, None);
    layer("model.text.lm_head".to_owned(), text.vocab, Some(text.dim));
    for (name, classes) in PATCH_HEADS.into_iter().zip(classes) {
        layer(name.to_owned(), classes, Some(vision.dim));
    }
    for (part, dim, layers, norms) in [
        ("vision", vision.dim, vision.layers, &["ln1", "ln2"][..]),
        ("text", text.dim, text.layers, &["ln"][..]),
    ] {
        for i in 0..layers {
            let block = format!("model.{part}.blocks.{i}");
            for norm in norms {
                layer(format!("{block}.{norm}"), dim, None);
            }
            layer(format!("{block}.attn.qkv"), 3 * dim, Some(dim));
            layer(format!("{block}.attn.proj"), dim, Some(dim));
        }
    }
    shapes
}
