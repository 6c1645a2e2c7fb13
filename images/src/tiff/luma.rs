//! Luma and chroma that are not in a JPEG: chroma once for a block of pixels, and the picture's own coefficients.

use super::chunk::{Shape, unsupported};
use super::directory::{Directory, tag};
use crate::error::ImageError;

/// How luma and chroma become colours.
pub(super) struct Luma {
    /// Pixels across and down that share their chroma.
    pub(super) block: (u32, u32),
    /// The share of red, green and blue in luma.
    shares: [f64; 3],
}

impl Luma {
    pub(super) fn read(directory: &Directory<'_>) -> Result<Luma, ImageError> {
        let block = directory.numbers(tag::SUBSAMPLING)?;
        let block = match block.as_deref() {
            None => (2, 2),
            Some(&[across @ (1 | 2 | 4), down @ (1 | 2 | 4)]) => (across as u32, down as u32),
            Some(_) => return Err(unsupported("the sampling of its chroma")),
        };
        let shares = match directory.fractions(tag::COEFFICIENTS)?.as_deref() {
            None => [0.299, 0.587, 0.114],
            Some(&[red, green, blue]) if green > 0.0 => [red, green, blue],
            Some(_) => return Err(unsupported("the coefficients of its luma")),
        };
        let full = [0.0, 255.0, 128.0, 255.0, 128.0, 255.0];
        match directory.fractions(tag::REFERENCE)? {
            Some(levels) if levels != full => Err(unsupported("luma that does not fill its range")),
            _ => Ok(Luma { block, shares }),
        }
    }

    /// The shape in which the blocks of a chunk are stored: a row of them, and as many as hold the rows.
    pub(super) fn stored(&self, shape: Shape) -> Shape {
        let (across, down) = self.block;
        let size = (across * down + 2) as usize;
        Shape {
            rows: shape.rows.div_ceil(down),
            row: shape.width.div_ceil(across) as usize * size,
            ..shape
        }
    }

    /// Stored blocks to rows of red, green and blue.
    pub(super) fn to_rgb(&self, data: &[u8], shape: Shape) -> Vec<u8> {
        let (across, down) = (self.block.0 as usize, self.block.1 as usize);
        let width = shape.width as usize;
        let mut out = vec![0; width * shape.rows as usize * 3];
        let stored = self.stored(shape);
        let size = across * down + 2;
        for (y, row) in out.chunks_exact_mut(width * 3).enumerate() {
            let blocks = &data[y / down * stored.row..];
            for (x, pixel) in row.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                let block = &blocks[x / across * size..][..size];
                let luma = block[y % down * across + x % across];
                *pixel = self.colour(luma, block[size - 2], block[size - 1]);
            }
        }
        out
    }

    fn colour(&self, luma: u8, blue: u8, red: u8) -> [u8; 3] {
        let [of_red, of_green, of_blue] = self.shares;
        let luma = f64::from(luma);
        let r = luma + (2.0 - 2.0 * of_red) * (f64::from(red) - 128.0);
        let b = luma + (2.0 - 2.0 * of_blue) * (f64::from(blue) - 128.0);
        let g = (luma - of_red * r - of_blue * b) / of_green;
        [r, g, b].map(|level| level.round().clamp(0.0, 255.0) as u8)
    }
}
