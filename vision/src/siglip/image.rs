//! The image tower: a transformer over the patches of a square picture, and a head that pools its tokens by attention.

use std::cell::Cell;

use candle_core::{Result, Tensor};

use super::config::VisionConfig;
use crate::transformer::{
    BlockNames, BlockSizes, Blocks, Checkpoint, Format, Keys, Linear, Norm, Read, Reader, Steps,
    on_device, prepared,
};

/// What transformers calls the parts of a block, in both towers.
pub(super) const BLOCK: BlockNames<'static> = BlockNames {
    block: "",
    norms: ["layer_norm1", "layer_norm2"],
    qkv: &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
    out: "self_attn.out_proj",
    mlp: "mlp",
};

/// The tower with its weights.
#[derive(Debug, Clone)]
pub struct ImageTower {
    config: VisionConfig,
    format: Format,
    patches: Linear,
    /// `[1, tokens, dim]`.
    positions: Tensor,
    blocks: Blocks,
    norm: Norm,
    head: Head,
    weight_bytes: usize,
}

/// One learnt query looks at all tokens; what it sees goes through an MLP.
#[derive(Debug, Clone)]
struct Head {
    steps: Steps,
    heads: usize,
    /// `[1, 1, dim]`.
    query: Tensor,
    /// To keys and values of all tokens.
    keys: Linear,
    out: Linear,
    norm: Norm,
    mlp: [Linear; 2],
}

impl ImageTower {
    /// Reads the weights into the form in which the tower is to be computed.
    ///
    /// # Errors
    /// [`crate::transformer::CheckpointError`] naming the tensor that is missing or does not fit the configuration.
    pub fn read(config: &VisionConfig, checkpoint: &Checkpoint<'_>, format: &Format) -> Read<Self> {
        let reader = Reader {
            checkpoint,
            format,
            bytes: Cell::new(0),
            epsilon: config.epsilon,
        };
        // A fiftieth of the arithmetic, in which rounding does the most: it is left as it is.
        let plain = Format {
            quantize: None,
            ..format.clone()
        };
        let ends = Reader {
            format: &plain,
            bytes: Cell::new(0),
            ..reader
        };
        let dim = config.dim;
        let sizes = BlockSizes {
            layers: config.layers,
            dim,
            ff_dim: config.ff_dim,
            heads: config.heads,
        };
        let names = BlockNames {
            block: "vision_model.encoder.layers",
            ..BLOCK
        };
        let positions = reader.tensor(
            "vision_model.embeddings.position_embedding.weight",
            &[config.tokens(), dim],
        )?;
        let positions = positions
            .unsqueeze(0)
            .map_err(|source| checkpoint.unusable("position_embedding", source))?;
        Ok(Self {
            patches: ends.convolution(
                "vision_model.embeddings.patch_embedding",
                [dim, 3, config.patch, config.patch],
            )?,
            positions,
            blocks: Blocks::read(&reader, names, sizes)?,
            norm: reader.norm("vision_model.post_layernorm", dim)?,
            head: Head::read(&ends, config)?,
            weight_bytes: reader.bytes.get() + ends.bytes.get(),
            config: config.clone(),
            format: format.clone(),
        })
    }

    /// The patch vectors of square pictures: bytes `[images, side, side, 3]` to `[images, tokens, 3 * patch * patch]`.
    ///
    /// # Errors
    /// The tensor library's.
    pub fn patches(&self, pictures: &[&[u8]]) -> Result<Tensor> {
        self.prepared_patches(&[&self.prepare(&pictures.concat())?])
    }

    /// Square pictures, bytes `[images, side, side, 3]`, as the device takes them, still in the CPU's memory: what of
    /// [`ImageTower::patches`] can be done ahead.
    pub(super) fn prepare(&self, pixels: &[u8]) -> Result<Tensor> {
        prepared(pixels, (self.config.side, self.config.patch), &self.format)
    }

    /// The rest of [`ImageTower::patches`], for several together.
    pub(super) fn prepared_patches(&self, prepared: &[&Tensor]) -> Result<Tensor> {
        on_device(prepared, self.config.patch, &self.format)
    }

    /// The tokens behind the last norm: `[images, tokens, dim]`. `watch` sees the residual stream before the first block and
    /// after each.
    ///
    /// # Errors
    /// The tensor library's.
    pub fn tokens(&self, patches: &Tensor, watch: impl FnMut(&Tensor)) -> Result<Tensor> {
        let (images, tokens, inputs) = patches.dims3()?;
        let patches = patches.reshape((images * tokens, inputs))?;
        let rows = self.patches.forward(self.format.steps, &patches)?;
        let dim = self.config.dim;
        let x = rows
            .reshape((images, tokens, dim))?
            .broadcast_add(&self.positions)?
            .reshape((images * tokens, dim))?;
        let x = self.blocks.forward(x, (images, tokens), watch)?;
        self.norm.forward(&x)?.reshape((images, tokens, dim))
    }

    /// What the head makes of tokens: `[images, tokens, dim]` to `[images, dim]`, not of unit length.
    ///
    /// # Errors
    /// The tensor library's.
    pub fn pool(&self, tokens: &Tensor) -> Result<Tensor> {
        self.head.forward(tokens)
    }

    /// Bytes of the weights.
    pub fn weight_bytes(&self) -> usize {
        self.weight_bytes
    }
}

impl Head {
    fn read(reader: &Reader<'_>, config: &VisionConfig) -> Read<Self> {
        let dim = config.dim;
        let name = |part: &str| format!("vision_model.head.{part}");
        let probe = reader.tensor(&name("probe"), &[1, 1, dim])?;
        let weight = name("attention.in_proj_weight");
        let inputs = reader.tensor(&weight, &[3 * dim, dim])?;
        let bias = reader.tensor(&name("attention.in_proj_bias"), &[3 * dim])?;
        let build = || {
            // The query is the same for every image.
            let query = probe
                .reshape((1, dim))?
                .matmul(&inputs.narrow(0, 0, dim)?.t()?)?
                .broadcast_add(&bias.narrow(0, 0, dim)?)?
                .reshape((1, 1, dim))?;
            let keys = Linear::new(
                inputs.narrow(0, dim, 2 * dim)?.contiguous()?,
                bias.narrow(0, dim, 2 * dim)?.contiguous()?,
                reader.format,
            )?;
            Ok((query, keys))
        };
        let (query, keys) =
            build().map_err(|source| reader.checkpoint.unusable(&weight, source))?;
        Ok(Self {
            steps: reader.format.steps,
            heads: config.heads,
            query,
            keys,
            out: reader.linear(&name("attention.out_proj"), dim, dim)?,
            norm: reader.norm(&name("layernorm"), dim)?,
            mlp: reader.mlp(&name("mlp"), dim, config.ff_dim, dim)?,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (images, tokens, dim) = x.dims3()?;
        let keys = self
            .keys
            .forward(self.steps, &x.reshape((images * tokens, dim))?)?;
        let keys = keys.reshape((images, tokens, 2 * dim))?;
        let keys = Keys {
            k: keys.narrow(2, 0, dim)?,
            v: keys.narrow(2, dim, dim)?,
        };
        let query = self.query.broadcast_as((images, 1, dim))?.contiguous()?;
        let seen = self.steps.attention(&query, &[&keys], None, self.heads)?;
        let seen = seen.reshape((images, dim))?;
        let pooled = self.out.forward(self.steps, &seen)?;
        let [first, second] = &self.mlp;
        let hidden = first.gelu(self.steps, &self.norm.forward(&pooled)?)?;
        second.add_to(self.steps, &pooled, &hidden, Some(second.bias()))
    }
}
