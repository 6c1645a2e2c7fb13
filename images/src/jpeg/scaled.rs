//! JPEG at reduced scale, by mozjpeg's libjpeg.
//!
//! libjpeg goes on after damage and fills what it lost with grey, telling so in a warning that the `mozjpeg` crate
//! drops. So warnings are made errors here, and every error sends the picture to the full decoder, which then either
//! reads it or says what is wrong.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use mozjpeg::decompress::DecompressBuilder;
use mozjpeg_sys::{jpeg_common_struct, jpeg_error_mgr, jpeg_std_error};

use crate::RgbPixels;

/// Decodes grey or colour at `eighths`/8 of its size, each side rounded up; `None` where libjpeg is not content.
pub(super) fn decode(bytes: &[u8], eighths: u8) -> Option<RgbPixels> {
    // The crate reports libjpeg's errors by unwinding. Nothing outside the closure is changed in it.
    catch_unwind(AssertUnwindSafe(|| {
        let mut decoder = DecompressBuilder::new().with_err(strict_errors()).from_mem(bytes).ok()?;
        decoder.scale(eighths);
        let mut decoder = decoder.rgb().ok()?;
        let (width, height) = (u32::try_from(decoder.width()).ok()?, u32::try_from(decoder.height()).ok()?);
        let data = decoder.read_scanlines::<u8>().ok()?;
        decoder.finish().ok()?;
        (data.len() as u64 == u64::from(width) * u64::from(height) * 3).then_some(RgbPixels { width, height, data })
    }))
    .ok()
    .flatten()
}

/// libjpeg's error handlers, of which those for errors and for warnings leave the decoder at once.
fn strict_errors() -> jpeg_error_mgr {
    // SAFETY: the struct is a C struct of integers, nullable function pointers and raw pointers, for all of which
    // zero is a value; `jpeg_std_error` fills it and keeps no pointer to it.
    let mut handlers = unsafe {
        let mut handlers: jpeg_error_mgr = std::mem::zeroed();
        jpeg_std_error(&mut handlers);
        handlers
    };
    handlers.error_exit = Some(leave);
    handlers.emit_message = Some(leave_on_warning);
    handlers
}

extern "C-unwind" fn leave(_: &mut jpeg_common_struct) {
    // Not `panic!`, which would report it on the terminal.
    resume_unwind(Box::new(()));
}

extern "C-unwind" fn leave_on_warning(decoder: &mut jpeg_common_struct, level: std::ffi::c_int) {
    // Below zero is a warning, above is a trace.
    if level < 0 {
        leave(decoder);
    }
}
