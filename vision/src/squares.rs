//! Squares of bytes through a network on all threads: a few images per pass, each pass on one thread.
//!
//! Splitting a batch scales better than splitting an image, and the networks run on their calling thread.

use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;

/// Runs `network` over `[images, side, side, 3]` u8 of at most `most` images at once, and gives its rows in the squares' order.
///
/// # Errors
/// When a square has another size, or the network fails.
pub(crate) fn in_passes(
    squares: &[&[u8]],
    side: usize,
    most: usize,
    network: impl Fn(&Tensor) -> Result<Tensor> + Sync,
) -> Result<Tensor> {
    let share = squares.len().div_ceil(rayon::current_num_threads());
    let rows = squares
        .par_chunks(share.clamp(1, most))
        .map(|squares| {
            let shape = (squares.len(), side, side, 3);
            network(&Tensor::from_vec(squares.concat(), shape, &Device::Cpu)?)
        })
        .collect::<Result<Vec<_>>>()?;
    Tensor::cat(&rows, 0)
}
