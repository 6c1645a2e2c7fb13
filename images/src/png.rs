//! A PNG's chunks before its decoder sees them: the size, a palette that is one, and which way up.
//!
//! The decoder must be told how much memory it may take before it has read the size, since profiles are inflated on the
//! way, and it panics on a palette that ends within a colour. It stops at the pixels, where some writers put EXIF behind them, and
//! does not know the text in which ImageMagick keeps it.

use std::borrow::Cow;
use std::io::Read;

use flate2::read::ZlibDecoder;
use image::metadata::Orientation;

use crate::error::ImageError;
use crate::exif;
use crate::format::Format;

/// Most bytes that the texts of a file are inflated to, all of them together: an EXIF block has at most 64 KiB, here two digits for each.
const MOST_TEXT: u64 = 512 << 10;

/// What a text counts for at least: beginning takes time too.
const LEAST_TEXT: u64 = 4 << 10;

/// What the chunks say.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    /// Width and height, where the data goes so far; what else is wrong with it the decoder says.
    pub(crate) size: Option<(u32, u32)>,
    pub(crate) orientation: Option<Orientation>,
}

/// Walks the chunks.
///
/// # Errors
/// [`ImageError::Corrupt`] for a palette before the picture's data that is none.
pub(crate) fn facts(bytes: &[u8]) -> Result<Facts, ImageError> {
    let mut facts = Facts::default();
    let (mut exif, mut text, mut xmp) = (None, None, None);
    let mut before_pixels = true;
    let mut most_text = MOST_TEXT;
    let mut rest = bytes.get(8..).unwrap_or(&[]);
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((name, data)) = after.split_first_chunk::<4>() else {
            break;
        };
        let whole = data.get(..length);
        match (name, whole) {
            (b"IHDR", _) if facts.size.is_none() => {
                if let &[w3, w2, w1, w0, h3, h2, h1, h0, ..] = data {
                    let size = |bytes| u32::from_be_bytes(bytes);
                    facts.size = Some((size([w3, w2, w1, w0]), size([h3, h2, h1, h0])));
                }
            }
            (b"PLTE", _) if before_pixels && (length % 3 != 0 || length == 0) => {
                return Err(ImageError::Corrupt {
                    format: Format::Png.title(),
                    reason: format!("its palette has {length} bytes, not three for each colour"),
                    source: None,
                });
            }
            (b"IDAT", _) => before_pixels = false,
            (b"eXIf", Some(data)) if exif.is_none() => exif = exif::orientation(data),
            (b"tEXt" | b"zTXt" | b"iTXt", Some(data)) if text.is_none() || xmp.is_none() => {
                match Text::read(name, data, &mut most_text) {
                    Some(Text::Exif(block)) => text = text.or(exif::orientation(&block)),
                    Some(Text::Xmp(packet)) => xmp = xmp.or(exif::orientation_of_xmp(&packet)),
                    None => {}
                }
            }
            (b"IEND", _) => break,
            _ => {}
        }
        // The checksum lies behind the data.
        rest = data.get(length.saturating_add(4)..).unwrap_or(&[]);
    }
    facts.orientation = exif.or(text).or(xmp);
    Ok(facts)
}

/// The chunk that ends a file.
const END: [u8; 12] = *b"\0\0\0\0IEND\xAE\x42\x60\x82";

/// The file with its end, where that alone is missing: the data goes to the end of a chunk behind the pixels.
pub(crate) fn mended(bytes: &[u8]) -> Cow<'_, [u8]> {
    let mut rest = bytes.get(8..).unwrap_or(&[]);
    let mut has_pixels = false;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        has_pixels |= after.starts_with(b"IDAT");
        let behind = after.get(length.saturating_add(8)..);
        match behind {
            Some(behind) if !after.starts_with(b"IEND") => rest = behind,
            _ => return Cow::Borrowed(bytes),
        }
    }
    match has_pixels && rest.is_empty() {
        true => Cow::Owned([bytes, &END].concat()),
        false => Cow::Borrowed(bytes),
    }
}

/// Metadata in a text chunk.
enum Text {
    Exif(Vec<u8>),
    Xmp(Vec<u8>),
}

impl Text {
    /// What a text chunk brings, if it is metadata at all.
    fn read(kind: &[u8; 4], data: &[u8], most: &mut u64) -> Option<Text> {
        let (keyword, rest) = split_at_zero(data)?;
        let hexadecimal = |name: &[u8]| keyword.strip_prefix(b"Raw profile type ") == Some(name);
        let is_exif = hexadecimal(b"exif") || hexadecimal(b"APP1");
        let is_xmp = keyword == b"XML:com.adobe.xmp" || hexadecimal(b"xmp");
        if !is_exif && !is_xmp {
            return None;
        }
        let text = match kind {
            b"tEXt" => rest.to_vec(),
            // The method of compression, of which there is one.
            b"zTXt" => inflated(rest.get(1..)?, most)?,
            // Whether it is compressed, the method, a language and the keyword in it.
            _ => {
                let (&compressed, rest) = rest.split_first()?;
                let (_, rest) = split_at_zero(rest.get(1..)?)?;
                let (_, text) = split_at_zero(rest)?;
                match compressed {
                    0 => text.to_vec(),
                    _ => inflated(text, most)?,
                }
            }
        };
        match keyword.starts_with(b"Raw") {
            true => {
                let bytes = raw_profile(&text)?;
                // An APP1 segment may also hold XMP, behind its name.
                match bytes.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0") {
                    Some(packet) => Some(Text::Xmp(packet.to_vec())),
                    None if is_xmp => Some(Text::Xmp(bytes)),
                    None => Some(Text::Exif(bytes)),
                }
            }
            false => Some(Text::Xmp(text)),
        }
    }
}

fn split_at_zero(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = data.iter().position(|&byte| byte == 0)?;
    Some((&data[..at], &data[at + 1..]))
}

/// At most `most` bytes, which then are fewer.
fn inflated(data: &[u8], most: &mut u64) -> Option<Vec<u8>> {
    if *most == 0 {
        return None;
    }
    let mut out = Vec::new();
    let read = ZlibDecoder::new(data).take(*most).read_to_end(&mut out);
    *most = most.saturating_sub(LEAST_TEXT.max(out.len() as u64));
    read.ok().map(|_| out)
}

/// ImageMagick's text for a block: its name, its length, and its bytes in hexadecimal digits, each on lines of their own.
fn raw_profile(text: &[u8]) -> Option<Vec<u8>> {
    let mut words = text.splitn(4, |&byte| byte == b'\n');
    // An empty line, the name, the length.
    let digits = words.nth(3)?;
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let digits: Vec<u8> = digits.iter().filter_map(|&byte| digit(byte)).collect();
    Some(
        digits
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[high, low]| high << 4 | low)
            .collect(),
    )
}
