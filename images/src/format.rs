//! Which format some bytes are, by their content alone: names lie, and rows often have none.

use crate::ImageError;

/// The formats that are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Jpeg,
    Png,
    WebP,
    Gif,
    Bmp,
    Tiff,
}

impl Format {
    /// The lower-case name, as [`crate::ImageInfo::format`] gives it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Format::Jpeg => "jpeg",
            Format::Png => "png",
            Format::WebP => "webp",
            Format::Gif => "gif",
            Format::Bmp => "bmp",
            Format::Tiff => "tiff",
        }
    }

    /// The name as messages give it.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Format::Jpeg => "JPEG",
            Format::Png => "PNG",
            Format::WebP => "WebP",
            Format::Gif => "GIF",
            Format::Bmp => "BMP",
            Format::Tiff => "TIFF",
        }
    }

    /// Recognises `bytes`, or says what they look like instead.
    pub(crate) fn of(bytes: &[u8]) -> Result<Format, ImageError> {
        match bytes {
            [0xFF, 0xD8, 0xFF, ..] => Ok(Format::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Ok(Format::Png),
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => Ok(Format::WebP),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Ok(Format::Gif),
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Ok(Format::Tiff),
            // Two letters are weak evidence ("BMW"): the two reserved words that follow the size are zero.
            [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => Ok(Format::Bmp),
            _ => Err(ImageError::UnknownFormat {
                found: describe(bytes),
            }),
        }
    }
}

fn describe(bytes: &[u8]) -> String {
    let head = &bytes[..bytes.len().min(512)];
    let known = match head {
        [b'%', b'P', b'D', b'F', ..] => Some("a PDF document"),
        [b'P', b'K', 3, 4, ..] => Some("a ZIP archive"),
        [0x1F, 0x8B, ..] => Some("gzip-compressed data"),
        [b'P', b'A', b'R', b'1', ..] => Some("a Parquet file"),
        [0xFF, 0x0A, ..] | [0, 0, 0, 0x0C, b'J', b'X', b'L', b' ', ..] => Some("a JPEG XL image"),
        [0, 0, 0, 0x0C, b'j', b'P', b' ', b' ', ..] => Some("a JPEG 2000 image"),
        [_, _, _, _, b'f', b't', b'y', b'p', b'a', b'v', b'i', ..] => Some("an AVIF image"),
        [_, _, _, _, b'f', b't', b'y', b'p', b'h' | b'm', ..] => Some("an HEIC image or MP4 video"),
        _ => None,
    };
    if let Some(known) = known {
        return known.to_owned();
    }
    if head.iter().all(|&b| b == 0) {
        return "only zero bytes".to_owned();
    }
    if let Some(text) = as_text(head) {
        let start = text
            .trim_start_matches('\u{feff}')
            .trim_start()
            .to_ascii_lowercase();
        return if start.starts_with("<svg")
            || (start.starts_with("<?xml") && start.contains("<svg"))
        {
            "an SVG drawing".to_owned()
        } else if start.starts_with("<!doctype html") || start.starts_with("<html") {
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
        Format::of(bytes).unwrap_err().to_string()
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
                "an SVG drawing",
            ),
            (b"%PDF-1.7", "a PDF document"),
            (b"BMW is a car maker", "a text file"),
            (&[0; 40], "only zero bytes"),
            (
                &[0, 1, 2, 3, 4, 5, 6, 7, 8],
                "first bytes 00 01 02 03 04 05 06 07",
            ),
            (b"\0\0\0\x1cftypavif", "an AVIF image"),
            ("Käse".as_bytes().split_at(2).0, "a text file (\"K\")"),
        ] {
            assert!(complaint(bytes).contains(what), "{}", complaint(bytes));
        }
    }
}
