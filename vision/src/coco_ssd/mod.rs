//! SSD-MobileNetV2, a detector of COCO's 80 things, asked only whether a thing is there.
//!
//! SSD: Liu et al., arXiv:1512.02325; MobileNetV2: Sandler et al., arXiv:1801.04381; as in TensorFlow's detection model zoo. Each
//! of six maps of features, from 19 x 19 places to a single one, has a convolution that scores every class at every place for three or
//! six boxes (anchors). A thing is there as surely as its surest anchor says; where it is stays unknown. The
//! predictors are most of the arithmetic, and a class that nobody asks for is not computed: see [`Heads`].
//!
//! `weights` reads what `data/coco-ssd/convert.py` writes, [`Network`] runs it and the detector puts it behind [`crate::Model`].

mod detector;
mod view;
mod weights;

pub use detector::{BYTES, NAME, describe};
pub(crate) use detector::{Detector, REVISION, THRESHOLD, surest, union};
pub(crate) use view::{INPUT, squashed};

use candle_core::{Result, Tensor};

use crate::ops::{InvertedResidual, PeakHead, Pointwise, Stem};

/// Side of the square input in pixels.
pub const SIDE: usize = 300;

/// The bytes of the input are taken as `(byte - mean) / scale`: mean and scale.
const NORMALISE: (f32, f32) = (127.5, 127.5);

/// Stride of each of MobileNetV2's blocks.
const STRIDES: [usize; 17] = [1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 1, 2, 1, 1, 1];

/// The block whose widened input is the first map.
const FIRST_MAP: usize = 13;

/// Blocks of stride 2 behind MobileNetV2; what each gives is a map.
const EXTRAS: usize = 4;

/// Anchors at each place of the maps.
pub const ANCHORS: [usize; 6] = [3, 6, 6, 6, 6, 6];

/// A network with its weights, for the CPU. Computes in f32.
#[derive(Debug, Clone)]
pub struct Network {
    stem: Stem,
    /// The blocks before that of the first map.
    before: Vec<InvertedResidual>,
    /// The first map.
    widen: Pointwise,
    /// The rest of that block, and those behind it.
    behind: Vec<InvertedResidual>,
    /// The second map.
    last: Pointwise,
    extras: Vec<InvertedResidual>,
    predictors: Vec<weights::Predictor>,
}

/// The predictors of some classes.
#[derive(Debug, Clone)]
pub struct Heads {
    classes: usize,
    maps: Vec<PeakHead>,
}

impl Network {
    /// The network with the weights in the bytes of a safetensors file of `convert.py`; those of the predictors are read when they
    /// are asked for.
    ///
    /// # Errors
    /// When the bytes are no safetensors file, or a tensor is missing or of another type or shape.
    pub fn from_safetensors(bytes: &'static [u8]) -> Result<Self> {
        weights::network(bytes)
    }

    /// The predictors of these classes, each within 0..80; at least one.
    ///
    /// # Errors
    /// When there is no such class, or none is given.
    pub fn heads(&self, classes: &[u16]) -> Result<Heads> {
        let maps = self.predictors.iter().map(|map| map.head(classes));
        Ok(Heads {
            classes: classes.len(),
            maps: maps.collect::<Result<_>>()?,
        })
    }

    /// The largest logit of each class and anchor over the places of each map: `[batch, 300, 300, 3]` u8 to six tensors
    /// `[batch, classes, anchors]` f32, for the classes of the heads in their order. Runs on the calling thread; the images of a batch do
    /// not influence each other.
    ///
    /// # Errors
    /// When the tensor has another shape or type.
    pub fn peaks(&self, images: &Tensor, heads: &Heads) -> Result<Vec<Tensor>> {
        let mut maps = heads.maps.iter().zip(ANCHORS);
        let mut peaks = Vec::with_capacity(ANCHORS.len());
        let mut see = |map: &Tensor| -> Result<()> {
            if let Some((head, anchors)) = maps.next() {
                let shape = (map.dim(0)?, heads.classes, anchors);
                peaks.push(map.apply_op1_no_bwd(head)?.reshape(shape)?);
            }
            Ok(())
        };
        let run = |x: Tensor, blocks: &[InvertedResidual]| {
            let mut blocks = blocks.iter();
            blocks.try_fold(x, |x, block| x.apply_op1_no_bwd(block))
        };
        let x = run(images.apply_op1_no_bwd(&self.stem)?, &self.before)?;
        let x = x.apply_op1_no_bwd(&self.widen)?;
        see(&x)?;
        let mut x = run(x, &self.behind)?.apply_op1_no_bwd(&self.last)?;
        see(&x)?;
        for extra in &self.extras {
            x = x.apply_op1_no_bwd(extra)?;
            see(&x)?;
        }
        Ok(peaks)
    }

    /// The largest logit of each class anywhere: `[batch, 300, 300, 3]` u8 to `[batch, classes]` f32.
    ///
    /// # Errors
    /// As [`Network::peaks`].
    pub fn logits(&self, images: &Tensor, heads: &Heads) -> Result<Tensor> {
        Tensor::cat(&self.peaks(images, heads)?, 2)?.max(2)
    }
}
