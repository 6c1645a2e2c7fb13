//! SigLIP and SigLIP 2: an image tower and a text tower whose embeddings are near each other where the text fits the image.
//!
//! SigLIP: Zhai et al., arXiv:2303.15343; SigLIP 2: Tschannen et al., arXiv:2502.14786. The layouts with a fixed resolution, as
//! transformers names their tensors. A score is `sigmoid(scale * cosine + bias)`: every category is judged by itself, and they do not
//! sum to one. An image is embedded once whatever the number of categories; those cost a dot product each. The text tower, most of
//! the file where the vocabulary has 256,000 words, is read when categories are new and dropped again.

mod config;
mod image;
mod load;
mod model;
mod text;
mod words;

pub use config::{Config, ConfigError, Resampling, TextConfig, VisionConfig};
pub use image::ImageTower;
pub(crate) use load::describe_planned;
pub use load::{describe, is_siglip};
pub use model::{SigLip, Square};
pub use text::{Embedder, TextTower};
pub use words::{Words, WordsError, canonical};
