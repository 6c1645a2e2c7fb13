//! Launches the cutting of pictures into patches (`patches.cu`).

use candle_core::cuda::cudarc::driver::PushKernelArg;
use candle_core::{DType, Error, Result, Tensor};

use super::{address, blocks, contiguous, count, kernel, ptx, unfilled};

/// The patch vectors of square pictures: bytes `[views, side, side, 3]` to `[views, tokens, 3 * patch * patch]` of `dtype`.
///
/// # Errors
/// The driver's, and for pictures that are not square or no bytes.
pub(crate) fn patches(pixels: &Tensor, patch: usize, dtype: DType) -> Result<Tensor> {
    let (views, side, width, channels) = pixels.dims4()?;
    if side != width || channels != 3 || pixels.dtype() != DType::U8 || patch == 0 {
        candle_core::bail!(
            "patches are cut out of square pictures of bytes, not {:?}",
            pixels.shape()
        );
    }
    let (_, device) = address(pixels)?;
    let tokens = (side / patch).pow(2);
    let vectors = unfilled(&device, dtype, (views, tokens, 3 * patch * patch))?;
    let grid = count(views * tokens)?;
    if grid == 0 {
        return Ok(vectors);
    }
    let (from, to) = (contiguous("patches", pixels)?, address(&vectors)?.0);
    let function = device.get_or_load_custom_func(
        &kernel("patches", dtype)?,
        "picsift_patches",
        ptx!("patches"),
    )?;
    let (side, patch) = (count(side)?, count(patch)?);
    let mut launch = function.builder();
    launch.arg(&side).arg(&patch).arg(&from).arg(&to);
    // SAFETY: the arguments are those of the kernel, and the shapes that it reads and writes were checked above.
    unsafe { launch.launch(blocks((grid, 1, 1), 128)) }.map_err(Error::wrap)?;
    Ok(vectors)
}
