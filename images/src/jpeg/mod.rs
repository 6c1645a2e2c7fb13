//! JPEG: two libraries, and one truth about what a picture shows.
//!
//! libjpeg decides what a JPEG means: all that is unusual in a [header](header) is decoded by it, at every scale. An ordinary picture,
//! about which the two agree, is decoded by whichever is the faster one (`benches/decode.rs`, one image on one thread):
//!
//! | picture, scale | zune-jpeg, full | mozjpeg (libjpeg), scaled | jpeg-decoder, scaled |
//! | --- | --- | --- | --- |
//! | 512 x 384, 8/8 | 0.6 ms | 1.5 ms | 1.2 ms |
//! | 800 x 600, 4/8 | 1.5 ms | 1.9 ms | 2.3 ms |
//! | 1600 x 1200, 2/8 | 6.2 ms | 5.7 ms | 8.4 ms |
//! | 4000 x 3000, 1/8 | 59 ms | 22 ms | 36 ms |
//!
//! zune-jpeg (Rust, SIMD) is the fastest full decoder by far, so it takes all small pictures, and at half scale it is
//! still level. libjpeg, even without its assembler (which would need nasm), wins from a quarter down, because it
//! transforms only the coefficients that the smaller picture needs, and a smaller picture is left to resize.
//! jpeg-decoder scales too, but lost both ways, and it starts threads of its own for each picture. TurboJPEG would
//! need cmake and nasm on the user's machine; zenjpeg's licence is not permissive.
//!
//! Neither library notices a picture that was cut short and then given an end marker (nor does Pillow): its lower part is
//! whatever the decoder makes of no data.

mod full;
mod header;
mod libjpeg;

pub(crate) use header::Header;
pub(crate) use libjpeg::samples;

use crate::colour;
use crate::colour::Space;
use crate::deadline::Deadline;
use crate::error::ImageError;
use crate::geometry::Geometry;
use crate::geometry::Raster;

const FORMAT: &str = "JPEG";

/// The end-of-image marker.
const END: [u8; 2] = [0xFF, 0xD9];

/// Eighths of the full scale.
pub(crate) const FULL: u8 = 8;

/// Bytes at the peak of decoding at `eighths`: 3 a pixel of the result, and where a picture comes in several scans its coefficients, 2
/// a sample, none of which is counted as sampled less often. Of a picture without its end there are two results to compare.
pub(crate) fn memory(header: &Header<'_>, eighths: u8) -> u64 {
    let pixels = u64::from(header.width) * u64::from(header.height);
    let results = match header.has_end() {
        true => 1,
        false => 2,
    };
    let coefficients = match header.has_several_scans() {
        true => pixels * 2 * u64::from(header.components),
        false => 0,
    };
    results * 3 * pixels * u64::from(eighths).pow(2) / 64 + coefficients
}

/// The scale in eighths below the full one at which decoding is enough for `geometry` and pays.
pub(crate) fn reduced(header: &Header<'_>, geometry: Geometry) -> Option<u8> {
    // An ordinary picture without its end marker is left to the decoder that tells whether it is complete.
    header
        .scale(geometry)
        .filter(|_| !header.is_ordinary() || header.has_end())
}

/// Decodes at `eighths`, which [`reduced`] gave. `None` where the picture is damaged in a way that another decoder, at full scale, may
/// make nothing of.
pub(crate) fn decode_reduced(
    bytes: &[u8],
    header: &Header<'_>,
    eighths: u8,
    deadline: &Deadline,
) -> Result<Option<Raster>, ImageError> {
    check(bytes, header)?;
    match libjpeg::decode(bytes, header, eighths, deadline) {
        Ok(decoded) => Ok(Some(raster(decoded, header, eighths))),
        Err(error) if !header.is_ordinary() => Err(error),
        Err(_) => deadline.check().map(|()| None),
    }
}

/// Decodes at full scale.
pub(crate) fn decode(
    bytes: &[u8],
    header: &Header<'_>,
    deadline: &Deadline,
) -> Result<Raster, ImageError> {
    check(bytes, header)?;
    let ordinary = header.is_ordinary();
    if ordinary && let Some(pixels) = full::decode(bytes, header, deadline) {
        let decoded = libjpeg::Decoded {
            pixels,
            converted: false,
        };
        return Ok(raster(decoded, header, FULL));
    }
    deadline.check()?;
    // What the fast decoder refuses, libjpeg may read; else it says what is wrong.
    if ordinary && !header.has_end() {
        return Err(truncated(bytes));
    }
    libjpeg::decode(bytes, header, FULL, deadline).map(|decoded| raster(decoded, header, FULL))
}

/// Refuses what no decoder here can read, or should.
fn check(bytes: &[u8], header: &Header<'_>) -> Result<(), ImageError> {
    header.check_features()?;
    header.check_data(bytes)?;
    let complete = header.may_end() && header.has_all_components(bytes);
    match header.is_ordinary() || complete {
        true => Ok(()),
        false => Err(truncated(bytes)),
    }
}

fn raster(decoded: libjpeg::Decoded, header: &Header<'_>, eighths: u8) -> Raster {
    let scale = f64::from(eighths) / 8.0;
    let space = match header.components {
        1 => Space::Grey,
        _ => Space::Rgb,
    };
    let profile = header.profile.as_deref().filter(|_| !decoded.converted);
    Raster {
        pixels: decoded.pixels,
        extent: (
            f64::from(header.width) * scale,
            f64::from(header.height) * scale,
        ),
        full: (header.width, header.height),
        orientation: header.orientation,
        conversion: profile.and_then(|profile| colour::conversion(profile, space)),
    }
}

fn truncated(bytes: &[u8]) -> ImageError {
    ImageError::Truncated {
        format: FORMAT,
        size: bytes.len() as u64,
        source: None,
    }
}

fn corrupt(reason: &str) -> ImageError {
    ImageError::Corrupt {
        format: FORMAT,
        reason: reason.to_owned(),
        source: None,
    }
}
