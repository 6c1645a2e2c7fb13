//! TIFF that costs much: strips that inflate, huge tiles, strips without end.

use super::super::bits::zlib_zeros;
use super::super::{Collection, Expected};
use super::*;

pub(super) fn bombs(all: &mut Collection) {
    use Expected::{Either, Fails, Ok};
    let mut add = |expected, what: String, picture: Picture| {
        all.add("bomb.tif", expected, what, picture.file())
    };
    for (width, height) in [
        (10_001, 10_000),
        (60_000, 60_000),
        (u32::MAX, u32::MAX),
        (u32::MAX, 1),
        (1, u32::MAX),
    ] {
        add(
            Fails,
            format!("{width} x {height} and little data"),
            Picture::grey(width, height, pattern(100)),
        );
    }
    let deflate = |picture: Picture, zeros: u64| {
        let data = zlib_zeros(zeros);
        let size = data.len() as u32;
        let mut picture = picture.with(COMPRESSION, SHORT, 1, 8);
        picture.data = data;
        let counts = if picture.entries.iter().any(|e| e.0 == BYTE_COUNTS) {
            BYTE_COUNTS
        } else {
            TILE_BYTE_COUNTS
        };
        picture.with(counts, LONG, 1, size)
    };
    for size in [1 << 26, 1 << 29, 1 << 31] {
        add(
            Either,
            format!("24 x 16 whose strip inflates to {size} bytes"),
            deflate(small(), size),
        );
    }
    add(
        Ok,
        "6000 x 6000 of zeros".to_owned(),
        deflate(Picture::grey(6000, 6000, Vec::new()), 36_000_000),
    );
    add(
        Fails,
        "6000 x 6000 of zeros of which the end is missing".to_owned(),
        deflate(Picture::grey(6000, 6000, Vec::new()), 30_000_000),
    );
    for side in [20_000u32, 65_536, 1 << 20] {
        let size = u64::from(side) * u64::from(side);
        let tile = Picture::tiled(24, 16, (side, side), Vec::new());
        add(
            Either,
            format!("24 x 16 in a tile of {side} x {side}"),
            deflate(tile, size.min(1 << 30)),
        );
    }
    let wide = Picture::tiled(5000, 16, (1 << 28, 16), Vec::new());
    add(
        Either,
        "5000 x 16 in a tile of 268435456 x 16".to_owned(),
        deflate(wide, 1 << 20),
    );
    // Floating point and 16 bits with alpha: few bytes on disk, many in memory. The values of BitsPerSample and
    // SampleFormat lie behind the pixels.
    for (bits, side, expected) in [(16u16, 4000u32, Ok), (32, 3000, Ok), (32, 9500, Either)] {
        let zeros = u64::from(side) * u64::from(side) * 4 * u64::from(bits) / 8;
        let format = if bits == 32 { 3u16 } else { 1 };
        let picture = Picture::grey(side, side, Vec::new())
            .with(PHOTOMETRIC, SHORT, 1, 2)
            .with(SAMPLES, SHORT, 1, 4)
            .with(BITS, SHORT, 4, 0)
            .with(338, SHORT, 1, 2)
            .with(339, SHORT, 4, 0);
        let mut picture = deflate(picture, zeros);
        let values = picture.data_at() + picture.data.len() as u32;
        picture = picture
            .with(BITS, SHORT, 4, values)
            .with(339, SHORT, 4, values + 8);
        for value in [[bits; 4], [format; 4]].concat() {
            picture.data.extend(value.to_le_bytes());
        }
        add(
            expected,
            format!("{side} x {side} of zeros with 4 samples of {bits} bits"),
            picture,
        );
    }
    let mut strips = Picture::grey(100, 200_000, Vec::new()).with(COMPRESSION, SHORT, 1, 8);
    let row = zlib_zeros(100);
    let at = strips.data_at();
    let (offsets, counts) = (at + row.len() as u32, at + row.len() as u32 + 4 * 200_000);
    strips.data = row.clone();
    (0..200_000).for_each(|_| strips.data.extend(at.to_le_bytes()));
    (0..200_000).for_each(|_| strips.data.extend((row.len() as u32).to_le_bytes()));
    let strips = strips
        .with(ROWS_PER_STRIP, LONG, 1, 1)
        .with(OFFSETS, LONG, 200_000, offsets)
        .with(BYTE_COUNTS, LONG, 200_000, counts);
    add(
        Either,
        "200000 strips that are all the same bytes".to_owned(),
        strips,
    );
}
