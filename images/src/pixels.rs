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

/// A channel with alpha on white.
pub(crate) fn over_white(channel: u8, alpha: u8) -> u8 {
    match alpha {
        255 => channel,
        0 => 255,
        _ => {
            let (channel, alpha) = (u32::from(channel), u32::from(alpha));
            ((channel * alpha + 255 * (255 - alpha) + 127) / 255) as u8
        }
    }
}
