//! Launches the choice of tokens (`choose.cu`).

use candle_core::cuda::cudarc::driver::PushKernelArg;
use candle_core::{DType, Error, Result, Tensor};

use super::{address, blocks, contiguous, count, kernel, ptx, unfilled};

const THREADS: u32 = 512;

/// Widest row: its indices are numbers that an f32 holds.
const WIDEST: usize = 1 << 24;

/// For each row of `logits`, `[rows, n]`, the index of the highest, the first of equals, `barred` aside; `n` where one is NaN or
/// infinite, or none is left. `[rows]` of u32.
///
/// # Errors
/// The driver's, and for logits that do not lie one behind the other or are more than 2^24 in a row.
pub(in super::super) fn choose(logits: &Tensor, barred: Option<u32>) -> Result<Tensor> {
    let (rows, width) = logits.dims2()?;
    if width >= WIDEST {
        candle_core::bail!("a choice of {width} is more than the {WIDEST} that can be counted");
    }
    let (_, device) = address(logits)?;
    let chosen = unfilled(&device, DType::U32, rows)?;
    if rows == 0 {
        return Ok(chosen);
    }
    let (logits_at, chosen_at) = (
        contiguous("choose", logits)?,
        contiguous("choose", &chosen)?,
    );
    let function = device.get_or_load_custom_func(
        &kernel("choose", logits.dtype())?,
        "picsift_choose",
        ptx!("choose"),
    )?;
    let (width, barred) = (count(width)?, barred.unwrap_or(u32::MAX));
    let mut launch = function.builder();
    launch
        .arg(&width)
        .arg(&barred)
        .arg(&logits_at)
        .arg(&chosen_at);
    // SAFETY: the arguments are those of the kernel, which reads a row and writes a number in each block.
    unsafe { launch.launch(blocks((count(rows)?, 1, 1), THREADS)) }.map_err(Error::wrap)?;
    Ok(chosen)
}
