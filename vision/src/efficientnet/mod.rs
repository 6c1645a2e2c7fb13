//! EfficientNet-Lite: image classifiers made of inverted residual blocks, without squeeze-and-excite and with
//! ReLU6, so that they run well on a CPU.
//!
//! EfficientNet: Tan and Le, arXiv:1905.11946. The lite variants, which keep stem and head at one size, are
//! those of `models/official/efficientnet/lite` in TensorFlow's TPU repository. [`Config`] says what is built,
//! `weights` reads a PyTorch state dict of it and folds batch norm away, [`Network`] runs it and the classifier
//! puts it behind [`crate::Model`]. What a category means in ImageNet's classes is the lexicon's to say.

mod classifier;
mod weights;

pub use classifier::{BYTES, NAME, describe};
pub(crate) use classifier::{Classifier, INPUT, REVISION, SIDE, Seen, THRESHOLD, WIDTH, sum};

use candle_core::{Module, Result, Tensor};
use candle_nn::Linear;

use crate::ops::{InvertedResidual, PooledHead, Stem};

/// A run of blocks that have the same filter and width; only the first one strides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stage {
    /// How many blocks.
    pub blocks: usize,
    /// Side of the depthwise filter.
    pub kernel: usize,
    /// Stride of the first block.
    pub stride: usize,
    /// Width of a block's middle, as a multiple of its input.
    pub expand: usize,
    /// Output channels.
    pub channels: usize,
}

/// The shape of a network, and what it takes and gives.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Side of the square input in pixels.
    pub size: usize,
    /// The bytes of the input are taken as `(byte - mean) / scale`: mean and scale.
    pub normalise: (f32, f32),
    /// Output channels of the first convolution, which has a filter of 3 and a stride of 2.
    pub stem: usize,
    /// The blocks.
    pub stages: Vec<Stage>,
    /// Output channels of the last convolution.
    pub head: usize,
    /// Classes.
    pub classes: usize,
    /// Added to a variance before its root is taken.
    pub batch_norm_eps: f32,
}

impl Config {
    /// EfficientNet-Lite0: width and depth 1.0, 224 pixels, the 1000 classes of ImageNet-1k.
    pub fn lite0() -> Self {
        let stage = |blocks, kernel, stride, expand, channels| Stage {
            blocks,
            kernel,
            stride,
            expand,
            channels,
        };
        Self {
            size: 224,
            normalise: (127.0, 128.0),
            stem: 32,
            stages: vec![
                stage(1, 3, 1, 1, 16),
                stage(2, 3, 2, 6, 24),
                stage(2, 5, 2, 6, 40),
                stage(3, 3, 2, 6, 80),
                stage(3, 5, 1, 6, 112),
                stage(4, 5, 2, 6, 192),
                stage(1, 3, 1, 6, 320),
            ],
            head: 1280,
            classes: 1000,
            batch_norm_eps: 1e-3,
        }
    }
}

/// A network with its weights, for the CPU. Computes in f32.
#[derive(Debug, Clone)]
pub struct Network {
    stem: Stem,
    blocks: Vec<InvertedResidual>,
    head: PooledHead,
    classify: Linear,
}

impl Network {
    /// The network of this shape with the weights in a safetensors file's bytes, f16 or f32, named as in the
    /// PyTorch state dict (`_conv_stem.weight`, `_blocks.0._bn1.bias`, ...).
    ///
    /// # Errors
    /// When the bytes are no safetensors file, or a tensor is missing or of another shape.
    pub fn from_safetensors(config: &Config, bytes: &[u8]) -> Result<Self> {
        weights::network(config, bytes)
    }

    /// What the classes are judged by: `[batch, size, size, 3]` u8 to `[batch, head]` f32. Runs on the calling
    /// thread; the images of a batch do not influence each other.
    ///
    /// # Errors
    /// When the tensor has another shape or type.
    pub fn features(&self, images: &Tensor) -> Result<Tensor> {
        let mut x = images.apply_op1_no_bwd(&self.stem)?;
        for block in &self.blocks {
            x = x.apply_op1_no_bwd(block)?;
        }
        x.apply_op1_no_bwd(&self.head)
    }

    /// The logits of features: `[batch, head]` to `[batch, classes]`, f32.
    ///
    /// # Errors
    /// When the tensor has another shape or type.
    pub fn logits(&self, features: &Tensor) -> Result<Tensor> {
        self.classify.forward(features)
    }
}
