//! CUDA devices as this crate wants them: one stream to compute on and one to copy on, no events, memory kept.
//!
//! The only place that speaks to the driver past candle.

use std::ptr::from_mut;
use std::sync::Arc;

use candle_core::cuda::cudarc::driver::{CudaStream, DeviceRepr, result, sys};
use candle_core::cuda::{CudaDType, CudaDevice};
use candle_core::op::BackpropOp;
use candle_core::{CpuStorage, Device, Error, Result, Storage, Tensor};

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
        // SAFETY: this device and its clones have one stream as long as they live, so the stream's order is all that there is
        // to keep. What `Uploads` copies on another has arrived before it is used, and is let go by what has waited for this one.
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

/// A second stream for copies to the device, which do not wait for what the device computes meanwhile.
pub(super) struct Uploads {
    device: CudaDevice,
    stream: Arc<CudaStream>,
}

impl Uploads {
    pub(super) fn new(device: &CudaDevice) -> Result<Self> {
        let stream = device.cuda_stream().context().new_stream();
        Ok(Self {
            device: device.clone(),
            stream: stream.map_err(Error::wrap)?,
        })
    }

    pub(super) fn copy(&self, x: &Tensor) -> Result<Tensor> {
        let (storage, layout) = x.storage_and_layout();
        let (Storage::Cpu(values), Some((start, end))) = (&*storage, layout.contiguous_offsets())
        else {
            candle_core::bail!(
                "{:?} does not lie in the CPU's memory as one piece",
                x.shape()
            );
        };
        let there = match values {
            CpuStorage::U8(values) => self.there(&values[start..end])?,
            CpuStorage::BF16(values) => self.there(&values[start..end])?,
            CpuStorage::F32(values) => self.there(&values[start..end])?,
            _ => candle_core::bail!("bytes, bf16 and f32 are copied, not {:?}", x.dtype()),
        };
        let none = BackpropOp::none();
        Ok(Tensor::from_storage(there, x.shape(), none, false))
    }

    fn there<T: CudaDType + DeviceRepr>(&self, values: &[T]) -> Result<Storage> {
        let slice = self.stream.clone_htod(values).map_err(Error::wrap)?;
        // The other stream does not wait for this one.
        self.stream.synchronize().map_err(Error::wrap)?;
        Ok(Storage::Cuda(T::wrap_cuda_slice(
            slice,
            self.device.clone(),
        )))
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
