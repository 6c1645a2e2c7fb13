//! TIFF: strips and tiles, both byte orders, cut field by field, with directories that loop and lie, and bombs.

use super::bits::{zlib_stored, zlib_zeros};
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
    wrong(all);
    bombs(all);
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

fn wrong(all: &mut Collection) {
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
        add(
            Fails,
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

fn bombs(all: &mut Collection) {
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
