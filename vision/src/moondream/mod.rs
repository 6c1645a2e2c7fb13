//! Moondream2, a vision-language model: a vision transformer over crops of the image, a projection, and a causal
//! language model whose first tokens are the image.
//!
//! The published model and code: <https://huggingface.co/vikhyatk/moondream2> (Apache-2.0). Two checkpoint layouts are
//! known, [`Layout`]; [`Config`] holds every size, and nothing here assumes those of the 2B model.

mod config;
mod crops;
pub mod resize;
mod squash;

pub use config::{Config, ConfigError, Layout, PrefixMask, Template, TextConfig, VisionConfig};
pub use crops::OverlapCrops;
pub use squash::Squash;
