//! JPEG: two libraries, each where it is the faster one (`benches/decode.rs`, one image on one thread).
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
//! CMYK, and what libjpeg refuses, is decoded at full scale. Neither library notices a picture that was cut short and
//! then given an end marker (nor does Pillow): its lower part is whatever the decoder makes of no data.

mod full;
mod scaled;

use image::metadata::Orientation;

use crate::geometry::Raster;
use crate::{Geometry, ImageError, Limits};

const FORMAT: &str = "JPEG";

/// The end-of-image marker.
const END: [u8; 2] = [0xFF, 0xD9];

/// The start-of-scan marker.
const SCAN: [u8; 2] = [0xFF, 0xDA];

/// Most scans of a picture. Encoders write about ten. A scan over all of a large picture may have some hundred bytes and
/// takes a decoder milliseconds, so that without a bound a small file keeps a thread for hours.
const MOST_SCANS: usize = 100;

/// What the segments before the first scan say.
pub(crate) struct Header {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) components: u8,
    pub(crate) orientation: Orientation,
    /// An Adobe segment is present: CMYK samples are stored inverted.
    adobe: bool,
    /// Where the first scan begins.
    scan: usize,
}

impl Header {
    /// The smallest scale in eighths that is enough for `geometry`, where reducing pays (see the module); `None` for full
    /// scale.
    fn scale(&self, geometry: Geometry) -> Option<u8> {
        let colour = matches!(self.components, 1 | 3);
        [1, 2].into_iter().find(|&eighths| {
            let reduced = |side: u32| side * u32::from(eighths) / 8;
            colour && geometry.is_enough(reduced(self.width), reduced(self.height))
        })
    }

    /// Whether the end marker follows the first scan. Within the picture's data it cannot occur by chance.
    fn has_end(&self, bytes: &[u8]) -> bool {
        bytes.ends_with(&END) || bytes[self.scan..].windows(2).any(|pair| pair == END)
    }

    /// Refuses what costs memory or time out of proportion to its data.
    fn check_data(&self, bytes: &[u8]) -> Result<(), ImageError> {
        // The component that is not subsampled has 64 pixels a block, and a block takes one bit at least.
        let blocks = u64::from(self.width) * u64::from(self.height) / 64;
        if (bytes.len() as u64) < blocks / 8 {
            return Err(truncated(bytes));
        }
        let scans = bytes[self.scan..]
            .windows(2)
            .take_while(|pair| *pair != END)
            .filter(|pair| *pair == SCAN);
        if scans.take(MOST_SCANS).count() == MOST_SCANS {
            return Err(corrupt(&format!("it has more than {MOST_SCANS} scans")));
        }
        Ok(())
    }

    /// Walks the segments up to the first scan; bytes between segments are skipped.
    pub(crate) fn read(bytes: &[u8]) -> Result<Header, ImageError> {
        let mut frame = None;
        let mut orientation = None;
        let mut adobe = false;
        let mut at = 2;
        loop {
            let marker_at = at
                + bytes
                    .get(at..)
                    .and_then(|rest| rest.iter().position(|&b| b == 0xFF))
                    .ok_or_else(|| truncated(bytes))?;
            let marker = *bytes.get(marker_at + 1).ok_or_else(|| truncated(bytes))?;
            at = marker_at + 1;
            match marker {
                // A fill byte is the start of the next marker; a stuffed zero or a restart is no segment.
                0xFF => continue,
                0x00 | 0x01 | 0xD0..=0xD8 => {
                    at += 1;
                    continue;
                }
                0xD9 => return Err(corrupt("it ends before its first scan")),
                _ => at += 1,
            }
            let length = match bytes.get(at..at + 2) {
                Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
                _ => return Err(truncated(bytes)),
            };
            if marker == 0xDA {
                let (width, height, components) =
                    frame.ok_or_else(|| corrupt("a scan comes before the frame header"))?;
                return Ok(Header {
                    width,
                    height,
                    components,
                    orientation: orientation.unwrap_or(Orientation::NoTransforms),
                    adobe,
                    scan: at,
                });
            }
            let segment = bytes
                .get(at + 2..at + length.max(2))
                .ok_or_else(|| truncated(bytes))?;
            at += length.max(2);
            match marker {
                // Start of frame, of whatever process; C4, C8 and CC are tables and an extension.
                0xC0..=0xCF if !matches!(marker, 0xC4 | 0xC8 | 0xCC) && frame.is_none() => {
                    let &[_, h1, h0, w1, w0, components, ..] = segment else {
                        return Err(corrupt("its frame header is too short"));
                    };
                    let (width, height) =
                        (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
                    if width == 0 || height == 0 {
                        return Err(corrupt("its frame header gives no size"));
                    }
                    frame = Some((u32::from(width), u32::from(height), components));
                }
                0xE1 if orientation.is_none() => {
                    orientation = segment
                        .strip_prefix(b"Exif\0\0")
                        .and_then(Orientation::from_exif_chunk);
                }
                0xEE if segment.starts_with(b"Adobe") => adobe = true,
                _ => {}
            }
        }
    }
}

/// Decodes at the smallest scale that is enough for `geometry`, or at full scale.
pub(crate) fn decode(
    bytes: &[u8],
    geometry: Geometry,
    limits: &Limits,
) -> Result<Raster, ImageError> {
    let header = Header::read(bytes)?;
    limits.check_pixels(header.width, header.height)?;
    header.check_data(bytes)?;
    if let Some(eighths) = header.scale(geometry)
        // libjpeg invents what a truncated picture lacks.
        && header.has_end(bytes)
        && let Some(pixels) = scaled::decode(bytes, eighths)
    {
        let scale = f64::from(eighths) / 8.0;
        return Ok(Raster {
            pixels,
            extent: (
                f64::from(header.width) * scale,
                f64::from(header.height) * scale,
            ),
            full: (header.width, header.height),
            orientation: header.orientation,
        });
    }
    let pixels = full::decode(bytes, &header)?;
    Ok(Raster::full_scale(pixels, header.orientation))
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
