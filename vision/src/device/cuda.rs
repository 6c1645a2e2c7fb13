//! CUDA devices as this crate wants them: one stream, no events, memory kept.
//!
//! The only place that speaks to the driver past candle.

use std::ptr::from_mut;

use candle_core::cuda::cudarc::driver::{result, sys};
use candle_core::{Device, Result};

use super::CudaOptions;

/// Opens a device with a stream of its own, on which all of it happens in order, whichever threads ask for it.
///
/// candle's usual device takes the stream of the thread that opens it and works on that of the thread that uses it, with
/// nothing between the weights' arrival on one and their use on the other.
///
/// # Errors
/// The driver's.
pub(super) fn open(ordinal: usize, options: CudaOptions) -> Result<Device> {
    let device = Device::new_cuda_with_stream(ordinal)?;
    let cuda = device.as_cuda_device()?;
    if !options.events {
        // SAFETY: this device and its clones have one stream as long as they live, and no tensor of theirs is given to
        // another device's stream, so the stream's order is all that there is to keep.
        unsafe { cuda.disable_event_tracking() };
    }
    if options.keep_memory {
        keep_memory(ordinal).map_err(candle_core::Error::wrap)?;
    }
    Ok(device)
}

/// Has what tensors free stay with this process, so that the next tensors get it without asking the system: by default
/// the pool is emptied whenever the device is waited for, and filled again by the next batch.
fn keep_memory(ordinal: usize) -> std::result::Result<(), result::DriverError> {
    let ordinal = i32::try_from(ordinal).unwrap_or(i32::MAX);
    let device = result::device::get(ordinal)?;
    let mut pool = std::ptr::null_mut();
    let mut threshold = u64::MAX;
    // SAFETY: the device is one that the driver gave, the pool is that device's own and lives as long as it, and the
    // attribute takes the 64 bits that it is given.
    unsafe {
        sys::cuDeviceGetDefaultMemPool(&mut pool, device).result()?;
        result::mem_pool::set_attribute(
            pool,
            sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD,
            from_mut(&mut threshold).cast(),
        )
    }
}

/// The newest CUDA that the driver speaks and the one that this program was compiled with, as `1000 * major + 10 * minor`;
/// `None` where no driver answers.
pub(super) fn versions() -> Option<(u32, u32)> {
    let mut version = 0;
    // SAFETY: the driver writes one number where it is told to.
    let answer = unsafe { sys::cuDriverGetVersion(&mut version) };
    answer.result().ok()?;
    Some((u32::try_from(version).ok()?, sys::CUDA_VERSION))
}

/// How many devices the driver has.
///
/// # Errors
/// The driver's.
pub(super) fn count() -> std::result::Result<usize, result::DriverError> {
    result::init()?;
    Ok(usize::try_from(result::device::get_count()?).unwrap_or(0))
}

/// Bytes that are free on the device, by the driver's count.
pub(super) fn free_memory(device: &Device) -> Option<u64> {
    let stream = device.as_cuda_device().ok()?.cuda_stream();
    let (free, _) = stream.context().mem_get_info().ok()?;
    u64::try_from(free).ok()
}
