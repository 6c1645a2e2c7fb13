//! PNG: pictures of every kind, cut chunk by chunk, with wrong chunks, and bombs.

use super::bits::{crc32, zlib_stored, zlib_zeros};
use super::{Collection, Expected};

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

pub(crate) fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut body = kind.to_vec();
    body.extend(data);
    let mut out = (data.len() as u32).to_be_bytes().to_vec();
    out.extend(&body);
    out.extend(crc32(&body).to_be_bytes());
    out
}

/// The fields of IHDR.
#[derive(Clone, Copy)]
struct Header {
    width: u32,
    height: u32,
    depth: u8,
    /// 0 grey, 2 RGB, 3 palette, 4 grey with alpha, 6 RGB with alpha.
    colour: u8,
    interlaced: bool,
}

impl Header {
    fn chunk(self) -> Vec<u8> {
        let mut data = self.width.to_be_bytes().to_vec();
        data.extend(self.height.to_be_bytes());
        data.extend([self.depth, self.colour, 0, 0, u8::from(self.interlaced)]);
        chunk(b"IHDR", &data)
    }

    fn row_bytes(self, width: u32) -> usize {
        let samples = match self.colour {
            2 => 3,
            4 => 2,
            6 => 4,
            _ => 1,
        };
        (width as usize * samples * usize::from(self.depth)).div_ceil(8)
    }

    /// Rows with their filter bytes, of a pattern that every depth can show.
    fn rows(self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut pass = |width: u32, height: u32| {
            for y in 0..height {
                if width == 0 {
                    break;
                }
                out.push(0);
                let row = 0..self.row_bytes(width);
                out.extend(row.map(|x| (x as u32 * 37 + y * 11) as u8 & self.mask()));
            }
        };
        if self.interlaced {
            for (x, y, dx, dy) in [
                (0, 0, 8, 8),
                (4, 0, 8, 8),
                (0, 4, 4, 8),
                (2, 0, 4, 4),
                (0, 2, 2, 4),
                (1, 0, 2, 2),
                (0, 1, 1, 2),
            ] {
                let part =
                    |side: u32, first: u32, step: u32| side.saturating_sub(first).div_ceil(step);
                pass(part(self.width, x, dx), part(self.height, y, dy));
            }
        } else {
            pass(self.width, self.height);
        }
        out
    }

    /// Keeps the indices of a palette picture below two.
    fn mask(self) -> u8 {
        match (self.colour, self.depth) {
            (3, 1) => 0xFF,
            (3, 2) => 0x55,
            (3, 4) => 0x11,
            (3, _) => 0x01,
            _ => 0xFF,
        }
    }
}

fn header(width: u32, height: u32, depth: u8, colour: u8) -> Header {
    Header {
        width,
        height,
        depth,
        colour,
        interlaced: false,
    }
}

fn file(chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut out = SIGNATURE.to_vec();
    out.extend(chunks.concat());
    out
}

fn end() -> Vec<u8> {
    chunk(b"IEND", b"")
}

fn palette(entries: usize) -> Vec<u8> {
    let colours: Vec<u8> = (0..entries * 3).map(|i| (i * 83) as u8).collect();
    chunk(b"PLTE", &colours)
}

/// A whole picture with `extra` chunks before its data.
fn picture(header: Header, extra: &[Vec<u8>]) -> Vec<u8> {
    let mut chunks = vec![header.chunk()];
    if header.colour == 3 {
        chunks.push(palette(2));
    }
    chunks.extend_from_slice(extra);
    chunks.push(chunk(b"IDAT", &zlib_stored(&header.rows())));
    chunks.push(end());
    file(&chunks)
}

/// A small RGB picture with an `eXIf` chunk.
pub(crate) fn with_exif(exif: &[u8]) -> Vec<u8> {
    picture(header(24, 16, 8, 2), &[chunk(b"eXIf", exif)])
}

/// A small RGB picture.
pub(crate) fn plain() -> Vec<u8> {
    picture(header(24, 16, 8, 2), &[])
}

pub(crate) fn add(all: &mut Collection) {
    kinds(all);
    cut(all);
    wrong(all);
    bombs(all);
    animated(all);
}

fn kinds(all: &mut Collection) {
    let depths = [
        (0, &[1, 2, 4, 8, 16][..]),
        (2, &[8, 16]),
        (3, &[1, 2, 4, 8]),
        (4, &[8, 16]),
        (6, &[8, 16]),
    ];
    for (colour, depths) in depths {
        for &depth in depths {
            for interlaced in [false, true] {
                let header = Header {
                    interlaced,
                    ..header(24, 16, depth, colour)
                };
                let what = format!(
                    "PNG of colour type {colour} with {depth} bits; interlaced: {interlaced}"
                );
                all.add("kind.png", Expected::Ok, what, picture(header, &[]));
            }
        }
    }
    for (width, height) in [(1, 1), (1, 3000), (3000, 1), (7, 1), (1, 7), (65_536, 2)] {
        for interlaced in [false, true] {
            let header = Header {
                interlaced,
                ..header(width, height, 8, 2)
            };
            let what = format!("PNG of {width} x {height}; interlaced: {interlaced}");
            all.add("thin.png", Expected::Ok, what, picture(header, &[]));
        }
    }
}

fn cut(all: &mut Collection) {
    for (what, header) in [
        ("RGB PNG", header(24, 16, 8, 2)),
        ("palette PNG", header(24, 16, 4, 3)),
        (
            "interlaced PNG",
            Header {
                interlaced: true,
                ..header(24, 16, 16, 6)
            },
        ),
    ] {
        let bytes = picture(header, &[chunk(b"gAMA", &45455u32.to_be_bytes())]);
        let mut places = vec![];
        let mut at = 8;
        while at + 8 <= bytes.len() {
            let length =
                u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
            places.extend([at, at + 4, at + 8, at + 8 + length as usize]);
            at += 12 + length as usize;
        }
        // The last row's data ends before the checksums of the stream and the chunk, and IEND.
        let whole = bytes.len() - 12 - 4 - 4;
        all.add_cut("cut.png", what, &bytes, &places, whole);
    }
}

fn wrong(all: &mut Collection) {
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

fn bombs(all: &mut Collection) {
    use Expected::{Either, Fails, Ok};
    let mut add = |expected, what: &str, chunks: &[Vec<u8>]| {
        all.add("bomb.png", expected, what, file(chunks))
    };
    for side in [10_001, 60_000, 1 << 20, 0x7FFF_FFFF, 0xFFFF_FFFF] {
        for (depth, colour) in [(8, 2), (16, 6), (1, 0)] {
            let header = header(side, side, depth, colour).chunk();
            let data = chunk(b"IDAT", &zlib_zeros(100_000));
            add(
                Fails,
                &format!(
                    "{side} x {side} with {depth} bits of colour type {colour} and little data"
                ),
                &[header, data, end()],
            );
        }
    }
    for (side, depth, colour) in [(5000, 16, 6), (6000, 8, 6), (9000, 1, 0)] {
        let header = header(side, side, depth, colour);
        let size = (header.row_bytes(side) as u64 + 1) * u64::from(side);
        let whole = [header.chunk(), chunk(b"IDAT", &zlib_zeros(size)), end()];
        add(
            Ok,
            &format!("{side} x {side} of zeros with {depth} bits of colour type {colour}"),
            &whole,
        );
        let short = [
            header.chunk(),
            chunk(b"IDAT", &zlib_zeros(size - 1000)),
            end(),
        ];
        add(
            Fails,
            &format!(
                "{side} x {side} of zeros with {depth} bits of colour type {colour}; its end is missing"
            ),
            &short,
        );
    }
    let small = header(16, 16, 8, 2);
    for size in [1 << 26, 1 << 29, 1 << 31] {
        let header = small.chunk();
        add(
            Either,
            &format!("16 x 16 whose data inflates to {size} bytes"),
            &[header, chunk(b"IDAT", &zlib_zeros(size)), end()],
        );
    }
    let idat = chunk(b"IDAT", &zlib_stored(&small.rows()));
    for size in [1 << 24, 1 << 27, 1 << 29] {
        let bomb = zlib_zeros(size);
        let mut profile = b"profile\0\0".to_vec();
        profile.extend(&bomb);
        let mut text = b"comment\0\0".to_vec();
        text.extend(&bomb);
        let mut unicode = b"XML:com.adobe.xmp\0\x01\0\0\0".to_vec();
        unicode.extend(&bomb);
        for (kind, data) in [(b"iCCP", &profile), (b"zTXt", &text), (b"iTXt", &unicode)] {
            let what = format!(
                "{} that inflates to {size} bytes",
                String::from_utf8_lossy(kind)
            );
            add(
                Either,
                &what,
                &[small.chunk(), chunk(kind, data), idat.clone(), end()],
            );
        }
    }
    let mut profile = b"p\0\0".to_vec();
    profile.extend(zlib_zeros(1 << 26));
    let several: Vec<u8> = (0..12).flat_map(|_| chunk(b"iCCP", &profile)).collect();
    add(
        Either,
        "12 profiles of 64 MiB each",
        &[small.chunk(), several, idat, end()],
    );
}

fn animated(all: &mut Collection) {
    use Expected::{Either, Ok};
    let frame = header(24, 16, 8, 2);
    let control = |sequence: u32, width: u32, height: u32| {
        let mut data = sequence.to_be_bytes().to_vec();
        data.extend(width.to_be_bytes());
        data.extend(height.to_be_bytes());
        data.extend([0; 8]);
        data.extend([0, 1, 0, 10, 0, 0]);
        chunk(b"fcTL", &data)
    };
    let frame_data = |sequence: u32| {
        let mut data = sequence.to_be_bytes().to_vec();
        data.extend(zlib_stored(&frame.rows()));
        chunk(b"fdAT", &data)
    };
    let animation = |frames: u32, announced: u32, first: (u32, u32)| {
        let mut chunks = vec![frame.chunk()];
        let mut data = announced.to_be_bytes().to_vec();
        data.extend([0; 4]);
        chunks.push(chunk(b"acTL", &data));
        chunks.push(control(0, first.0, first.1));
        chunks.push(chunk(b"IDAT", &zlib_stored(&frame.rows())));
        for n in 1..frames {
            chunks.push(control(2 * n - 1, 24, 16));
            chunks.push(frame_data(2 * n));
        }
        chunks.push(end());
        file(&chunks)
    };
    let mut add = |expected, what: &str, bytes| all.add("animated.png", expected, what, bytes);
    add(Ok, "two frames", animation(2, 2, (24, 16)));
    add(Ok, "500 frames", animation(500, 500, (24, 16)));
    add(
        Either,
        "2 frames where 2147483647 are announced",
        animation(2, 0x7FFF_FFFF, (24, 16)),
    );
    add(Either, "no frame is announced", animation(2, 0, (24, 16)));
    add(
        Either,
        "a first frame larger than the picture",
        animation(2, 2, (60_000, 60_000)),
    );
    add(
        Either,
        "a first frame smaller than the picture",
        animation(2, 2, (12, 8)),
    );
    add(
        Either,
        "a first frame without pixels",
        animation(2, 2, (0, 0)),
    );
}
