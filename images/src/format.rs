//! Which format some bytes are, by their content alone: names lie, and rows often have none.
//!
//! It knows nothing of what is in a file behind its first bytes, and nothing of formats that are not decoded.

/// The formats that are decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Jpeg,
    Png,
    WebP,
    Gif,
    Bmp,
    Tiff,
    Jxl,
}

impl Format {
    /// All of them, each at its own number.
    pub(crate) const ALL: [Format; 7] = [
        Format::Jpeg,
        Format::Png,
        Format::WebP,
        Format::Gif,
        Format::Bmp,
        Format::Tiff,
        Format::Jxl,
    ];

    /// The lower-case name, as [`crate::ImageInfo::format`] gives it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Format::Jpeg => "jpeg",
            Format::Png => "png",
            Format::WebP => "webp",
            Format::Gif => "gif",
            Format::Bmp => "bmp",
            Format::Tiff => "tiff",
            Format::Jxl => "jxl",
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
            Format::Jxl => "JPEG XL",
        }
    }

    /// The format that begins like `bytes`.
    pub(crate) fn of(bytes: &[u8]) -> Option<Format> {
        match bytes {
            [0xFF, 0xD8, 0xFF, ..] => Some(Format::Jpeg),
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1A, b'\n', ..] => Some(Format::Png),
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
            ] => Some(Format::WebP),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(Format::Gif),
            [b'I', b'I', 42 | 43, 0, ..] | [b'M', b'M', 0, 42 | 43, ..] => Some(Format::Tiff),
            // The codes alone, or in boxes.
            [0xFF, 0x0A, ..] => Some(Format::Jxl),
            _ if bytes.starts_with(b"\0\0\0\x0CJXL \r\n\x87\n") => Some(Format::Jxl),
            _ => is_bmp(bytes).then_some(Format::Bmp),
        }
    }
}

/// Whether the bytes behind the two letters are those of a BMP: two letters are weak evidence ("BMW").
fn is_bmp(bytes: &[u8]) -> bool {
    match bytes {
        [b'B', b'M', _, _, _, _, 0, 0, 0, 0, ..] => true,
        // Some writers use the reserved words, which then leave the size of the picture's header as evidence.
        [b'B', b'M', ..] => match bytes.get(14..).and_then(|rest| rest.first_chunk::<4>()) {
            Some(size) => matches!(u32::from_le_bytes(*size), 12 | 16..=64 | 108 | 124),
            None => false,
        },
        _ => false,
    }
}
