//! Matrix products with what follows them in one launch, by cuBLASLt: bias, GELU, and the sum with what goes through.

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::ptr::from_ref;
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::cuda::CudaDevice;
use candle_core::cuda::cudarc::cublaslt::{result, sys};
use candle_core::cuda::cudarc::driver::{CudaSlice, DevicePtr};
use candle_core::{DType, Error, Result, Tensor};

use super::super::After;
use super::{address, contiguous, unfilled};

/// What decides which of the library's algorithms is the fastest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Problem {
    rows: usize,
    inputs: usize,
    outputs: usize,
    epilogue: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kind {
    Bias,
    Gelu,
    Sum { bias: bool },
}

/// Problems whose algorithms are remembered: those of the last batch's shapes, of which a network has a dozen.
const REMEMBERED: usize = 1024;

/// The library on one device, with its workspace and the algorithms that it has chosen so far. Clones share it.
#[derive(Clone)]
pub(crate) struct Products(Arc<Library>);

struct Library {
    handle: sys::cublasLtHandle_t,
    workspace: CudaSlice<u8>,
    device: CudaDevice,
    algorithms: Mutex<HashMap<Problem, sys::cublasLtMatmulAlgo_t>>,
}

// SAFETY: the library's handle may be used by several threads; all else is shared safely by itself.
unsafe impl Send for Library {}
// SAFETY: as above.
unsafe impl Sync for Library {}

/// NVIDIA's advice for its cards since 2022.
const WORKSPACE: usize = 32 << 20;

/// What every address is a multiple of, which the library's algorithms may count on.
const ALIGNED: u32 = 16;

impl Products {
    /// The library on this device.
    ///
    /// # Errors
    /// The library's or the driver's, where it is missing or there is no memory.
    pub(crate) fn new(device: &CudaDevice) -> Result<Self> {
        // SAFETY: only the library writes there, before it reads.
        let workspace = unsafe { device.alloc::<u8>(WORKSPACE)? };
        let handle = result::create_handle().map_err(Error::wrap)?;
        Ok(Self(Arc::new(Library {
            handle,
            workspace,
            device: device.clone(),
            algorithms: Mutex::default(),
        })))
    }

    /// `x` times the weights with what follows, `[rows, inputs]` and `[outputs, inputs]` to `[rows, outputs]`, all bf16, summed and
    /// followed up in f32; `None` where the tensors lie so that the library does not take them.
    ///
    /// # Errors
    /// The library's or the driver's, and for shapes that do not go together.
    pub(crate) fn product(
        &self,
        x: &Tensor,
        weight: &Tensor,
        after: After<'_>,
    ) -> Result<Option<Tensor>> {
        let (rows, inputs) = x.dims2()?;
        let (outputs, columns) = weight.dims2()?;
        let (bias, sum, epilogue) = match after {
            After::Bias(bias) => (Some(bias), None, Kind::Bias),
            After::Gelu(bias) => (Some(bias), None, Kind::Gelu),
            After::Sum(sum, bias) => (
                bias,
                Some(sum),
                Kind::Sum {
                    bias: bias.is_some(),
                },
            ),
        };
        let all = [Some(x), Some(weight), bias, sum];
        let taken = |x: &Tensor| x.dtype() == DType::BF16 && x.is_contiguous();
        if rows == 0 || !all.into_iter().flatten().all(taken) {
            return Ok(None);
        }
        let bias_fits = bias.is_none_or(|bias| bias.elem_count() == outputs);
        let sum_fits = sum.is_none_or(|sum| sum.dims() == [rows, outputs]);
        if inputs != columns || !bias_fits || !sum_fits {
            candle_core::bail!(
                "a product of {:?} and {:?} does not fit what follows",
                x.shape(),
                weight.shape()
            );
        }
        let out = unfilled(&self.0.device, DType::BF16, (rows, outputs))?;
        let at = |x: Option<&Tensor>| x.map_or(Ok(0), |x| contiguous("product", x));
        let addresses = Addresses {
            x: at(Some(x))?,
            weight: at(Some(weight))?,
            bias: at(bias)?,
            sum: at(sum)?,
            out: address(&out)?.0,
        };
        // So must be the steps from row to row.
        let whole = |width: usize| 2 * width % ALIGNED as usize == 0;
        if !addresses.aligned() || !whole(inputs) || !whole(outputs) {
            return Ok(None);
        }
        let problem = Problem {
            rows,
            inputs,
            outputs,
            epilogue,
        };
        self.0.run(problem, addresses).map_err(Error::wrap)?;
        Ok(Some(out))
    }
}

/// Where the operands are; 0 where there is none.
struct Addresses {
    x: u64,
    weight: u64,
    bias: u64,
    sum: u64,
    out: u64,
}

impl Addresses {
    fn aligned(&self) -> bool {
        (self.x | self.weight | self.bias | self.sum | self.out) % u64::from(ALIGNED) == 0
    }
}

impl Library {
    /// The library counts by columns: to it our rows are columns, and the product is `weight^T x` with both so read.
    fn run(&self, problem: Problem, at: Addresses) -> std::result::Result<(), result::CublasError> {
        let Problem {
            rows,
            inputs,
            outputs,
            epilogue,
        } = problem;
        self.device
            .cuda_stream()
            .context()
            .bind_to_thread()
            .map_err(|_| {
                result::CublasError(sys::cublasStatus_t::CUBLAS_STATUS_EXECUTION_FAILED)
            })?;
        let description = Description::new()?;
        let transposed: c_int = 1;
        description.set(
            sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_TRANSA,
            &transposed,
        )?;
        let (kind, biased) = match epilogue {
            Kind::Bias | Kind::Sum { bias: true } => {
                (sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_BIAS, true)
            }
            Kind::Gelu => (sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_GELU_BIAS, true),
            Kind::Sum { bias: false } => {
                (sys::cublasLtEpilogue_t::CUBLASLT_EPILOGUE_DEFAULT, false)
            }
        };
        description.set(
            sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_EPILOGUE,
            &kind,
        )?;
        if biased {
            description.set(
                sys::cublasLtMatmulDescAttributes_t::CUBLASLT_MATMUL_DESC_BIAS_POINTER,
                &at.bias,
            )?;
        }
        let weight = Shape::new(inputs, outputs)?;
        let x = Shape::new(inputs, rows)?;
        let out = Shape::new(outputs, rows)?;
        let algorithm = self.algorithm(problem, &description, [&weight, &x, &out])?;
        let (alpha, beta) = (1.0_f32, f32::from(u8::from(at.sum != 0)));
        // Without a sum it is multiplied with 0 and not read.
        let sum = if at.sum != 0 { at.sum } else { at.out };
        let stream = self.device.cuda_stream();
        // SAFETY: the shapes are those of the operands, which the caller has checked; the pointers are on the device and stay
        // valid until the stream is past this launch; the workspace is used by one launch at a time, the stream's order.
        unsafe {
            result::matmul(
                self.handle,
                description.0,
                from_ref(&alpha).cast(),
                from_ref(&beta).cast(),
                at.weight as *const c_void,
                weight.0,
                at.x as *const c_void,
                x.0,
                sum as *const c_void,
                out.0,
                at.out as *mut c_void,
                out.0,
                from_ref(&algorithm),
                self.workspace.device_ptr(&stream).0 as *mut c_void,
                WORKSPACE,
                stream.cu_stream().cast(),
            )
        }
    }

    /// The algorithm for a problem, asked for once.
    fn algorithm(
        &self,
        problem: Problem,
        description: &Description,
        [weight, x, out]: [&Shape; 3],
    ) -> std::result::Result<sys::cublasLtMatmulAlgo_t, result::CublasError> {
        let mut known = self
            .algorithms
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(algorithm) = known.get(&problem) {
            return Ok(*algorithm);
        }
        let preference = Preference::new()?;
        preference.set(
            sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
            &WORKSPACE,
        )?;
        for operand in [
            sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
            sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
            sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
            sys::cublasLtMatmulPreferenceAttributes_t::CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES,
        ] {
            preference.set(operand, &ALIGNED)?;
        }
        // SAFETY: all of them are alive.
        let found = unsafe {
            result::get_matmul_algo_heuristic(
                self.handle,
                description.0,
                weight.0,
                x.0,
                out.0,
                out.0,
                preference.0,
            )?
        };
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(problem, found.algo);
        Ok(found.algo)
    }
}

impl Drop for Library {
    fn drop(&mut self) {
        // SAFETY: it was made by `create_handle` and is not used again. On a device that is lost nothing is left to destroy.
        let _ = unsafe { result::destroy_handle(self.handle) };
    }
}

/// What is computed, as the library describes it: bf16 with sums and scales in f32.
struct Description(sys::cublasLtMatmulDesc_t);

impl Description {
    fn new() -> std::result::Result<Self, result::CublasError> {
        let compute = sys::cublasComputeType_t::CUBLAS_COMPUTE_32F;
        result::create_matmul_desc(compute, sys::cudaDataType_t::CUDA_R_32F).map(Self)
    }

    fn set<T>(
        &self,
        attribute: sys::cublasLtMatmulDescAttributes_t,
        value: &T,
    ) -> std::result::Result<(), result::CublasError> {
        // SAFETY: the attribute takes a value of this type.
        unsafe {
            result::set_matmul_desc_attribute(
                self.0,
                attribute,
                from_ref(value).cast(),
                size_of::<T>(),
            )
        }
    }
}

impl Drop for Description {
    fn drop(&mut self) {
        // SAFETY: it was made above and is not used again.
        let _ = unsafe { result::destroy_matmul_desc(self.0) };
    }
}

/// A matrix by columns, one behind the other.
struct Shape(sys::cublasLtMatrixLayout_t);

impl Shape {
    fn new(rows: usize, columns: usize) -> std::result::Result<Self, result::CublasError> {
        let bf16 = sys::cudaDataType_t::CUDA_R_16BF;
        result::create_matrix_layout(bf16, rows as u64, columns as u64, rows as i64).map(Self)
    }
}

impl Drop for Shape {
    fn drop(&mut self) {
        // SAFETY: it was made above and is not used again.
        let _ = unsafe { result::destroy_matrix_layout(self.0) };
    }
}

/// What an algorithm may use.
struct Preference(sys::cublasLtMatmulPreference_t);

impl Preference {
    fn new() -> std::result::Result<Self, result::CublasError> {
        result::create_matmul_pref().map(Self)
    }

    fn set<T>(
        &self,
        attribute: sys::cublasLtMatmulPreferenceAttributes_t,
        value: &T,
    ) -> std::result::Result<(), result::CublasError> {
        // SAFETY: the attribute takes a value of this type.
        unsafe {
            result::set_matmul_pref_attribute(
                self.0,
                attribute,
                from_ref(value).cast(),
                size_of::<T>(),
            )
        }
    }
}

impl Drop for Preference {
    fn drop(&mut self) {
        // SAFETY: it was made above and is not used again.
        let _ = unsafe { result::destroy_matmul_pref(self.0) };
    }
}

impl std::fmt::Debug for Products {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Products").finish_non_exhaustive()
    }
}
