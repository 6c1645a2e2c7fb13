//! JPEG at full scale, by zune-jpeg, made to refuse incomplete pictures.

use std::sync::Arc;

use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;
use zune_jpeg::zune_core::bytestream::ZCursor;
use zune_jpeg::zune_core::colorspace::ColorSpace;
use zune_jpeg::zune_core::options::DecoderOptions;

use super::{END, FORMAT, Header, truncated};
use crate::error::Cause;
use crate::{ImageError, RgbPixels};

/// Decodes at full scale, refusing data that ends or breaks before the picture is complete.
pub(super) fn decode(bytes: &[u8], header: &Header) -> Result<RgbPixels, ImageError> {
    let data = decode_strictly(bytes, header).map_err(|e| failure(bytes, header, e))?;
    if !header.has_end(bytes) && !is_complete(bytes, header, &data) {
        return Err(truncated(bytes));
    }
    Ok(RgbPixels {
        width: header.width,
        height: header.height,
        data,
    })
}

/// Headers leniently (stray bytes between segments are common), the picture itself strictly: when lenient, zune-jpeg
/// fills what is missing with grey.
fn decode_strictly(bytes: &[u8], header: &Header) -> Result<Vec<u8>, DecodeErrors> {
    let options = DecoderOptions::default()
        .set_strict_mode(false)
        .set_max_width(header.width as usize)
        .set_max_height(header.height as usize)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    decoder.decode_headers()?;
    // zune-jpeg takes all CMYK for inverted, as Adobe writes it; without Adobe's segment it is not.
    let plain_cmyk = decoder.input_colorspace() == Some(ColorSpace::CMYK) && !header.adobe;
    let output = if plain_cmyk {
        ColorSpace::CMYK
    } else {
        ColorSpace::RGB
    };
    decoder.set_options(
        options
            .set_strict_mode(true)
            .jpeg_set_out_colorspace(output),
    );
    let data = decoder.decode()?;
    Ok(if plain_cmyk { cmyk_to_rgb(&data) } else { data })
}

/// Without an end marker zune-jpeg may still make up the last few bytes. A picture whose data is all there does not
/// depend on what follows it.
fn is_complete(bytes: &[u8], header: &Header, data: &[u8]) -> bool {
    let followed_by = |tail: &[u8]| decode_strictly(&[bytes, tail, &END].concat(), header);
    [&[][..], &[0xAA; 8], &[0x55; 8]]
        .iter()
        .all(|tail| followed_by(tail).is_ok_and(|other| other == data))
}

/// Ink to light: `(255 - c) * (255 - k) / 255`.
fn cmyk_to_rgb(data: &[u8]) -> Vec<u8> {
    let light = |ink: u8, black: u8| (u32::from(255 - ink) * u32::from(255 - black) / 255) as u8;
    data.chunks_exact(4)
        .flat_map(|p| [light(p[0], p[3]), light(p[1], p[3]), light(p[2], p[3])])
        .collect()
}

fn failure(bytes: &[u8], header: &Header, error: DecodeErrors) -> ImageError {
    if let DecodeErrors::Unsupported(scheme) = &error {
        return ImageError::UnsupportedFeature {
            format: FORMAT,
            feature: crate::error::bounded(format!("{scheme:?}")),
        };
    }
    let reason = crate::error::bounded(error.to_string());
    let source: Option<Cause> = Some(Arc::new(error));
    if header.has_end(bytes) {
        ImageError::Corrupt {
            format: FORMAT,
            reason,
            source,
        }
    } else {
        ImageError::Truncated {
            format: FORMAT,
            size: bytes.len() as u64,
            source,
        }
    }
}
