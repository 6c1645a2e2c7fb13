//! PNG against the rules: chunks that are missing, doubled, of a wrong length or in a wrong order.

use super::super::bits::zlib_stored;
use super::super::{Collection, Expected};
use super::{Header, chunk, end, file, header, palette};

pub(super) fn wrong(all: &mut Collection) {
    use Expected::{Either, Fails, Ok};
    let rgb = header(24, 16, 8, 2);
    let idat = |header: Header| chunk(b"IDAT", &zlib_stored(&header.rows()));
    let mut add = |expected, what: &str, chunks: &[Vec<u8>]| {
        all.add("wrong.png", expected, what, file(chunks))
    };
    for entries in [0, 1, 2, 255, 256, 257] {
        // Pixels of value 200 where the palette ends before.
        let mut rows = header(24, 16, 8, 3).rows();
        rows.chunks_mut(25).for_each(|row| row[1..].fill(200));
        let what = format!("pixels of palette entry 200 where there are {entries}");
        let expected = if entries > 200 && entries <= 256 {
            Ok
        } else {
            Either
        };
        let data = chunk(b"IDAT", &zlib_stored(&rows));
        add(
            expected,
            &what,
            &[header(24, 16, 8, 3).chunk(), palette(entries), data, end()],
        );
    }
    let indexed = header(24, 16, 8, 3);
    add(
        Fails,
        "palette picture without a palette",
        &[indexed.chunk(), idat(indexed), end()],
    );
    add(
        Either,
        "palette behind the data",
        &[indexed.chunk(), idat(indexed), palette(2), end()],
    );
    add(
        Fails,
        "palette of 4 bytes",
        &[
            indexed.chunk(),
            chunk(b"PLTE", &[1, 2, 3, 4]),
            idat(indexed),
            end(),
        ],
    );
    add(
        Either,
        "two palettes",
        &[
            indexed.chunk(),
            palette(2),
            palette(2),
            idat(indexed),
            end(),
        ],
    );
    add(
        Either,
        "tRNS longer than the palette",
        &[
            indexed.chunk(),
            palette(2),
            chunk(b"tRNS", &[9; 300]),
            idat(indexed),
            end(),
        ],
    );
    add(
        Either,
        "tRNS too short for RGB",
        &[rgb.chunk(), chunk(b"tRNS", &[9]), idat(rgb), end()],
    );
    add(Fails, "no data", &[rgb.chunk(), end()]);
    add(Fails, "nothing but the signature", &[]);
    add(
        Fails,
        "data before the header",
        &[idat(rgb), rgb.chunk(), end()],
    );
    add(
        Fails,
        "two headers",
        &[rgb.chunk(), rgb.chunk(), idat(rgb), end()],
    );
    add(
        Fails,
        "empty data chunk",
        &[rgb.chunk(), chunk(b"IDAT", b""), end()],
    );
    add(
        Fails,
        "unknown critical chunk only",
        &[chunk(b"ABCD", b"x")],
    );
    add(
        Ok,
        "unknown ancillary chunk",
        &[rgb.chunk(), chunk(b"abCd", b"x"), idat(rgb), end()],
    );
    for (width, height) in [(0, 16), (24, 0), (0, 0), (u32::MAX, 1), (1, u32::MAX)] {
        add(
            Fails,
            &format!("header of {width} x {height}"),
            &[header(width, height, 8, 2).chunk(), idat(rgb), end()],
        );
    }
    for (depth, colour) in [
        (3, 0),
        (0, 2),
        (1, 2),
        (16, 3),
        (255, 6),
        (4, 4),
        (8, 1),
        (8, 5),
        (8, 7),
        (8, 255),
    ] {
        let what = format!("{depth} bits with colour type {colour}");
        add(
            Fails,
            &what,
            &[header(24, 16, depth, colour).chunk(), idat(rgb), end()],
        );
    }
    for (index, name) in [(10, "compression"), (11, "filter"), (12, "interlace")] {
        let mut data = rgb.chunk()[8..21].to_vec();
        data[index] = 9;
        add(
            Fails,
            &format!("unknown {name} method"),
            &[chunk(b"IHDR", &data), idat(rgb), end()],
        );
    }
    for length in [0, 1, 12, 14, 1000] {
        let mut data = rgb.chunk()[8..21].to_vec();
        data.resize(length, 0);
        let expected = if length < 13 { Fails } else { Either };
        add(
            expected,
            &format!("header chunk of {length} bytes"),
            &[chunk(b"IHDR", &data), idat(rgb), end()],
        );
    }
    let mut rows = rgb.rows();
    rows[73] = 5;
    add(
        Fails,
        "unknown row filter",
        &[rgb.chunk(), chunk(b"IDAT", &zlib_stored(&rows)), end()],
    );
    add(
        Fails,
        "half of the rows",
        &[
            rgb.chunk(),
            chunk(b"IDAT", &zlib_stored(&rgb.rows()[..73 * 8])),
            end(),
        ],
    );
    add(
        Either,
        "more rows than announced",
        &[rgb.chunk(), chunk(b"IDAT", &zlib_stored(&[0; 9999])), end()],
    );
    add(
        Fails,
        "data that is no zlib stream",
        &[rgb.chunk(), chunk(b"IDAT", b"not compressed at all"), end()],
    );
    let mut bad = idat(rgb);
    let last = bad.len() - 1;
    bad[last] ^= 0x55;
    add(
        Either,
        "wrong checksum of the data",
        &[rgb.chunk(), bad, end()],
    );
    let mut bad = rgb.chunk();
    bad[24] ^= 0x55;
    add(
        Either,
        "wrong checksum of the header",
        &[bad, idat(rgb), end()],
    );
    for length in [0xFFFF_FFFFu32, 0x7FFF_FFFF, 0x8000_0000, 1 << 20] {
        let mut long = idat(rgb);
        long[..4].copy_from_slice(&length.to_be_bytes());
        add(
            Either,
            &format!("data chunk that announces {length} bytes"),
            &[rgb.chunk(), long],
        );
        let mut long = chunk(b"tEXt", b"a\0b");
        long[..4].copy_from_slice(&length.to_be_bytes());
        add(
            Fails,
            &format!("text chunk that announces {length} bytes"),
            &[rgb.chunk(), long, idat(rgb), end()],
        );
    }
    let many: Vec<u8> = (0..20_000).flat_map(|_| chunk(b"tEXt", b"a\0b")).collect();
    add(
        Ok,
        "20000 text chunks",
        &[rgb.chunk(), many, idat(rgb), end()],
    );
    let stream = zlib_stored(&rgb.rows());
    let split: Vec<u8> = stream.iter().flat_map(|&b| chunk(b"IDAT", &[b])).collect();
    add(
        Ok,
        "data in chunks of one byte",
        &[rgb.chunk(), split, end()],
    );
    let empty: Vec<u8> = (0..50_000).flat_map(|_| chunk(b"IDAT", b"")).collect();
    add(
        Either,
        "50000 empty data chunks",
        &[rgb.chunk(), empty, idat(rgb), end()],
    );
}
