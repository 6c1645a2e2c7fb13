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
use crate::{ImageError, Limits, RgbPixels};

type Decoder<'a> = Box<dyn ImageDecoder + 'a>;

/// Stored width, height, channels and orientation.
pub(crate) fn header(
    bytes: &[u8],
    format: Format,
    limits: &Limits,
) -> Result<(u32, u32, u8, Orientation), ImageError> {
    let mut decoder = open(bytes, format, limits)?;
    let (width, height) = decoder.dimensions();
    let channels = decoder.original_color_type().channel_count();
    Ok((width, height, channels, orientation(&mut decoder)))
}

/// Decodes the (first) picture and composites it on white.
pub(crate) fn decode(bytes: &[u8], format: Format, limits: &Limits) -> Result<Raster, ImageError> {
    let mut decoder = open(bytes, format, limits)?;
    let orientation = orientation(&mut decoder);
    let image = DynamicImage::from_decoder(decoder).map_err(|e| failure(e, bytes, format))?;
    Ok(Raster::full_scale(on_white(image), orientation))
}

/// A decoder that has read the header, checked its size and knows how much memory it may take.
fn open<'a>(bytes: &'a [u8], format: Format, limits: &Limits) -> Result<Decoder<'a>, ImageError> {
    let memory = memory_limit(limits);
    let source = Cursor::new(bytes);
    let mut decoder = boxed(source, format, &memory).map_err(|e| failure(e, bytes, format))?;
    let (width, height) = decoder.dimensions();
    limits.check_pixels(width, height)?;
    decoder
        .set_limits(memory)
        .map_err(|e| failure(e, bytes, format))?;
    Ok(decoder)
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

/// Memory for the largest allowed image at its widest (four 16-bit channels), twice, and some for tables.
fn memory_limit(limits: &Limits) -> image::Limits {
    let mut memory = image::Limits::no_limits();
    memory.max_alloc = Some(
        limits
            .max_pixels
            .saturating_mul(16)
            .saturating_add(16 << 20),
    );
    memory
}

/// The EXIF orientation; a broken EXIF block means none.
fn orientation(decoder: &mut Decoder<'_>) -> Orientation {
    decoder.orientation().unwrap_or(Orientation::NoTransforms)
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
            feature: unsupported.to_string(),
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
