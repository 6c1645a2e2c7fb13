//! Orientations that are none: each picture decodes, and stands as it is stored.

use super::{Collection, Expected, jpeg, png, tiff, webp};

/// A directory with one entry: tag, type, count and value as given.
fn directory(tag: u16, kind: u16, count: u32, value: u32) -> Vec<u8> {
    let mut out = b"II*\0\x08\0\0\0\x01\0".to_vec();
    out.extend(tag.to_le_bytes());
    out.extend(kind.to_le_bytes());
    out.extend(count.to_le_bytes());
    out.extend(value.to_le_bytes());
    out.extend([0; 4]);
    out
}

pub(crate) fn add(all: &mut Collection) {
    let orientation = |value| directory(0x112, 3, 1, value);
    let good = orientation(1);
    let mut looping = good.clone();
    let last = looping.len() - 4;
    looping[last] = 8;
    let mut itself = directory(0x8769, 4, 1, 8);
    itself[10..12].copy_from_slice(&0x8769u16.to_le_bytes());
    let mut far = good.clone();
    far[4..8].copy_from_slice(&0xFFFF_FFF0u32.to_le_bytes());
    let mut many = good.clone();
    many[8..10].copy_from_slice(&0xFFFFu16.to_le_bytes());
    let blocks = [
        ("orientation 0", orientation(0)),
        ("orientation 9", orientation(9)),
        ("orientation 255", orientation(255)),
        ("orientation 65535", orientation(0xFFFF)),
        ("orientation 262 whose low byte is 6", orientation(262)),
        ("a directory that follows itself", looping),
        ("a directory within itself", itself),
        ("a directory far outside", far),
        ("65535 entries where there is one", many),
        ("an orientation of no values", directory(0x112, 3, 0, 0)),
        (
            "an orientation of 4 billion values",
            directory(0x112, 3, u32::MAX, 0xFFFF_FF00),
        ),
        (
            "an orientation of an unknown type",
            directory(0x112, 99, 1, 0),
        ),
        ("an empty block", Vec::new()),
        ("a block of zeros", vec![0; 64]),
        ("a block of ones", vec![0xFF; 64]),
        ("a block of text", b"no exif at all, but words".to_vec()),
        ("half a header", good[..5].to_vec()),
        ("a cut entry", good[..15].to_vec()),
        ("60000 bytes of nothing", vec![0x20; 60_000]),
    ];
    for (what, block) in blocks {
        let mut segment = b"Exif\0\0".to_vec();
        segment.extend(&block);
        let say = |format: &str| format!("{format} with EXIF: {what}");
        all.add(
            "exif.jpg",
            Expected::Ok,
            say("JPEG"),
            jpeg::with_segment(0xE1, &segment),
        );
        all.add("exif.png", Expected::Ok, say("PNG"), png::with_exif(&block));
        all.add(
            "exif.webp",
            Expected::Ok,
            say("WebP"),
            webp::with_exif(&block),
        );
    }
    for value in [0, 9, 255, 262, 0xFFFF] {
        let what = format!("TIFF with orientation {value}");
        all.add(
            "exif.tif",
            Expected::Ok,
            what,
            tiff::with_orientation(value),
        );
    }
}
