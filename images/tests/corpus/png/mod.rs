//! PNG: pictures of every kind, cut chunk by chunk, with wrong chunks, and bombs.

mod bombs;
mod wrong;

use super::bits::{crc32, zlib_stored};
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
    wrong::wrong(all);
    bombs::bombs(all);
    bombs::animated(all);
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
