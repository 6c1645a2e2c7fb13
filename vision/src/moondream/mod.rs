//! Moondream2, a vision-language model: a vision transformer over crops of the image, a projection, and a causal
//! language model whose first tokens are the image.
//!
//! The published model and code: <https://huggingface.co/vikhyatk/moondream2> (Apache-2.0). Two checkpoint layouts are
//! known, [`Layout`]; [`Config`] holds every size, and nothing here assumes those of the 2B model.

mod config;
mod crops;
mod encoder;
mod features;
mod generate;
mod load;
mod model;
mod names;
mod network;
mod phrase;
mod prompts;
mod squash;
mod text;
mod tree;
mod vocabulary;

pub use config::{Config, ConfigError, Layout, PrefixMask, Template, TextConfig, VisionConfig};
pub use crops::OverlapCrops;
pub use generate::{Answers, NotFinite, Request};
pub(crate) use load::SHAPES_BYTES;
pub(crate) use load::describe_2025;
pub use load::{SHAPES_NAME, describe, describe_shapes};
pub use model::{MAX_QUESTIONS, Moondream};
pub use network::{Network, Prefix, Prepared, Stage, Watch};
pub use prompts::{PromptError, Prompts};
pub use squash::Squash;
pub use vocabulary::{Vocabulary, VocabularyError};
