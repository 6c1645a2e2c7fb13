//! Square pictures as the vectors of their patches, which are what a vision transformer reads.

#[cfg(feature = "cuda")]
use candle_core::DType;
use candle_core::{Device, Result, Tensor};
use rayon::prelude::*;

use super::format::Format;
use super::kernels::Steps;
#[cfg(feature = "cuda")]
use super::kernels::cuda;

/// Patch vectors of square pictures: samples `[views, side, side, 3]`, each as `value` takes it, to `[views, tokens, 3 * patch * patch]`,
/// patches row by row, each ordered channel, row, column. What is left at the right and the bottom is left out.
pub(crate) fn patch_vectors<T: Copy + Sync>(
    samples: &[T],
    side: usize,
    patch: usize,
    value: impl Fn(T) -> f32 + Sync,
) -> Result<Tensor> {
    let grid = side / patch;
    let width = 3 * patch * patch;
    let views = samples.len() / (side * side * 3).max(1);
    let mut vectors = vec![0_f32; views * grid * grid * width];
    vectors
        .par_chunks_mut(width)
        .enumerate()
        .for_each(|(index, vector)| {
            let (view, place) = (index / (grid * grid), index % (grid * grid));
            let (top, left) = (place / grid * patch, place % grid * patch);
            for (line, values) in vector.chunks_exact_mut(patch).enumerate() {
                let (channel, row) = (line / patch, line % patch);
                let first = ((view * side + top + row) * side + left) * 3;
                let pixels = samples[first..first + 3 * patch].chunks_exact(3);
                for (into, pixel) in values.iter_mut().zip(pixels) {
                    *into = value(pixel[channel]);
                }
            }
        });
    Tensor::from_vec(vectors, (views, grid * grid, width), &Device::Cpu)
}

/// Square pictures, bytes `[views, side, side, 3]`, made ready on the CPU for [`on_device`]: as they are where the device cuts
/// them up itself, else the vectors of their patches in the network's number format.
pub(crate) fn prepared(
    pixels: &[u8],
    (side, patch): (usize, usize),
    format: &Format,
) -> Result<Tensor> {
    match format.steps {
        #[cfg(feature = "cuda")]
        Steps::Cuda(_) => {
            let views = pixels.len() / (side * side * 3).max(1);
            Tensor::from_slice(pixels, (views, side, side, 3), &Device::Cpu)
        }
        Steps::Fused(_) | Steps::Plain => {
            patch_vectors(pixels, side, patch, normalise)?.to_dtype(format.dtype)
        }
    }
}

/// What [`prepared`] has made ready, or patch vectors, together on the network's device: `[views, tokens, 3 * patch * patch]`. Each may
/// be there already.
pub(crate) fn on_device(prepared: &[&Tensor], patch: usize, format: &Format) -> Result<Tensor> {
    let there = prepared.iter().map(|one| one.to_device(&format.device));
    let there: Vec<Tensor> = there.collect::<Result<_>>()?;
    let vectors = |some: &Tensor| -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if some.dtype() == DType::U8 {
            return cuda::patches(some, patch, format.dtype);
        }
        let _ = patch;
        some.to_dtype(format.dtype)
    };
    let alike = there.windows(2).all(|two| two[0].dtype() == two[1].dtype());
    match alike {
        true => vectors(&Tensor::cat(&there, 0)?),
        false => {
            let all = there.iter().map(vectors);
            Tensor::cat(&all.collect::<Result<Vec<_>>>()?, 0)
        }
    }
}

/// A sample as the encoder takes it, -1 to 1: `(x / 255 - 0.5) / 0.5`.
pub(crate) fn normalise(sample: u8) -> f32 {
    (f32::from(sample) / 255.0 - 0.5) / 0.5
}
