//! Run-length-coded BMPs: palettes of 4 and 8 bits.
//!
//! What no run reaches has the first colour, as Pillow shows it; a run that is too long for its row ends with it; rows may come from
//! either end.

use crate::deadline::Deadline;
use crate::error::ImageError;
use crate::format::Format;
use crate::geometry::Raster;
use crate::limits::Limits;
use crate::pixels::RgbPixels;
use image::metadata::Orientation;

/// The header of the file, which the one of the picture follows.
const FILE: usize = 14;

/// A picture whose header has been read.
pub(crate) struct Picture<'a> {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// The first row is the upper one.
    from_top: bool,
    /// A byte holds two indices.
    halves: bool,
    colours: [[u8; 3]; 256],
    data: &'a [u8],
    size: u64,
}

impl<'a> Picture<'a> {
    /// Reads the header; `None` where the pixels are not run-length-coded.
    ///
    /// # Errors
    /// When the picture is larger than it may be or its header gives no size.
    pub(crate) fn read(
        bytes: &'a [u8],
        limits: &Limits,
    ) -> Result<Option<Picture<'a>>, ImageError> {
        let half = |at: usize| Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let header = word(FILE).unwrap_or(0) as usize;
        let coding = half(FILE + 14).zip(word(FILE + 16));
        let halves = match coding {
            Some((8, 1)) if header >= 40 => false,
            Some((4, 2)) if header >= 40 => true,
            _ => return Ok(None),
        };
        let side = |at: usize| word(at).map_or(0, u32::cast_signed);
        let (width, height) = (side(FILE + 4), side(FILE + 8));
        if width <= 0 || height == 0 {
            return Err(corrupt("its header gives no size"));
        }
        let (width, from_top, height) = (width.unsigned_abs(), height < 0, height.unsigned_abs());
        limits.check_pixels(width, height)?;
        let start = word(10).map_or(0, |start| start as usize);
        let table = bytes.get(FILE.saturating_add(header)..).unwrap_or(&[]);
        let table = &table[..table.len().min(start.saturating_sub(FILE + header))];
        let mut colours = [[0; 3]; 256];
        let most = if halves { 16 } else { 256 };
        for (colour, &[b, g, r, _]) in colours.iter_mut().take(most).zip(table.as_chunks::<4>().0) {
            *colour = [r, g, b];
        }
        Ok(Some(Picture {
            width,
            height,
            from_top,
            halves,
            colours,
            data: bytes.get(start..).unwrap_or(&[]),
            size: bytes.len() as u64,
        }))
    }

    /// Bytes at the peak: the result.
    pub(crate) fn memory(&self) -> u64 {
        3 * u64::from(self.width) * u64::from(self.height)
    }

    pub(crate) fn decode(self, deadline: &Deadline) -> Result<Raster, ImageError> {
        let (width, height) = (self.width as usize, self.height as usize);
        let mut canvas = Canvas {
            width,
            height,
            from_top: self.from_top,
            pixels: vec![self.colours[0]; width * height],
            x: 0,
            y: 0,
        };
        let (mut data, halves) = (self.data, self.halves);
        let index = |bytes: &[u8], at: usize| match (halves, at % 2) {
            (false, _) => bytes[at],
            (true, 0) => bytes[at / 2] >> 4,
            (true, _) => bytes[at / 2] & 15,
        };
        let colour = |index: u8| self.colours[usize::from(index)];
        loop {
            let (count, rest) = match data {
                [] | [_] if canvas.is_full() => break,
                [0, 1, ..] => break,
                &[count, code, ref rest @ ..] => ((count, code), rest),
                _ => return Err(truncated(self.size)),
            };
            data = rest;
            match (count, rest) {
                ((0, 0), _) => (canvas.x, canvas.y) = (0, canvas.y + 1),
                ((0, 2), &[right, up, ref rest @ ..]) => {
                    canvas.x += usize::from(right);
                    canvas.y += usize::from(up);
                    data = rest;
                }
                ((0, 2), _) => return Err(truncated(self.size)),
                // So many indices as they are, to an even number of bytes.
                ((0, count), _) => {
                    let count = usize::from(count);
                    let length = if halves { count.div_ceil(2) } else { count };
                    let Some(indices) = rest.get(..length) else {
                        return Err(truncated(self.size));
                    };
                    canvas.put((0..count).map(|at| colour(index(indices, at))));
                    data = rest.get(length + length % 2..).unwrap_or(&[]);
                }
                ((count, code), _) => {
                    let pair = match halves {
                        true => [code >> 4, code & 15],
                        false => [code; 2],
                    };
                    canvas.put((0..usize::from(count)).map(|at| colour(pair[at % 2])));
                }
            }
            deadline.spend(256)?;
        }
        let pixels = RgbPixels {
            width: self.width,
            height: self.height,
            data: canvas.pixels.into_flattened(),
        };
        Ok(Raster::full_scale(pixels, Orientation::NoTransforms))
    }
}

/// The picture as far as it is drawn, and the place where the next pixel goes.
struct Canvas {
    width: usize,
    height: usize,
    from_top: bool,
    pixels: Vec<[u8; 3]>,
    x: usize,
    /// The row, as rows are stored.
    y: usize,
}

impl Canvas {
    fn is_full(&self) -> bool {
        self.y >= self.height || (self.y + 1 == self.height && self.x >= self.width)
    }

    /// Puts pixels into the row, as many as there is room for.
    fn put(&mut self, pixels: impl ExactSizeIterator<Item = [u8; 3]>) {
        let x = self.x.min(self.width);
        self.x += pixels.len();
        if self.y < self.height {
            let row = match self.from_top {
                true => self.y,
                false => self.height - 1 - self.y,
            };
            let row = &mut self.pixels[row * self.width..(row + 1) * self.width];
            for (out, pixel) in row[x..].iter_mut().zip(pixels) {
                *out = pixel;
            }
        }
    }
}

fn truncated(size: u64) -> ImageError {
    ImageError::Truncated {
        format: Format::Bmp.title(),
        size,
        source: None,
    }
}

fn corrupt(reason: &str) -> ImageError {
    ImageError::Corrupt {
        format: Format::Bmp.title(),
        reason: reason.to_owned(),
        source: None,
    }
}
