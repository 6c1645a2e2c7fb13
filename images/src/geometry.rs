//! Which pixels the model gets: orientation, bicubic resize and centre crop in one pass.
//!
//! The filter and the rounding are Pillow's, as the reference preprocessing of the models uses them. Only the pixels that survive the crop are computed: the crop window is carried
//! back to source coordinates and handed to the convolution, which still reads the neighbours outside it, so the
//! result is that of resizing the whole image first.

use std::cell::RefCell;

use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image::metadata::Orientation;

use crate::colour::Conversion;
use crate::error::ImageError;
use crate::pixels::RgbPixels;

/// What to make of a decoded image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Geometry {
    /// All pixels, turned upright by the EXIF orientation.
    Full,
    /// The middle of the image at a fixed scale.
    ///
    /// Resize with Pillow's bicubic filter (a = -0.5, support scaled by the reduction, so it is antialiased) so that
    /// the short side is `short_side` and the long side `short_side * long / short`, rounded half to even (Python's
    /// `round`); then cut `size` x `size` at the offset `(side - size) / 2`, rounded down. These two roundings are
    /// those of the reference preprocessing (torchvision rounds the side down and the offset half to even, which
    /// shifts some images by a pixel). `size` is at most `short_side`, so there is never a border to invent. Smaller
    /// images are enlarged.
    CentreCrop {
        /// Short side after the resize, in pixels.
        short_side: u32,
        /// Side of the square that is cut out, in pixels; 1 to `short_side`.
        size: u32,
    },
    /// The whole image, upright, so small that its longer side is at most `side`, with the same filter; never enlarged.
    Within {
        /// Longest side in pixels, at least 1.
        side: u32,
    },
}

/// Decoded pixels in the orientation in which they are stored.
pub(crate) struct Raster {
    pub(crate) pixels: RgbPixels,
    /// Width and height of the picture in pixels of `pixels`. Equal to its dimensions unless a decoder that works at
    /// reduced scale rounded the last column or row up.
    pub(crate) extent: (f64, f64),
    /// Stored width and height at full scale; they decide the target size.
    pub(crate) full: (u32, u32),
    pub(crate) orientation: Orientation,
    /// How the pixels become sRGB, where they are not yet. Fewer pixels are converted behind the resize than before it; the
    /// colours differ by no more than rounding, since the curves of most spaces are alike.
    pub(crate) conversion: Option<Conversion>,
}

impl Raster {
    /// A raster of sRGB decoded at full scale.
    pub(crate) fn full_scale(pixels: RgbPixels, orientation: Orientation) -> Raster {
        let (width, height) = (pixels.width, pixels.height);
        Raster {
            pixels,
            extent: (width.into(), height.into()),
            full: (width, height),
            orientation,
            conversion: None,
        }
    }
}

impl Geometry {
    pub(crate) fn check(self) -> Result<(), ImageError> {
        match self {
            Geometry::CentreCrop { short_side, size } if size == 0 || size > short_side => {
                Err(ImageError::BadGeometry { short_side, size })
            }
            Geometry::Within { side: 0 } => Err(ImageError::Resize {
                width: 0,
                height: 0,
                reason: "no side can have 0 pixels".to_owned(),
            }),
            _ => Ok(()),
        }
    }

    /// Whether a decoder that works at reduced scale may deliver a picture of this size.
    pub(crate) fn is_enough(self, width: u32, height: u32) -> bool {
        match self {
            Geometry::Full => false,
            Geometry::CentreCrop { short_side, .. } => width.min(height) >= short_side,
            Geometry::Within { side } => width.max(height) >= side,
        }
    }

    /// Makes the final pixels.
    pub(crate) fn apply(self, raster: Raster) -> Result<RgbPixels, ImageError> {
        let pixels = Self::apply_each(&[self], raster)?.into_iter().next();
        pixels.ok_or_else(|| ImageError::Resize {
            width: 0,
            height: 0,
            reason: "no pixels were made".to_owned(),
        })
    }

    /// Makes the final pixels of several geometries, each as if it were alone.
    pub(crate) fn apply_each(
        geometries: &[Self],
        mut raster: Raster,
    ) -> Result<Vec<RgbPixels>, ImageError> {
        if let Some(conversion) = raster.conversion.take_if(|c| c.bends_light()) {
            conversion.apply(&mut raster.pixels.data);
        }
        let mut all = Vec::with_capacity(geometries.len());
        for (left, geometry) in (0..geometries.len()).rev().zip(geometries) {
            let mut pixels = match geometry.sized(&raster)? {
                Some(pixels) => pixels,
                // The last one needs no copy.
                None if left == 0 => std::mem::replace(&mut raster.pixels, RgbPixels::none()),
                None => raster.pixels.clone(),
            };
            if let Some(conversion) = &raster.conversion {
                conversion.apply(&mut pixels.data);
            }
            all.push(upright(pixels, raster.orientation));
        }
        Ok(all)
    }

    /// Resizes and crops, `None` where all pixels stay; they stay as they are stored.
    fn sized(self, raster: &Raster) -> Result<Option<RgbPixels>, ImageError> {
        match self {
            Geometry::Full => Ok(None),
            Geometry::CentreCrop { short_side, size } => {
                let window = Window::new(raster, short_side, size);
                resize(&raster.pixels, &window, (size, size)).map(Some)
            }
            Geometry::Within { side } => {
                let (width, height) = raster.full;
                let scale = f64::from(side) / f64::from(width.max(height));
                if scale >= 1.0 {
                    return Ok(None);
                }
                let scaled = |side: u32| (f64::from(side) * scale).round().max(1.0) as u32;
                let window = Window {
                    left: 0.0,
                    top: 0.0,
                    width: raster.extent.0,
                    height: raster.extent.1,
                };
                resize(&raster.pixels, &window, (scaled(width), scaled(height))).map(Some)
            }
        }
    }
}

/// The part of the stored raster that becomes the crop, in pixels of the raster.
struct Window {
    left: f64,
    top: f64,
    width: f64,
    height: f64,
}

impl Window {
    fn new(raster: &Raster, short_side: u32, size: u32) -> Window {
        let turned = swaps_axes(raster.orientation);
        let (full_width, full_height) = raster.full;
        let (shown_width, shown_height) = if turned {
            (full_height, full_width)
        } else {
            (full_width, full_height)
        };
        let (width, height) = resized(shown_width, shown_height, short_side);
        let (left, top) = ((width - size) / 2, (height - size) / 2);
        // The window as stored: turned back, and measured from the other edge where the image is mirrored.
        let (flip_x, flip_y) = mirrored(raster.orientation);
        let ((width, left), (height, top)) = if turned {
            ((height, top), (width, left))
        } else {
            ((width, left), (height, top))
        };
        let left = if flip_x { width - size - left } else { left };
        let top = if flip_y { height - size - top } else { top };
        let (sx, sy) = (
            raster.extent.0 / f64::from(width),
            raster.extent.1 / f64::from(height),
        );
        let (left, top) = (f64::from(left) * sx, f64::from(top) * sy);
        Window {
            left,
            top,
            // Rounding must not push the window over the edge, which the resizer would refuse.
            width: (f64::from(size) * sx).min(f64::from(raster.pixels.width) - left),
            height: (f64::from(size) * sy).min(f64::from(raster.pixels.height) - top),
        }
    }
}

/// Width and height after the resize.
fn resized(width: u32, height: u32, short_side: u32) -> (u32, u32) {
    let long = |long: u32, short: u32| {
        (f64::from(short_side) * f64::from(long) / f64::from(short)).round_ties_even() as u32
    };
    if width <= height {
        (short_side, long(height, width))
    } else {
        (long(width, height), short_side)
    }
}

/// Whether showing the image exchanges its width and height.
pub(crate) fn swaps_axes(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

/// Whether the shown image runs against the stored columns and against the stored rows.
fn mirrored(orientation: Orientation) -> (bool, bool) {
    match orientation {
        Orientation::NoTransforms | Orientation::Rotate90FlipH => (false, false),
        Orientation::FlipHorizontal | Orientation::Rotate270 => (true, false),
        Orientation::FlipVertical | Orientation::Rotate90 => (false, true),
        Orientation::Rotate180 | Orientation::Rotate270FlipH => (true, true),
    }
}

/// Turns stored pixels as the orientation says.
fn upright(pixels: RgbPixels, orientation: Orientation) -> RgbPixels {
    if orientation == Orientation::NoTransforms {
        return pixels;
    }
    let turned = swaps_axes(orientation);
    let (flip_x, flip_y) = mirrored(orientation);
    let (stored_width, stored_height) = (pixels.width as usize, pixels.height as usize);
    let (width, height) = if turned {
        (stored_height, stored_width)
    } else {
        (stored_width, stored_height)
    };
    let mut data = Vec::with_capacity(pixels.data.len());
    for y in 0..height {
        for x in 0..width {
            let (column, row) = if turned { (y, x) } else { (x, y) };
            let column = if flip_x {
                stored_width - 1 - column
            } else {
                column
            };
            let row = if flip_y { stored_height - 1 - row } else { row };
            let at = 3 * (row * stored_width + column);
            data.extend_from_slice(&pixels.data[at..at + 3]);
        }
    }
    RgbPixels {
        width: width as u32,
        height: height as u32,
        data,
    }
}

thread_local! {
    /// Keeps the resizer's intermediate rows between images.
    static RESIZER: RefCell<Resizer> = RefCell::new(Resizer::new());
}

/// Where a window of this `length` begins along a side of `all` pixels so that the first and the last of the `made` pixels do not lie
/// just on pixels of the source: at its beginning, or a millionth of a pixel beside it, which changes no value.
///
/// There all weights but one are zero, and the resizer leaves zeros at the ends out. It takes what the first and the last pixel need for
/// what all of them need, and reads beside its buffer for the pixels between, which need more (fast_image_resize 6.1.0).
fn off_the_grid(begin: f64, length: f64, made: u32, all: u32) -> f64 {
    const ASIDE: f64 = 1e-6;
    let half = length / f64::from(made) / 2.0;
    let is_whole = |place: f64| (place - place.round()).abs() < ASIDE / 4.0;
    let on_it = |begin: f64| is_whole(begin + half - 0.5) || is_whole(begin + length - half - 0.5);
    let beside = (0..3).map(|steps| begin - f64::from(steps) * ASIDE);
    let inside = |begin: &f64| *begin > 0.0 && begin + length <= f64::from(all);
    let mut free = beside.filter(inside).filter(|begin| !on_it(*begin));
    free.next().unwrap_or(begin)
}

fn resize(
    pixels: &RgbPixels,
    window: &Window,
    (width, height): (u32, u32),
) -> Result<RgbPixels, ImageError> {
    let failed = |reason: String| ImageError::Resize {
        width: pixels.width,
        height: pixels.height,
        reason,
    };
    let source = ImageRef::new(pixels.width, pixels.height, &pixels.data, PixelType::U8x3)
        .map_err(|e| failed(e.to_string()))?;
    let mut target = Image::new(width, height, PixelType::U8x3);
    let left = off_the_grid(window.left, window.width, width, pixels.width);
    let top = off_the_grid(window.top, window.height, height, pixels.height);
    let options = ResizeOptions::new()
        .resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom))
        .crop(left, top, window.width, window.height);
    RESIZER
        .with_borrow_mut(|resizer| resizer.resize(&source, &mut target, &options))
        .map_err(|e| failed(e.to_string()))?;
    Ok(RgbPixels {
        width,
        height,
        data: target.into_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pictures whose first or last pixel of the crop lies just on one of the source, as that of 275 x 183, a common size of thumbnails.
    #[test]
    fn a_crop_that_begins_on_a_pixel_reads_no_other_memory() {
        let geometry = Geometry::CentreCrop {
            short_side: 256,
            size: 224,
        };
        for (width, height) in [(275, 183), (183, 275)] {
            // Grey from the left to the right, so that what is read elsewhere shows.
            let value = |place: u32| (50 + place % width / 2) as u8;
            let pixels = RgbPixels {
                width,
                height,
                data: (0..width * height).flat_map(|at| [value(at); 3]).collect(),
            };
            let raster = Raster::full_scale(pixels, Orientation::NoTransforms);
            let made = geometry.apply(raster).unwrap();
            for row in made.data.chunks(3 * 224) {
                assert!(row.chunks(3).is_sorted_by_key(|pixel| pixel[0]), "{row:?}");
            }
        }
    }

    #[test]
    fn a_window_moves_only_where_it_must() {
        // The first pixel of 275 x 183 lies on the 57th of the source.
        let (begin, length) = (80.0 * 275.0 / 385.0, 160.0);
        let moved = off_the_grid(begin, length, 224, 275);
        assert!(moved < begin && begin - moved < 1e-5, "{moved}");
        assert_eq!(off_the_grid(57.3, length, 224, 275), 57.3);
        // A whole side stays whole.
        assert_eq!(off_the_grid(0.0, 275.0, 275, 275), 0.0);
    }
}
