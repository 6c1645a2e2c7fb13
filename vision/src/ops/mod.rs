//! Convolutions for small images on the CPU, as custom ops of candle.
//!
//! candle runs a grouped convolution as one small convolution per group and a pointwise one by way of im2col
//! and a copied transpose, so a network made of these spends its time outside arithmetic. The ops here vectorise
//! over channels (with `pulp`, which picks the instruction set at run time) and do bias, ReLU6 and the residual
//! sum before a value leaves the registers.
//!
//! Activations are f32 `[batch, blocks, height, width, BLOCK]`: channels lie in blocks of [`BLOCK`], padded with
//! zeros. Neighbouring pixels of a block are then neighbours in memory, so that a filter's taps and a tile of a
//! product are each at constant distances, and no kernel has a ragged edge. [`to_blocks`] and [`from_blocks`]
//! convert from and to candle's `[batch, channels, height, width]`.
//!
//! Ops run on the calling thread: splitting a batch over threads is the caller's, which scales better than
//! splitting one image.

mod depthwise;
mod inverted_residual;
mod peak_head;
mod pointwise;
mod pooled_head;
mod scratch;
mod stem;

pub use depthwise::Depthwise;
pub use inverted_residual::InvertedResidual;
pub use peak_head::PeakHead;
pub use pointwise::Pointwise;
pub use pooled_head::PooledHead;
pub use stem::Stem;

use candle_core::{CpuStorage, Error, Layout, Result, Tensor};

/// Channels that lie together: the lanes of the widest vector registers.
pub const BLOCK: usize = 16;

/// The blocks that hold `channels` channels.
const fn blocks(channels: usize) -> usize {
    channels.div_ceil(BLOCK)
}

/// The channels in memory for `channels` real ones.
const fn padded(channels: usize) -> usize {
    blocks(channels) * BLOCK
}

/// `[batch, channels, height, width]` as `[batch, blocks, height, width, BLOCK]`.
///
/// # Errors
/// When the tensor has another rank.
pub fn to_blocks(tensor: &Tensor) -> Result<Tensor> {
    let (n, c, h, w) = tensor.dims4()?;
    tensor
        .pad_with_zeros(1, 0, padded(c) - c)?
        .reshape((n, blocks(c), BLOCK, h, w))?
        .permute((0, 1, 3, 4, 2))?
        .contiguous()
}

/// `[batch, blocks, height, width, BLOCK]` as `[batch, channels, height, width]`.
///
/// # Errors
/// When the tensor has another rank or fewer channels.
pub fn from_blocks(tensor: &Tensor, channels: usize) -> Result<Tensor> {
    let (n, blocks, h, w, block) = tensor.dims5()?;
    tensor
        .permute((0, 1, 4, 2, 3))?
        .reshape((n, blocks * block, h, w))?
        .narrow(1, 0, channels)?
        .contiguous()
}

/// Padding of a convolution: the output has `ceil(input / stride)` places, and what the filter overhangs is
/// split evenly, an odd pixel after the end (TensorFlow's `SAME`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Same {
    /// Output places.
    output: usize,
    /// Rows or columns of zeros before the first.
    before: usize,
    /// The zeros before and after.
    total: usize,
}

impl Same {
    fn new(input: usize, kernel: usize, stride: usize) -> Self {
        let output = input.div_ceil(stride);
        let total = ((output.max(1) - 1) * stride + kernel).saturating_sub(input);
        Self {
            output,
            before: total / 2,
            total,
        }
    }
}

/// A contiguous activation of at least one pixel.
struct Activation<'a> {
    values: &'a [f32],
    batch: usize,
    height: usize,
    width: usize,
}

impl<'a> Activation<'a> {
    /// The activation that an op over `channels` channels is given.
    fn read(
        op: &'static str,
        storage: &'a CpuStorage,
        layout: &Layout,
        channels: usize,
    ) -> Result<Self> {
        let (batch, found, height, width, block) = layout.shape().dims5()?;
        if (found, block) != (blocks(channels), BLOCK) || height == 0 || width == 0 {
            return Err(Error::Msg(format!(
                "{op} takes [batch, {}, height, width, {BLOCK}], not {:?}",
                blocks(channels),
                layout.shape()
            )));
        }
        let Some((start, end)) = layout.contiguous_offsets() else {
            return Err(Error::RequiresContiguous { op });
        };
        Ok(Self {
            values: &storage.as_slice::<f32>()?[start..end],
            batch,
            height,
            width,
        })
    }

    fn pixels(&self) -> usize {
        self.height * self.width
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn same_padding_puts_the_odd_pixel_after_the_end() {
        let same = |input, kernel, stride| {
            let s = Same::new(input, kernel, stride);
            (s.output, s.before, s.total)
        };
        assert_eq!(same(224, 3, 2), (112, 0, 1));
        assert_eq!(same(56, 5, 2), (28, 1, 3));
        assert_eq!(same(14, 5, 1), (14, 2, 4));
        assert_eq!(same(7, 3, 2), (4, 1, 2));
        assert_eq!(same(1, 5, 1), (1, 2, 4));
    }
}
