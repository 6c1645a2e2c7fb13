//! Launches bias, activation and residual sums (`epilogue.cu`).

use candle_core::cuda::cudarc::driver::PushKernelArg;
use candle_core::{Error, Result, Tensor};

use super::{address, blocks, contiguous, count, kernel, ptx};

/// What is made of `y`.
#[derive(Debug, Clone, Copy)]
pub(in super::super) enum Epilogue<'a> {
    /// `y + bias`.
    Add,
    /// `gelu(y + bias)`, in its tanh form.
    Gelu,
    /// `x + y + bias`.
    Residual(&'a Tensor),
}

/// Blocks of a launch: enough for every multiprocessor that there is.
const BLOCKS: usize = 4096;

const THREADS: usize = 256;

/// Applies it where `y`, `[rows, width]`, lies, which must have no other user; `bias` is `[width]`.
///
/// # Errors
/// The driver's, and for tensors that do not lie one element behind the other.
pub(in super::super) fn epilogue(y: &Tensor, bias: &Tensor, what: Epilogue<'_>) -> Result<()> {
    let (step, x) = match what {
        Epilogue::Add => ("add_bias", y),
        Epilogue::Gelu => ("bias_gelu", y),
        Epilogue::Residual(x) => ("residual", x),
    };
    let (elements, width) = (y.elem_count(), bias.elem_count());
    if x.elem_count() != elements
        || width == 0
        || elements % width != 0
        || y.dtype() != bias.dtype()
    {
        candle_core::bail!(
            "a bias {:?} does not fit {:?} and {:?}",
            bias.shape(),
            y.shape(),
            x.shape()
        );
    }
    if elements == 0 {
        return Ok(());
    }
    let (_, device) = address(y)?;
    let (y_at, bias_at, x_at) = (
        contiguous(step, y)?,
        contiguous(step, bias)?,
        contiguous(step, x)?,
    );
    // Of 16 bytes.
    let vector = 16 / y.dtype().size_in_bytes();
    let whole = (y_at | bias_at | x_at) % 16 == 0 && width % vector == 0;
    let tasks = if whole { elements / vector } else { elements };
    let grid = count(tasks.div_ceil(THREADS).min(BLOCKS))?;
    let function = device.get_or_load_custom_func(
        &kernel(step, y.dtype())?,
        "picsift_epilogue",
        ptx!("epilogue"),
    )?;
    let (elements, width, whole) = (elements as u64, count(width)?, u32::from(whole));
    let mut launch = function.builder();
    launch.arg(&elements).arg(&width).arg(&whole);
    launch.arg(&y_at).arg(&bias_at).arg(&x_at);
    // SAFETY: the arguments are those of the kernel, and it stays within the elements that were counted above.
    unsafe { launch.launch(blocks((grid, 1, 1), THREADS as u32)) }.map_err(Error::wrap)?;
    Ok(())
}
