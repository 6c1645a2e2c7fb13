//! The sizes of a SigLIP, from a checkpoint's `config.json`, and how its pictures are resized, from `preprocessor_config.json`.
//!
//! The published files leave out what has the value of SigLIP's base model, as transformers' defaults allow. Whether the tensors have
//! these sizes is found when they are read.

use serde::Deserialize;

use crate::transformer::resize::Filter;

/// The largest sizes that a configuration may have: it comes from a file that anybody can write, and decides what is allocated. Each is
/// several times what a published model has.
const MOST: Most = Most {
    width: 1 << 14,
    hidden: 1 << 16,
    blocks: 512,
    vocabulary: 1 << 20,
    positions: 1 << 10,
    side: 1 << 11,
    tokens: 1 << 13,
};

struct Most {
    width: usize,
    hidden: usize,
    blocks: usize,
    vocabulary: usize,
    positions: usize,
    side: usize,
    tokens: usize,
}

/// What is wrong with the configuration.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConfigError {
    /// No JSON, or fields of another type.
    #[error("it is not a SigLIP configuration: {0}")]
    Form(String),
    /// The configuration of another kind of model.
    #[error(
        "it is the configuration of a '{0}' model; SigLIP with a fixed resolution is 'siglip' (checkpoints of any resolution, naflex, are not supported)"
    )]
    Kind(String),
    /// Sizes that do not go together, or a network that is built in another way.
    #[error("{0}")]
    Sizes(String),
}

/// The image tower.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionConfig {
    /// Width of the residual stream and of the embedding.
    pub dim: usize,
    /// Hidden width of the MLPs.
    pub ff_dim: usize,
    /// Blocks.
    pub layers: usize,
    /// Attention heads, of the blocks and of the pooling.
    pub heads: usize,
    /// Side of the square picture in pixels.
    pub side: usize,
    /// Side of a patch in pixels.
    pub patch: usize,
    /// Epsilon of the layer norms.
    pub epsilon: f32,
}

impl VisionConfig {
    /// Patches of a picture; what is left of it at the right and the bottom is not seen.
    pub fn tokens(&self) -> usize {
        (self.side / self.patch).pow(2)
    }
}

/// The text tower.
#[derive(Debug, Clone, PartialEq)]
pub struct TextConfig {
    /// Width of the residual stream.
    pub dim: usize,
    /// Hidden width of the MLPs.
    pub ff_dim: usize,
    /// Blocks.
    pub layers: usize,
    /// Attention heads.
    pub heads: usize,
    /// Rows of the embedding.
    pub vocabulary: usize,
    /// Tokens of a text, padding included.
    pub positions: usize,
    /// Epsilon of the layer norms.
    pub epsilon: f32,
}

/// Everything about a model but its weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The image tower.
    pub vision: VisionConfig,
    /// The text tower.
    pub text: TextConfig,
}

#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    model_type: String,
    #[serde(default)]
    text_config: RawText,
    #[serde(default)]
    vision_config: RawVision,
}

#[derive(Deserialize)]
#[serde(default)]
struct RawText {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    vocab_size: usize,
    max_position_embeddings: usize,
    projection_size: Option<usize>,
    layer_norm_eps: f32,
    hidden_act: String,
}

impl Default for RawText {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            vocab_size: 32000,
            max_position_embeddings: 64,
            projection_size: None,
            layer_norm_eps: 1e-6,
            hidden_act: GELU.to_owned(),
        }
    }
}

#[derive(Deserialize)]
#[serde(default)]
struct RawVision {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    image_size: usize,
    patch_size: usize,
    num_channels: usize,
    layer_norm_eps: f32,
    hidden_act: String,
    vision_use_head: bool,
}

impl Default for RawVision {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            intermediate_size: 3072,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            image_size: 224,
            patch_size: 16,
            num_channels: 3,
            layer_norm_eps: 1e-6,
            hidden_act: GELU.to_owned(),
            vision_use_head: true,
        }
    }
}

/// The activation of every published SigLIP, and the only one computed here.
const GELU: &str = "gelu_pytorch_tanh";

impl Config {
    /// The configuration in a `config.json`.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn from_json(json: &str) -> Result<Self, ConfigError> {
        let raw: Raw =
            serde_json::from_str(json).map_err(|error| ConfigError::Form(error.to_string()))?;
        if raw.model_type != KIND {
            return Err(ConfigError::Kind(raw.model_type));
        }
        let (text, vision) = (raw.text_config, raw.vision_config);
        let refused = |what: String| Err(ConfigError::Sizes(what));
        for act in [&text.hidden_act, &vision.hidden_act] {
            if act != GELU {
                return refused(format!("its activation is {act}; only {GELU} is known"));
            }
        }
        if vision.num_channels != 3 || !vision.vision_use_head {
            return refused("its image tower has no pooling head over three channels".to_owned());
        }
        let projection = text.projection_size.unwrap_or(text.hidden_size);
        if projection != vision.hidden_size {
            return refused(format!(
                "its texts are embedded in {projection} dimensions, but its images in {}",
                vision.hidden_size
            ));
        }
        let config = Self {
            vision: VisionConfig {
                dim: vision.hidden_size,
                ff_dim: vision.intermediate_size,
                layers: vision.num_hidden_layers,
                heads: vision.num_attention_heads,
                side: vision.image_size,
                patch: vision.patch_size,
                epsilon: vision.layer_norm_eps,
            },
            text: TextConfig {
                dim: text.hidden_size,
                ff_dim: text.intermediate_size,
                layers: text.num_hidden_layers,
                heads: text.num_attention_heads,
                vocabulary: text.vocab_size,
                positions: text.max_position_embeddings,
                epsilon: text.layer_norm_eps,
            },
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let (vision, text) = (&self.vision, &self.text);
        let sizes = [
            ("image dimensions", vision.dim, MOST.width),
            ("hidden image dimensions", vision.ff_dim, MOST.hidden),
            ("image blocks", vision.layers, MOST.blocks),
            ("image heads", vision.heads, MOST.blocks),
            ("pixels on a side", vision.side, MOST.side),
            (
                "pixels on a side of a patch",
                vision.patch,
                vision.side.min(MOST.side),
            ),
            ("text dimensions", text.dim, MOST.width),
            ("hidden text dimensions", text.ff_dim, MOST.hidden),
            ("text blocks", text.layers, MOST.blocks),
            ("text heads", text.heads, MOST.blocks),
            ("tokens in its vocabulary", text.vocabulary, MOST.vocabulary),
            ("tokens of a text", text.positions, MOST.positions),
        ];
        for (what, size, most) in sizes {
            if size == 0 || size > most {
                return Err(ConfigError::Sizes(format!(
                    "it says that it has {size} {what}; 1 to {most} are possible"
                )));
            }
        }
        if vision.tokens() > MOST.tokens {
            return Err(ConfigError::Sizes(format!(
                "it cuts a picture into {} patches; at most {} are possible",
                vision.tokens(),
                MOST.tokens
            )));
        }
        for (dim, heads, epsilon) in [
            (vision.dim, vision.heads, vision.epsilon),
            (text.dim, text.heads, text.epsilon),
        ] {
            if dim % heads != 0 {
                return Err(ConfigError::Sizes(format!(
                    "{dim} dimensions cannot be shared by {heads} heads"
                )));
            }
            if !(epsilon > 0.0 && epsilon < 1.0) {
                return Err(ConfigError::Sizes(format!(
                    "the epsilon {epsilon} of its norms is not between 0 and 1"
                )));
            }
        }
        Ok(())
    }
}

/// The `model_type` of a SigLIP with a fixed resolution, of version 2 as well.
pub(super) const KIND: &str = "siglip";

/// How a picture becomes the square that the image tower reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resampling {
    /// Pillow's filter.
    pub filter: Filter,
}

#[derive(Deserialize)]
struct RawPreprocessor {
    resample: u32,
    size: Option<RawSize>,
    image_mean: Option<[f32; 3]>,
    image_std: Option<[f32; 3]>,
}

#[derive(Deserialize)]
struct RawSize {
    height: usize,
    width: usize,
}

impl Resampling {
    /// What a `preprocessor_config.json` says, for pictures of this side.
    ///
    /// # Errors
    /// [`ConfigError`], for what no published SigLIP does.
    pub fn from_json(json: &str, side: usize) -> Result<Self, ConfigError> {
        let raw: RawPreprocessor =
            serde_json::from_str(json).map_err(|error| ConfigError::Form(error.to_string()))?;
        let half = |values: Option<[f32; 3]>| values.is_none_or(|values| values == [0.5; 3]);
        if !half(raw.image_mean) || !half(raw.image_std) {
            return Err(ConfigError::Sizes(
                "it normalises samples by other numbers than 0.5".to_owned(),
            ));
        }
        if let Some(size) = raw.size
            && (size.height, size.width) != (side, side)
        {
            return Err(ConfigError::Sizes(format!(
                "it resizes to {} x {}, but config.json calls for {side} x {side}",
                size.width, size.height
            )));
        }
        // Pillow's numbers.
        let filter = match raw.resample {
            2 => Filter::Bilinear,
            3 => Filter::Bicubic,
            other => {
                return Err(ConfigError::Sizes(format!(
                    "it resizes with Pillow's filter {other}; 2 (bilinear) and 3 (bicubic) are known"
                )));
            }
        };
        Ok(Self { filter })
    }
}
