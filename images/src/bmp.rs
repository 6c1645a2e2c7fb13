//! A BMP's header before its decoder sees it: OS/2's second header and pixels whose place is not given are written as the decoder
//! knows them, and what no decoder here knows is refused by name.

use std::borrow::Cow;

use crate::error::ImageError;
use crate::format::Format;

/// The header of the file, which the one of the picture follows.
const FILE: usize = 14;

/// The header that all later ones begin with.
const INFO: usize = 40;

/// The file as the decoder knows it. What cannot be read is left to the decoder.
///
/// # Errors
/// [`ImageError::UnsupportedFeature`] for pixels that are coded in a way that is not known here.
pub(crate) fn mended(bytes: &[u8]) -> Result<Cow<'_, [u8]>, ImageError> {
    let Some((header, start)) = number(bytes, FILE, 4).zip(number(bytes, 10, 4)) else {
        return Ok(Cow::Borrowed(bytes));
    };
    let is_os2 = matches!(header, 16..=64) && !matches!(header, 40 | 52 | 56);
    check_coding(bytes, header, is_os2)?;
    if !is_os2 && start != 0 {
        return Ok(Cow::Borrowed(bytes));
    }
    let Some(rest) = bytes.get(FILE + header..) else {
        return Ok(Cow::Borrowed(bytes));
    };
    let mut out = bytes[..FILE + header].to_vec();
    if is_os2 {
        // Fields that a shorter header leaves out are zero, those that a longer one adds do not change the picture.
        out.resize(FILE + INFO, 0);
        out[FILE..FILE + 4].copy_from_slice(&(INFO as u32).to_le_bytes());
    }
    let start = match start {
        0 => out.len() + tables(&out),
        start => (start + out.len()).saturating_sub(FILE + header),
    };
    out[10..FILE].copy_from_slice(&u32::try_from(start).unwrap_or(u32::MAX).to_le_bytes());
    out.extend(rest);
    Ok(Cow::Owned(out))
}

/// A little-endian number of `size` bytes.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<usize> {
    let bytes = bytes.get(at..at + size)?;
    Some(
        bytes
            .iter()
            .rev()
            .fold(0, |sum, &b| sum << 8 | usize::from(b)),
    )
}

/// Bytes of colour masks and palette behind the picture's header.
fn tables(bytes: &[u8]) -> usize {
    let field = |at, size| number(bytes, FILE + at, size).unwrap_or(0);
    let header = field(0, 4);
    if header == 12 {
        return match field(10, 2) {
            bits @ 1..=8 => 3 << bits,
            _ => 0,
        };
    }
    let (bits, coding, used) = (field(14, 2), field(16, 4), field(32, 4));
    let masks = if header == INFO && coding == 3 { 12 } else { 0 };
    let colours = match (bits, used) {
        (1..=8, 0) => 1 << bits,
        _ => used.min(256),
    };
    masks + 4 * colours
}

fn check_coding(bytes: &[u8], header: usize, is_os2: bool) -> Result<(), ImageError> {
    if header < 20 {
        return Ok(());
    }
    let feature = match (number(bytes, FILE + 16, 4), is_os2) {
        (Some(3), true) => "a fax within",
        (Some(4), true) => "run-length coding of 24 bits",
        (Some(4), false) => "a JPEG within",
        (Some(5), false) => "a PNG within",
        (Some(11..=13), _) => "CMYK",
        _ => return Ok(()),
    };
    Err(ImageError::UnsupportedFeature {
        format: Format::Bmp.title(),
        feature: feature.to_owned(),
    })
}
