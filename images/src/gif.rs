//! A GIF's canvas before its decoder sees it: it grows to hold its first frame.
//!
//! Some writers give a canvas that is smaller than the frame, or none. The frame's pixels are the picture, so the canvas is made as large as
//! the frame needs; later frames are not looked at.

use std::borrow::Cow;

/// The file with a canvas that holds the first frame. What cannot be read is left to the decoder.
pub(crate) fn mended(bytes: &[u8]) -> Cow<'_, [u8]> {
    match grown(bytes) {
        None => Cow::Borrowed(bytes),
        Some((width, height)) => {
            let mut bytes = bytes.to_vec();
            bytes[6..8].copy_from_slice(&width.to_le_bytes());
            bytes[8..10].copy_from_slice(&height.to_le_bytes());
            Cow::Owned(bytes)
        }
    }
}

/// The size of the canvas where it must grow.
fn grown(bytes: &[u8]) -> Option<(u16, u16)> {
    let &[w0, w1, h0, h1, flags, _, _, ref rest @ ..] = bytes.get(6..)? else {
        return None;
    };
    let canvas = (u16::from_le_bytes([w0, w1]), u16::from_le_bytes([h0, h1]));
    let mut rest = rest.get(colours(flags)..)?;
    loop {
        match rest {
            [0x21, _, blocks @ ..] => {
                let mut blocks = blocks;
                // Pieces of up to 255 bytes; one of none ends them.
                loop {
                    let (&length, after) = blocks.split_first()?;
                    blocks = after.get(usize::from(length)..)?;
                    if length == 0 {
                        break;
                    }
                }
                rest = blocks;
            }
            &[0x2C, x0, x1, y0, y1, w0, w1, h0, h1, ..] => {
                let end = |from: [u8; 2], side: [u8; 2]| {
                    u16::from_le_bytes(from).checked_add(u16::from_le_bytes(side))
                };
                let right = end([x0, x1], [w0, w1])?.max(canvas.0);
                let bottom = end([y0, y1], [h0, h1])?.max(canvas.1);
                return ((right, bottom) != canvas).then_some((right, bottom));
            }
            _ => return None,
        }
    }
}

/// Bytes of the colour table that the flags announce.
fn colours(flags: u8) -> usize {
    match flags & 0x80 {
        0 => 0,
        _ => 3 << ((flags & 7) + 1),
    }
}
