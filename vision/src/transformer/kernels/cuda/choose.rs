//! Launches the choice of the likeliest tokens (`choose.cu`).

use candle_core::cuda::cudarc::driver::PushKernelArg;
use candle_core::{DType, Error, Result, Tensor};

use super::{address, blocks, contiguous, count, kernel, ptx, unfilled};

/// Threads of a block, as the kernel has them.
const THREADS: u32 = 256;

/// What the kernel writes where nothing can be chosen, and what bars no token.
const NOTHING: u32 = u32::MAX;

/// For each row of `logits`, `[rows, n]`, the index of the highest, the first of equals, `barred` aside; `None` where one is NaN or
/// infinite, or none is left. Only the indices leave the device.
///
/// # Errors
/// The driver's, and for logits that do not lie one behind the other.
pub(in super::super) fn choose(logits: &Tensor, barred: Option<u32>) -> Result<Vec<Option<u32>>> {
    let (rows, width) = logits.dims2()?;
    if rows == 0 || width == 0 {
        return Ok(vec![None; rows]);
    }
    if width > super::super::LAUNCH {
        candle_core::bail!("{width} logits of a row are more than a kernel counts");
    }
    let (_, device) = address(logits)?;
    let chosen = unfilled(&device, DType::U32, rows)?;
    let (from, to) = (contiguous("choose", logits)?, address(&chosen)?.0);
    let function = device.get_or_load_custom_func(
        &kernel("choose", logits.dtype())?,
        "picsift_choose",
        ptx!("choose"),
    )?;
    let (rows, width, barred) = (count(rows)?, count(width)?, barred.unwrap_or(NOTHING));
    let mut launch = function.builder();
    launch.arg(&width).arg(&barred).arg(&from).arg(&to);
    // SAFETY: the arguments are those of the kernel, and the shapes that it reads and writes were checked above.
    unsafe { launch.launch(blocks((rows, 1, 1), THREADS)) }.map_err(Error::wrap)?;
    let chosen = chosen.to_vec1::<u32>()?;
    Ok(chosen
        .into_iter()
        .map(|id| (id != NOTHING).then_some(id))
        .collect())
}
