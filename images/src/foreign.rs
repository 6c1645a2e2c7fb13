//! What some bytes are that are no image of a format that is decoded: the name that people know, and what they can do about it.
//!
//! Formats are known by their first bytes, as in [`format`](crate::format). Nothing is decoded.

use crate::error::ImageError;
use crate::format::Format;

/// What to do about an image of another format.
const CONVERT: &str = "convert it to JPEG or PNG first";
/// What to do about a video.
const FRAME: &str = "save a frame of it as JPEG or PNG first";
/// What to do about what has no pixels of its own.
const RENDER: &str = "render it to PNG first";
/// What to do about an archive.
const UNPACK: &str = "unpack it first";

/// How far stray bytes before an image are looked for.
const MOST_STRAY: usize = 64;

/// Begins with these bytes, is named so, and this is what to do.
const KNOWN: [(&[u8], &str, &str); 24] = [
    (b"%PDF", "a PDF document", RENDER),
    (b"%!PS", "a PostScript document", RENDER),
    (b"\xC5\xD0\xD3\xC6", "a PostScript document", RENDER),
    (b"\xD7\xCD\xC6\x9A", "a Windows metafile", RENDER),
    (b"PK\x03\x04", "a ZIP archive", UNPACK),
    (b"\x1F\x8B", "gzip-compressed data", UNPACK),
    (b"\0\0\0\x0CjP  ", "a JPEG 2000 image", CONVERT),
    (b"\xFF\x4F\xFF\x51", "a JPEG 2000 image", CONVERT),
    (b"II\xBC\x01", "a JPEG XR image", CONVERT),
    (b"\0\0\x01\0", "an icon (ICO)", CONVERT),
    (b"\0\0\x02\0", "a cursor (CUR)", CONVERT),
    (b"8BPS", "a Photoshop document", CONVERT),
    (b"gimp xcf", "a GIMP document", CONVERT),
    (b"\x76\x2F\x31\x01", "an OpenEXR image", CONVERT),
    (b"#?RADIANCE", "a Radiance HDR image", CONVERT),
    (b"DDS ", "a DDS texture", CONVERT),
    (b"qoif", "a QOI image", CONVERT),
    (b"FUJIFILMCCD-RAW", "a camera's raw image", CONVERT),
    (b"IIRO", "a camera's raw image", CONVERT),
    (b"IIU\0", "a camera's raw image", CONVERT),
    (b"FORM", "an IFF file", CONVERT),
    (b"\x1A\x45\xDF\xA3", "a Matroska or WebM video", FRAME),
    (b"\0\0\x01\xBA", "an MPEG video", FRAME),
    (b"FLV\x01", "a Flash video", FRAME),
];

/// The error for bytes that no decoder here takes.
pub(crate) fn refusal(bytes: &[u8]) -> ImageError {
    let head = &bytes[..bytes.len().min(512)];
    if let Some((found, advice)) = named(head) {
        return ImageError::UnsupportedFormat { found, advice };
    }
    ImageError::UnknownFormat {
        found: stray(head).unwrap_or_else(|| describe(head)),
    }
}

/// A format that people know and that is not decoded, with what to do.
fn named(head: &[u8]) -> Option<(&'static str, &'static str)> {
    if let Some(&(_, name, advice)) = KNOWN.iter().find(|(start, ..)| head.starts_with(start)) {
        return Some((name, advice));
    }
    match head {
        [b'P', b'1'..=b'7', b' ' | b'\n' | b'\r' | b'\t', ..] => Some(("a PNM image", CONVERT)),
        [
            b'R',
            b'I',
            b'F',
            b'F',
            _,
            _,
            _,
            _,
            b'A',
            b'V',
            b'I',
            b' ',
            ..,
        ] => Some(("an AVI video", FRAME)),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => media(head),
        _ if head.get(128..132) == Some(b"DICM") => Some(("a DICOM image", CONVERT)),
        _ => {
            let text = as_text(head)?;
            let start = text
                .trim_start_matches('\u{feff}')
                .trim_start()
                .to_ascii_lowercase();
            let is_drawing = start.starts_with("<svg")
                || start.starts_with("<!doctype svg")
                || (start.starts_with("<?xml") && start.contains("<svg"));
            is_drawing.then_some(("an SVG drawing", RENDER))
        }
    }
}

/// What a file of ISO's media format holds, by the brands that it names: images of several codecs, and videos.
fn media(head: &[u8]) -> Option<(&'static str, &'static str)> {
    let (length, _) = head.split_first_chunk::<4>()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    let brands = head.get(8..length.clamp(12, head.len().max(12)))?;
    // Between the first brand and the others is a version.
    let first = brands.get(..4)?;
    let others = brands.get(8..).unwrap_or(&[]).as_chunks::<4>().0;
    let mut all = std::iter::once(first).chain(others.iter().map(|brand| &brand[..]));
    let names = |names: &[&[u8]], brand: &[u8]| names.contains(&brand);
    if all.clone().any(|brand| names(&[b"avif", b"avis"], brand)) {
        return Some(("an AVIF image", CONVERT));
    }
    if names(&[b"crx "], first) {
        return Some(("a camera's raw image", CONVERT));
    }
    if names(&[b"qt  "], first) {
        return Some(("a QuickTime video", FRAME));
    }
    let heic: [&[u8]; 10] = [
        b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1",
    ];
    match all.any(|brand| names(&heic, brand)) {
        true => Some(("an HEIC image", CONVERT)),
        false => Some(("an MP4 video", FRAME)),
    }
}

/// An image behind a few bytes that do not belong to it: line breaks, a byte-order mark, the rest of an HTTP header.
fn stray(head: &[u8]) -> Option<String> {
    let found = (1..MOST_STRAY.min(head.len())).find_map(|at| {
        // Two bytes are too little here.
        let weak = [Format::Bmp, Format::Jxl];
        let format = Format::of(&head[at..]).filter(|format| !weak.contains(format));
        format.map(|format| (at, format))
    });
    found.map(|(at, format)| {
        let unit = if at == 1 { "byte" } else { "bytes" };
        format!("{at} {unit} and then a {} image", format.title())
    })
}

fn describe(head: &[u8]) -> String {
    if head.starts_with(b"PAR1") {
        return "a Parquet file".to_owned();
    }
    if head.iter().all(|&b| b == 0) {
        return "only zero bytes".to_owned();
    }
    if let Some(text) = as_text(head) {
        let start = text
            .trim_start_matches('\u{feff}')
            .trim_start()
            .to_ascii_lowercase();
        return if start.starts_with("<!doctype html") || start.starts_with("<html") {
            "an HTML page".to_owned()
        } else if start.starts_with("<?xml") {
            "an XML file".to_owned()
        } else {
            let first: String = text
                .trim()
                .chars()
                .take(24)
                .map(|c| if c.is_control() { ' ' } else { c })
                .collect();
            format!("a text file (\"{first}\")")
        };
    }
    let hex: Vec<String> = head.iter().take(8).map(|b| format!("{b:02x}")).collect();
    format!("of an unknown format (first bytes {})", hex.join(" "))
}

/// `head` as text if it looks like text. The cut may have split a character, hence the lenient end.
fn as_text(head: &[u8]) -> Option<&str> {
    let text = match std::str::from_utf8(head) {
        Ok(text) => text,
        Err(e) if e.error_len().is_none() => std::str::from_utf8(&head[..e.valid_up_to()]).ok()?,
        Err(_) => return None,
    };
    let printable = text
        .chars()
        .all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t' | '\u{c}'));
    (printable && !text.trim().is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(bytes: &[u8]) -> String {
        refusal(bytes).to_string()
    }

    #[test]
    fn says_what_the_data_is_instead() {
        for (bytes, what) in [
            (&b"\n <!DOCTYPE html><html>"[..], "an HTML page"),
            (
                b"hello there, I am a picture",
                "a text file (\"hello there, I am a pict\")",
            ),
            (
                b"<svg xmlns='http://www.w3.org/2000/svg'/>",
                "an SVG drawing, not a JPEG, PNG, WebP, GIF, BMP, TIFF or JPEG XL image; render it to PNG first",
            ),
            (b"%PDF-1.7", "a PDF document"),
            (b"BMW is a car maker", "a text file"),
            (&[0; 40], "only zero bytes"),
            (
                &[9, 1, 2, 3, 4, 5, 6, 7, 8],
                "first bytes 09 01 02 03 04 05 06 07",
            ),
            (b"\0\0\0\x1cftypavif", "an AVIF image"),
            ("Käse".as_bytes().split_at(2).0, "a text file (\"K\")"),
        ] {
            assert!(complaint(bytes).contains(what), "{}", complaint(bytes));
        }
    }
}
