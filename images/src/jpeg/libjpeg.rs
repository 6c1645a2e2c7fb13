//! JPEG by mozjpeg's libjpeg, the decoder that all others are compared with: at reduced scale, and at every scale where a
//! picture is not an ordinary one.
//!
//! libjpeg is lenient: it warns and fills what is missing or damaged with grey. Here such a warning is an error; what does no
//! harm (stray bytes before a marker, an unknown version) is passed over.

use std::any::Any;
use std::cell::Cell;
use std::os::raw::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::ptr;

use mozjpeg::decompress::{DecompressBuilder, DecompressStarted};
use mozjpeg::{ColorSpace, Decompress};
use mozjpeg_sys as sys;

use super::{FORMAT, Header, corrupt, truncated};
use crate::colour::Space;
use crate::deadline::Deadline;
use crate::error::ImageError;
use crate::pixels::RgbPixels;

/// Decoded samples, before any colour profile.
pub(super) struct Decoded {
    pub(super) pixels: RgbPixels,
    /// Whether the profile was applied already.
    pub(super) converted: bool,
}

/// What libjpeg unwinds with.
type Reason = Box<dyn Any + Send>;

/// The number of libjpeg's message about what stopped it.
struct Stopped(c_int);

/// What stopped libjpeg is that the time is over.
struct Late(ImageError);

/// What libjpeg calls between rows and scans. It gets its own part of it as a pointer, hence the order.
#[repr(C)]
struct Watch<'a> {
    progress: sys::jpeg_progress_mgr,
    deadline: &'a Deadline,
}

thread_local! {
    /// The watch over the picture that libjpeg decodes on this thread; null between pictures.
    static WATCH: Cell<*mut sys::jpeg_progress_mgr> = const { Cell::new(ptr::null_mut()) };
}

/// Runs `work`, in which libjpeg decodes one picture, so that it stops when the time is over.
fn watched<T>(deadline: &Deadline, work: impl FnOnce() -> Option<T>) -> Result<Option<T>, Reason> {
    let mut watch = Watch {
        progress: sys::jpeg_progress_mgr {
            progress_monitor: Some(look),
            pass_counter: 0,
            pass_limit: 0,
            completed_passes: 0,
            total_passes: 0,
        },
        deadline,
    };
    WATCH.set(ptr::from_mut(&mut watch).cast());
    // libjpeg's errors come by unwinding, as the crate has it. Nothing outside the closure is changed in it.
    let result = catch_unwind(AssertUnwindSafe(work));
    WATCH.set(ptr::null_mut());
    result
}

extern "C-unwind" fn look(info: &mut sys::jpeg_common_struct) {
    let watch: *const Watch<'_> = info.progress.cast_const().cast();
    // SAFETY: `message` alone sets it, to the watch of this thread, which outlives the decoder.
    let late = unsafe { watch.as_ref() }.and_then(|watch| watch.deadline.check().err());
    if let Some(error) = late {
        resume_unwind(Box::new(Late(error)));
    }
}

/// Decodes at `eighths`/8 of the size, each side rounded up.
pub(super) fn decode(
    bytes: &[u8],
    header: &Header<'_>,
    eighths: u8,
    deadline: &Deadline,
) -> Result<Decoded, ImageError> {
    match watched(deadline, || run(bytes, header, eighths)) {
        Ok(Some(decoded)) => Ok(decoded),
        Ok(None) => Err(damaged(bytes, header)),
        Err(panic) => Err(refusal(&*panic, bytes, header)),
    }
}

fn run(bytes: &[u8], header: &Header<'_>, eighths: u8) -> Option<Decoded> {
    let mut decoder = DecompressBuilder::new()
        .with_err(strict_errors())
        .from_mem(bytes)
        .ok()?;
    decoder.scale(eighths);
    if header.components == 4 {
        return four_inks(decoder, header);
    }
    let mut decoder = decoder.rgb().ok()?;
    let (width, height) = size(&decoder)?;
    let data = decoder.read_scanlines::<u8>().ok()?;
    // Reads on to the end marker, and so finds a second picture begun within this one.
    decoder.finish().ok()?;
    let complete = data.len() as u64 == u64::from(width) * u64::from(height) * 3;
    complete.then_some(Decoded {
        pixels: RgbPixels {
            width,
            height,
            data,
        },
        converted: false,
    })
}

/// The samples of a picture that is part of another format's, which says what they are: interleaved, as they are stored, or luma
/// and chroma as red, green and blue.
pub(crate) fn samples(
    bytes: &[u8],
    header: &Header<'_>,
    luma_and_chroma: bool,
    deadline: &Deadline,
) -> Result<Vec<u8>, ImageError> {
    header.check_features()?;
    header.check_data(bytes)?;
    let decoded = watched(deadline, || {
        let decoder = DecompressBuilder::new()
            .with_err(strict_errors())
            .from_mem(bytes)
            .ok()?;
        let stored = decoder.color_space();
        let wanted = match (luma_and_chroma, stored) {
            (true, ColorSpace::JCS_YCbCr) => ColorSpace::JCS_RGB,
            (_, stored) => stored,
        };
        let mut decoder = decoder.to_colorspace(wanted).ok()?;
        let data = decoder.read_scanlines::<u8>().ok()?;
        decoder.finish().ok()?;
        let samples = u64::from(header.width) * u64::from(header.height);
        (data.len() as u64 == samples * u64::from(header.components)).then_some(data)
    });
    match decoded {
        Ok(Some(data)) => Ok(data),
        Ok(None) => Err(damaged(bytes, header)),
        Err(panic) => Err(refusal(&*panic, bytes, header)),
    }
}

/// CMYK, or YCCK that libjpeg makes CMYK of. All readers take the samples for inverted, as Adobe writes them, with its marker
/// or without.
fn four_inks(decoder: Decompress<&[u8]>, header: &Header<'_>) -> Option<Decoded> {
    let mut decoder = decoder.to_colorspace(ColorSpace::JCS_CMYK).ok()?;
    let (width, height) = size(&decoder)?;
    let profile = header.profile.as_deref();
    let conversion = profile.and_then(|profile| crate::colour::conversion(profile, Space::Cmyk));
    let mut row = vec![0_u8; width as usize * 4];
    let mut data = vec![0_u8; width as usize * height as usize * 3];
    for out in data.chunks_exact_mut(width as usize * 3) {
        decoder.read_scanlines_into(&mut row).ok()?;
        row.iter_mut().for_each(|sample| *sample = 255 - *sample);
        let converted = conversion.as_ref().is_some_and(|c| c.inks(&row, out));
        if !converted {
            crate::colour::plain_inks(&row, out);
        }
    }
    decoder.finish().ok()?;
    Some(Decoded {
        pixels: RgbPixels {
            width,
            height,
            data,
        },
        converted: true,
    })
}

fn size(decoder: &DecompressStarted<&[u8]>) -> Option<(u32, u32)> {
    let (width, height) = (
        u32::try_from(decoder.width()).ok()?,
        u32::try_from(decoder.height()).ok()?,
    );
    (width > 0 && height > 0).then_some((width, height))
}

/// An error manager that stops at every error, and at a warning that pixels were made up.
fn strict_errors() -> sys::jpeg_error_mgr {
    extern "C-unwind" fn stop(info: &mut sys::jpeg_common_struct) {
        // SAFETY: libjpeg sets `err` to the manager below before it calls anything, and the manager outlives the decoder.
        let code = unsafe { info.err.as_ref() }.map_or(0, |manager| manager.msg_code);
        // Unwinds through libjpeg's frames, which are compiled for it, without the panic hook.
        resume_unwind(Box::new(Stopped(code)));
    }
    extern "C-unwind" fn message(info: &mut sys::jpeg_common_struct, level: c_int) {
        // The first message comes with the first marker, before anything is decoded; the crate gives no other way to set this.
        if info.progress.is_null() {
            info.progress = WATCH.get();
        }
        // SAFETY: as above.
        let code = unsafe { info.err.as_ref() }.map_or(0, |manager| manager.msg_code);
        // All others say that pixels are made up.
        let harmless = [
            sys::JWRN_ADOBE_XFORM,
            sys::JWRN_BOGUS_PROGRESSION,
            sys::JWRN_EXTRANEOUS_DATA,
            sys::JWRN_JFIF_MAJOR,
            sys::JWRN_JPEG_EOF,
            sys::JWRN_NOT_SEQUENTIAL,
            sys::JWRN_TOO_MUCH_DATA,
        ];
        if level < 0 && !harmless.contains(&code) {
            stop(info);
        }
    }
    // SAFETY: the struct is plain data (numbers, and pointers that may be null), which `jpeg_std_error` fills in.
    let mut manager = unsafe { std::mem::zeroed() };
    // SAFETY: it only writes to the struct.
    unsafe { sys::jpeg_std_error(&mut manager) };
    manager.error_exit = Some(stop);
    manager.emit_message = Some(message);
    manager
}

fn refusal(panic: &(dyn Any + Send), bytes: &[u8], header: &Header<'_>) -> ImageError {
    if let Some(Late(error)) = panic.downcast_ref() {
        return error.clone();
    }
    let Some(Stopped(code)) = panic.downcast_ref() else {
        return damaged(bytes, header);
    };
    let unsupported = |feature: &str| ImageError::UnsupportedFeature {
        format: FORMAT,
        feature: feature.to_owned(),
    };
    match *code {
        sys::JERR_CCIR601_NOTIMPL
        | sys::JERR_FRACT_SAMPLE_NOTIMPL
        | sys::JERR_CONVERSION_NOTIMPL => unsupported("the sampling of its colour components"),
        sys::JERR_BAD_SAMPLING => corrupt("the sampling of its colour components is none"),
        sys::JERR_NO_QUANT_TABLE => corrupt("a quantisation table is missing"),
        sys::JERR_NO_HUFF_TABLE => corrupt("a Huffman table is missing"),
        sys::JERR_BAD_HUFF_TABLE => corrupt("a Huffman table contradicts itself"),
        sys::JERR_SOI_DUPLICATE => corrupt("another picture begins within it"),
        sys::JERR_SOF_DUPLICATE => corrupt("it has two frame headers"),
        sys::JWRN_MUST_RESYNC => corrupt("its restart markers are out of order"),
        sys::JERR_INPUT_EOF | sys::JERR_FILE_READ => truncated(bytes),
        _ => damaged(bytes, header),
    }
}

/// The data does not decode: it ends too early, or it is damaged.
fn damaged(bytes: &[u8], header: &Header<'_>) -> ImageError {
    match header.has_end() {
        true => corrupt("its compressed data is damaged"),
        false => truncated(bytes),
    }
}
