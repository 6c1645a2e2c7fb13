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

use crate::colour::Space;
use crate::geometry::Raster;
use crate::{Geometry, ImageError, Limits, colour};

const FORMAT: &str = "JPEG";

/// The end-of-image marker.
const END: [u8; 2] = [0xFF, 0xD9];

/// The start-of-scan marker.
const SCAN: [u8; 2] = [0xFF, 0xDA];

/// Eighths of the full scale.
const FULL: u8 = 8;

/// Decodes at the smallest scale that is enough for `geometry`, or at full scale.
pub(crate) fn decode(
    bytes: &[u8],
    geometry: Geometry,
    limits: &Limits,
) -> Result<Raster, ImageError> {
    let header = Header::read(bytes)?;
    limits.check_pixels(header.width, header.height)?;
    header.check_features()?;
    header.check_data(bytes)?;
    let ordinary = header.is_ordinary(bytes);
    if !ordinary && (!header.may_end(bytes) || !header.has_all_components(bytes)) {
        return Err(truncated(bytes));
    }
    // An ordinary picture without its end marker is left to the decoder that tells whether it is complete.
    let reduced = header
        .scale(geometry)
        .filter(|_| !ordinary || header.has_end(bytes));
    if let Some(eighths) = reduced {
        match libjpeg::decode(bytes, &header, eighths) {
            Ok(decoded) => return Ok(raster(decoded, &header, eighths)),
            Err(error) if !ordinary => return Err(error),
            Err(_) => {}
        }
    }
    if ordinary && let Some(pixels) = full::decode(bytes, &header) {
        let decoded = libjpeg::Decoded {
            pixels,
            converted: false,
        };
        return Ok(raster(decoded, &header, FULL));
    }
    // What the fast decoder refuses, libjpeg may read; else it says what is wrong.
    if ordinary && !header.has_end(bytes) {
        return Err(truncated(bytes));
    }
    libjpeg::decode(bytes, &header, FULL).map(|decoded| raster(decoded, &header, FULL))
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
