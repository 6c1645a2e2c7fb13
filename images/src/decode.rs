//! The synchronous kernel: encoded bytes in, pixels or facts out. It knows no threads and no references.

use sha2::{Digest, Sha256};

use crate::format::Format;
use crate::geometry::{Raster, swaps_axes};
use crate::{Geometry, ImageError, Limits, inline, jpeg, raster, tiff};

/// The revision of what makes pixels of an encoded image: decoding, turning, colours, resizing. Whoever changes one of them so that
/// some image shows something else raises it; what was made of pixels of another revision is then not used again.
pub const PIXELS_REVISION: u32 = 2;

/// Decoded pixels: 8-bit sRGB, interleaved R, G, B, row after row from the top left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RgbPixels {
    /// Width in pixels, at least 1.
    pub width: u32,
    /// Height in pixels, at least 1.
    pub height: u32,
    /// `width * height * 3` bytes.
    pub data: Vec<u8>,
}

/// What an image's header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// Width in pixels as displayed, after the EXIF orientation.
    pub width: u32,
    /// Height in pixels as displayed, after the EXIF orientation.
    pub height: u32,
    /// `"jpeg"`, `"png"`, `"webp"`, `"gif"`, `"bmp"` or `"tiff"`, by content.
    pub format: &'static str,
    /// Colour channels: 1 grey, 2 grey with alpha, 3 RGB, 4 RGB with alpha or CMYK. A palette counts as the colours
    /// it stands for.
    pub channels: u8,
    /// Size of the encoded image in bytes, as it was given: of an image in base64 that of the text.
    pub bytes: u64,
    /// SHA-256 of the encoded image, as it was given.
    pub sha256: [u8; 32],
}

/// SHA-256 of `bytes`: the identity of an image, whatever it is called.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}

/// Bytes as people write a digest: two hexadecimal digits for each, in lower case.
///
/// ```
/// assert_eq!(picsift_images::hex(&[0, 10, 255]), "000aff");
/// ```
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads the header of an encoded image; no pixel is decoded.
///
/// The limits on bytes and pixels hold here too, so an image that has an `ImageInfo` is not refused for its size later.
pub fn image_info(bytes: &[u8], limits: &Limits) -> Result<ImageInfo, ImageError> {
    limits.check_bytes(bytes)?;
    let given = bytes;
    let bytes = &*inline::unwrapped(bytes, limits);
    let format = Format::of(bytes)?;
    let (width, height, channels, orientation) = match format {
        Format::Jpeg => {
            let header = jpeg::Header::read(bytes)?;
            limits.check_pixels(header.width, header.height)?;
            (
                header.width,
                header.height,
                header.components,
                header.orientation,
            )
        }
        Format::Tiff => tiff::header(bytes, limits)?,
        other => raster::header(bytes, other, limits)?,
    };
    let (width, height) = if swaps_axes(orientation) {
        (height, width)
    } else {
        (width, height)
    };
    Ok(ImageInfo {
        width,
        height,
        format: format.name(),
        channels,
        bytes: given.len() as u64,
        sha256: sha256(given),
    })
}

/// Decodes an image and brings it to `geometry`: upright by EXIF, alpha composited on white, RGB.
///
/// The bytes may also be text that holds the image: a `data:` URI, or base64 of it. Of an animation it is the first frame. A truncated image is an error, never a half-grey picture.
pub fn prepare(bytes: &[u8], geometry: Geometry, limits: &Limits) -> Result<RgbPixels, ImageError> {
    geometry.apply(raster(bytes, geometry, limits)?)
}

/// Decodes an image at a scale that is enough for `geometry`.
pub(crate) fn raster(
    bytes: &[u8],
    geometry: Geometry,
    limits: &Limits,
) -> Result<Raster, ImageError> {
    geometry.check()?;
    limits.check_bytes(bytes)?;
    let bytes = &*inline::unwrapped(bytes, limits);
    match Format::of(bytes)? {
        Format::Jpeg => jpeg::decode(bytes, geometry, limits),
        Format::Tiff => tiff::decode(bytes, limits),
        other => raster::decode(bytes, other, limits),
    }
}
