//! What transformers are made of: the same for every model that is one.
//!
//! Tensors by name from a checkpoint, the number format in which a network is computed, linear layers and norms in it, the steps
//! between matrix products in two forms, blocks of them, the border to the tokenizer library, and Pillow's resize, which all of these models learnt from. Which tensors a
//! model has, what it is shown and what it answers is the model's own.

mod blocks;
mod checkpoint;
pub mod conformance;
mod format;
mod kernels;
mod linear;
mod patches;
pub mod resize;
pub mod speed;
pub(crate) mod tokenizer;
mod weights;

pub(crate) use blocks::{BlockNames, BlockSizes, Blocks};
pub use checkpoint::{Checkpoint, CheckpointError, Read};
pub use format::Format;
pub use kernels::{CpuSteps, CudaSteps, Steps, Units};
pub(crate) use kernels::{Keys, LAUNCH, Mask, Room, Rotary, likeliest};
pub(crate) use linear::Linear;
pub(crate) use patches::{normalise, on_device, patch_vectors, prepared};
pub use tokenizer::TokenizerError;
pub(crate) use weights::{Norm, Reader};
