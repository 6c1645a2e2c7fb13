//! WebP: lossless pictures of this encoder, lossy ones of another, animations, cut chunk by chunk, lies about sizes, bombs.

use super::bits::LowFirst;
use super::{Collection, Expected};

/// Real files of other encoders.
const REAL: [(&str, &[u8]); 3] = [
    ("lossy WebP", include_bytes!("../data/lossy.webp")),
    (
        "lossy WebP with alpha",
        include_bytes!("../data/alpha.webp"),
    ),
    ("animated WebP", include_bytes!("../data/animated.webp")),
];

fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut out = kind.to_vec();
    out.extend((data.len() as u32).to_le_bytes());
    out.extend(data);
    out.resize(out.len() + data.len() % 2, 0);
    out
}

fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
    let body = chunks.concat();
    let mut out = b"RIFF".to_vec();
    out.extend((body.len() as u32 + 4).to_le_bytes());
    out.extend(b"WEBP");
    out.extend(body);
    out
}

/// A code of one symbol, which takes no bits, or of two, which take one each.
fn code(bits: &mut LowFirst, symbols: &[u8]) {
    bits.put(1, 1);
    bits.put(symbols.len() as u32 - 1, 1);
    bits.put(1, 1);
    for &symbol in symbols {
        bits.put(symbol.into(), 8);
    }
}

/// A lossless picture: of one colour, or with two shades of green. Of one colour it has 16 bytes at any size.
fn lossless(width: u32, height: u32, flat: bool) -> Vec<u8> {
    let mut bits = LowFirst::default();
    bits.put(0x2F, 8);
    bits.put(width.wrapping_sub(1), 14);
    bits.put(height.wrapping_sub(1), 14);
    // No alpha, version 0, no transform, no colour cache, one group of codes.
    bits.put(0, 1 + 3 + 1 + 1 + 1);
    code(&mut bits, if flat { &[90] } else { &[40, 200] });
    code(&mut bits, &[120]);
    code(&mut bits, &[30]);
    code(&mut bits, &[255]);
    code(&mut bits, &[0]);
    if !flat {
        for pixel in 0..width * height {
            bits.put(u32::from(pixel % 3 == 0), 1);
        }
    }
    bits.bytes()
}

fn three(value: u32) -> [u8; 3] {
    let [a, b, c, _] = value.to_le_bytes();
    [a, b, c]
}

/// The chunk of an extended file: 2 animated, 8 with EXIF.
fn extended(flags: u8, width: u32, height: u32) -> Vec<u8> {
    let mut data = vec![flags, 0, 0, 0];
    data.extend(three(width.wrapping_sub(1)));
    data.extend(three(height.wrapping_sub(1)));
    chunk(b"VP8X", &data)
}

fn frame(width: u32, height: u32, picture: &[u8]) -> Vec<u8> {
    let mut data = vec![0; 6];
    data.extend(three(width.wrapping_sub(1)));
    data.extend(three(height.wrapping_sub(1)));
    data.extend(three(100));
    data.push(0);
    data.extend(picture);
    chunk(b"ANMF", &data)
}

fn small() -> Vec<u8> {
    chunk(b"VP8L", &lossless(24, 16, false))
}

/// A small picture.
pub(crate) fn plain() -> Vec<u8> {
    riff(&[small()])
}

/// A small picture with an EXIF chunk.
pub(crate) fn with_exif(exif: &[u8]) -> Vec<u8> {
    riff(&[extended(8, 24, 16), small(), chunk(b"EXIF", exif)])
}

/// A lossy key frame that says it is so large; its data is zeros, which a decoder reads as flat blocks.
fn zeros(width: u16, height: u16, size: usize) -> Vec<u8> {
    let first = (size / 2).min(0x7_FFFF) as u32;
    let mut data = three(first << 5 | 0x10).to_vec();
    data.extend([0x9D, 0x01, 0x2A]);
    data.extend(width.to_le_bytes());
    data.extend(height.to_le_bytes());
    data.resize(10 + size, 0);
    chunk(b"VP8 ", &data)
}

pub(crate) fn add(all: &mut Collection) {
    kinds(all);
    wrong(all);
    bombs(all);
}

fn animation(canvas: (u32, u32), frames: &[Vec<u8>]) -> Vec<u8> {
    riff(&[
        extended(2, canvas.0, canvas.1),
        chunk(b"ANIM", &[0; 6]),
        frames.concat(),
    ])
}

fn kinds(all: &mut Collection) {
    use Expected::{Either, Fails, Ok};
    for (width, height) in [(24, 16), (1, 1), (1, 3000), (3000, 1), (16_383, 1)] {
        let bytes = riff(&[chunk(b"VP8L", &lossless(width, height, false))]);
        all.add(
            "kind.webp",
            Ok,
            format!("WebP of {width} x {height}"),
            bytes,
        );
    }
    for (what, bytes) in REAL {
        all.add("kind.webp", Ok, what, bytes.to_vec());
    }
    let real = REAL.map(|(what, bytes)| (what, bytes.to_vec()));
    for (what, bytes) in [("lossless WebP", plain())].into_iter().chain(real) {
        let mut places = vec![];
        let mut at = 12;
        while at + 8 <= bytes.len() {
            let length =
                u32::from_le_bytes([bytes[at + 4], bytes[at + 5], bytes[at + 6], bytes[at + 7]])
                    as usize;
            places.extend([at, at + 4, at + 8, at + 8 + length]);
            at += 8 + length + length % 2;
        }
        places.extend((1..10).map(|tenth| 30 + (bytes.len() - 30) * tenth / 10));
        // Of an animation the first frame is enough; the last bytes of a picture may be bits that fill up.
        let whole = if what == "animated WebP" {
            44
        } else {
            bytes.len() - 8
        };
        all.add_cut("cut.webp", what, &bytes, &places, whole);
    }
    let picture = frame(24, 16, &small());
    all.add(
        "animated.webp",
        Ok,
        "two frames",
        animation((24, 16), &[picture.clone(), picture.clone()]),
    );
    all.add(
        "animated.webp",
        Ok,
        "5000 frames",
        animation((24, 16), &vec![picture.clone(); 5000]),
    );
    all.add(
        "animated.webp",
        Ok,
        "a frame smaller than the canvas",
        animation((300, 200), std::slice::from_ref(&picture)),
    );
    all.add(
        "animated.webp",
        Either,
        "a frame larger than the canvas",
        animation((12, 8), std::slice::from_ref(&picture)),
    );
    all.add(
        "animated.webp",
        Fails,
        "a frame that is not as large as it says",
        animation((24, 16), &[frame(12, 8, &small())]),
    );
}

fn wrong(all: &mut Collection) {
    use Expected::{Either, Fails, Ok};
    let mut add = |expected, what: String, bytes| all.add("wrong.webp", expected, what, bytes);
    for size in [0u32, 4, 11, 1 << 20, 0x7FFF_FFFF, 0xFFFF_FFFE, u32::MAX] {
        let mut bytes = plain();
        bytes[4..8].copy_from_slice(&size.to_le_bytes());
        add(
            Either,
            format!("a container that says it has {size} bytes"),
            bytes,
        );
        let mut bytes = plain();
        bytes[16..20].copy_from_slice(&size.to_le_bytes());
        add(
            Either,
            format!("a picture chunk that says it has {size} bytes"),
            bytes,
        );
        for (flag, kind) in [(8, b"EXIF"), (4, b"XMP "), (32, b"ICCP")] {
            let mut lie = chunk(kind, b"12345678");
            lie[4..8].copy_from_slice(&size.to_le_bytes());
            let what = format!(
                "a chunk {} that says it has {size} bytes",
                String::from_utf8_lossy(kind).trim()
            );
            add(Either, what, riff(&[extended(flag, 24, 16), small(), lie]));
        }
    }
    add(Fails, "no chunk".to_owned(), riff(&[]));
    add(
        Fails,
        "only an extended header".to_owned(),
        riff(&[extended(0, 24, 16)]),
    );
    add(
        Fails,
        "only EXIF".to_owned(),
        riff(&[chunk(b"EXIF", b"II*\0")]),
    );
    add(
        Fails,
        "an animation without frames".to_owned(),
        animation((24, 16), &[]),
    );
    add(
        Either,
        "alpha without a picture".to_owned(),
        riff(&[extended(16, 24, 16), chunk(b"ALPH", &[0; 400])]),
    );
    add(
        Either,
        "an unknown chunk before the picture".to_owned(),
        riff(&[chunk(b"ABCD", &[1; 9]), small()]),
    );
    add(
        Ok,
        "an unknown chunk behind the picture".to_owned(),
        riff(&[small(), chunk(b"ABCD", &[1; 9])]),
    );
    add(
        Fails,
        "a picture chunk without data".to_owned(),
        riff(&[chunk(b"VP8L", b"")]),
    );
    add(
        Fails,
        "a lossy chunk without data".to_owned(),
        riff(&[chunk(b"VP8 ", b"")]),
    );
    let mut signature = lossless(24, 16, false);
    signature[0] = 0x2E;
    add(
        Fails,
        "lossless data with a wrong signature".to_owned(),
        riff(&[chunk(b"VP8L", &signature)]),
    );
    let mut version = lossless(24, 16, false);
    version[4] |= 0xE0;
    add(
        Fails,
        "lossless data of version 7".to_owned(),
        riff(&[chunk(b"VP8L", &version)]),
    );
    for (what, canvas) in [("larger", (600, 400)), ("smaller", (12, 8))] {
        add(
            Fails,
            format!("a canvas {what} than the picture"),
            riff(&[extended(0, canvas.0, canvas.1), small()]),
        );
    }
    let many: Vec<Vec<u8>> = vec![chunk(b"ABCD", b""); 50_000];
    add(
        Either,
        "50000 empty chunks".to_owned(),
        riff(&[extended(0, 24, 16), many.concat(), small()]),
    );
}

fn bombs(all: &mut Collection) {
    use Expected::{Either, Fails, Ok};
    let mut add = |expected, what: &str, bytes| all.add("bomb.webp", expected, what, bytes);
    let huge = chunk(b"VP8L", &lossless(16_384, 16_384, true));
    let large = chunk(b"VP8L", &lossless(9000, 9000, true));
    add(
        Fails,
        "16384 x 16384 of one colour in 16 bytes",
        riff(std::slice::from_ref(&huge)),
    );
    add(
        Ok,
        "6000 x 6000 of one colour in 16 bytes",
        riff(&[chunk(b"VP8L", &lossless(6000, 6000, true))]),
    );
    for side in [10_001, 16_384, 1 << 24] {
        add(
            Fails,
            &format!("a canvas of {side} x {side} and a small picture"),
            riff(&[extended(0, side, side), small()]),
        );
        let small_frame = frame(24, 16, &small());
        add(
            Fails,
            &format!("an animated canvas of {side} x {side} and a small frame"),
            animation((side, side), &[small_frame]),
        );
    }
    // The canvas is what a header shows; the picture within is what costs.
    add(
        Fails,
        "a picture of 16384 x 16384 on a small canvas",
        riff(&[extended(0, 24, 16), huge.clone()]),
    );
    add(
        Fails,
        "a frame of 16384 x 16384 on a small canvas",
        animation((24, 16), &[frame(16_384, 16_384, &huge)]),
    );
    add(
        Fails,
        "a frame that hides a picture of 16384 x 16384",
        animation((24, 16), &[frame(24, 16, &huge)]),
    );
    add(
        Fails,
        "a frame that hides a picture of 9000 x 9000",
        animation((24, 16), &[frame(24, 16, &large)]),
    );
    add(
        Either,
        "200 frames of 9000 x 9000",
        animation((9000, 9000), &vec![frame(9000, 9000, &large); 200]),
    );
    let lossy = zeros(16_383, 16_383, 1 << 20);
    add(
        Fails,
        "a lossy picture of 16383 x 16383",
        riff(std::slice::from_ref(&lossy)),
    );
    add(
        Fails,
        "a lossy picture of 16383 x 16383 on a small canvas",
        riff(&[extended(0, 24, 16), lossy.clone()]),
    );
    add(
        Fails,
        "a lossy frame of 16383 x 16383 on a small canvas",
        animation((24, 16), &[frame(24, 16, &lossy)]),
    );
    add(
        Either,
        "a lossy picture of 4000 x 4000 of zeros",
        riff(&[zeros(4000, 4000, 1 << 20)]),
    );
    // As many groups of codes as 16 bits can count, each with the least data.
    let mut bits = LowFirst::default();
    bits.put(0x2F, 8);
    bits.put(4095, 14);
    bits.put(4095, 14);
    // No alpha, version 0, no transform, no colour cache; groups of codes by blocks of 4 x 4 pixels.
    bits.put(0, 1 + 3 + 1 + 1);
    bits.put(1, 1);
    bits.put(0, 3);
    // The picture of groups: no colour cache, all of group 0xFFFF.
    bits.put(0, 1);
    for symbol in [255, 255, 0, 0, 0] {
        code(&mut bits, &[symbol]);
    }
    for _ in 0..65_536 {
        for _ in 0..5 {
            code(&mut bits, &[7, 9]);
        }
    }
    bits.put(0, 32);
    add(
        Either,
        "65536 groups of codes",
        riff(&[chunk(b"VP8L", &bits.bytes())]),
    );
}
