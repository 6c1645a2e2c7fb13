//! A `config.json` as it is written: the fields that are read, and what the reference code takes where they are missing.

use serde::Deserialize;

/// The reference code's schema of 2025, with its defaults.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Raw2025 {
    pub(super) text: RawText,
    pub(super) vision: RawVision,
    pub(super) tokenizer: RawTokenizer,
}

#[derive(Deserialize)]
#[serde(default)]
pub(super) struct RawText {
    pub(super) dim: usize,
    pub(super) ff_dim: usize,
    pub(super) n_layers: usize,
    pub(super) vocab_size: usize,
    pub(super) max_context: usize,
    pub(super) n_heads: usize,
    pub(super) n_kv_heads: Option<usize>,
    pub(super) prefix_attn: usize,
    pub(super) group_size: Option<usize>,
}

impl Default for RawText {
    fn default() -> Self {
        Self {
            dim: 2048,
            ff_dim: 8192,
            n_layers: 24,
            vocab_size: 51200,
            max_context: 2048,
            n_heads: 32,
            n_kv_heads: None,
            prefix_attn: 730,
            group_size: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(default)]
pub(super) struct RawVision {
    pub(super) enc_dim: usize,
    pub(super) enc_patch_size: usize,
    pub(super) enc_n_layers: usize,
    pub(super) enc_ff_dim: usize,
    pub(super) enc_n_heads: usize,
    pub(super) crop_size: usize,
    pub(super) in_channels: usize,
    pub(super) max_crops: usize,
    pub(super) overlap_margin: usize,
    pub(super) proj_inner_dim: usize,
}

impl Default for RawVision {
    fn default() -> Self {
        Self {
            enc_dim: 1152,
            enc_patch_size: 14,
            enc_n_layers: 27,
            enc_ff_dim: 4304,
            enc_n_heads: 16,
            crop_size: 378,
            in_channels: 3,
            max_crops: 12,
            overlap_margin: 4,
            proj_inner_dim: 8192,
        }
    }
}

#[derive(Deserialize)]
#[serde(default)]
pub(super) struct RawTokenizer {
    pub(super) bos_id: u32,
    pub(super) eos_id: u32,
    pub(super) answer_id: u32,
    pub(super) templates: RawTemplates,
}

impl Default for RawTokenizer {
    fn default() -> Self {
        Self {
            bos_id: 0,
            eos_id: 0,
            answer_id: 3,
            templates: RawTemplates::default(),
        }
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct RawTemplates {
    pub(super) query: Option<RawQuery>,
}

#[derive(Deserialize)]
pub(super) struct RawQuery {
    pub(super) prefix: Vec<u32>,
    pub(super) suffix: Vec<u32>,
}

impl Default for RawQuery {
    fn default() -> Self {
        Self {
            prefix: vec![1, 15381, 2],
            suffix: vec![3],
        }
    }
}

/// The `config.json` of 2024: the language model is Phi-1.5's.
#[derive(Deserialize)]
pub(super) struct Raw2024 {
    #[serde(default)]
    pub(super) text_config: RawPhi,
}

#[derive(Deserialize)]
#[serde(default)]
pub(super) struct RawPhi {
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) intermediate_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) max_position_embeddings: usize,
    pub(super) bos_token_id: u32,
    pub(super) eos_token_id: u32,
}

impl Default for RawPhi {
    fn default() -> Self {
        Self {
            vocab_size: 51200,
            hidden_size: 2048,
            intermediate_size: 8192,
            num_hidden_layers: 24,
            num_attention_heads: 32,
            max_position_embeddings: 2048,
            bos_token_id: 50256,
            eos_token_id: 50256,
        }
    }
}
