//! What a failure of a device means for what comes after it.
//!
//! The driver's errors reach this crate through candle as boxed texts with the name of their code, so the names decide;
//! where they do not, the device is asked whether it still answers.

use candle_core::{Device, Error};

/// Kinds of failure that are answered differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// What was asked for did not fit the memory; less may.
    OutOfMemory,
    /// The device's context is broken: whatever is asked of it next fails too, until the process is started anew.
    Lost,
    /// The driver does not know what this program was compiled to.
    DriverTooOld,
    /// The card lacks what this program was compiled for.
    CardTooOld,
    /// A mistake of this computation alone.
    Other,
}

/// As the driver, cuBLAS, cuBLASLt and cuRAND name a lack of memory, in lower case.
const OUT_OF_MEMORY: [&str; 4] = [
    "out_of_memory",
    "out of memory",
    "status_alloc_failed",
    "status_allocation_failed",
];

/// Codes after which, by the driver's documentation, the process must be started anew, and those of broken hardware.
const LOST: [&str; 17] = [
    "error_illegal_address",
    "error_launch_timeout",
    "error_assert",
    "error_hardware_stack_error",
    "error_illegal_instruction",
    "error_misaligned_address",
    "error_invalid_address_space",
    "error_invalid_pc",
    "error_launch_failed",
    "error_tensor_memory_leak",
    "error_external_device",
    "error_ecc_uncorrectable",
    "error_nvlink_uncorrectable",
    "error_contained",
    "error_context_is_destroyed",
    "error_device_unavailable",
    "error_deinitialized",
];

const DRIVER_TOO_OLD: [&str; 3] = [
    "error_unsupported_ptx_version",
    "error_system_driver_mismatch",
    "error_stub_library",
];

const CARD_TOO_OLD: [&str; 2] = ["error_no_binary_for_gpu", "error_invalid_ptx"];

impl Failure {
    /// The kind of an error that came of work on this device.
    pub(crate) fn of(device: &Device, error: &Error) -> Self {
        match Self::named(&error.to_string()) {
            Self::Other if !device.is_cpu() && device.synchronize().is_err() => Self::Lost,
            kind => kind,
        }
    }

    fn named(text: &str) -> Self {
        let text = text.to_ascii_lowercase();
        let any = |names: &[&str]| names.iter().any(|name| text.contains(name));
        if any(&OUT_OF_MEMORY) {
            Self::OutOfMemory
        } else if any(&LOST) {
            Self::Lost
        } else if any(&DRIVER_TOO_OLD) {
            Self::DriverTooOld
        } else if any(&CARD_TOO_OLD) {
            Self::CardTooOld
        } else {
            Self::Other
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_of_the_libraries_decide() {
        // As cudarc writes what the libraries return.
        for (text, kind) in [
            (
                r#"DriverError(CUDA_ERROR_OUT_OF_MEMORY, "out of memory")"#,
                Failure::OutOfMemory,
            ),
            (
                "CublasError(CUBLAS_STATUS_ALLOC_FAILED)",
                Failure::OutOfMemory,
            ),
            (
                "CurandError(CURAND_STATUS_ALLOCATION_FAILED)",
                Failure::OutOfMemory,
            ),
            (
                r#"DriverError(CUDA_ERROR_ILLEGAL_ADDRESS, "an illegal memory access was encountered")"#,
                Failure::Lost,
            ),
            (
                r#"DriverError(CUDA_ERROR_ECC_UNCORRECTABLE, "uncorrectable ECC error encountered")"#,
                Failure::Lost,
            ),
            (
                r#"DriverError(CUDA_ERROR_UNSUPPORTED_PTX_VERSION, "the provided PTX was compiled with an unsupported toolchain.") when loading reduce"#,
                Failure::DriverTooOld,
            ),
            (
                "DriverError(CUDA_ERROR_NO_BINARY_FOR_GPU, \"no kernel image is available\")",
                Failure::CardTooOld,
            ),
            (
                "shape mismatch in matmul, lhs: [1, 2], rhs: [3, 4]",
                Failure::Other,
            ),
        ] {
            assert_eq!(Failure::named(text), kind, "{text}");
        }
    }

    #[test]
    fn a_mistake_on_a_cpu_loses_nothing() {
        let error = Error::Msg("a mistake".to_owned());
        assert_eq!(Failure::of(&Device::Cpu, &error), Failure::Other);
    }
}
