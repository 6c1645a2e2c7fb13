//! TIFF against the rules: fields that are missing, lie or point anywhere.

use super::super::{Collection, Expected};
use super::*;

pub(super) fn wrong(all: &mut Collection) {
    use Expected::{Either, Fails};
    let mut add = |expected, what: String, picture: Picture| {
        all.add("wrong.tif", expected, what, picture.file())
    };
    for offset in [0, 4, 1 << 20, 0x7FFF_FFFF, u32::MAX] {
        let expected = if offset < 100 { Either } else { Fails };
        add(
            expected,
            format!("a strip at offset {offset}"),
            small().with(OFFSETS, LONG, 1, offset),
        );
        add(
            Fails,
            format!("20 strips listed at offset {offset}"),
            small().with(OFFSETS, LONG, 20, offset.max(1 << 19)),
        );
    }
    // What is not compressed has its size from the picture; readers differ in whether they look at the count.
    for count in [0, 1, 383, 385, 1 << 20, u32::MAX] {
        add(
            Either,
            format!("a strip of {count} bytes"),
            small().with(BYTE_COUNTS, LONG, 1, count),
        );
    }
    for count in [2, 1000, 1 << 20, 1 << 28, u32::MAX] {
        let values = small().data_at();
        add(
            Fails,
            format!("{count} strips"),
            small()
                .with(OFFSETS, LONG, count, values)
                .with(BYTE_COUNTS, LONG, count, values),
        );
        add(
            Either,
            format!("an unknown tag of {count} values"),
            small().with(700, LONG, count, values),
        );
    }
    for rows in [0, 1, 5, 17, u32::MAX] {
        add(
            Either,
            format!("{rows} rows a strip where there is one strip of 16"),
            small().with(ROWS_PER_STRIP, LONG, 1, rows),
        );
    }
    for bits in [0, 2, 3, 7, 17, 64, 65535] {
        // With two bits the strip holds more rows than the picture has.
        let expected = if bits == 2 { Either } else { Fails };
        add(
            expected,
            format!("{bits} bits a sample"),
            small().with(BITS, SHORT, 1, bits),
        );
    }
    for samples in [0, 2, 5, 255, 65535] {
        add(
            Fails,
            format!("{samples} samples a pixel"),
            small().with(SAMPLES, SHORT, 1, samples),
        );
    }
    for compression in [0, 2, 3, 4, 6, 7, 34892, 50000, 65535] {
        add(
            Fails,
            format!("compression {compression} over plain bytes"),
            small().with(COMPRESSION, SHORT, 1, compression),
        );
    }
    for compression in [5, 8, 32773, 32946] {
        add(
            Either,
            format!("compression {compression} over plain bytes"),
            small().with(COMPRESSION, SHORT, 1, compression),
        );
    }
    for photometric in [2, 3, 4, 5, 6, 8, 9, 34892, 65535] {
        add(
            Fails,
            format!("photometric interpretation {photometric} of one sample"),
            small().with(PHOTOMETRIC, SHORT, 1, photometric),
        );
    }
    for tag in [WIDTH, HEIGHT, OFFSETS, PHOTOMETRIC] {
        add(Fails, format!("tag {tag} is missing"), small().without(tag));
    }
    for tag in [BITS, COMPRESSION, SAMPLES, ROWS_PER_STRIP, BYTE_COUNTS] {
        add(
            Either,
            format!("tag {tag} is missing"),
            small().without(tag),
        );
    }
    for kind in [0, 2, 5, 7, 12, 13, 99, 65535] {
        add(
            Either,
            format!("a width of type {kind}"),
            small().with(WIDTH, kind, 1, 24),
        );
    }
    for (width, height) in [(0, 16), (24, 0), (0, 0)] {
        add(
            Fails,
            format!("{width} x {height}"),
            Picture::grey(width, height, pattern(9)),
        );
    }
    for tile in [
        (0, 16),
        (32, 0),
        (1, 1),
        (u32::MAX, 16),
        (32, u32::MAX),
        (u32::MAX, u32::MAX),
    ] {
        let expected = if tile.0.min(tile.1) <= 1 {
            Fails
        } else {
            Either
        };
        let picture = Picture::tiled(24, 16, tile, pattern(32 * 16));
        add(
            expected,
            format!("one tile of {} x {}", tile.0, tile.1),
            picture,
        );
    }
    for next in [1, 9, u32::MAX] {
        let picture = Picture { next, ..small() };
        add(Either, format!("a next directory at {next}"), picture);
    }
    let mut noise = small();
    noise.entries = (0..5000).map(|tag| (tag, 99, u32::MAX, u32::MAX)).collect();
    add(Fails, "5000 entries of unknown types".to_owned(), noise);
}
