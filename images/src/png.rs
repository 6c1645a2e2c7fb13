//! A PNG's chunks before its decoder sees them: the size, and a palette that is one.
//!
//! The decoder must be told how much memory it may take before it has read the size, since profiles are inflated on the
//! way, and it panics on a palette that ends within a colour.

use crate::ImageError;
use crate::format::Format;

/// Width and height, where the data goes so far; what else is wrong with it the decoder says.
///
/// # Errors
/// [`ImageError::Corrupt`] for a palette before the picture's data that is none.
pub(crate) fn check(bytes: &[u8]) -> Result<Option<(u32, u32)>, ImageError> {
    let mut size = None;
    let mut rest = bytes.get(8..).unwrap_or(&[]);
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        match (after, size) {
            (&[b'I', b'H', b'D', b'R', w3, w2, w1, w0, h3, h2, h1, h0, ..], None) => {
                size = Some((
                    u32::from_be_bytes([w3, w2, w1, w0]),
                    u32::from_be_bytes([h3, h2, h1, h0]),
                ));
            }
            (&[b'P', b'L', b'T', b'E', ..], _) if length % 3 != 0 || length == 0 => {
                return Err(ImageError::Corrupt {
                    format: Format::Png.title(),
                    reason: format!("its palette has {length} bytes, not three for each colour"),
                    source: None,
                });
            }
            (&[b'I', b'D', b'A', b'T', ..], _) => break,
            _ => {}
        }
        // The name before the data, and the checksum behind it.
        rest = after.get(length.saturating_add(8)..).unwrap_or(&[]);
    }
    Ok(size)
}
