//! The views of the 2025 layout: an overview of the picture and overlapping local crops of it.
//!
//! The picture is resized once to one crop, the overview, and once to a canvas that a grid of crops covers exactly,
//! neighbours sharing a margin. The grid and its arithmetic are those of the published model's code. This module makes
//! pixels only; what the overlap is for, and how features of the crops are put together again, is the encoder's business.

use super::VisionConfig;
use crate::error::VisionError;
use crate::model::{Preprocessor, RgbImage, Views};
use crate::options::CropPolicy;
use crate::transformer::resize::{Filter, resize};

/// Makes the views of the 2025 layout.
///
/// [`Views::data`] has the overview first, then the local crops of [`Views::grid`] (rows, columns), row by row. Where the grid
/// is 1 x 1 there is the overview alone, because the one local crop would have the same bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlapCrops {
    /// Side of a crop in pixels.
    crop: usize,
    /// Pixels at each inner border that two neighbours share on either side.
    margin: usize,
    /// Most local crops.
    max_crops: usize,
    policy: CropPolicy,
}

impl OverlapCrops {
    /// Crops of the sizes that the configuration names.
    pub fn new(vision: &VisionConfig, policy: CropPolicy) -> Self {
        Self {
            crop: vision.crop,
            margin: vision.overlap_margin * vision.patch,
            max_crops: vision.max_crops,
            policy,
        }
    }

    /// Pixels from one local crop to the next.
    fn step(&self) -> usize {
        self.crop - 2 * self.margin
    }

    /// Rows and columns of local crops for a picture of this size in pixels, at least 1 and together at most as many as the
    /// configuration allows; (1, 1) for [`CropPolicy::Global`].
    pub fn tiling(&self, width: u32, height: u32) -> (usize, usize) {
        let step = self.step();
        let inner = |side: u32| (side as usize).saturating_sub(2 * self.margin);
        let (width, height) = (inner(width), inner(height));
        if self.policy == CropPolicy::Global || width <= step || height <= step {
            return (1, 1);
        }
        let (min_rows, min_cols) = (height.div_ceil(step), width.div_ceil(step));
        let most = self.max_crops as f64;
        if min_rows.saturating_mul(min_cols) > self.max_crops {
            // Not enough crops for the picture's own scale: the grid keeps its shape and shrinks.
            let ratio = (most / (min_rows as f64 * min_cols as f64)).sqrt();
            let shrunk = |tiles: usize| ((tiles as f64 * ratio) as usize).max(1);
            return self.limited(shrunk(min_rows), shrunk(min_cols));
        }
        // The largest grid of the picture's shape.
        let (wide, high) = (width as f64, height as f64);
        let rows = ((most * high / wide).sqrt() as usize).max(min_rows);
        let cols = ((most * wide / high).sqrt() as usize).max(min_cols);
        self.limited(rows, cols)
    }

    /// A grid with its longer side cut so that it has no more crops than allowed.
    fn limited(&self, rows: usize, cols: usize) -> (usize, usize) {
        if rows * cols <= self.max_crops {
            (rows, cols)
        } else if cols > rows {
            (rows, (self.max_crops / rows).max(1))
        } else {
            ((self.max_crops / cols).max(1), cols)
        }
    }

    /// Width and height of the canvas that a grid of local crops covers, in pixels.
    fn canvas(&self, (rows, cols): (usize, usize)) -> (usize, usize) {
        let side = |tiles: usize| self.step() * tiles + 2 * self.margin;
        (side(cols), side(rows))
    }
}

impl Preprocessor for OverlapCrops {
    fn views(&self, image: RgbImage) -> Result<Views, VisionError> {
        image.check_not_empty()?;
        let side = self.crop as u32;
        let grid = self.tiling(image.width, image.height);
        let mut data = resize(&image, side, side, Filter::Lanczos).data;
        if grid != (1, 1) {
            let (width, height) = self.canvas(grid);
            let canvas = resize(&image, width as u32, height as u32, Filter::Lanczos);
            data.reserve_exact(grid.0 * grid.1 * data.len());
            cut(&canvas, grid, self.step(), self.crop, &mut data);
        }
        Ok(Views {
            side,
            grid: (grid.0 as u32, grid.1 as u32),
            data,
        })
    }
}

/// Appends the squares of `side` pixels of a grid whose squares are `step` pixels apart, row by row.
pub(super) fn cut(
    canvas: &RgbImage,
    (rows, cols): (usize, usize),
    step: usize,
    side: usize,
    squares: &mut Vec<u8>,
) {
    let stride = canvas.width as usize * 3;
    for row in 0..rows {
        for col in 0..cols {
            for line in canvas.data.chunks_exact(stride).skip(row * step).take(side) {
                squares.extend_from_slice(&line[col * step * 3..][..side * 3]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn crops(crop: usize, overlap_margin: usize, max_crops: usize) -> OverlapCrops {
        OverlapCrops {
            crop,
            margin: overlap_margin * 14,
            max_crops,
            policy: CropPolicy::Reference,
        }
    }

    fn published() -> OverlapCrops {
        crops(378, 4, 12)
    }

    #[test]
    fn grids_are_those_of_the_published_model() {
        for (width, height, grid) in [
            (640, 480, (2, 4)),
            (512, 512, (3, 3)),
            (2000, 390, (1, 6)),
            (390, 2000, (6, 1)),
            (2000, 200, (1, 1)),
            (1920, 1080, (2, 4)),
            (378, 378, (1, 1)),
            (379, 378, (1, 1)),
            (379, 379, (3, 3)),
            (1, 1, (1, 1)),
        ] {
            assert_eq!(
                published().tiling(width, height),
                grid,
                "{width} x {height}"
            );
        }
    }

    #[test]
    fn the_overview_alone_is_one_view_of_any_picture() {
        let global = OverlapCrops {
            policy: CropPolicy::Global,
            ..crops(28, 0, 4)
        };
        let views = global.views(gradient(90, 60)).unwrap();
        assert_eq!((views.count(), views.grid), (1, (1, 1)));
        assert_eq!(global.tiling(5000, 5000), (1, 1));
    }

    #[test]
    fn an_empty_or_short_picture_is_refused() {
        let empty = RgbImage {
            width: 0,
            height: 7,
            data: Vec::new(),
        };
        let error = published().views(empty).unwrap_err().to_string();
        assert!(error.contains("0 x 7"), "{error}");
        let mut short = gradient(20, 10);
        short.data.pop();
        assert!(matches!(
            published().views(short),
            Err(VisionError::ImageData { .. })
        ));
    }

    fn gradient(width: u32, height: u32) -> RgbImage {
        let data = (0..height)
            .flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, (x + y) as u8]))
            .collect();
        RgbImage {
            width,
            height,
            data,
        }
    }

    #[test]
    fn neighbours_show_the_same_pixels_where_they_overlap() {
        let crops = crops(56, 1, 8);
        let views = crops.views(gradient(150, 100)).unwrap();
        let (rows, cols) = (views.grid.0 as usize, views.grid.1 as usize);
        assert_eq!((rows, cols), (2, 3));
        assert_eq!(views.count(), 1 + rows * cols);
        let line = 56 * 3;
        let (step, shared) = (crops.step(), 2 * crops.margin);
        let square = |row: usize, col: usize| {
            let size = 56 * line;
            &views.data[(1 + row * cols + col) * size..][..size]
        };
        for row in 0..rows {
            for y in 0..56 {
                let (left, right) = (&square(row, 0)[y * line..], &square(row, 1)[y * line..]);
                assert_eq!(left[step * 3..line], right[..shared * 3]);
            }
        }
        for col in 0..cols {
            let (upper, lower) = (square(0, col), square(1, col));
            assert_eq!(upper[step * line..], lower[..shared * line]);
        }
    }

    proptest! {
        #[test]
        fn crops_cover_the_canvas_and_are_not_too_many(
            width in 1..=5000_u32, height in 1..=5000_u32, max_crops in 1..=20_usize,
            (crop, margin) in prop_oneof![Just((378, 4)), Just((112, 1)), Just((28, 0))],
        ) {
            let crops = crops(crop, margin, max_crops);
            let (rows, cols) = crops.tiling(width, height);
            prop_assert!(rows >= 1 && cols >= 1 && rows * cols <= max_crops);
            let (canvas_width, canvas_height) = crops.canvas((rows, cols));
            // The last crop ends where the canvas does, and no two leave a gap.
            prop_assert_eq!((cols - 1) * crops.step() + crop, canvas_width);
            prop_assert_eq!((rows - 1) * crops.step() + crop, canvas_height);
            prop_assert!(crops.step() >= 1 && crops.step() <= crop);
        }

        #[test]
        fn every_view_has_the_size_of_a_crop(width in 1..200_u32, height in 1..200_u32, max_crops in 1..=5_usize) {
            let crops = crops(42, 1, max_crops);
            let views = crops.views(gradient(width, height)).unwrap();
            let (rows, cols) = crops.tiling(width, height);
            prop_assert_eq!(views.grid, (rows as u32, cols as u32));
            let count = if rows * cols == 1 { 1 } else { 1 + rows * cols };
            prop_assert_eq!(views.data.len(), count * 42 * 42 * 3);
        }
    }
}
