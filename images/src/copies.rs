//! Small copies of an image to look at: upright JPEGs of bounded size.
//!
//! One decoding serves all sizes. The pixels are for eyes, not for a model: chroma is halved, and nothing is enlarged.

use std::panic::{AssertUnwindSafe, catch_unwind};

use mozjpeg::{ColorSpace, Compress};

use crate::decode;
use crate::error::ImageError;
use crate::geometry::Geometry;
use crate::geometry::{Raster, swaps_axes};
use crate::limits::Limits;
use crate::memory::Memory;
use crate::pixels::RgbPixels;
use crate::work::Work;

/// Quality of the copies: at these sizes a file of some 8 KB for a thumbnail, without artefacts that catch the eye.
const QUALITY: f32 = 78.0;

/// An image's copies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisplayCopies {
    /// Width of the image itself in pixels, upright.
    pub width: u32,
    /// Height of the image itself in pixels, upright.
    pub height: u32,
    /// An encoded JPEG for each size that was asked for.
    pub jpegs: Vec<Vec<u8>>,
}

/// Copies of an encoded image whose longer side is at most each of `sides` pixels, largest first; smaller images keep their size.
///
/// # Errors
/// [`ImageError`] of the decode stage, and for a side of 0.
pub fn display_copies(
    bytes: &[u8],
    sides: &[u32],
    limits: &Limits,
) -> Result<DisplayCopies, ImageError> {
    let memory = Memory::new(limits.max_memory);
    copies(bytes, sides, &Work::new(limits, &memory))
}

/// As [`display_copies`], with what `work` may use.
pub(crate) fn copies(
    bytes: &[u8],
    sides: &[u32],
    work: &Work<'_>,
) -> Result<DisplayCopies, ImageError> {
    let side = sides.iter().copied().max().unwrap_or(1);
    let (raster, _held) = decode::raster(bytes, Geometry::Within { side }, work)?;
    let (width, height) = match swaps_axes(raster.orientation) {
        true => (raster.full.1, raster.full.0),
        false => raster.full,
    };
    let mut pixels = Geometry::Within { side }.apply(raster)?;
    let mut jpegs = Vec::with_capacity(sides.len());
    for side in sides {
        if pixels.width.max(pixels.height) > *side {
            let larger = Raster::full_scale(pixels, image::metadata::Orientation::NoTransforms);
            pixels = Geometry::Within { side: *side }.apply(larger)?;
        }
        jpegs.push(encode(&pixels)?);
    }
    Ok(DisplayCopies {
        width,
        height,
        jpegs,
    })
}

fn encode(pixels: &RgbPixels) -> Result<Vec<u8>, ImageError> {
    // The crate reports libjpeg's errors by unwinding. Nothing outside the closure is changed in it.
    let encoded = catch_unwind(AssertUnwindSafe(|| {
        let mut encoder = Compress::new(ColorSpace::JCS_RGB);
        encoder.set_fastest_defaults();
        encoder.set_size(pixels.width as usize, pixels.height as usize);
        encoder.set_quality(QUALITY);
        encoder.set_chroma_sampling_pixel_sizes((2, 2), (2, 2));
        let mut started = encoder.start_compress(Vec::new())?;
        started.write_scanlines(&pixels.data)?;
        started.finish()
    }));
    let reason = match encoded {
        Ok(Ok(jpeg)) => return Ok(jpeg),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "libjpeg gave up".to_string(),
    };
    Err(ImageError::Encode {
        width: pixels.width,
        height: pixels.height,
        reason,
    })
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use image::{ImageFormat, Rgba, RgbaImage};

    use super::*;

    fn png(width: u32, height: u32) -> Vec<u8> {
        let picture = RgbaImage::from_fn(width, height, |x, _| match x < width / 2 {
            true => Rgba([200, 10, 10, 255]),
            false => Rgba([0, 0, 0, 0]),
        });
        let mut bytes = Cursor::new(Vec::new());
        picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    fn read(jpeg: &[u8]) -> image::RgbImage {
        image::load_from_memory_with_format(jpeg, ImageFormat::Jpeg)
            .unwrap()
            .into_rgb8()
    }

    #[test]
    fn copies_are_bounded_and_never_enlarged() {
        let copies = display_copies(&png(600, 300), &[400, 100], &Limits::default()).unwrap();
        assert_eq!((copies.width, copies.height), (600, 300));
        let sizes: Vec<_> = copies.jpegs.iter().map(|j| read(j).dimensions()).collect();
        assert_eq!(sizes, [(400, 200), (100, 50)]);
        let small = display_copies(&png(60, 30), &[400, 100], &Limits::default()).unwrap();
        let sizes: Vec<_> = small.jpegs.iter().map(|j| read(j).dimensions()).collect();
        assert_eq!(sizes, [(60, 30), (60, 30)]);
        // A line keeps a pixel of height.
        let line = display_copies(&png(1000, 1), &[100], &Limits::default()).unwrap();
        assert_eq!(read(&line.jpegs[0]).dimensions(), (100, 1));
    }

    #[test]
    fn what_is_transparent_is_white_and_the_rest_keeps_its_colour() {
        let copies = display_copies(&png(400, 200), &[100], &Limits::default()).unwrap();
        let picture = read(&copies.jpegs[0]);
        let near = |x: u32, colour: [u8; 3]| {
            let pixel = picture.get_pixel(x, 25).0;
            pixel.iter().zip(colour).all(|(a, b)| a.abs_diff(b) < 12)
        };
        assert!(near(20, [200, 10, 10]) && near(80, [255; 3]));
    }

    #[test]
    fn limits_hold() {
        let limits = Limits {
            max_pixels: 100,
            ..Limits::default()
        };
        let error = display_copies(&png(20, 20), &[10], &limits).unwrap_err();
        assert!(matches!(error, ImageError::TooManyPixels { .. }), "{error}");
        assert!(display_copies(b"no image", &[10], &Limits::default()).is_err());
        assert!(display_copies(&png(20, 20), &[0], &Limits::default()).is_err());
    }
}
