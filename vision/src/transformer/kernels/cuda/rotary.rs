//! Launches rotary positions (`rotary.cu`).

use candle_core::cuda::cudarc::driver::PushKernelArg;
use candle_core::{DType, Error, Result, Tensor};

use super::super::Room;
use super::{address, blocks, contiguous, count, kernel, ptx, unfilled};

/// Rotates the queries in `qkv`, `[batch, tokens, 3 * heads * head_dim]`, where they lie, and writes the rotated keys and the values
/// behind those that `room` has, or by themselves. `cos` and `sin` are `[tokens, head_dim / 4]` of f32. `qkv` must have
/// no other user.
///
/// # Errors
/// The driver's, and for tensors that do not fit.
pub(in super::super) fn rotate(
    qkv: &Tensor,
    (cos, sin): (&Tensor, &Tensor),
    heads: usize,
    room: Option<Room>,
) -> Result<Room> {
    let (batch, tokens, width) = qkv.dims3()?;
    let head_dim = width / (3 * heads.max(1));
    let table = tokens * (head_dim / 4);
    let tables = cos.elem_count() == table && sin.elem_count() == table;
    let single = cos.dtype() == DType::F32 && sin.dtype() == DType::F32;
    if !tables || !single || head_dim % 4 != 0 || width != 3 * heads * head_dim {
        candle_core::bail!(
            "rotary tables {:?} do not fit {heads} heads in {:?}",
            cos.shape(),
            qkv.shape()
        );
    }
    let (_, device) = address(qkv)?;
    let room = match room {
        Some(room) => room.with_room(tokens)?,
        None => Room {
            k: unfilled(&device, qkv.dtype(), (batch, tokens, width / 3))?,
            v: unfilled(&device, qkv.dtype(), (batch, tokens, width / 3))?,
            tokens: 0,
        },
    };
    let (there, most, room_width) = room.k.dims3()?;
    if (there, room_width) != (batch, width / 3) || room.v.shape() != room.k.shape() {
        candle_core::bail!(
            "keys of {:?} do not go behind {:?}",
            qkv.shape(),
            room.k.shape()
        );
    }
    let grown = |room: Room| Room {
        tokens: room.tokens + tokens,
        ..room
    };
    let rows = count(batch * tokens)?;
    if rows == 0 {
        return Ok(grown(room));
    }
    let addresses = [qkv, cos, sin, &room.k, &room.v].map(|x| contiguous("rotate", x));
    let [qkv_at, cos_at, sin_at, k_at, v_at] = addresses;
    let (qkv_at, cos_at, sin_at, k_at, v_at) = (qkv_at?, cos_at?, sin_at?, k_at?, v_at?);
    let function = device.get_or_load_custom_func(
        &kernel("rotate", qkv.dtype())?,
        "picsift_rotary",
        ptx!("rotary"),
    )?;
    let (each, heads, head_dim) = (count(tokens)?, count(heads)?, count(head_dim)?);
    let mut launch = function.builder();
    let (most, at) = (count(most)?, count(room.tokens)?);
    launch.arg(&each).arg(&heads).arg(&head_dim);
    launch.arg(&most).arg(&at);
    launch
        .arg(&qkv_at)
        .arg(&cos_at)
        .arg(&sin_at)
        .arg(&k_at)
        .arg(&v_at);
    // SAFETY: the arguments are those of the kernel, and the shapes that it reads and writes were checked above.
    unsafe { launch.launch(blocks((rows, 1, 1), 256)) }.map_err(Error::wrap)?;
    Ok(grown(room))
}
