//! JPEG at reduced scale, by mozjpeg's libjpeg.
//!
//! libjpeg is lenient: it fills what is missing with grey. It is therefore asked only for pictures that have their end
//! marker, and whatever it refuses goes to the full decoder, which reads it or says what is wrong.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mozjpeg::Decompress;

use crate::RgbPixels;

/// Decodes grey or colour at `eighths`/8 of its size, each side rounded up; `None` where libjpeg gives up.
pub(super) fn decode(bytes: &[u8], eighths: u8) -> Option<RgbPixels> {
    // The crate reports libjpeg's errors by unwinding (without a message on the terminal). Nothing outside the closure
    // is changed in it.
    catch_unwind(AssertUnwindSafe(|| {
        let mut decoder = Decompress::new_mem(bytes).ok()?;
        decoder.scale(eighths);
        let mut decoder = decoder.rgb().ok()?;
        let (width, height) = (
            u32::try_from(decoder.width()).ok()?,
            u32::try_from(decoder.height()).ok()?,
        );
        let data = decoder.read_scanlines::<u8>().ok()?;
        // Reads on to the end marker, and so finds a second picture begun within this one.
        decoder.finish().ok()?;
        let complete = data.len() as u64 == u64::from(width) * u64::from(height) * 3;
        complete.then_some(RgbPixels {
            width,
            height,
            data,
        })
    }))
    .ok()
    .flatten()
}
