//! Launches attention (`attention.cu`).

use candle_core::cuda::CudaDevice;
use candle_core::cuda::cudarc::driver::{DeviceRepr, PushKernelArg};
use candle_core::{DType, Error, Result, Tensor};

use super::super::Keys;
use super::{address, blocks, contiguous, count, kernel, ptx, unfilled};

/// A tensor `[batch, tokens, heads * head_dim]` as the kernel takes it: steps in elements.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Matrix {
    at: u64,
    batch: u64,
    token: u64,
}

#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Piece {
    k: Matrix,
    v: Matrix,
    keys: u32,
}

/// As `struct Arguments` in `attention.cu`.
#[repr(C)]
#[derive(Debug, Clone, Copy, Default)]
struct Arguments {
    q: Matrix,
    out: u64,
    pieces: [Piece; 2],
    mask: u64,
    count: u32,
    rows: u32,
    heads: u32,
    words: u32,
    scale: f32,
}

// SAFETY: plain numbers, laid out as the kernel's structure of the same name.
unsafe impl DeviceRepr for Arguments {}

/// Attention as [`Steps::attention`](super::super::Steps::attention) defines it, with the mask as bits, `[rows, words]` of u32; `None`
/// where the kernel does not take the shape: heads of other than 64 or 72 dimensions, more than two pieces, rows that are no
/// multiples of 16 bytes.
///
/// # Errors
/// The driver's, and for tensors that do not fit each other.
pub(in super::super) fn attention(
    q: &Tensor,
    pieces: &[&Keys],
    bits: Option<&Tensor>,
    heads: usize,
) -> Result<Option<Tensor>> {
    let (batch, rows, width) = q.dims3()?;
    let head_dim = width / heads.max(1);
    let (Some(last), true) = (pieces.last(), pieces.len() <= 2) else {
        return Ok(None);
    };
    if !matches!(head_dim, 64 | 72) || width != heads * head_dim {
        return Ok(None);
    }
    let (_, device) = address(q)?;
    let (Some(q_matrix), words) = (matrix(q, batch, width)?, last.k.dim(1)?.div_ceil(32)) else {
        return Ok(None);
    };
    let mut arguments = Arguments {
        q: q_matrix,
        count: count(pieces.len())?,
        rows: count(rows)?,
        heads: count(heads)?,
        scale: 1.0 / (head_dim as f32).sqrt(),
        ..Arguments::default()
    };
    for (into, keys) in arguments.pieces.iter_mut().zip(pieces) {
        let same = keys.k.shape() == keys.v.shape() && keys.k.dtype() == q.dtype();
        let pair = (
            matrix(&keys.k, batch, width)?,
            matrix(&keys.v, batch, width)?,
        );
        let (true, (Some(k), Some(v))) = (same, pair) else {
            return Ok(None);
        };
        *into = Piece {
            k,
            v,
            keys: count(keys.k.dim(1)?)?,
        };
    }
    if let Some(bits) = bits {
        if bits.dims2()? != (rows, words) || bits.dtype() != DType::U32 {
            candle_core::bail!("a mask {:?} does not fit {rows} queries", bits.shape());
        }
        (arguments.mask, arguments.words) = (contiguous("attention", bits)?, count(words)?);
    }
    launch(
        &device,
        q.dtype(),
        arguments,
        (batch, rows, width),
        head_dim,
    )
    .map(Some)
}

fn launch(
    device: &CudaDevice,
    dtype: DType,
    mut arguments: Arguments,
    (batch, rows, width): (usize, usize, usize),
    head_dim: usize,
) -> Result<Tensor> {
    let out = unfilled(device, dtype, (batch, rows, width))?;
    if out.elem_count() == 0 {
        return Ok(out);
    }
    arguments.out = address(&out)?.0;
    // Rows of a block.
    let at_once = if dtype == DType::F32 { 4 } else { 128 };
    let grid = (
        count(rows.div_ceil(at_once))?,
        arguments.heads,
        count(batch)?,
    );
    let name = kernel(&format!("attention_{head_dim}"), dtype)?;
    let function = device.get_or_load_custom_func(&name, "picsift_attention", ptx!("attention"))?;
    let mut launch = function.builder();
    launch.arg(&arguments);
    // SAFETY: the arguments are those of the kernel, and all shapes that it reads and writes were checked by the caller.
    unsafe { launch.launch(blocks(grid, 128)) }.map_err(Error::wrap)?;
    Ok(out)
}

/// A tensor `[batch, tokens, width]` whose rows the kernel can load 16 bytes at a time.
fn matrix(x: &Tensor, batch: usize, width: usize) -> Result<Option<Matrix>> {
    let (own, _, own_width) = x.dims3()?;
    let &[batch_step, token_step, 1] = x.stride() else {
        return Ok(None);
    };
    let at = address(x)?.0;
    let size = x.dtype().size_in_bytes();
    let whole = at % 16 == 0 && batch_step * size % 16 == 0 && token_step * size % 16 == 0;
    let fits = own == batch && own_width == width && whole;
    Ok(fits.then_some(Matrix {
        at,
        batch: batch_step as u64,
        token: token_step as u64,
    }))
}
