//! The vision encoder: a transformer over the patches of one view, and the projection of an image's features into the
//! language model.
//!
//! Views of different images are encoded together: they do not see one another.

use candle_core::{Result, Tensor};

use super::VisionConfig;
use super::names::Names;
use crate::transformer::{BlockNames, BlockSizes, Blocks, Linear, Norm, Read, Reader, Steps};

/// The encoder with its weights.
#[derive(Debug, Clone)]
pub(super) struct Encoder {
    steps: Steps,
    patches: Linear,
    positions: Tensor,
    blocks: Blocks,
    norm: Norm,
}

impl Encoder {
    pub(super) fn read(reader: &Reader<'_>, names: &Names, config: &VisionConfig) -> Read<Self> {
        let dim = config.dim;
        let parts = BlockNames {
            block: names.vision_block,
            norms: names.vision_norms,
            qkv: &["attn.qkv"],
            out: "attn.proj",
            mlp: "mlp",
        };
        let sizes = BlockSizes {
            layers: config.layers,
            dim,
            ff_dim: config.ff_dim,
            heads: config.heads,
        };
        Ok(Self {
            steps: reader.format.steps,
            patches: reader.linear(names.patches, 3 * config.patch * config.patch, dim)?,
            positions: reader.tensor(names.positions, &[1, config.tokens(), dim])?,
            blocks: Blocks::read(reader, parts, sizes)?,
            norm: reader.norm(names.vision_norm, dim)?,
        })
    }

    /// Patch vectors `[views, tokens, 3 * patch * patch]` to features `[views, tokens, dim]`. `watch` sees the residual
    /// stream before the first block and after each.
    pub(super) fn forward(&self, patches: &Tensor, watch: impl FnMut(&Tensor)) -> Result<Tensor> {
        let (views, tokens, inputs) = patches.dims3()?;
        let patches = patches.reshape((views * tokens, inputs))?;
        let rows = self.patches.forward(self.steps, &patches)?;
        let dim = rows.dim(1)?;
        let x = rows
            .reshape((views, tokens, dim))?
            .broadcast_add(&self.positions)?
            .reshape((views * tokens, dim))?;
        let x = self.blocks.forward(x, (views, tokens), watch)?;
        self.norm.forward(&x)?.reshape((views, tokens, dim))
    }
}

/// What becomes of an image's features before the language model sees them.
#[derive(Debug, Clone)]
pub(super) struct Projection {
    steps: Steps,
    layers: [Linear; 2],
}

impl Projection {
    pub(super) fn read(
        reader: &Reader<'_>,
        names: &Names,
        config: &VisionConfig,
        text_dim: usize,
    ) -> Read<Self> {
        let layers = reader.mlp(
            names.projection,
            2 * config.dim,
            config.projection_dim,
            text_dim,
        )?;
        Ok(Self {
            steps: reader.format.steps,
            layers,
        })
    }

    /// Overview and local features, `[images, tokens, vision dim]` each, to `[images, tokens, text dim]`.
    pub(super) fn forward(&self, overview: &Tensor, local: &Tensor) -> Result<Tensor> {
        let both = Tensor::cat(&[overview, local], 2)?;
        let (images, tokens, dim) = both.dims3()?;
        let both = both.reshape((images * tokens, dim))?;
        let hidden = self.layers[0].gelu(self.steps, &both)?;
        let out = self.layers[1].forward(self.steps, &hidden)?;
        let dim = out.dim(1)?;
        out.reshape((images, tokens, dim))
    }
}
