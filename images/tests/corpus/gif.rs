//! GIF: still and moving, cut block by block, with wrong sizes and codes, and bombs.

use super::bits::LowFirst;
use super::{Collection, Expected};

/// Header and screen of `width` x `height` with a palette of 256 colours.
fn screen(width: u16, height: u16) -> Vec<u8> {
    let mut out = b"GIF89a".to_vec();
    out.extend(width.to_le_bytes());
    out.extend(height.to_le_bytes());
    out.extend([0xF7, 0, 0]);
    out.extend((0..256 * 3).map(|i| (i * 7) as u8));
    out
}

fn descriptor(left: u16, top: u16, width: u16, height: u16) -> Vec<u8> {
    let mut out = vec![0x2C];
    for value in [left, top, width, height] {
        out.extend(value.to_le_bytes());
    }
    out.push(0);
    out
}

/// Code size and blocks of `data`.
fn blocks(code_size: u8, data: &[u8]) -> Vec<u8> {
    let mut out = vec![code_size];
    for block in data.chunks(255) {
        out.push(block.len() as u8);
        out.extend(block);
    }
    out.push(0);
    out
}

/// Pixels as codes of nine bits: the table is cleared before it needs longer ones.
fn codes(pixels: usize) -> Vec<u8> {
    let mut bits = LowFirst::default();
    for pixel in 0..pixels {
        if pixel % 250 == 0 {
            bits.put(256, 9);
        }
        bits.put((pixel * 5 % 256) as u32, 9);
    }
    bits.put(257, 9);
    bits.bytes()
}

/// Pixels of one colour: each code stands for one pixel more than the one before, up to 3,838.
fn long_codes(pixels: u64) -> Vec<u8> {
    let mut bits = LowFirst::default();
    bits.put(256, 9);
    bits.put(0, 9);
    let (mut next, mut length, mut done) = (258u32, 1, 1);
    while done < pixels {
        let width = (32 - next.leading_zeros()).clamp(9, 12);
        if next < 4096 {
            length += 1;
            bits.put(next, width);
            next += 1;
        } else {
            bits.put(4095, 12);
        }
        done += length;
    }
    bits.put(257, 12);
    bits.bytes()
}

fn frame(width: u16, height: u16) -> Vec<u8> {
    let mut out = vec![0x21, 0xF9, 4, 0, 10, 0, 0, 0];
    out.extend(descriptor(0, 0, width, height));
    out.extend(blocks(8, &codes(usize::from(width) * usize::from(height))));
    out
}

fn file(parts: &[&[u8]]) -> Vec<u8> {
    let mut out = parts.concat();
    out.push(0x3B);
    out
}

/// A small picture.
pub(crate) fn plain() -> Vec<u8> {
    file(&[&screen(24, 16), &frame(24, 16)])
}

pub(crate) fn add(all: &mut Collection) {
    use Expected::{Either, Fails, Ok};
    let (small, picture) = (screen(24, 16), frame(24, 16));
    for (width, height) in [(24, 16), (1, 1), (1, 3000), (3000, 1), (65535, 1)] {
        let bytes = file(&[&screen(width, height), &frame(width, height)]);
        all.add("kind.gif", Ok, format!("GIF of {width} x {height}"), bytes);
    }
    let bytes = plain();
    let start = small.len();
    let places = [
        6,
        13,
        start,
        start + 8,
        start + 18,
        start + 19,
        start + 20,
        start + 150,
        start + 275,
        start + 276,
    ];
    // The last code is the end, behind it are the empty block and the trailer.
    all.add_cut("cut.gif", "GIF", &bytes, &places, bytes.len() - 6);
    let moving = file(&[&small, &picture, &picture]);
    all.add(
        "cut.gif",
        Either,
        "two frames of which the second is cut",
        moving[..moving.len() - 100].to_vec(),
    );

    let mut add = |expected, what: &str, parts: &[&[u8]]| {
        all.add("animated.gif", expected, what, file(parts))
    };
    add(Ok, "two frames", &[&small, &picture, &picture]);
    add(Ok, "2000 frames", &[&small, &frame(24, 16).repeat(2000)]);
    let tiny = [descriptor(0, 0, 1, 1), blocks(8, &codes(1))].concat();
    add(
        Ok,
        "50000 frames of one pixel",
        &[&small, &tiny.repeat(50_000)],
    );
    add(
        Ok,
        "a first frame smaller than the screen",
        &[&screen(300, 200), &picture],
    );

    let mut add =
        |expected, what: &str, parts: &[&[u8]]| all.add("wrong.gif", expected, what, file(parts));
    let data = blocks(8, &codes(24 * 16));
    add(Fails, "a screen and no frame", &[&small]);
    add(
        Ok,
        "a screen of 0 x 0, which grows to its frame",
        &[&screen(0, 0), &picture],
    );
    add(
        Either,
        "a frame of 0 x 0",
        &[&small, &descriptor(0, 0, 0, 0), &data],
    );
    add(
        Either,
        "a frame beyond the screen",
        &[&small, &descriptor(60_000, 60_000, 24, 16), &data],
    );
    add(
        Either,
        "a frame that leaves the screen",
        &[&small, &descriptor(12, 8, 24, 16), &data],
    );
    add(
        Either,
        "a frame larger than the screen",
        &[&screen(12, 8), &picture],
    );
    add(
        Fails,
        "half of the data",
        &[&small, &descriptor(0, 0, 24, 16), &blocks(8, &codes(100))],
    );
    for size in [0, 1, 7, 9, 11, 12, 13, 255] {
        let expected = if size > 12 { Fails } else { Either };
        add(
            expected,
            &format!("codes of {size} bits"),
            &[
                &small,
                &descriptor(0, 0, 24, 16),
                &blocks(size, &codes(24 * 16)),
            ],
        );
    }
    add(
        Fails,
        "codes that were never defined",
        &[&small, &descriptor(0, 0, 24, 16), &blocks(8, &[0xFF; 300])],
    );
    add(Fails, "an unknown block", &[&small, &[0x99], &picture]);
    add(
        Ok,
        "many extensions",
        &[&small, &b"\x21\xFE\x03abc\0".repeat(50_000), &picture],
    );
    add(
        Either,
        "an extension that does not end",
        &[&small, &[0x21, 0xFE], &[255; 300]],
    );
    let mut bare = small[..13].to_vec();
    bare[10] = 0;
    add(Either, "no palette at all", &[&bare, &picture]);
    let mut few = small[..13 + 6].to_vec();
    few[10] = 0xF0;
    add(
        Either,
        "a palette of two colours and pixels of 256",
        &[&few, &picture],
    );
    add(
        Either,
        "the version 88a",
        &[b"GIF88a", &small[6..], &picture],
    );

    let mut add =
        |expected, what: &str, parts: &[&[u8]]| all.add("bomb.gif", expected, what, file(parts));
    for (width, height) in [(65535, 65535), (65535, 1600), (10_001, 10_000)] {
        add(
            Fails,
            &format!("a screen of {width} x {height} and a small frame"),
            &[&screen(width, height), &picture],
        );
    }
    for side in [10_000, 65_535] {
        let frame = descriptor(0, 0, side, side);
        add(
            Either,
            &format!("a frame of {side} x {side} on a small screen with little data"),
            &[&small, &frame, &data],
        );
        let codes = long_codes(u64::from(side) * u64::from(side));
        add(
            Either,
            &format!("a frame of {side} x {side} on a small screen"),
            &[&small, &frame, &blocks(8, &codes)],
        );
    }
    let pixels = blocks(8, &long_codes(6000 * 6000));
    add(
        Ok,
        "6000 x 6000 of one colour",
        &[&screen(6000, 6000), &descriptor(0, 0, 6000, 6000), &pixels],
    );
    add(
        Fails,
        "6000 x 6000 of which a third is missing",
        &[
            &screen(6000, 6000),
            &descriptor(0, 0, 6000, 6000),
            &blocks(8, &long_codes(4000 * 6000)),
        ],
    );
    for pixels in [1 << 28, 1 << 31] {
        add(
            Either,
            &format!("24 x 16 whose codes stand for {pixels} pixels"),
            &[
                &small,
                &descriptor(0, 0, 24, 16),
                &blocks(8, &long_codes(pixels)),
            ],
        );
    }
}
