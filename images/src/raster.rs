//! PNG, WebP, GIF, BMP and TIFF, through the decoders of the `image` crate.

use std::io::{Cursor, ErrorKind};
use std::sync::Arc;

use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::tiff::TiffDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageResult};

use crate::error::Cause;
use crate::format::Format;
use crate::geometry::Raster;
use crate::{ImageError, Limits, RgbPixels, png, webp};

type Decoder<'a> = Box<dyn ImageDecoder + 'a>;

/// Stored width, height, channels and orientation.
pub(crate) fn header(
    bytes: &[u8],
    format: Format,
    limits: &Limits,
) -> Result<(u32, u32, u8, Orientation), ImageError> {
    let (decoder, orientation) = open(bytes, format, limits)?;
    let (width, height) = decoder.dimensions();
    let channels = decoder.original_color_type().channel_count();
    Ok((width, height, channels, orientation))
}

/// Decodes the (first) picture and composites it on white.
pub(crate) fn decode(bytes: &[u8], format: Format, limits: &Limits) -> Result<Raster, ImageError> {
    let (decoder, orientation) = open(bytes, format, limits)?;
    let image = DynamicImage::from_decoder(decoder).map_err(|e| failure(e, bytes, format))?;
    Ok(Raster::full_scale(on_white(image), orientation))
}

/// A decoder that has read the header, checked its size and knows how much memory it may take; and the EXIF
/// orientation. A broken EXIF block means none.
fn open<'a>(
    bytes: &'a [u8],
    format: Format,
    limits: &Limits,
) -> Result<(Decoder<'a>, Orientation), ImageError> {
    let known = match format {
        Format::Png => png::check(bytes)?,
        _ => None,
    };
    let (width, height) = known.unwrap_or_default();
    limits.check_pixels(width, height)?;
    let failed = |e| failure(e, bytes, format);
    let mut decoder =
        boxed(Cursor::new(bytes), format, &memory_limit(width, height)).map_err(failed)?;
    let (width, height) = decoder.dimensions();
    limits.check_pixels(width, height)?;
    if width == 0 || height == 0 {
        return Err(ImageError::Corrupt {
            format: format.title(),
            reason: "its header gives no size".to_owned(),
            source: None,
        });
    }
    limits.check_samples(width, height, decoder.color_type().bytes_per_pixel())?;
    decoder
        .set_limits(memory_limit(width, height))
        .map_err(failed)?;
    let orientation = match format {
        Format::WebP => webp::exif(bytes)?.and_then(Orientation::from_exif_chunk),
        _ => decoder.orientation().ok(),
    };
    Ok((decoder, orientation.unwrap_or(Orientation::NoTransforms)))
}

fn boxed<'a>(
    source: Cursor<&'a [u8]>,
    format: Format,
    memory: &image::Limits,
) -> ImageResult<Decoder<'a>> {
    Ok(match format {
        Format::Png => Box::new(PngDecoder::with_limits(source, memory.clone())?),
        Format::WebP => Box::new(WebPDecoder::new(source)?),
        Format::Gif => Box::new(GifDecoder::new(source)?),
        Format::Bmp => Box::new(BmpDecoder::new(source)?),
        Format::Tiff => Box::new(TiffDecoder::new(source)?),
        // JPEG has a module of its own; this arm keeps the match total.
        Format::Jpeg => Box::new(image::codecs::jpeg::JpegDecoder::new(source)?),
    })
}

/// What a decoder may take for an image of this size: the image at its widest (four channels of 16 bits) twice, and some
/// for tables. A profile or a frame that is larger than that is no part of an image of this size.
fn memory_limit(width: u32, height: u32) -> image::Limits {
    let mut memory = image::Limits::no_limits();
    let pixels = u64::from(width) * u64::from(height);
    memory.max_alloc = Some(pixels.saturating_mul(16).saturating_add(16 << 20));
    memory
}

/// Brings any pixel type to 8-bit RGB on white. Deeper samples are rounded to 8 bits first.
fn on_white(image: DynamicImage) -> RgbPixels {
    let (width, height) = (image.width(), image.height());
    let data = if image.color().has_alpha() {
        let mut data = image.into_rgba8().into_raw();
        composite_in_place(&mut data);
        data
    } else {
        image.into_rgb8().into_raw()
    };
    RgbPixels {
        width,
        height,
        data,
    }
}

/// RGBA to RGB on white within one buffer: `c * a + 255 * (1 - a)`, rounded, as Pillow's `alpha_composite` on white.
fn composite_in_place(data: &mut Vec<u8>) {
    let pixels = data.len() / 4;
    for i in 0..pixels {
        let [r, g, b, a] = [
            data[4 * i],
            data[4 * i + 1],
            data[4 * i + 2],
            data[4 * i + 3],
        ];
        let over = |c: u8| match a {
            255 => c,
            0 => 255,
            _ => ((u32::from(c) * u32::from(a) + 255 * (255 - u32::from(a)) + 127) / 255) as u8,
        };
        data[3 * i] = over(r);
        data[3 * i + 1] = over(g);
        data[3 * i + 2] = over(b);
    }
    data.truncate(pixels * 3);
}

fn failure(error: image::ImageError, bytes: &[u8], format: Format) -> ImageError {
    let format = format.title();
    if let image::ImageError::Unsupported(unsupported) = &error {
        return ImageError::UnsupportedFeature {
            format,
            feature: crate::error::bounded(unsupported.to_string()),
        };
    }
    if let image::ImageError::Limits(_) = &error {
        return ImageError::Corrupt {
            format,
            reason: "decoding it takes far more memory than a picture of its size should"
                .to_owned(),
            source: Some(Arc::new(error)),
        };
    }
    let early = ends_early(&error, bytes);
    let source: Cause = Arc::new(error);
    if early {
        return ImageError::Truncated {
            format,
            size: bytes.len() as u64,
            source: Some(source),
        };
    }
    ImageError::Corrupt {
        format,
        reason: crate::error::root_cause(&*source),
        source: Some(source),
    }
}

/// Whether `error` is the end of the data. The decoders wrap that in kinds of their own, some of which say it in
/// words only; a WebP file announces its length, which settles it.
fn ends_early(error: &image::ImageError, bytes: &[u8]) -> bool {
    if let image::ImageError::IoError(e) = error
        && e.kind() == ErrorKind::UnexpectedEof
    {
        return true;
    }
    let text = error.to_string().to_ascii_lowercase();
    if text.contains("unexpected end of file") || text.contains("failed to fill whole buffer") {
        return true;
    }
    match bytes {
        [b'R', b'I', b'F', b'F', a, b, c, d, ..] => {
            (bytes.len() as u64) < u64::from(u32::from_le_bytes([*a, *b, *c, *d])) + 8
        }
        _ => false,
    }
}
