//! PNG, WebP, GIF and BMP, through the decoders of the `image` crate.

use std::borrow::Cow;
use std::io::{BufRead, Cursor, ErrorKind, Seek};
use std::sync::Arc;

use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::error::{ImageFormatHint, UnsupportedErrorKind};
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageResult};

use crate::colour::{self, Conversion, Space};
use crate::deadline::{Deadline, Source};
use crate::error::ImageError;
use crate::format::Format;
use crate::geometry::Raster;
use crate::limits::Limits;
use crate::pixels::{RgbPixels, over_white};
use crate::{bmp, gif, png, webp};

type Decoder<'a> = Box<dyn ImageDecoder + 'a>;

/// A decoder that has read the header, and what the file says of how to show the picture.
pub(crate) struct Opened<'a> {
    decoder: Decoder<'a>,
    format: Format,
    /// Bytes a pixel that the decoder takes besides the picture.
    aside: u64,
    orientation: Orientation,
    conversion: Option<Conversion>,
}

impl Opened<'_> {
    /// Stored width and height.
    pub(crate) fn size(&self) -> (u32, u32) {
        self.decoder.dimensions()
    }

    pub(crate) fn channels(&self) -> u8 {
        self.decoder.original_color_type().channel_count()
    }

    pub(crate) fn orientation(&self) -> Orientation {
        self.orientation
    }

    /// Bytes at the peak: the picture as it is decoded, and what the decoder keeps of it besides (a GIF's frame, a WebP's planes, alpha
    /// and canvas), or, behind the decoder, its 8-bit samples where they do not fit into the place of the decoded ones.
    pub(crate) fn memory(&self) -> u64 {
        let (width, height) = self.size();
        let layout = Layout::of(self.decoder.color_type());
        let stored = layout.channels * layout.bytes;
        let grown = if layout.channels < 3 { 3 } else { 0 };
        u64::from(width) * u64::from(height) * (stored as u64 + grown.max(self.aside))
    }

    /// Decodes the (first) picture and composites it on white.
    pub(crate) fn decode(self, bytes: &[u8], deadline: &Deadline) -> Result<Raster, ImageError> {
        let Opened {
            decoder,
            format,
            orientation,
            conversion,
            ..
        } = self;
        let (width, height) = decoder.dimensions();
        let layout = Layout::of(decoder.color_type());
        // Small enough for this machine, as the limits were checked.
        let mut data = vec![0; usize::try_from(decoder.total_bytes()).unwrap_or(usize::MAX)];
        let read = decoder.read_image(&mut data);
        read.map_err(|error| match deadline.check() {
            Ok(()) => failure(error, bytes, format),
            Err(late) => late,
        })?;
        let pixels = RgbPixels {
            width,
            height,
            data: on_white(data, layout, format),
        };
        let mut raster = Raster::full_scale(pixels, orientation);
        raster.conversion = conversion;
        Ok(raster)
    }
}

/// The file with a header that its decoder knows, where it must be another one than it has.
pub(crate) fn mended(bytes: &[u8], format: Format) -> Result<Option<Vec<u8>>, ImageError> {
    let mended = match format {
        Format::Gif => gif::mended(bytes),
        Format::Bmp => bmp::mended(bytes)?,
        Format::Png => png::mended(bytes),
        Format::WebP => webp::mended(bytes),
        _ => return Ok(None),
    };
    Ok(match mended {
        Cow::Owned(mended) => Some(mended),
        Cow::Borrowed(_) => None,
    })
}

/// Opens a decoder, checks the size in the header, and says how much memory may be taken.
pub(crate) fn open<'a>(
    bytes: &'a [u8],
    format: Format,
    limits: &Limits,
    deadline: &'a Deadline,
) -> Result<Opened<'a>, ImageError> {
    let facts = match format {
        Format::Png => png::facts(bytes)?,
        _ => png::Facts::default(),
    };
    let (width, height) = facts.size.unwrap_or_default();
    limits.check_pixels(width, height)?;
    let failed = |error| match deadline.check() {
        Ok(()) => failure(error, bytes, format),
        Err(late) => late,
    };
    let memory = memory_limit(width, height);
    // A BMP and a lossy WebP are read in small pieces or all at once, so that looking at the clock there costs much or gains nothing.
    let decoder =
        match format == Format::Bmp || (format == Format::WebP && !webp::is_lossless(bytes)) {
            true => boxed(Cursor::new(bytes), format, &memory),
            false => boxed(Source::new(bytes, deadline), format, &memory),
        };
    let mut decoder = decoder.map_err(failed)?;
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
    let (mut orientation, mut conversion, mut aside) = (None, None, 0);
    match format {
        Format::WebP => {
            let facts = webp::facts(bytes)?;
            let profile = facts.profile;
            conversion = profile.and_then(|profile| colour::conversion(profile, space));
            orientation = facts.orientation;
            aside = facts.aside;
        }
        Format::Png => {
            // A profile that cannot be read is none.
            let profile = decoder.icc_profile().ok().flatten();
            conversion = profile.and_then(|profile| colour::conversion(&profile, space));
            orientation = facts.orientation;
        }
        // The frame, where it is not as wide as the canvas, and its indices.
        Format::Gif => aside = 5,
        _ => {}
    }
    Ok(Opened {
        decoder,
        format,
        aside,
        orientation: orientation.unwrap_or(Orientation::NoTransforms),
        conversion,
    })
}

fn boxed<'a>(
    source: impl BufRead + Seek + 'a,
    format: Format,
    memory: &image::Limits,
) -> ImageResult<Decoder<'a>> {
    Ok(match format {
        Format::Png => Box::new(PngDecoder::with_limits(source, memory.clone())?),
        Format::WebP => Box::new(WebPDecoder::new(source)?),
        Format::Gif => Box::new(GifDecoder::new(source)?),
        Format::Bmp => Box::new(BmpDecoder::new(source)?),
        // These have modules of their own; the arms keep the match total.
        Format::Jxl => {
            let hint = ImageFormatHint::Name(format.title().to_owned());
            return Err(image::ImageError::Unsupported(hint.into()));
        }
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

/// How a decoder gives its samples.
#[derive(Debug, Clone, Copy)]
struct Layout {
    /// Samples of a pixel: 1 grey, 2 grey and alpha, 3 RGB, 4 RGB and alpha.
    channels: usize,
    /// Bytes of a sample, which has 8 or 16 bits.
    bytes: usize,
}

impl Layout {
    fn of(colour: ColorType) -> Layout {
        let channels = usize::from(colour.channel_count());
        Layout {
            channels,
            bytes: usize::from(colour.bytes_per_pixel()) / channels.max(1),
        }
    }
}

/// Brings decoded samples to 8-bit RGB on white, in their own place where they are not fewer. Deeper samples are rounded to 8 bits first.
fn on_white(mut data: Vec<u8>, layout: Layout, format: Format) -> Vec<u8> {
    if layout.bytes == 2 {
        round_to_bytes(&mut data);
    }
    // Many programs write BMPs with room for alpha and nothing in it.
    if (format, layout.channels) == (Format::Bmp, 4)
        && data.iter().skip(3).step_by(4).all(|&alpha| alpha == 0)
    {
        data.iter_mut()
            .skip(3)
            .step_by(4)
            .for_each(|alpha| *alpha = 255);
    }
    match layout.channels {
        1 => {
            let mut out = vec![0; data.len() * 3];
            for (out, &level) in out.as_chunks_mut::<3>().0.iter_mut().zip(&data) {
                *out = [level; 3];
            }
            out
        }
        2 => {
            let pixels = data.as_chunks::<2>().0;
            let mut out = vec![0; pixels.len() * 3];
            for (out, &[level, alpha]) in out.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
                *out = [over_white(level, alpha); 3];
            }
            out
        }
        4 => composited(data),
        _ => {
            data.shrink_to_fit();
            data
        }
    }
}

/// Samples of 16 bits, in the order of this machine, to 8 bits within one buffer.
fn round_to_bytes(data: &mut Vec<u8>) {
    let samples = data.len() / 2;
    for i in 0..samples {
        let sample = u16::from_ne_bytes([data[2 * i], data[2 * i + 1]]);
        data[i] = ((u32::from(sample) + 128) / 257) as u8;
    }
    data.truncate(samples);
}

/// Pixels that are composited at once.
const BLOCK: usize = 64;

/// RGBA to RGB on white within one buffer.
pub(crate) fn composited(mut data: Vec<u8>) -> Vec<u8> {
    let pixels = data.len() / 4;
    let mut block = [0; 4 * BLOCK];
    for start in (0..pixels).step_by(BLOCK) {
        let count = BLOCK.min(pixels - start);
        let from = &mut block[..4 * count];
        let pixels = data[4 * start..4 * (start + count)].as_chunks::<4>().0;
        for (out, &[r, g, b, a]) in from.as_chunks_mut::<4>().0.iter_mut().zip(pixels) {
            *out = [r, g, b, a].map(|channel| over_white(channel, a));
        }
        // The result is no longer than what it is made of, and so never before it.
        let to = &mut data[3 * start..3 * (start + count)];
        for (out, &[r, g, b, _]) in to.as_chunks_mut().0.iter_mut().zip(from.as_chunks().0) {
            *out = [r, g, b];
        }
    }
    data.truncate(pixels * 3);
    data.shrink_to_fit();
    data
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
    let ends = [
        "unexpected end of file",
        "failed to fill whole buffer",
        "enough data for image",
        "insufficientinput",
    ];
    if ends.iter().any(|end| text.contains(end)) {
        return true;
    }
    match bytes {
        [b'R', b'I', b'F', b'F', a, b, c, d, ..] => {
            (bytes.len() as u64) < u64::from(u32::from_le_bytes([*a, *b, *c, *d])) + 8
        }
        _ => false,
    }
}
