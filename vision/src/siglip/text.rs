//! The text tower, read when there are new texts and dropped again, and the embeddings that it gave, which are kept.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use candle_core::{DType, Device, Result, Tensor};

use super::config::{Config, TextConfig};
use super::image::BLOCK;
use crate::embedding::unit;
use crate::error::{VisionError, without_backtrace};
use crate::memory::give_back;
use crate::model::{Prompt, Scale};
use crate::source::FetchProgress;
use crate::transformer::conformance::checked;
use crate::transformer::{
    BlockNames, BlockSizes, Blocks, Checkpoint, Format, Linear, Norm, Read, Reader,
};

/// The embedding of tokens.
const EMBEDDING: &str = "text_model.embeddings.token_embedding.weight";

/// Texts that go through the tower together.
const TOGETHER: usize = 32;

/// The tower with its weights but for the embedding of tokens, of which the rows that are used are read each time.
#[derive(Debug, Clone)]
pub struct TextTower {
    config: TextConfig,
    format: Format,
    positions: Tensor,
    blocks: Blocks,
    norm: Norm,
    head: Linear,
}

impl TextTower {
    /// Whether a checkpoint may have this tower, by the tensors at its two ends.
    ///
    /// # Errors
    /// [`crate::transformer::CheckpointError`] of a tensor that is missing or of another shape.
    pub(super) fn check(config: &Config, checkpoint: &Checkpoint<'_>) -> Read<()> {
        if checkpoint.is_random() {
            return Ok(());
        }
        let text = &config.text;
        checkpoint.expect(EMBEDDING, &[text.vocabulary, text.dim])?;
        checkpoint.expect("text_model.head.weight", &[config.vision.dim, text.dim])?;
        Ok(())
    }

    /// Reads the weights into the form in which the tower is to be computed.
    ///
    /// # Errors
    /// [`crate::transformer::CheckpointError`] naming the tensor that is missing or does not fit the configuration.
    pub fn read(config: &Config, checkpoint: &Checkpoint<'_>, format: &Format) -> Read<Self> {
        let text = &config.text;
        let reader = Reader {
            checkpoint,
            format,
            bytes: Cell::new(0),
            epsilon: text.epsilon,
        };
        let names = BlockNames {
            block: "text_model.encoder.layers",
            ..BLOCK
        };
        let sizes = BlockSizes {
            layers: text.layers,
            dim: text.dim,
            ff_dim: text.ff_dim,
            heads: text.heads,
        };
        Ok(Self {
            positions: reader.tensor(
                "text_model.embeddings.position_embedding.weight",
                &[text.positions, text.dim],
            )?,
            blocks: Blocks::read(&reader, names, sizes)?,
            norm: reader.norm("text_model.final_layer_norm", text.dim)?,
            head: reader.linear("text_model.head", text.dim, config.vision.dim)?,
            config: text.clone(),
            format: format.clone(),
        })
    }

    /// Texts of as many tokens as there are positions to `[texts, embedding]`, not of unit length: what the head makes of the last
    /// token. All tokens see each other, padding too. `watch` sees the residual stream before the first block and after each.
    ///
    /// # Errors
    /// [`crate::transformer::CheckpointError`] for a token that is no row of the embedding, or a failure of the tensor library.
    pub fn forward(
        &self,
        checkpoint: &Checkpoint<'_>,
        texts: &[&[u32]],
        watch: impl FnMut(&Tensor),
    ) -> Read<Tensor> {
        let shape = (self.config.vocabulary, self.config.dim);
        let ids = texts.concat();
        let rows = checkpoint.rows(
            EMBEDDING,
            shape,
            &ids,
            self.format.dtype,
            &self.format.device,
        )?;
        self.tower(&rows, texts.len(), watch)
            .map_err(|source| checkpoint.unusable(EMBEDDING, source))
    }

    fn tower(&self, rows: &Tensor, texts: usize, watch: impl FnMut(&Tensor)) -> Result<Tensor> {
        let (tokens, dim) = (self.config.positions, self.config.dim);
        let x = rows
            .reshape((texts, tokens, dim))?
            .broadcast_add(&self.positions)?
            .reshape((texts * tokens, dim))?;
        let x = self.blocks.forward(x, (texts, tokens), watch)?;
        let last = x.reshape((texts, tokens, dim))?.narrow(1, tokens - 1, 1)?;
        let last = self
            .norm
            .forward(&last.reshape((texts, dim))?.contiguous()?)?;
        self.head.forward(self.format.steps, &last)
    }
}

/// Opens the checkpoint that the text tower is read from; where it must be fetched first, that is told.
type Open = dyn Fn(&dyn FetchProgress) -> std::result::Result<Checkpoint<'static>, VisionError>
    + Send
    + Sync;

/// Embeddings by the tokens of their texts.
type Known = HashMap<Arc<[u32]>, Arc<[f32]>>;

/// Embeddings of texts, of unit length, each computed once.
pub struct Embedder {
    name: String,
    config: Config,
    format: Format,
    open: Box<Open>,
    /// By tokens; as many as a session's categories, each of a few kilobytes. Held while new ones are computed, so that the tower
    /// is read once for callers that come together.
    known: Mutex<Known>,
    scale: OnceLock<Scale>,
}

/// Embeddings that are kept: those of more categories than a job can have.
const KEPT: usize = 100_000;

impl Embedder {
    /// An embedder that reads the text tower from what `open` opens.
    pub fn new(
        name: &str,
        config: &Config,
        format: &Format,
        open: impl Fn(&dyn FetchProgress) -> std::result::Result<Checkpoint<'static>, VisionError>
        + Send
        + Sync
        + 'static,
    ) -> Self {
        // Texts are few, and quantising their tower would take longer than embedding them.
        let format = Format {
            quantize: None,
            ..format.clone()
        };
        Self {
            name: name.to_owned(),
            config: config.clone(),
            format,
            open: Box::new(open),
            known: Mutex::default(),
            scale: OnceLock::new(),
        }
    }

    /// The checkpoint, opened.
    ///
    /// # Errors
    /// [`VisionError::Checkpoint`], or why it cannot be had.
    pub(super) fn open(
        &self,
        progress: &dyn FetchProgress,
    ) -> std::result::Result<Checkpoint<'static>, VisionError> {
        (self.open)(progress)
    }

    /// How a cosine becomes a score, which two numbers of the checkpoint say.
    ///
    /// # Errors
    /// [`VisionError::Checkpoint`], or why it cannot be had.
    pub fn scale(&self, progress: &dyn FetchProgress) -> std::result::Result<Scale, VisionError> {
        if let Some(scale) = self.scale.get() {
            return Ok(*scale);
        }
        let checkpoint = self.open(progress)?;
        let scale = Scale {
            factor: number(&checkpoint, "logit_scale")?.exp(),
            bias: number(&checkpoint, "logit_bias")?,
        };
        Ok(*self.scale.get_or_init(|| scale))
    }

    /// The embedding of each prompt, `[embedding]` of unit length. Those that are not known yet take the tower, which is read and
    /// dropped.
    ///
    /// # Errors
    /// [`VisionError::Checkpoint`] when the tower cannot be read or computed; [`VisionError::NotFinite`].
    pub fn embed(
        &self,
        prompts: &[&Prompt],
        progress: &dyn FetchProgress,
    ) -> std::result::Result<Vec<Arc<[f32]>>, VisionError> {
        // What is inside is whole whatever happened to who held it.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let mut new: Vec<&Arc<[u32]>> = Vec::new();
        let mut met: HashSet<&Arc<[u32]>> = HashSet::new();
        for prompt in prompts {
            if !known.contains_key(&prompt.tokens) && met.insert(&prompt.tokens) {
                new.push(&prompt.tokens);
            }
        }
        if !new.is_empty() {
            if known.len() + new.len() > KEPT {
                known.clear();
                met.clear();
                let all = prompts.iter().map(|prompt| &prompt.tokens);
                new = all.filter(|tokens| met.insert(tokens)).collect();
            }
            let _last = GivesBack;
            let checkpoint = self.open(progress)?;
            let tower = TextTower::read(&self.config, &checkpoint, &checked(&self.format))?;
            for texts in new.chunks(TOGETHER) {
                let ids: Vec<&[u32]> = texts.iter().map(|text| &***text).collect();
                let pooled = tower.forward(&checkpoint, &ids, |_| {})?;
                let rows = pooled
                    .to_dtype(DType::F32)
                    .and_then(|pooled| pooled.to_vec2::<f32>())
                    .map_err(|source| {
                        checkpoint.unusable("text_model", without_backtrace(source))
                    })?;
                for (text, row) in texts.iter().zip(rows) {
                    let unit = unit(row).ok_or_else(|| VisionError::NotFinite {
                        model: self.name.clone(),
                    })?;
                    known.insert(Arc::clone(text), unit.into());
                }
            }
        }
        let known = |prompt: &&Prompt| known.get(&prompt.tokens).cloned();
        Ok(prompts.iter().filter_map(known).collect())
    }
}

/// Dropped after the tower, whose room it gives back.
struct GivesBack;

impl Drop for GivesBack {
    fn drop(&mut self) {
        give_back();
    }
}

/// A tensor of one number.
fn number(checkpoint: &Checkpoint<'_>, name: &str) -> Read<f32> {
    let one = checkpoint.tensor(name, &[1], DType::F32, &Device::Cpu)?;
    let number = one.get(0).and_then(|one| one.to_scalar());
    number.map_err(|source| checkpoint.unusable(name, source))
}
