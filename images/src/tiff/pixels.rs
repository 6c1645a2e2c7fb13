//! Stored samples to red, green and blue on white: depth, byte order, predictor, palette, inks and alpha.

use super::chunk::unsupported;
use super::corrupt;
use crate::colour::{Conversion, plain_inks};
use crate::error::ImageError;
use crate::pixels::over_white;

/// What the first samples of a pixel are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Colours {
    Grey {
        white_is_zero: bool,
    },
    Rgb,
    /// Red, green and blue of each index.
    Palette(Vec<[u8; 3]>),
    Inks,
}

impl Colours {
    /// How many samples they are.
    pub(super) fn samples(&self) -> usize {
        match self {
            Colours::Grey { .. } | Colours::Palette(_) => 1,
            Colours::Rgb => 3,
            Colours::Inks => 4,
        }
    }
}

/// A sample that says how much of the pixel there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Alpha {
    /// Its place among the samples.
    pub(super) at: usize,
    /// The colours are multiplied by it already.
    pub(super) premultiplied: bool,
}

/// What was done to a row of samples before it was compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Predictor {
    None,
    /// Each sample is the difference to the same one of the pixel before.
    Horizontal,
    /// The bytes of floating-point numbers, sorted by their weight, and then differences.
    Float,
}

/// How the samples of a picture are stored.
pub(super) struct Samples {
    pub(super) colours: Colours,
    pub(super) alpha: Option<Alpha>,
    /// Samples of a pixel, all of them.
    pub(super) count: usize,
    pub(super) bits: u32,
    pub(super) float: bool,
    pub(super) big_endian: bool,
    pub(super) predictor: Predictor,
}

impl Samples {
    /// Whether a row of one plane is red, green and blue in bytes as it stands.
    pub(super) fn is_plain_rgb(&self) -> bool {
        self.colours == Colours::Rgb && (self.count, self.bits) == (3, 8)
    }

    /// Undoes the predictor on a row that holds `stride` samples of each pixel.
    pub(super) fn undo_predictor(&self, row: &mut [u8], stride: usize) -> Result<(), ImageError> {
        match (self.predictor, self.bits) {
            (Predictor::None, _) => {}
            (Predictor::Horizontal, 8) => {
                for at in stride..row.len() {
                    row[at] = row[at].wrapping_add(row[at - stride]);
                }
            }
            (Predictor::Horizontal, 16) => {
                let pairs = row.as_chunks_mut::<2>().0;
                for at in stride..pairs.len() {
                    let sum = self
                        .two(pairs[at])
                        .wrapping_add(self.two(pairs[at - stride]));
                    pairs[at] = match self.big_endian {
                        true => sum.to_be_bytes(),
                        false => sum.to_le_bytes(),
                    };
                }
            }
            (Predictor::Float, 32) if self.float => {
                for at in stride..row.len() {
                    row[at] = row[at].wrapping_add(row[at - stride]);
                }
                let sorted = row.to_vec();
                let count = row.len() / 4;
                for (at, number) in row.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                    *number = std::array::from_fn(|byte| sorted[byte * count + at]);
                    // The most significant byte comes first, whatever the order of the file.
                    if !self.big_endian {
                        number.reverse();
                    }
                }
            }
            (Predictor::Horizontal, bits) => {
                return Err(unsupported(&format!("a predictor over {bits} bits")));
            }
            (Predictor::Float, _) => {
                return Err(corrupt("it has a predictor for numbers that it has not"));
            }
        }
        Ok(())
    }

    fn two(&self, bytes: [u8; 2]) -> u16 {
        match self.big_endian {
            true => u16::from_be_bytes(bytes),
            false => u16::from_le_bytes(bytes),
        }
    }

    fn number(&self, bytes: [u8; 4]) -> f32 {
        match self.big_endian {
            true => f32::from_be_bytes(bytes),
            false => f32::from_le_bytes(bytes),
        }
    }

    /// Writes the samples of a stored row to every `step`-th place of `out`: indexes as they are, levels as 0 to 255.
    pub(super) fn unpack(&self, row: &[u8], step: usize, out: &mut [u8]) {
        let places = out.iter_mut().step_by(step);
        match self.bits {
            8 => places.zip(row).for_each(|(out, &sample)| *out = sample),
            16 => {
                for (out, &pair) in places.zip(row.as_chunks::<2>().0) {
                    *out = ((u32::from(self.two(pair)) + 128) / 257) as u8;
                }
            }
            32 => {
                for (out, &number) in places.zip(row.as_chunks::<4>().0) {
                    // What is no number becomes 0.
                    *out = (self.number(number).clamp(0.0, 1.0) * 255.0).round() as u8;
                }
            }
            bits => {
                let most = (1_u32 << bits) - 1;
                let per_byte = 8 / bits;
                let is_index = matches!(self.colours, Colours::Palette(_));
                for (at, out) in (0..).zip(places) {
                    let byte = row.get((at / per_byte) as usize).copied().unwrap_or(0);
                    let level = u32::from(byte) >> (8 - bits - bits * (at % per_byte)) & most;
                    *out = match is_index {
                        true => level as u8,
                        false => (level * 255 / most) as u8,
                    };
                }
            }
        }
    }

    /// Pixels of `count` samples each, as [`Samples::unpack`] makes them, to red, green and blue on white.
    pub(super) fn to_rgb(&self, row: &[u8], conversion: Option<&Conversion>, out: &mut [u8]) {
        let pixels = || row.chunks_exact(self.count);
        let places = out.as_chunks_mut::<3>().0;
        match &self.colours {
            Colours::Grey { white_is_zero } => {
                let inverted = if *white_is_zero { 255 } else { 0 };
                for (out, pixel) in places.iter_mut().zip(pixels()) {
                    *out = [pixel[0] ^ inverted; 3];
                }
            }
            Colours::Rgb => {
                for (out, pixel) in places.iter_mut().zip(pixels()) {
                    *out = [pixel[0], pixel[1], pixel[2]];
                }
            }
            Colours::Palette(colours) => {
                for (out, pixel) in places.iter_mut().zip(pixels()) {
                    *out = colours
                        .get(usize::from(pixel[0]))
                        .copied()
                        .unwrap_or_default();
                }
            }
            Colours::Inks => {
                let inks: Vec<u8> = pixels().flat_map(|pixel| &pixel[..4]).copied().collect();
                let converted = conversion.is_some_and(|c| c.inks(&inks, out));
                if !converted {
                    plain_inks(&inks, out);
                }
            }
        }
        let Some(alpha) = self.alpha else {
            return;
        };
        for (out, pixel) in out.as_chunks_mut::<3>().0.iter_mut().zip(pixels()) {
            let there = pixel[alpha.at];
            *out = out.map(|channel| match alpha.premultiplied {
                true => channel.saturating_add(255 - there),
                false => over_white(channel, there),
            });
        }
    }
}
