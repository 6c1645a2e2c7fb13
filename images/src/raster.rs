//! PNG, WebP, GIF and BMP, through the decoders of the `image` crate.

use std::borrow::Cow;
use std::io::{Cursor, ErrorKind};
use std::sync::Arc;

use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::error::UnsupportedErrorKind;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageResult};

use crate::colour::{self, Conversion, Space};
use crate::format::Format;
use crate::geometry::Raster;
use crate::{ImageError, Limits, RgbPixels, bmp, gif, png, webp};

type Decoder<'a> = Box<dyn ImageDecoder + 'a>;

/// A decoder that has read the header, and what the file says of how to show the picture.
struct Opened<'a> {
    decoder: Decoder<'a>,
    orientation: Orientation,
    conversion: Option<Conversion>,
}

/// Stored width, height, channels and orientation.
pub(crate) fn header(
    bytes: &[u8],
    format: Format,
    limits: &Limits,
) -> Result<(u32, u32, u8, Orientation), ImageError> {
    let bytes = mended(bytes, format)?;
    let opened = open(&bytes, format, limits)?;
    let (width, height) = opened.decoder.dimensions();
    let channels = opened.decoder.original_color_type().channel_count();
    Ok((width, height, channels, opened.orientation))
}

/// Decodes the (first) picture and composites it on white.
pub(crate) fn decode(bytes: &[u8], format: Format, limits: &Limits) -> Result<Raster, ImageError> {
    let bytes = mended(bytes, format)?;
    let opened = open(&bytes, format, limits)?;
    let image =
        DynamicImage::from_decoder(opened.decoder).map_err(|e| failure(e, &bytes, format))?;
    let mut raster = Raster::full_scale(on_white(image, format), opened.orientation);
    raster.conversion = opened.conversion;
    Ok(raster)
}

/// The file with a header that its decoder knows.
fn mended(bytes: &[u8], format: Format) -> Result<Cow<'_, [u8]>, ImageError> {
    match format {
        Format::Gif => Ok(gif::mended(bytes)),
        Format::Bmp => bmp::mended(bytes),
        _ => Ok(Cow::Borrowed(bytes)),
    }
}

/// Opens a decoder, checks the size in the header, and says how much memory may be taken.
fn open<'a>(bytes: &'a [u8], format: Format, limits: &Limits) -> Result<Opened<'a>, ImageError> {
    let facts = match format {
        Format::Png => png::facts(bytes)?,
        _ => png::Facts::default(),
    };
    let (width, height) = facts.size.unwrap_or_default();
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
    let space = match decoder.color_type().has_color() {
        true => Space::Rgb,
        false => Space::Grey,
    };
    let (orientation, conversion) = match format {
        Format::WebP => {
            let facts = webp::facts(bytes)?;
            let profile = facts.profile;
            let conversion = profile.and_then(|profile| colour::conversion(profile, space));
            (facts.orientation, conversion)
        }
        Format::Png => {
            // A profile that cannot be read is none.
            let profile = decoder.icc_profile().ok().flatten();
            let conversion = profile.and_then(|profile| colour::conversion(&profile, space));
            (facts.orientation, conversion)
        }
        _ => (None, None),
    };
    Ok(Opened {
        decoder,
        orientation: orientation.unwrap_or(Orientation::NoTransforms),
        conversion,
    })
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
        // JPEG and TIFF have modules of their own; these arms keep the match total.
        Format::Jpeg => Box::new(image::codecs::jpeg::JpegDecoder::new(source)?),
        Format::Tiff => Box::new(image::codecs::tiff::TiffDecoder::new(source)?),
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
fn on_white(image: DynamicImage, format: Format) -> RgbPixels {
    let (width, height) = (image.width(), image.height());
    let data = if image.color().has_alpha() {
        let mut data = image.into_rgba8().into_raw();
        // Many programs write BMPs with room for alpha and nothing in it.
        if format == Format::Bmp && data.iter().skip(3).step_by(4).all(|&alpha| alpha == 0) {
            data.iter_mut()
                .skip(3)
                .step_by(4)
                .for_each(|alpha| *alpha = 255);
        }
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
        let over = |c: u8| over_white(c, a);
        data[3 * i] = over(r);
        data[3 * i + 1] = over(g);
        data[3 * i + 2] = over(b);
    }
    data.truncate(pixels * 3);
}

/// A channel with alpha on white.
pub(crate) fn over_white(channel: u8, alpha: u8) -> u8 {
    match alpha {
        255 => channel,
        0 => 255,
        _ => {
            let (channel, alpha) = (u32::from(channel), u32::from(alpha));
            ((channel * alpha + 255 * (255 - alpha) + 127) / 255) as u8
        }
    }
}

fn failure(error: image::ImageError, bytes: &[u8], format: Format) -> ImageError {
    let format = format.title();
    let corrupt = |reason: &str, error| ImageError::Corrupt {
        format,
        reason: reason.to_owned(),
        source: Some(Arc::new(error)),
    };
    match error {
        image::ImageError::Unsupported(unsupported) => {
            let feature = match unsupported.kind() {
                UnsupportedErrorKind::GenericFeature(feature) => {
                    crate::error::bounded(feature.clone())
                }
                _ => "the layout of its pixels".to_owned(),
            };
            ImageError::UnsupportedFeature { format, feature }
        }
        image::ImageError::Limits(_) => corrupt(
            "decoding it takes far more memory than a picture of its size should",
            error,
        ),
        error if ends_early(&error, bytes) => ImageError::Truncated {
            format,
            size: bytes.len() as u64,
            source: Some(Arc::new(error)),
        },
        // The libraries' words ("sub-frame", "chunk", "code length tree") say nothing to who has the picture; they stay as the cause.
        error => corrupt("its header or its compressed data is damaged", error),
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
