//! The model's files: `config.json`, `tokenizer.json`, `model.safetensors`.
//!
//! It owns their names, the sizes of the model and the number format of its weights.

use std::collections::{BTreeMap, HashMap};
use std::error::Error;
use std::fs;
use std::path::Path;

use candle_core::{DType, Device, Tensor, Var};
use picsift_vision::moondream::Config;
use serde_json::{Value, json};

use crate::network::Network;
use crate::words::{ANSWER, END, PREFIX, SUFFIX, tokenizer_json, vocabulary_size};

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// The model's sizes, in the schema of Moondream2's own `config.json`.
fn config_json() -> Value {
    let (crop, patch) = (112, 14);
    let tokens = (crop / patch) * (crop / patch);
    json!({
        "text": {
            "dim": 96, "ff_dim": 192, "n_layers": 3, "vocab_size": vocabulary_size(), "max_context": 256,
            "n_heads": 4, "n_kv_heads": 4, "prefix_attn": tokens + 1, "group_size": null
        },
        "vision": {
            "enc_dim": 96, "enc_patch_size": patch, "enc_n_layers": 4, "enc_ff_dim": 256, "enc_n_heads": 4,
            "proj_out_dim": 96, "crop_size": crop, "in_channels": 3, "max_crops": 4, "overlap_margin": 1,
            "proj_inner_dim": 96
        },
        "tokenizer": {
            "bos_id": END, "eos_id": END, "answer_id": ANSWER,
            "templates": { "query": { "prefix": PREFIX, "suffix": SUFFIX } }
        }
    })
}

/// The model's configuration.
pub(crate) fn config() -> Result<Config> {
    Ok(Config::v2025(&config_json().to_string())?)
}

/// Writes all files; weights as f16, and without what only training has.
pub(crate) fn write(folder: &Path, variables: &BTreeMap<String, Var>) -> Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("config.json"), format!("{:#}\n", config_json()))?;
    fs::write(
        folder.join("tokenizer.json"),
        format!("{:#}\n", tokenizer_json()),
    )?;
    let mut tensors = HashMap::new();
    for (name, variable) in variables
        .iter()
        .filter(|(name, _)| name.starts_with("model."))
    {
        tensors.insert(name.clone(), variable.as_tensor().to_dtype(DType::F16)?);
    }
    candle_core::safetensors::save(&tensors, folder.join("model.safetensors"))?;
    Ok(())
}

/// The model in a folder, with the weights as they are stored.
pub(crate) fn read(folder: &Path) -> Result<Network> {
    let config = Config::v2025(&fs::read_to_string(folder.join("config.json"))?)?;
    let stored = candle_core::safetensors::load(folder.join("model.safetensors"), &Device::Cpu)?;
    let tensors = stored
        .into_iter()
        .map(|(name, tensor): (String, Tensor)| Ok((name, tensor.to_dtype(DType::F32)?)))
        .collect::<Result<_>>()?;
    Ok(Network::new(config, tensors))
}
