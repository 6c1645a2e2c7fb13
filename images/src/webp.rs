//! A WebP container before its decoder sees it: the pictures within are as large as the container says, which way up they
//! are shown, and in which colours.
//!
//! The decoder believes the sizes in the file. It decodes a lossy picture in full before it compares its size with the
//! canvas, which is what the limits were checked for, indexes out of bounds where a frame and the picture in it differ, and
//! reserves as much memory for EXIF and the profile as their chunks announce.

use std::borrow::Cow;

use image::metadata::Orientation;

use crate::error::ImageError;
use crate::exif;
use crate::format::Format;

/// What a file says beside its pictures.
#[derive(Debug, Default)]
pub(crate) struct Facts<'a> {
    pub(crate) orientation: Option<Orientation>,
    pub(crate) profile: Option<&'a [u8]>,
    /// Bytes a pixel that the decoder takes besides the picture.
    pub(crate) aside: u64,
}

/// A chunk: its four letters and as much of its data as there is.
struct Chunk<'a> {
    kind: &'a [u8],
    data: &'a [u8],
    /// Whether all that it announces is there.
    whole: bool,
}

/// The chunks of a body; what follows a chunk that is cut short is not looked at.
struct Chunks<'a>(&'a [u8]);

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        let (kind, rest) = self.0.split_at_checked(4)?;
        let (size, rest) = rest.split_first_chunk::<4>()?;
        let size = usize::try_from(u32::from_le_bytes(*size)).unwrap_or(usize::MAX);
        let data = &rest[..size.min(rest.len())];
        self.0 = rest.get(size.saturating_add(size % 2)..).unwrap_or(&[]);
        Some(Chunk {
            kind,
            data,
            whole: data.len() == size,
        })
    }
}

/// Whether the picture, which is no animation, is coded without loss.
pub(crate) fn is_lossless(bytes: &[u8]) -> bool {
    Chunks(bytes.get(12..).unwrap_or(&[])).any(|chunk| chunk.kind == b"VP8L")
}

/// The file without the flags of what is not in it, which the decoder looks for.
pub(crate) fn mended(bytes: &[u8]) -> Cow<'_, [u8]> {
    // Behind the file's header and the chunk's.
    const FLAGS: usize = 20;
    let body = bytes.get(12..).unwrap_or(&[]);
    let flags = match Chunks(body).next() {
        Some(canvas) if canvas.kind == b"VP8X" => canvas.data.first().copied().unwrap_or(0),
        _ => 0,
    };
    let has = |kind: &[u8]| Chunks(body).any(|chunk| chunk.kind == kind);
    // A lossless picture and those of an animation bring their alpha themselves.
    let is_lossy = has(b"VP8 ");
    let beside: [(u8, &[u8]); 4] = [
        (0x20, b"ICCP"),
        (0x10, b"ALPH"),
        (0x08, b"EXIF"),
        (0x04, b"XMP "),
    ];
    let missing = |&&(flag, kind): &&(u8, &[u8])| {
        flags & flag != 0 && !has(kind) && (flag != 0x10 || is_lossy)
    };
    let wrong = beside
        .iter()
        .filter(missing)
        .fold(0, |all, (flag, _)| all | flag);
    match wrong {
        0 => Cow::Borrowed(bytes),
        wrong => {
            let mut bytes = bytes.to_vec();
            bytes[FLAGS] &= !wrong;
            Cow::Owned(bytes)
        }
    }
}

/// Reads what is beside the pictures, and compares their sizes.
///
/// # Errors
/// [`ImageError::Corrupt`] when a picture that will be decoded has another size than its canvas or frame.
pub(crate) fn facts(bytes: &[u8]) -> Result<Facts<'_>, ImageError> {
    let body = bytes.get(12..).unwrap_or(&[]);
    let Some(canvas) = Chunks(body).next().filter(|chunk| chunk.kind == b"VP8X") else {
        // A picture alone is its own canvas, and has nothing beside it. A lossless one is decoded with alpha, a lossy one to planes.
        return Ok(Facts {
            aside: 4,
            ..Facts::default()
        });
    };
    if let Some(canvas) = canvas.data.get(4..10).map(sides) {
        agree(Chunks(body), canvas, "canvas")?;
    }
    let mut has_alpha = Chunks(body).any(|chunk| chunk.kind == b"ALPH");
    let mut aside = 4;
    // Of an animation the first frame is decoded, and put on the canvas.
    if let Some(frame) = Chunks(body).find(|chunk| chunk.kind == b"ANMF")
        && let (Some(size), Some(pictures)) = (frame.data.get(6..12), frame.data.get(16..))
    {
        agree(Chunks(pictures), sides(size), "frame")?;
        has_alpha = Chunks(pictures).any(|chunk| chunk.kind == b"ALPH");
        aside = 8;
    }
    let data = |kind: &[u8]| {
        Chunks(body)
            .find(|chunk| chunk.kind == kind && chunk.whole)
            .map(|chunk| chunk.data)
    };
    let of_exif = || data(b"EXIF").and_then(exif::orientation);
    let of_xmp = || data(b"XMP ").and_then(exif::orientation_of_xmp);
    Ok(Facts {
        orientation: of_exif().or_else(of_xmp),
        profile: data(b"ICCP"),
        // Alpha is kept before and behind its filter.
        aside: if has_alpha { aside + 4 } else { aside },
    })
}

/// Whether the pictures among `chunks` have the size of what holds them.
fn agree(chunks: Chunks<'_>, holder: (u32, u32), name: &str) -> Result<(), ImageError> {
    for (width, height) in chunks.filter_map(|chunk| picture(&chunk)) {
        if (width, height) != holder {
            return Err(ImageError::Corrupt {
                format: Format::WebP.title(),
                reason: format!(
                    "the picture in it has {width} x {height} pixels, its {name} {} x {}",
                    holder.0, holder.1
                ),
                source: None,
            });
        }
    }
    Ok(())
}

/// Width and height from the data of a lossy or lossless picture.
fn picture(chunk: &Chunk<'_>) -> Option<(u32, u32)> {
    match (chunk.kind, chunk.data) {
        // Frame tag and start code, then 14 bits each; the upper two ask for an enlargement that nobody does.
        (b"VP8 ", &[_, _, _, 0x9D, 0x01, 0x2A, w0, w1, h0, h1, ..]) => Some((
            u32::from(u16::from_le_bytes([w0, w1]) & 0x3FFF),
            u32::from(u16::from_le_bytes([h0, h1]) & 0x3FFF),
        )),
        // The signature, then 14 bits each, less one.
        (b"VP8L", &[0x2F, a, b, c, d, ..]) => {
            let sizes = u32::from_le_bytes([a, b, c, d]);
            Some(((sizes & 0x3FFF) + 1, (sizes >> 14 & 0x3FFF) + 1))
        }
        _ => None,
    }
}

/// Two numbers of 24 bits, less one.
fn sides(bytes: &[u8]) -> (u32, u32) {
    let side = |part: &[u8]| {
        part.iter()
            .rev()
            .fold(0, |side, &b| side << 8 | u32::from(b))
            + 1
    };
    let (width, height) = bytes.split_at(3.min(bytes.len()));
    (side(width), side(height))
}
