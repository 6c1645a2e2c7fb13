//! TIFF: strips and tiles, both byte orders, cut field by field, with directories that loop and lie, and bombs.

mod bombs;
mod wrong;

use super::bits::zlib_stored;
use super::{Collection, Expected};

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const BITS: u16 = 258;
const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const OFFSETS: u16 = 273;
const ORIENTATION: u16 = 274;
const SAMPLES: u16 = 277;
const ROWS_PER_STRIP: u16 = 278;
const BYTE_COUNTS: u16 = 279;
const TILE_WIDTH: u16 = 322;
const TILE_HEIGHT: u16 = 323;
const TILE_OFFSETS: u16 = 324;
const TILE_BYTE_COUNTS: u16 = 325;

const SHORT: u16 = 3;
const LONG: u16 = 4;

/// A file of one directory: its entries are replaced or added to, then written with the data behind them.
#[derive(Clone)]
struct Picture {
    big_endian: bool,
    /// Tag, type, count and value; in rising order of tags.
    entries: Vec<(u16, u16, u32, u32)>,
    data: Vec<u8>,
    /// Where the directory says that the next one is.
    next: u32,
}

impl Picture {
    /// Grey of eight bits in one strip.
    fn grey(width: u32, height: u32, data: Vec<u8>) -> Self {
        Picture {
            big_endian: false,
            entries: vec![
                (WIDTH, LONG, 1, width),
                (HEIGHT, LONG, 1, height),
                (BITS, SHORT, 1, 8),
                (COMPRESSION, SHORT, 1, 1),
                (PHOTOMETRIC, SHORT, 1, 1),
                (OFFSETS, LONG, 1, 0),
                (SAMPLES, SHORT, 1, 1),
                (ROWS_PER_STRIP, LONG, 1, height),
                (BYTE_COUNTS, LONG, 1, data.len() as u32),
            ],
            data,
            next: 0,
        }
        .at_data(OFFSETS)
    }

    /// Grey in one tile that is as large as said.
    fn tiled(width: u32, height: u32, tile: (u32, u32), data: Vec<u8>) -> Self {
        let size = data.len() as u32;
        let mut picture = Picture::grey(width, height, data);
        picture
            .entries
            .retain(|e| !matches!(e.0, OFFSETS | ROWS_PER_STRIP | BYTE_COUNTS));
        picture
            .with(TILE_WIDTH, LONG, 1, tile.0)
            .with(TILE_HEIGHT, LONG, 1, tile.1)
            .with(TILE_OFFSETS, LONG, 1, 0)
            .with(TILE_BYTE_COUNTS, LONG, 1, size)
            .at_data(TILE_OFFSETS)
    }

    /// Sets an entry.
    fn with(mut self, tag: u16, kind: u16, count: u32, value: u32) -> Self {
        match self.entries.binary_search_by_key(&tag, |e| e.0) {
            Ok(at) => self.entries[at] = (tag, kind, count, value),
            Err(at) => self.entries.insert(at, (tag, kind, count, value)),
        }
        // The data moves when the directory grows.
        let data = self.data_at();
        for entry in &mut self.entries {
            let own = matches!(entry.0, OFFSETS | TILE_OFFSETS) && entry.2 == 1 && entry.0 != tag;
            if own {
                entry.3 = data;
            }
        }
        self
    }

    /// Lets the entry `tag` point to the data.
    fn at_data(self, tag: u16) -> Self {
        let at = self.data_at();
        self.with(tag, LONG, 1, at)
    }

    fn without(mut self, tag: u16) -> Self {
        self.entries.retain(|e| e.0 != tag);
        if tag == OFFSETS {
            self
        } else {
            self.at_data(OFFSETS)
        }
    }

    fn data_at(&self) -> u32 {
        8 + 2 + 12 * self.entries.len() as u32 + 4
    }

    fn file(&self) -> Vec<u8> {
        let short = |v: u16| {
            if self.big_endian {
                v.to_be_bytes()
            } else {
                v.to_le_bytes()
            }
        };
        let long = |v: u32| {
            if self.big_endian {
                v.to_be_bytes()
            } else {
                v.to_le_bytes()
            }
        };
        let mut out = if self.big_endian {
            b"MM".to_vec()
        } else {
            b"II".to_vec()
        };
        out.extend(short(42));
        out.extend(long(8));
        out.extend(short(self.entries.len() as u16));
        for &(tag, kind, count, value) in &self.entries {
            out.extend(short(tag));
            out.extend(short(kind));
            out.extend(long(count));
            if kind == SHORT && count == 1 {
                out.extend(short(value as u16));
                out.extend([0; 2]);
            } else {
                out.extend(long(value));
            }
        }
        out.extend(long(self.next));
        out.extend(&self.data);
        out
    }
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i * 13) as u8).collect()
}

fn small() -> Picture {
    Picture::grey(24, 16, pattern(24 * 16))
}

/// A small picture.
pub(crate) fn plain() -> Vec<u8> {
    small().file()
}

/// A small picture of this orientation.
pub(crate) fn with_orientation(value: u32) -> Vec<u8> {
    small().with(ORIENTATION, SHORT, 1, value).file()
}

pub(crate) fn add(all: &mut Collection) {
    kinds(all);
    wrong::wrong(all);
    bombs::bombs(all);
}

fn kinds(all: &mut Collection) {
    use Expected::{Either, Ok};
    for (width, height) in [(24, 16), (1, 1), (1, 3000), (3000, 1)] {
        for big_endian in [false, true] {
            let picture = Picture {
                big_endian,
                ..Picture::grey(width, height, pattern((width * height) as usize))
            };
            all.add(
                "kind.tif",
                Ok,
                format!("TIFF of {width} x {height}; big endian: {big_endian}"),
                picture.file(),
            );
        }
    }
    let mut deflated = small().with(COMPRESSION, SHORT, 1, 8);
    deflated.data = zlib_stored(&pattern(24 * 16));
    let size = deflated.data.len() as u32;
    let deflated = deflated.with(BYTE_COUNTS, LONG, 1, size);
    all.add("kind.tif", Ok, "deflated strip", deflated.file());
    let tile = Picture::tiled(24, 16, (32, 16), pattern(32 * 16));
    all.add(
        "kind.tif",
        Ok,
        "one tile wider than the picture",
        tile.file(),
    );
    let mut pages = small();
    pages.next = 8;
    all.add(
        "kind.tif",
        Either,
        "a directory that follows itself",
        pages.file(),
    );
    for (what, picture) in [
        ("TIFF", small()),
        ("deflated TIFF", deflated),
        ("tiled TIFF", tile),
    ] {
        let bytes = picture.file();
        let places: Vec<usize> = (0..picture.entries.len())
            .map(|i| 10 + 12 * i)
            .chain([picture.data_at() as usize])
            .collect();
        // No pixel is in the checksum of a deflated strip, and none in the right of the tile's last row.
        let whole = match what {
            "deflated TIFF" => bytes.len() - 4,
            "tiled TIFF" => bytes.len() - 8,
            _ => bytes.len(),
        };
        all.add_cut("cut.tif", what, &bytes, &places, whole);
    }
    let mut none = b"II*\0\0\0\0\0".to_vec();
    all.add("kind.tif", Expected::Fails, "no directory", none.clone());
    none[4] = 4;
    all.add(
        "kind.tif",
        Expected::Fails,
        "a directory within the header",
        none,
    );
    let mut big = b"II\x2B\0\x08\0\0\0\x10\0\0\0\0\0\0\0".to_vec();
    big.extend([0xFF; 8]);
    all.add(
        "kind.tif",
        Expected::Fails,
        "BigTIFF with more entries than bytes in the world",
        big,
    );
    let mut big = b"II\x2B\0\x08\0\0\0".to_vec();
    big.extend([0xFF; 8]);
    all.add(
        "kind.tif",
        Expected::Fails,
        "BigTIFF whose directory lies at the end of the world",
        big,
    );
    all.add(
        "kind.tif",
        Either,
        "BigTIFF with offsets of 3 bytes",
        b"II\x2B\0\x03\0\0\0\x10\0\0\0\0\0\0\0".to_vec(),
    );
}
