//! The vision encoder: a transformer over the patches of one view, and the projection of an image's features into the
//! language model.
//!
//! Views of different images are encoded together: they do not see one another.

use candle_core::{DType, Device, Result, Tensor};
use rayon::prelude::*;

use super::VisionConfig;
use super::checkpoint::Read;
use super::kernels::{Keys, Steps};
use super::linear::Linear;
use super::names::Names;
use super::weights::{Norm, Reader};

/// The encoder with its weights.
#[derive(Debug, Clone)]
pub(super) struct Encoder {
    steps: Steps,
    heads: usize,
    patches: Linear,
    positions: Tensor,
    blocks: Vec<Block>,
    norm: Norm,
}

#[derive(Debug, Clone)]
struct Block {
    norms: [Norm; 2],
    qkv: Linear,
    out: Linear,
    mlp: [Linear; 2],
}

impl Encoder {
    pub(super) fn read(reader: &Reader<'_>, names: &Names, config: &VisionConfig) -> Read<Self> {
        let dim = config.dim;
        let block = |index: usize| {
            let name = |part: &str| format!("{}.{index}.{part}", names.vision_block);
            Read::Ok(Block {
                norms: [
                    reader.norm(&name(names.vision_norms[0]), dim)?,
                    reader.norm(&name(names.vision_norms[1]), dim)?,
                ],
                qkv: reader.linear(&name("attn.qkv"), dim, 3 * dim)?,
                out: reader.linear(&name("attn.proj"), dim, dim)?,
                mlp: reader.mlp(&name("mlp"), dim, config.ff_dim, dim)?,
            })
        };
        Ok(Self {
            steps: reader.format.steps,
            heads: config.heads,
            patches: reader.linear(names.patches, 3 * config.patch * config.patch, dim)?,
            positions: reader.tensor(names.positions, &[1, config.tokens(), dim])?,
            blocks: (0..config.layers).map(block).collect::<Read<_>>()?,
            norm: reader.norm(names.vision_norm, dim)?,
        })
    }

    /// Patch vectors `[views, tokens, 3 * patch * patch]` to features `[views, tokens, dim]`. `watch` sees the residual
    /// stream before the first block and after each.
    pub(super) fn forward(
        &self,
        patches: &Tensor,
        mut watch: impl FnMut(&Tensor),
    ) -> Result<Tensor> {
        let (views, tokens, inputs) = patches.dims3()?;
        let rows = self
            .patches
            .product(&patches.reshape((views * tokens, inputs))?)?;
        let rows = self.steps.add_bias(rows, self.patches.bias())?;
        let dim = rows.dim(1)?;
        let mut x = rows
            .reshape((views, tokens, dim))?
            .broadcast_add(&self.positions)?
            .reshape((views * tokens, dim))?;
        watch(&x);
        for block in &self.blocks {
            let qkv = block.qkv.product(&block.norms[0].forward(&x)?)?;
            let qkv =
                self.steps
                    .add_bias(qkv, block.qkv.bias())?
                    .reshape((views, tokens, 3 * dim))?;
            let keys = Keys {
                k: qkv.narrow(2, dim, dim)?,
                v: qkv.narrow(2, 2 * dim, dim)?,
            };
            let seen = self
                .steps
                .attention(&qkv.narrow(2, 0, dim)?, &[&keys], None, self.heads)?;
            let out = block.out.product(&seen.reshape((views * tokens, dim))?)?;
            x = self.steps.residual(&x, out, block.out.bias())?;
            let hidden = block.mlp[0].product(&block.norms[1].forward(&x)?)?;
            let hidden = self.steps.bias_gelu(hidden, block.mlp[0].bias())?;
            x = self
                .steps
                .residual(&x, block.mlp[1].product(&hidden)?, block.mlp[1].bias())?;
            watch(&x);
        }
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
        let hidden = self.layers[0].product(&both.reshape((images * tokens, dim))?)?;
        let hidden = self.steps.bias_gelu(hidden, self.layers[0].bias())?;
        let out = self
            .steps
            .add_bias(self.layers[1].product(&hidden)?, self.layers[1].bias())?;
        let dim = out.dim(1)?;
        out.reshape((images, tokens, dim))
    }
}

/// Patch vectors of square pictures: samples `[views, side, side, 3]` to `[views, tokens, 3 * patch * patch]`, patches
/// row by row, each ordered channel, row, column.
pub(super) fn patch_vectors(
    samples: &[f32],
    side: usize,
    patch: usize,
    dtype: DType,
    device: &Device,
) -> Result<Tensor> {
    let grid = side / patch;
    let width = 3 * patch * patch;
    let views = samples.len() / (side * side * 3).max(1);
    let mut vectors = vec![0_f32; views * grid * grid * width];
    vectors
        .par_chunks_mut(width)
        .enumerate()
        .for_each(|(index, vector)| {
            let (view, place) = (index / (grid * grid), index % (grid * grid));
            let (top, left) = (place / grid * patch, place % grid * patch);
            for (at, value) in vector.iter_mut().enumerate() {
                let (channel, row, column) = (at / (patch * patch), at / patch % patch, at % patch);
                *value = samples[((view * side + top + row) * side + left + column) * 3 + channel];
            }
        });
    Tensor::from_vec(vectors, (views, grid * grid, width), &Device::Cpu)?
        .to_device(device)?
        .to_dtype(dtype)
}

/// A sample as the encoder takes it, -1 to 1: `(x / 255 - 0.5) / 0.5`.
pub(super) fn normalise(sample: u8) -> f32 {
    (f32::from(sample) / 255.0 - 0.5) / 0.5
}
