//! JPEG.

use std::sync::Arc;

use image::metadata::Orientation;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use crate::geometry::Raster;
use crate::{ImageError, Limits, RgbPixels};

const FORMAT: &str = "JPEG";

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
    /// Walks the segments up to the first scan; bytes between segments are skipped.
    pub(crate) fn read(bytes: &[u8]) -> Result<Header, ImageError> {
        let mut frame = None;
        let mut orientation = None;
        let mut adobe = false;
        let mut at = 2;
        loop {
            let marker_at = at + bytes.get(at..).and_then(|rest| rest.iter().position(|&b| b == 0xFF)).ok_or_else(|| truncated(bytes))?;
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
                let (width, height, components) = frame.ok_or_else(|| corrupt("a scan comes before the frame header"))?;
                return Ok(Header {
                    width,
                    height,
                    components,
                    orientation: orientation.unwrap_or(Orientation::NoTransforms),
                    adobe,
                    scan: at,
                });
            }
            let segment = bytes.get(at + 2..at + length.max(2)).ok_or_else(|| truncated(bytes))?;
            at += length.max(2);
            match marker {
                // Start of frame, of whatever process; C4, C8 and CC are tables and an extension.
                0xC0..=0xCF if !matches!(marker, 0xC4 | 0xC8 | 0xCC) && frame.is_none() => {
                    let &[_, h1, h0, w1, w0, components, ..] = segment else {
                        return Err(corrupt("its frame header is too short"));
                    };
                    let (width, height) = (u16::from_be_bytes([w1, w0]), u16::from_be_bytes([h1, h0]));
                    if width == 0 || height == 0 {
                        return Err(corrupt("its frame header gives no size"));
                    }
                    frame = Some((u32::from(width), u32::from(height), components));
                }
                0xE1 if orientation.is_none() => {
                    orientation = segment.strip_prefix(b"Exif\0\0").and_then(Orientation::from_exif_chunk);
                }
                0xEE if segment.starts_with(b"Adobe") => adobe = true,
                _ => {}
            }
        }
    }
}

/// Decodes.
pub(crate) fn decode(bytes: &[u8], _needed_short_side: Option<u32>, limits: &Limits) -> Result<Raster, ImageError> {
    let header = Header::read(bytes)?;
    limits.check_pixels(header.width, header.height)?;
    let pixels = decode_full(bytes, &header)?;
    Ok(Raster::full_scale(pixels, header.orientation))
}

fn decode_full(bytes: &[u8], header: &Header) -> Result<RgbPixels, ImageError> {
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(header.width as usize)
        .set_max_height(header.height as usize)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let failed = |e: zune_jpeg::errors::DecodeErrors| failure(bytes, header, e);
    decoder.decode_headers().map_err(failed)?;
    let raw_cmyk = decoder.input_colorspace() == Some(ColorSpace::CMYK) && !header.adobe;
    let output = if raw_cmyk { ColorSpace::CMYK } else { ColorSpace::RGB };
    decoder.set_options(options.set_strict_mode(true).jpeg_set_out_colorspace(output));
    let mut data = decoder.decode().map_err(failed)?;
    if raw_cmyk {
        data = data.chunks_exact(4).flat_map(|p| [0, 1, 2].map(|c| {
            ((255 - u32::from(p[c])) * (255 - u32::from(p[3])) / 255) as u8
        })).collect();
    }
    Ok(RgbPixels { width: header.width, height: header.height, data })
}

fn failure(bytes: &[u8], header: &Header, error: zune_jpeg::errors::DecodeErrors) -> ImageError {
    let complete = bytes[header.scan..].windows(2).any(|pair| pair == [0xFF, 0xD9]);
    let reason = error.to_string();
    let source: Option<crate::error::Cause> = Some(Arc::new(error));
    if complete {
        ImageError::Corrupt { format: FORMAT, reason, source }
    } else {
        ImageError::Truncated { format: FORMAT, size: bytes.len() as u64, source }
    }
}

fn truncated(bytes: &[u8]) -> ImageError {
    ImageError::Truncated { format: FORMAT, size: bytes.len() as u64, source: None }
}

fn corrupt(reason: &str) -> ImageError {
    ImageError::Corrupt { format: FORMAT, reason: reason.to_owned(), source: None }
}
