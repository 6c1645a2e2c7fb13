//! A BMP before its decoder sees it: OS/2's second header, pixels whose place is not given and a last row without its padding are
//! written as the decoder knows them, and what no decoder here knows is refused by name.

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
    let mut mended = match bytes.get(FILE + header..) {
        Some(rest) if is_os2 || start == 0 => {
            Cow::Owned(with_header(&bytes[..FILE + header], rest, is_os2, start))
        }
        _ => Cow::Borrowed(bytes),
    };
    // There is one plane, whatever is said.
    let planes = FILE + if header == 12 { 8 } else { 12 };
    if number(&mended, planes, 2).is_some_and(|planes| planes != 1) {
        mended.to_mut()[planes..planes + 2].copy_from_slice(&[1, 0]);
    }
    let padding = missing_padding(&mended);
    if padding > 0 {
        let length = mended.len() + padding;
        mended.to_mut().resize(length, 0);
    }
    Ok(mended)
}

/// The file with a header and a place of the pixels that the decoder knows.
fn with_header(head: &[u8], rest: &[u8], is_os2: bool, start: usize) -> Vec<u8> {
    let mut out = head.to_vec();
    if is_os2 {
        // Fields that a shorter header leaves out are zero, those that a longer one adds do not change the picture.
        out.resize(FILE + INFO, 0);
        out[FILE..FILE + 4].copy_from_slice(&(INFO as u32).to_le_bytes());
    }
    let start = match start {
        0 => out.len() + tables(&out),
        start => (start + out.len()).saturating_sub(head.len()),
    };
    out[10..FILE].copy_from_slice(&u32::try_from(start).unwrap_or(u32::MAX).to_le_bytes());
    out.extend(rest);
    out
}

/// Bytes that fill up the last row where a writer left them out: no pixel is in them.
fn missing_padding(bytes: &[u8]) -> usize {
    let field = |at, size| number(bytes, FILE + at, size).unwrap_or(0);
    if field(0, 4) < INFO || !matches!(field(16, 4), 0 | 3) {
        return 0;
    }
    let sides = i32::try_from(field(4, 4))
        .ok()
        .zip(u32::try_from(field(8, 4)).ok());
    let (Some((width, height)), bits @ 1..=32) = (sides, field(14, 2)) else {
        return 0;
    };
    let height = u64::from(height.cast_signed().unsigned_abs());
    let bits = u64::from(width.unsigned_abs()) * bits as u64;
    let row = bits.div_ceil(32) * 4;
    let start = number(bytes, 10, 4).unwrap_or(0) as u64;
    let whole = row.saturating_mul(height).saturating_add(start);
    match whole.checked_sub(bytes.len() as u64) {
        Some(missing) if missing <= row - bits.div_ceil(8) => missing as usize,
        _ => 0,
    }
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
    let mask = |at| number(bytes, FILE + at, 4);
    let feature = match (number(bytes, FILE + 16, 4), is_os2) {
        (Some(3), false) if [40, 44, 48].into_iter().any(|at| mask(at) == Some(0)) => {
            "colour masks that leave a colour out"
        }
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
