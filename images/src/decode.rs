//! The synchronous kernel: encoded bytes in, pixels or facts out. It knows no threads and no references.
//!
//! Three steps: an image [as its decoder takes it](Encoded), then [its header](Opened), which says what it costs, then its pixels.

use std::borrow::Cow;

use image::metadata::Orientation;

use crate::deadline::Deadline;
use crate::digest::sha256;
use crate::error::ImageError;
use crate::format::Format;
use crate::geometry::{Geometry, Raster, swaps_axes};
use crate::limits::Limits;
use crate::memory::{Held, Memory};
use crate::pixels::RgbPixels;
use crate::work::Work;
use crate::{foreign, inline, jpeg, jpegxl, raster, runs, tiff};

/// The revision of what makes pixels of an encoded image: decoding, turning, colours, resizing. Whoever changes one of them so that
/// some image shows something else raises it; what was made of pixels of another revision is then not used again.
pub const PIXELS_REVISION: u32 = 3;

/// What an image's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// Width in pixels as displayed, after the EXIF orientation.
    pub width: u32,
    /// Height in pixels as displayed, after the EXIF orientation.
    pub height: u32,
    /// `"jpeg"`, `"png"`, `"webp"`, `"gif"`, `"bmp"`, `"tiff"` or `"jxl"`, by content.
    pub format: &'static str,
    /// Colour channels: 1 grey, 2 grey with alpha, 3 RGB, 4 RGB with alpha or CMYK. A palette counts as the colours
    /// it stands for.
    pub channels: u8,
    /// Size of the encoded image in bytes, as it was given: of an image in base64 that of the text.
    pub bytes: u64,
    /// SHA-256 of the encoded image, as it was given.
    pub sha256: [u8; 32],
}

/// Reads the header of an encoded image; no pixel is decoded.
///
/// The limits on bytes and pixels hold here too, so an image that has an `ImageInfo` is not refused for its size later.
pub fn image_info(bytes: &[u8], limits: &Limits) -> Result<ImageInfo, ImageError> {
    let facts = facts(bytes, limits)?;
    Ok(ImageInfo {
        width: facts.width,
        height: facts.height,
        format: facts.format.name(),
        channels: facts.channels,
        bytes: bytes.len() as u64,
        sha256: sha256(bytes),
    })
}

/// What of an [`ImageInfo`] a header says.
pub(crate) struct Facts {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) format: Format,
    pub(crate) channels: u8,
}

/// Reads them, as [`image_info`] does.
pub(crate) fn facts(bytes: &[u8], limits: &Limits) -> Result<Facts, ImageError> {
    let encoded = Encoded::of(bytes, limits)?;
    let deadline = Deadline::new(limits.timeout);
    let opened = encoded.open(limits, &deadline)?;
    let ((width, height), orientation) = (opened.size(), opened.orientation());
    let (width, height) = if swaps_axes(orientation) {
        (height, width)
    } else {
        (width, height)
    };
    Ok(Facts {
        width,
        height,
        format: encoded.format,
        channels: opened.channels(),
    })
}

/// Decodes an image and brings it to `geometry`: upright by EXIF, alpha composited on white, RGB.
///
/// The bytes may also be text that holds the image: a `data:` URI, or base64 of it. Of an animation it is the first frame. A truncated image is an error, never a half-grey picture.
pub fn prepare(bytes: &[u8], geometry: Geometry, limits: &Limits) -> Result<RgbPixels, ImageError> {
    let memory = Memory::new(limits.max_memory);
    let (raster, _held) = raster(bytes, geometry, &Work::new(limits, &memory))?;
    geometry.apply(raster)
}

/// Decodes an image at a scale that is enough for `geometry`; its memory is held until its pixels are done with.
pub(crate) fn raster<'a>(
    bytes: &[u8],
    geometry: Geometry,
    work: &Work<'a>,
) -> Result<(Raster, Held<'a>), ImageError> {
    geometry.check()?;
    let encoded = Encoded::of(bytes, work.limits)?;
    let opened = encoded.open(work.limits, &work.deadline)?;
    if let Some(scale) = opened.reduced(geometry) {
        let held = work.hold(opened.memory(geometry, Some(scale), work.limits)?);
        if let Some(raster) = opened.decode_reduced(scale, &work.deadline)? {
            return Ok((raster, held));
        }
    }
    let held = work.hold(opened.memory(geometry, None, work.limits)?);
    Ok((opened.decode(&work.deadline)?, held))
}

/// Decodes an image and brings it to each of these geometries; the memory of the last ones is held until its pixels are done with.
///
/// One raster serves all geometries for which the same scale is enough. Where the scales differ, the pixels of each are made and its
/// raster let go of before the next: whoever held memory while it waits for more could wait for ever.
pub(crate) fn each<'a>(
    bytes: &[u8],
    geometries: &[Geometry],
    work: &Work<'a>,
) -> Result<(Vec<RgbPixels>, Option<Held<'a>>), ImageError> {
    let mut pixels = Vec::with_capacity(geometries.len());
    let mut held = None;
    for group in groups(bytes, geometries, work)? {
        drop(held.take());
        // That which keeps most of the pixels asks for most memory.
        let is_full = |geometry: &&Geometry| **geometry == Geometry::Full;
        let Some(&largest) = group.iter().find(is_full).or(group.first()) else {
            continue;
        };
        let (raster, memory) = raster(bytes, largest, work)?;
        held = Some(memory);
        pixels.extend(Geometry::apply_each(group, raster)?);
    }
    Ok((pixels, held))
}

/// The geometries in runs for which the same scale is enough.
fn groups<'g>(
    bytes: &[u8],
    geometries: &'g [Geometry],
    work: &Work<'_>,
) -> Result<Vec<&'g [Geometry]>, ImageError> {
    if geometries.len() < 2 {
        return Ok(vec![geometries]);
    }
    let encoded = Encoded::of(bytes, work.limits)?;
    let opened = encoded.open(work.limits, &work.deadline)?;
    let alike = |a: &Geometry, b: &Geometry| opened.reduced(*a) == opened.reduced(*b);
    Ok(geometries.chunk_by(alike).collect())
}

/// An encoded image as its decoder takes it.
struct Encoded<'a> {
    bytes: Cow<'a, [u8]>,
    format: Format,
}

impl<'a> Encoded<'a> {
    /// Unwraps the text that an image may stand in, recognises its format, and mends a header that its decoder does not know.
    ///
    /// # Errors
    /// When there is too much of it, or it is no image of a known format.
    fn of(bytes: &'a [u8], limits: &Limits) -> Result<Encoded<'a>, ImageError> {
        limits.check_bytes(bytes)?;
        let bytes = inline::unwrapped(bytes, limits);
        let format = Format::of(&bytes).ok_or_else(|| foreign::refusal(&bytes))?;
        let bytes = match raster::mended(&bytes, format)? {
            Some(mended) => Cow::Owned(mended),
            None => bytes,
        };
        Ok(Encoded { bytes, format })
    }

    /// Reads the header.
    ///
    /// # Errors
    /// When the picture is larger than it may be, or its header is damaged or of an unsupported kind.
    fn open<'b>(
        &'b self,
        limits: &Limits,
        deadline: &'b Deadline,
    ) -> Result<Opened<'b>, ImageError> {
        let bytes = &*self.bytes;
        let picture = match self.format {
            Format::Jpeg => {
                let header = jpeg::Header::read(bytes)?;
                limits.check_pixels(header.width, header.height)?;
                Picture::Jpeg(header)
            }
            Format::Tiff => Picture::Tiff(tiff::Picture::read(bytes, limits)?),
            Format::Jxl => Picture::Jxl(Box::new(jpegxl::Picture::read(bytes, limits, deadline)?)),
            Format::Bmp => match runs::Picture::read(bytes, limits)? {
                Some(picture) => Picture::Runs(Box::new(picture)),
                None => Picture::Other(raster::open(bytes, Format::Bmp, limits, deadline)?),
            },
            format => Picture::Other(raster::open(bytes, format, limits, deadline)?),
        };
        // What is not the caller's was made here, and stays until the picture is done.
        let copied = match &self.bytes {
            Cow::Owned(bytes) => bytes.len() as u64,
            Cow::Borrowed(_) => 0,
        };
        Ok(Opened {
            bytes,
            copied,
            picture,
        })
    }
}

/// An image whose header has been read, and whose pixels have not.
struct Opened<'a> {
    bytes: &'a [u8],
    copied: u64,
    picture: Picture<'a>,
}

enum Picture<'a> {
    Jpeg(jpeg::Header<'a>),
    Tiff(tiff::Picture<'a>),
    Jxl(Box<jpegxl::Picture<'a>>),
    Runs(Box<runs::Picture<'a>>),
    Other(raster::Opened<'a>),
}

impl Opened<'_> {
    /// Stored width and height.
    fn size(&self) -> (u32, u32) {
        match &self.picture {
            Picture::Jpeg(header) => (header.width, header.height),
            Picture::Tiff(picture) => (picture.width, picture.height),
            Picture::Jxl(picture) => (picture.width, picture.height),
            Picture::Runs(picture) => (picture.width, picture.height),
            Picture::Other(opened) => opened.size(),
        }
    }

    fn channels(&self) -> u8 {
        match &self.picture {
            Picture::Jpeg(header) => header.components,
            Picture::Tiff(picture) => picture.channels(),
            Picture::Jxl(picture) => picture.channels(),
            Picture::Runs(_) => 3,
            Picture::Other(opened) => opened.channels(),
        }
    }

    fn orientation(&self) -> Orientation {
        match &self.picture {
            Picture::Jpeg(header) => header.orientation,
            Picture::Tiff(picture) => picture.orientation,
            Picture::Jxl(picture) => picture.orientation,
            Picture::Runs(_) => Orientation::NoTransforms,
            Picture::Other(opened) => opened.orientation(),
        }
    }

    /// The scale below the full one, in eighths, at which decoding is enough for `geometry`; a JPEG may have one.
    fn reduced(&self, geometry: Geometry) -> Option<u8> {
        match &self.picture {
            Picture::Jpeg(header) => jpeg::reduced(header, geometry),
            _ => None,
        }
    }

    /// Bytes that bringing the image to `geometry` takes at its peak, besides the encoded ones and small change.
    ///
    /// What the decoder takes (see each format's `memory`), or where the picture keeps its size and is turned, it and a copy of it, 3
    /// bytes a pixel each: turning begins when the decoder has let go of all but the pixels.
    ///
    /// # Errors
    /// [`ImageError::TooMuchMemory`] for more than all images together may take.
    fn memory(
        &self,
        geometry: Geometry,
        scale: Option<u8>,
        limits: &Limits,
    ) -> Result<u64, ImageError> {
        let (width, height) = self.size();
        let pixels = u64::from(width) * u64::from(height);
        let decoding = match &self.picture {
            Picture::Jpeg(header) => jpeg::memory(header, scale.unwrap_or(jpeg::FULL)),
            Picture::Tiff(picture) => picture.memory(),
            Picture::Jxl(picture) => picture.memory(),
            Picture::Runs(picture) => picture.memory(),
            Picture::Other(opened) => opened.memory(),
        };
        let turned = geometry == Geometry::Full && self.orientation() != Orientation::NoTransforms;
        let turning = if turned { 6 * pixels } else { 0 };
        let needed = decoding.max(turning).saturating_add(self.copied);
        if needed > limits.max_memory {
            return Err(ImageError::TooMuchMemory {
                width,
                height,
                needed,
                limit: limits.max_memory,
            });
        }
        Ok(needed)
    }

    /// Decodes at a [reduced](Opened::reduced) scale; `None` where only the full one can tell whether the picture is whole.
    fn decode_reduced(&self, scale: u8, deadline: &Deadline) -> Result<Option<Raster>, ImageError> {
        match &self.picture {
            Picture::Jpeg(header) => jpeg::decode_reduced(self.bytes, header, scale, deadline),
            _ => Ok(None),
        }
    }

    /// Decodes at full scale.
    fn decode(self, deadline: &Deadline) -> Result<Raster, ImageError> {
        match self.picture {
            Picture::Jpeg(header) => jpeg::decode(self.bytes, &header, deadline),
            Picture::Tiff(picture) => picture.decode(deadline),
            Picture::Jxl(picture) => picture.decode(deadline),
            Picture::Runs(picture) => picture.decode(deadline),
            Picture::Other(opened) => opened.decode(self.bytes, deadline),
        }
    }
}
