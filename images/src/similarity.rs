//! A fingerprint that near duplicates share: the difference hash.
//!
//! It answers "does this look like that", never "is this that": what counts as the same image is its
//! [SHA-256](crate::sha256).

use crate::pixels::RgbPixels;

/// Columns and rows of the grid. Neighbours in a row are compared, so nine columns give eight bits.
const COLUMNS: usize = 9;
const ROWS: usize = 8;

/// The 64-bit difference hash of a picture.
///
/// The picture is divided into 9 x 8 boxes, and the mean luma (ITU-R BT.601) of each is compared with that of its right
/// neighbour: a bit is set where the left one is brighter. Row after row, the first comparison is the highest bit.
/// The number of differing bits tells how far two pictures are apart: a photograph that was scaled or encoded again
/// differs in 0 to 3 (a nearly flat one in up to 11), another photograph in some 32, and in 15 at least among those of
/// the tests. A flat picture gives 0, and so do all flat pictures.
///
/// ```
/// use picsift_images::{RgbPixels, similarity_hash};
///
/// let ramp = |width: u32| RgbPixels {
///     width,
///     height: 8,
///     data: (0..8 * width).flat_map(|i| [(255 - i % width) as u8; 3]).collect(),
/// };
/// assert_eq!(similarity_hash(&ramp(90)), u64::MAX);
/// assert_eq!((similarity_hash(&ramp(90)) ^ similarity_hash(&ramp(200))).count_ones(), 0);
/// ```
pub fn similarity_hash(pixels: &RgbPixels) -> u64 {
    let (width, height) = (pixels.width as usize, pixels.height as usize);
    let mut hash = 0;
    for row in 0..ROWS {
        let rows = range(row, ROWS, height);
        let mut sums = [[0u64; 3]; COLUMNS];
        for y in rows.clone() {
            let line = &pixels.data[3 * width * y..3 * width * (y + 1)];
            for (column, sum) in sums.iter_mut().enumerate() {
                let columns = range(column, COLUMNS, width);
                // In 32 bits a row of 16 million pixels fits.
                let mut part = [0u32; 3];
                for pixel in line[3 * columns.start..3 * columns.end].chunks_exact(3) {
                    for (total, value) in part.iter_mut().zip(pixel) {
                        *total += u32::from(*value);
                    }
                }
                for (total, part) in sum.iter_mut().zip(part) {
                    *total += u64::from(part);
                }
            }
        }
        let mut means = [0; COLUMNS];
        for (column, (mean, [red, green, blue])) in means.iter_mut().zip(sums).enumerate() {
            let area = (range(column, COLUMNS, width).len() * rows.len()) as u64;
            *mean = 1000 * (299 * red + 587 * green + 114 * blue) / area;
        }
        for pair in means.windows(2) {
            hash = hash << 1 | u64::from(pair[0] > pair[1]);
        }
    }
    hash
}

/// The pixels of part `index` of `parts` along a side of `side` pixels; at least one.
fn range(index: usize, parts: usize, side: usize) -> std::ops::Range<usize> {
    let start = index * side / parts;
    start..((index + 1) * side / parts).max(start + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_stand_in_the_order_of_the_boxes() {
        // Grey, but one box is dark: its left neighbour is brighter than it.
        for (column, row, bit) in [(1, 0, 63), (8, 0, 56), (1, 1, 55), (8, 7, 0)] {
            let mut pixels = RgbPixels {
                width: 90,
                height: 80,
                data: vec![100; 90 * 80 * 3],
            };
            for y in 0..10 {
                for x in 0..10 {
                    let at = 3 * ((row * 10 + y) * 90 + column * 10 + x);
                    pixels.data[at..at + 3].fill(50);
                }
            }
            assert_eq!(similarity_hash(&pixels), 1 << bit, "{column} {row}");
        }
    }

    #[test]
    fn the_smallest_pictures_have_a_hash() {
        for (width, height) in [(1, 1), (1, 100), (8, 7), (3, 500)] {
            let data = vec![7; (width * height * 3) as usize];
            let pixels = RgbPixels {
                width,
                height,
                data,
            };
            assert_eq!(similarity_hash(&pixels), 0);
        }
    }
}
