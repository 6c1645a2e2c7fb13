//! Where each layout's checkpoint keeps what: tensor names, and what tells the layouts apart.

use super::Layout;
use crate::transformer::{Checkpoint, Read};

/// The checkpoints that can be loaded.
const KNOWN: &str = "moondream2 at revisions 2025-06-21 and 2024-08-26";

impl Layout {
    /// Which layout the tensors of a checkpoint have; random ones have that of 2025.
    ///
    /// # Errors
    /// [`crate::transformer::CheckpointError::Layout`], naming the revisions that work.
    pub fn of(checkpoint: &Checkpoint<'_>) -> Read<Self> {
        let has = |tensors: [&str; 2]| tensors.iter().all(|name| checkpoint.shape(name).is_some());
        if checkpoint.is_random() || has(["model.text.wte", "model.vision.pos_emb"]) {
            return Ok(Self::V2025);
        }
        let of_2024 = [
            "text_model.transformer.embd.wte.weight",
            "vision_encoder.encoder.model.visual.pos_embed",
        ];
        match has(of_2024) {
            true => Ok(Self::V2024),
            false => Err(checkpoint.unknown(KNOWN)),
        }
    }
}

/// The tensor names of a layout. Blocks are numbered from 0; every linear layer and norm has `.weight` and `.bias`.
pub(super) struct Names {
    pub(super) embedding: &'static str,
    pub(super) text_block: &'static str,
    pub(super) text_norm: &'static str,
    pub(super) text_qkv: &'static str,
    pub(super) text_out: &'static str,
    pub(super) head_norm: &'static str,
    pub(super) head: &'static str,
    pub(super) patches: &'static str,
    pub(super) positions: &'static str,
    pub(super) vision_block: &'static str,
    pub(super) vision_norms: [&'static str; 2],
    pub(super) vision_norm: &'static str,
    pub(super) projection: &'static str,
}

impl Names {
    pub(super) fn of(layout: Layout) -> Self {
        match layout {
            Layout::V2025 => Self {
                embedding: "model.text.wte",
                text_block: "model.text.blocks",
                text_norm: "ln",
                text_qkv: "attn.qkv",
                text_out: "attn.proj",
                head_norm: "model.text.post_ln",
                head: "model.text.lm_head",
                patches: "model.vision.patch_emb",
                positions: "model.vision.pos_emb",
                vision_block: "model.vision.blocks",
                vision_norms: ["ln1", "ln2"],
                vision_norm: "model.vision.post_ln",
                projection: "model.vision.proj_mlp",
            },
            Layout::V2024 => Self {
                embedding: "text_model.transformer.embd.wte.weight",
                text_block: "text_model.transformer.h",
                text_norm: "ln",
                text_qkv: "mixer.Wqkv",
                text_out: "mixer.out_proj",
                head_norm: "text_model.lm_head.ln",
                head: "text_model.lm_head.linear",
                patches: "vision_encoder.encoder.model.visual.patch_embed.linear",
                positions: "vision_encoder.encoder.model.visual.pos_embed",
                vision_block: "vision_encoder.encoder.model.visual.blocks",
                vision_norms: ["norm1", "norm2"],
                vision_norm: "vision_encoder.encoder.model.visual.norm",
                projection: "vision_encoder.projection.mlp",
            },
        }
    }
}
