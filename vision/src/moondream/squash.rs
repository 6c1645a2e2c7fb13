//! The views of the 2024 layout: the picture squashed to one of four sizes, cut into tiles.
//!
//! The size comes from the picture's shape by the published code's rule, its odd way with ties included: models
//! of this layout answer about what that rule showed them. The overview that the encoder also sees of a picture with more than
//! one tile is not among the views, because the published code makes it from the resized picture's normalised floats, not
//! from bytes; the model does that itself.

use super::VisionConfig;
use super::crops::cut;
use crate::error::VisionError;
use crate::model::{Preprocessor, RgbImage, Views};
use crate::options::CropPolicy;
use crate::transformer::resize::{Filter, resize};

/// A picture with both sides below this, in pixels, becomes a single crop whatever its shape: the published code's value.
const SMALL: u32 = 512;

/// Makes the views of the 2024 layout.
///
/// [`Views::data`] has the tiles of the squashed picture row by row, [`Views::grid`] of them: (1, 1), (1, 2), (2, 1) or (2, 2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Squash {
    /// Side of a tile in pixels.
    crop: usize,
    policy: CropPolicy,
}

impl Squash {
    /// Tiles of the size that the configuration names.
    pub fn new(vision: &VisionConfig, policy: CropPolicy) -> Self {
        Self {
            crop: vision.crop,
            policy,
        }
    }

    /// Rows and columns of tiles for a picture of this size in pixels; (1, 1) for [`CropPolicy::Global`].
    pub fn tiling(&self, width: u32, height: u32) -> (usize, usize) {
        if self.policy == CropPolicy::Global || (width < SMALL && height < SMALL) {
            return (1, 1);
        }
        let (wide, high) = (f64::from(width), f64::from(height));
        // How far the shapes are apart, then how far the sides: the tile's height from the picture's width and the other
        // way round, as published. The first of equals stays.
        let distance = |(rows, cols): (usize, usize)| {
            let sides = [(rows, width), (cols, height)]
                .map(|(tiles, side)| (tiles * self.crop).abs_diff(side as usize));
            (
                (cols as f64 / rows as f64 - wide / high).abs(),
                sides[0] + sides[1],
            )
        };
        let mut best = (1, 1);
        for grid in [(1, 2), (2, 1), (2, 2)] {
            if distance(grid) < distance(best) {
                best = grid;
            }
        }
        best
    }
}

impl Preprocessor for Squash {
    fn views(&self, image: RgbImage) -> Result<Views, VisionError> {
        image.check_not_empty()?;
        let grid = self.tiling(image.width, image.height);
        let (rows, cols) = (grid.0 as u32, grid.1 as u32);
        let side = self.crop as u32;
        let squashed = resize(&image, side * cols, side * rows, Filter::Bicubic);
        let data = if grid == (1, 1) {
            squashed.data
        } else {
            let mut data = Vec::with_capacity(squashed.data.len());
            cut(&squashed, grid, self.crop, self.crop, &mut data);
            data
        };
        Ok(Views {
            side,
            grid: (rows, cols),
            data,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn squash(policy: CropPolicy) -> Squash {
        Squash { crop: 378, policy }
    }

    #[test]
    fn sizes_are_those_of_the_published_model() {
        for (width, height, grid) in [
            (511, 1, (1, 1)),
            (640, 480, (1, 1)),
            (512, 512, (1, 1)),
            (700, 700, (2, 2)),
            (1920, 1080, (1, 2)),
            (2000, 200, (1, 2)),
            (600, 1000, (2, 1)),
            // Half-way between square and 2:1.
            (720, 480, (2, 2)),
        ] {
            assert_eq!(
                squash(CropPolicy::Reference).tiling(width, height),
                grid,
                "{width} x {height}"
            );
            assert_eq!(squash(CropPolicy::Global).tiling(width, height), (1, 1));
        }
    }

    #[test]
    fn tiles_are_quarters_of_the_squashed_picture() {
        let image = RgbImage {
            width: 600,
            height: 600,
            data: (0..600 * 600 * 3).map(|i| (i / 7) as u8).collect(),
        };
        let squash = Squash {
            crop: 300,
            policy: CropPolicy::Reference,
        };
        let views = squash.views(image.clone()).unwrap();
        assert_eq!((views.count(), views.grid, views.side), (4, (2, 2), 300));
        let line = 300 * 3;
        // The squashed picture has the picture's own size here, so its bytes are the picture's.
        let lower_right = &views.data[3 * 300 * line..];
        for (y, row) in lower_right.chunks(line).enumerate() {
            assert_eq!(row, &image.data[(300 + y) * 2 * line + line..][..line]);
        }
    }

    #[test]
    fn a_picture_without_pixels_is_refused() {
        let empty = RgbImage {
            width: 3,
            height: 0,
            data: Vec::new(),
        };
        let error = squash(CropPolicy::Reference).views(empty).unwrap_err();
        assert!(error.to_string().contains("3 x 0"), "{error}");
    }
}
