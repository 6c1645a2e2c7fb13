//! Convolutions for small images on the CPU, as custom ops of candle.
//!
//! candle runs a grouped convolution as one small convolution per group and a pointwise one by way of im2col
//! and a copied transpose, so a network made of these spends its time outside arithmetic. The ops here work on
//! `[batch, height, width, channel]` tensors, vectorise over channels (with `pulp`, which picks the instruction
//! set at run time) and do bias, ReLU6 and the residual sum before a value leaves the registers.
//!
//! Channels in memory are padded to a multiple of [`CHANNEL_STEP`] with zeros, so that no kernel has a ragged
//! edge; [`padded`] gives the stored number. Ops run on the calling thread: splitting a batch over threads is
//! the caller's, which scales better than splitting one image.

mod depthwise;
mod inverted_residual;
mod pointwise;
mod pooled_head;
mod scratch;
mod stem;

pub use depthwise::Depthwise;
pub use inverted_residual::InvertedResidual;
pub use pointwise::Pointwise;
pub use pooled_head::PooledHead;
pub use stem::Stem;

use candle_core::{CpuStorage, Error, Layout, Result};

/// Stored channels are a multiple of this: the lanes of the widest vector registers.
pub const CHANNEL_STEP: usize = 16;

/// The number of channels stored for `channels` real ones.
pub const fn padded(channels: usize) -> usize {
    channels.next_multiple_of(CHANNEL_STEP)
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

/// The values and dimensions of a contiguous `[batch, height, width, channels]` f32 tensor.
fn nhwc<'a>(
    op: &'static str,
    storage: &'a CpuStorage,
    layout: &Layout,
    channels: usize,
) -> Result<(&'a [f32], [usize; 4])> {
    let (n, h, w, c) = layout.shape().dims4()?;
    if c != channels {
        return Err(Error::Msg(format!(
            "{op} takes {channels} channels, not {c}"
        )));
    }
    let Some((start, end)) = layout.contiguous_offsets() else {
        return Err(Error::RequiresContiguous { op });
    };
    Ok((&storage.as_slice::<f32>()?[start..end], [n, h, w, c]))
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
