//! The steps between matrix products as kernels for NVIDIA GPUs, and the products with what follows them.
//!
//! Each `.cu` has its launcher beside it, which alone knows the kernel's arguments; shapes, units and what is written stand at the
//! top of the `.cu`. A kernel is compiled to PTX when this crate is built and to the card's code by the driver when it is first used.
//! Their bodies are checked against f64 on a CPU (`tests/kernels`), the launchers on the GPU by [`conformance`](super::super::conformance).
//!
//! All launches go to the device's one stream, in whose order memory is written, read and let go: a tensor may be dropped as soon
//! as what reads it has been launched.

mod attention;
mod choose;
mod epilogue;
mod patches;
mod product;
mod rotary;

pub(super) use attention::attention;
pub(super) use choose::choose;
pub(super) use epilogue::{Epilogue, epilogue};
pub(crate) use patches::patches;
pub(crate) use product::Products;
pub(super) use rotary::rotate;

use candle_core::cuda::cudarc::driver::{DevicePtr, LaunchConfig};
use candle_core::cuda::{CudaDType, CudaDevice, CudaStorage, CudaStorageSlice};
use candle_core::op::BackpropOp;
use candle_core::{DType, Result, Shape, Storage, Tensor};

/// The address of a tensor's first element, and its device.
///
/// # Errors
/// For a tensor that is on no CUDA device, or of a number format that no kernel takes.
fn address(x: &Tensor) -> Result<(u64, CudaDevice)> {
    let (storage, layout) = x.storage_and_layout();
    let Storage::Cuda(storage) = &*storage else {
        candle_core::bail!("a kernel for CUDA was given a tensor on {:?}", x.device());
    };
    let offset = layout.start_offset() * x.dtype().size_in_bytes();
    Ok((start_of(storage)? + offset as u64, storage.device.clone()))
}

/// The address of a storage's first element.
fn start_of(storage: &CudaStorage) -> Result<u64> {
    let stream = storage.device.cuda_stream();
    // The guards that come with the addresses note uses by several streams; there is one.
    Ok(match &storage.slice {
        CudaStorageSlice::U8(slice) => slice.device_ptr(&stream).0,
        CudaStorageSlice::U32(slice) => slice.device_ptr(&stream).0,
        CudaStorageSlice::BF16(slice) => slice.device_ptr(&stream).0,
        CudaStorageSlice::F32(slice) => slice.device_ptr(&stream).0,
        _ => candle_core::bail!("kernels take bf16, f32, u32 and u8"),
    })
}

/// The same of a tensor whose elements must lie one behind the other.
fn contiguous(op: &'static str, x: &Tensor) -> Result<u64> {
    if !x.is_contiguous() {
        return Err(candle_core::Error::RequiresContiguous { op });
    }
    Ok(address(x)?.0)
}

/// A tensor with nothing in it yet, which the next launch must fill.
fn unfilled(device: &CudaDevice, dtype: DType, shape: impl Into<Shape>) -> Result<Tensor> {
    fn of<T: CudaDType + candle_core::cuda::cudarc::driver::DeviceRepr>(
        device: &CudaDevice,
        shape: Shape,
    ) -> Result<Tensor> {
        // SAFETY: the caller's kernel writes every element before anything reads it.
        let slice = unsafe { device.alloc::<T>(shape.elem_count())? };
        let storage = Storage::Cuda(T::wrap_cuda_slice(slice, device.clone()));
        let none = BackpropOp::none();
        Ok(Tensor::from_storage(storage, shape, none, false))
    }
    match dtype {
        DType::BF16 => of::<half::bf16>(device, shape.into()),
        DType::F32 => of::<f32>(device, shape.into()),
        DType::U32 => of::<u32>(device, shape.into()),
        other => candle_core::bail!("kernels write bf16, f32 and u32, not {other:?}"),
    }
}

/// The kernel of this step for a number format.
fn kernel(step: &str, dtype: DType) -> Result<String> {
    match dtype {
        DType::BF16 => Ok(format!("picsift_{step}_bf16")),
        DType::F32 => Ok(format!("picsift_{step}_f32")),
        other => candle_core::bail!("kernels compute in bf16 and f32, not in {other:?}"),
    }
}

/// So many blocks of so many threads.
fn blocks(grid: (u32, u32, u32), threads: u32) -> LaunchConfig {
    LaunchConfig {
        grid_dim: grid,
        block_dim: (threads, 1, 1),
        shared_mem_bytes: 0,
    }
}

/// A count as a kernel takes it.
fn count(number: usize) -> Result<u32> {
    u32::try_from(number).map_err(candle_core::Error::wrap)
}

/// The PTX of a `.cu` of this folder.
macro_rules! ptx {
    ($name:literal) => {
        include_str!(concat!(env!("OUT_DIR"), "/", $name, ".ptx"))
    };
}
use ptx;
