//! Decoded pixels, on which all of the crate agrees, and how what is transparent is shown.
//!
//! It knows no format and no size that anybody wants.

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

impl RgbPixels {
    /// What is left where the pixels have been taken away.
    pub(crate) fn none() -> Self {
        Self {
            width: 0,
            height: 0,
            data: Vec::new(),
        }
    }
}

/// A channel with alpha on white: `c * a + 255 * (1 - a)`, rounded, as Pillow's `alpha_composite` on white.
pub(crate) fn over_white(channel: u8, alpha: u8) -> u8 {
    // A division by 255 without one, in numbers that just hold it, so that many are done at once.
    let alpha = u16::from(alpha);
    let sum = u16::from(channel) * alpha + 255 * (255 - alpha) + 128;
    ((sum + (sum >> 8)) >> 8) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_on_white_are_rounded_to_the_nearest_level() {
        for channel in 0..=255_u8 {
            for alpha in 0..=255_u8 {
                let (c, a) = (f64::from(channel), f64::from(alpha));
                let exact = (c * a + 255.0 * (255.0 - a)) / 255.0;
                let got = over_white(channel, alpha);
                assert_eq!(f64::from(got), exact.round(), "{channel} {alpha}");
            }
        }
    }
}
