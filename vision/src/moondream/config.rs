//! The sizes of a Moondream2 and the token ids of its template, from a checkpoint's `config.json`.
//!
//! The published checkpoints leave out what has the published value, as the reference code's defaults allow; so a
//! missing field means the 2B model's value. Whether the tensors have these sizes is found when they are read.

mod bounds;
mod raw;

use raw::{Raw2024, Raw2025};

use crate::transformer::{Checkpoint, CheckpointError};

/// How a checkpoint names its tensors, and what the model of that time did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `model.text.*` and `model.vision.*`: overlapping crops, bidirectional image prefix.
    V2025,
    /// `text_model.*` and `vision_encoder.*`: the image squashed to one of four sizes, causal everywhere.
    V2024,
}

impl Layout {
    /// The name of the published revision that has this layout.
    pub fn revision(self) -> &'static str {
        match self {
            Self::V2025 => "2025-06-21",
            Self::V2024 => "2024-08-26",
        }
    }
}

/// Which tokens of the image prefix see which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrefixMask {
    /// All see all.
    Bidirectional,
    /// Each sees those before it and itself.
    Causal,
}

/// Everything about a model but its weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The checkpoint's layout.
    pub layout: Layout,
    /// The language model.
    pub text: TextConfig,
    /// Crops, vision encoder and projection.
    pub vision: VisionConfig,
    /// The token ids around a question.
    pub template: Template,
}

/// The language model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextConfig {
    /// Width of the residual stream.
    pub dim: usize,
    /// Hidden width of the MLPs.
    pub ff_dim: usize,
    /// Blocks.
    pub layers: usize,
    /// Attention heads; each has `dim / heads` dimensions, of which the first half is rotated.
    pub heads: usize,
    /// Rows of the embedding and of the head.
    pub vocab: usize,
    /// Most positions of a sequence, the image prefix included.
    pub context: usize,
    /// The mask of the image prefix.
    pub prefix_mask: PrefixMask,
}

/// Crops, vision encoder and projection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VisionConfig {
    /// Width of the encoder.
    pub dim: usize,
    /// Hidden width of the encoder's MLPs.
    pub ff_dim: usize,
    /// Blocks of the encoder.
    pub layers: usize,
    /// Attention heads of the encoder.
    pub heads: usize,
    /// Side of a square view in pixels, a multiple of `patch`.
    pub crop: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Most local crops.
    pub max_crops: usize,
    /// Patches at each inner border that neighbouring crops share on either side.
    pub overlap_margin: usize,
    /// Hidden width of the projection.
    pub projection_dim: usize,
}

impl VisionConfig {
    /// Patches along one side of a view.
    pub fn grid(&self) -> usize {
        self.crop / self.patch
    }

    /// Tokens of a view, and of an image in the prefix.
    pub fn tokens(&self) -> usize {
        self.grid() * self.grid()
    }
}

/// The token ids around the image and a question: `bos image before.. question after..`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// First token of every sequence.
    pub bos: u32,
    /// The token that ends an answer.
    pub eos: u32,
    /// Between image and question; empty where the template is text.
    pub before: Vec<u32>,
    /// Between question and answer; empty where the template is text.
    pub after: Vec<u32>,
    /// A token that is never chosen from the second token of an answer on.
    pub barred: Option<u32>,
}

/// What is wrong with a `config.json`.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// No JSON, or fields of another type.
    #[error("it is not a Moondream2 configuration: {0}")]
    Form(String),
    /// Sizes that do not go together.
    #[error("{0}")]
    Sizes(String),
    /// The tensors that say the rest are of no known layout.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

impl Config {
    /// The configuration that a checkpoint's tensors and its `config.json` give together.
    ///
    /// # Errors
    /// [`ConfigError`] when the layout is not known, the JSON is not of its form, or the sizes contradict each other.
    pub fn of(checkpoint: &Checkpoint<'_>, json: &str) -> Result<Self, ConfigError> {
        match Layout::of(checkpoint)? {
            Layout::V2025 => Self::v2025(json),
            Layout::V2024 => Self::v2024(json, vision_2024(checkpoint)?),
        }
    }

    /// The configuration of a 2025 checkpoint; what the JSON leaves out has the 2B model's value.
    ///
    /// # Errors
    /// [`ConfigError`] when the text is no JSON of this form or its sizes contradict each other.
    pub fn v2025(json: &str) -> Result<Self, ConfigError> {
        let form = |error: serde_json::Error| ConfigError::Form(error.to_string());
        let mut file: serde_json::Value = serde_json::from_str(json).map_err(form)?;
        // The published file has the sizes, if any, one level down.
        if let Some(inner) = file.get_mut("config") {
            file = inner.take();
        }
        let raw: Raw2025 = serde_json::from_value(file).map_err(form)?;
        if raw.text.n_kv_heads.is_some_and(|n| n != raw.text.n_heads) {
            return Err(ConfigError::Sizes(format!(
                "it has {} key heads for {} query heads; equal numbers are supported",
                raw.text.n_kv_heads.unwrap_or_default(),
                raw.text.n_heads
            )));
        }
        if raw.text.group_size.is_some() {
            return Err(ConfigError::Sizes(
                "its weights are quantised already; take the unquantised checkpoint".to_owned(),
            ));
        }
        let query = raw.tokenizer.templates.query.unwrap_or_default();
        let config = Self {
            layout: Layout::V2025,
            text: TextConfig {
                dim: raw.text.dim,
                ff_dim: raw.text.ff_dim,
                layers: raw.text.n_layers,
                heads: raw.text.n_heads,
                vocab: raw.text.vocab_size,
                context: raw.text.max_context,
                prefix_mask: PrefixMask::Bidirectional,
            },
            vision: VisionConfig {
                dim: raw.vision.enc_dim,
                ff_dim: raw.vision.enc_ff_dim,
                layers: raw.vision.enc_n_layers,
                heads: raw.vision.enc_n_heads,
                crop: raw.vision.crop_size,
                patch: raw.vision.enc_patch_size,
                max_crops: raw.vision.max_crops,
                overlap_margin: raw.vision.overlap_margin,
                projection_dim: raw.vision.proj_inner_dim,
            },
            template: Template {
                bos: raw.tokenizer.bos_id,
                eos: raw.tokenizer.eos_id,
                before: query.prefix,
                // The model was trained with the suffix twice.
                after: query.suffix.repeat(2),
                barred: Some(raw.tokenizer.answer_id),
            },
        };
        config.check(Some(raw.text.prefix_attn), raw.vision.in_channels)?;
        Ok(config)
    }

    /// The configuration of a 2024 checkpoint. Its JSON describes the language model only; what is known of the vision
    /// part comes from its tensors and is passed in as `vision`.
    ///
    /// # Errors
    /// [`ConfigError`] when the text is no JSON of this form or its sizes contradict each other.
    pub fn v2024(json: &str, vision: VisionConfig) -> Result<Self, ConfigError> {
        let raw: Raw2024 =
            serde_json::from_str(json).map_err(|error| ConfigError::Form(error.to_string()))?;
        let text = raw.text_config;
        let config = Self {
            layout: Layout::V2024,
            text: TextConfig {
                dim: text.hidden_size,
                ff_dim: text.intermediate_size,
                layers: text.num_hidden_layers,
                heads: text.num_attention_heads,
                vocab: text.vocab_size,
                context: text.max_position_embeddings,
                prefix_mask: PrefixMask::Causal,
            },
            vision,
            template: Template {
                bos: text.bos_token_id,
                eos: text.eos_token_id,
                before: Vec::new(),
                after: Vec::new(),
                barred: None,
            },
        };
        config.check(None, 3)?;
        Ok(config)
    }

    /// Tokens of the image prefix: BOS and the image.
    pub fn prefix_tokens(&self) -> usize {
        self.vision.tokens() + 1
    }

    /// `prefix` is what the file says of the image prefix, if it does.
    fn check(&self, prefix: Option<usize>, channels: usize) -> Result<(), ConfigError> {
        // First: what follows computes with the sizes.
        bounds::check(self)?;
        let (text, vision) = (&self.text, &self.vision);
        let wrong = |what: String| Err(ConfigError::Sizes(what));
        if text.dim % text.heads != 0 || (text.dim / text.heads) % 4 != 0 {
            return wrong(format!(
                "{} text dimensions do not make {} heads of a multiple of 4",
                text.dim, text.heads
            ));
        }
        if vision.dim % vision.heads != 0 {
            return wrong(format!(
                "{} vision dimensions do not make {} heads",
                vision.dim, vision.heads
            ));
        }
        if vision.crop % vision.patch != 0 || vision.grid() <= 2 * vision.overlap_margin {
            return wrong(format!(
                "crops of {} pixels do not fit patches of {} with a margin of {}",
                vision.crop, vision.patch, vision.overlap_margin
            ));
        }
        if channels != 3 {
            return wrong(format!(
                "it takes {channels} colour channels; 3 are supported"
            ));
        }
        let prefix = prefix.unwrap_or_else(|| self.prefix_tokens());
        if prefix != self.prefix_tokens() || prefix >= text.context {
            return wrong(format!(
                "an image prefix of {prefix} tokens does not go with {} image tokens and a context of {}",
                vision.tokens(),
                text.context
            ));
        }
        let ids = [self.template.bos, self.template.eos];
        let ids = ids
            .iter()
            .chain(&self.template.before)
            .chain(&self.template.after);
        if let Some(id) = ids.into_iter().find(|&&id| id as usize >= text.vocab) {
            return wrong(format!(
                "token id {id} of the template is outside the vocabulary of {}",
                text.vocab
            ));
        }
        Ok(())
    }
}

/// What the tensors of a 2024 checkpoint say of its vision part; the heads are in no tensor and no file, and were 16
/// throughout.
fn vision_2024(checkpoint: &Checkpoint<'_>) -> Result<VisionConfig, ConfigError> {
    const HEADS: usize = 16;
    const CHANNELS: usize = 3;
    let shape = |name: String, rank: usize| {
        let found = checkpoint.shape(&name).filter(|shape| shape.len() == rank);
        found.ok_or_else(|| {
            ConfigError::Sizes(format!(
                "the checkpoint has no tensor '{name}' of {rank} dimensions"
            ))
        })
    };
    let root = "vision_encoder.encoder.model.visual";
    let positions = shape(format!("{root}.pos_embed"), 3)?;
    let patches = shape(format!("{root}.patch_embed.linear.weight"), 2)?;
    let hidden = shape(format!("{root}.blocks.0.mlp.fc1.weight"), 2)?;
    let projection = shape("vision_encoder.projection.mlp.fc1.weight".to_owned(), 2)?;
    let layers = (0..)
        .take_while(|index| {
            checkpoint
                .shape(&format!("{root}.blocks.{index}.norm1.weight"))
                .is_some()
        })
        .count();
    let patch = (patches[1] / CHANNELS).isqrt();
    Ok(VisionConfig {
        dim: patches[0],
        ff_dim: hidden[0],
        layers,
        heads: HEADS,
        crop: positions[1].isqrt() * patch,
        patch,
        // The picture is squashed to at most two by two tiles that touch.
        max_crops: 4,
        overlap_margin: 0,
        projection_dim: projection[0],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_published_file_leaves_out_is_the_2b_model() {
        let config = Config::v2025(r#"{"model_type": "moondream1", "config": {}}"#).unwrap();
        assert_eq!(
            (config.text.dim, config.vision.dim, config.prefix_tokens()),
            (2048, 1152, 730)
        );
        assert_eq!(config.template.before, [1, 15381, 2]);
        assert_eq!(config.template.after, [3, 3]);
    }

    #[test]
    fn sizes_that_do_not_go_together_are_refused() {
        for (json, part) in [
            (r#"{"text": {"n_heads": 3}}"#, "3 heads"),
            (r#"{"text": {"n_kv_heads": 8}}"#, "8 key heads"),
            (r#"{"text": {"prefix_attn": 700}}"#, "prefix of 700"),
            (r#"{"text": {"vocab_size": 100}}"#, "token id 15381"),
            (r#"{"vision": {"crop_size": 380}}"#, "380 pixels"),
            (
                r#"{"vision": {"enc_dim": 0}}"#,
                "number of vision dimensions",
            ),
            (
                r#"{"text": {"max_context": 1000000000000}}"#,
                "1000000000000 tokens of context",
            ),
            (r#"{"text": {"n_heads": 0}}"#, "number of text heads"),
            (
                r#"{"text": {"n_layers": 1000000000}}"#,
                "1000000000 text blocks",
            ),
            (
                r#"{"text": {"dim": 18446744073709551615}}"#,
                "18446744073709551615 text dimensions",
            ),
            (
                r#"{"vision": {"crop_size": 30064771072}}"#,
                "30064771072 pixels",
            ),
            (r#"{"vision": {"enc_patch_size": 0}}"#, "side of a patch"),
            (
                r#"{"vision": {"max_crops": 1000000000000}}"#,
                "1000000000000 crops",
            ),
            (
                r#"{"vision": {"overlap_margin": 9223372036854775807}}"#,
                "of margin",
            ),
            (r#"{"text": {"dim": -1}}"#, "not a Moondream2 configuration"),
            (
                r#"{"text": {"dim": 96.5}}"#,
                "not a Moondream2 configuration",
            ),
            (
                r#"{"text": {"dim": "wide"}}"#,
                "not a Moondream2 configuration",
            ),
            ("[", "not a Moondream2 configuration"),
        ] {
            let error = Config::v2025(json).unwrap_err().to_string();
            assert!(error.contains(part), "{json}: {error}");
        }
    }
}
