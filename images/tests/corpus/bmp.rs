//! BMP: every depth, cut, with wrong headers and offsets, run-length codes that run away.

use super::{Collection, Expected};

struct Picture {
    width: i32,
    height: i32,
    bits: u16,
    compression: u32,
    colours: u32,
    data: Vec<u8>,
}

impl Picture {
    fn new(width: i32, height: i32, bits: u16) -> Self {
        let row = (width.unsigned_abs() as usize * usize::from(bits)).div_ceil(32) * 4;
        let size = row * height.unsigned_abs() as usize;
        Picture {
            width,
            height,
            bits,
            compression: 0,
            colours: if bits <= 8 { 1 << bits } else { 0 },
            data: (0..size).map(|i| (i * 31) as u8).collect(),
        }
    }

    fn coded(width: i32, height: i32, bits: u16, compression: u32, data: Vec<u8>) -> Self {
        Picture {
            width,
            height,
            bits,
            compression,
            colours: 1 << bits.min(8),
            data,
        }
    }

    fn file(&self) -> Vec<u8> {
        let offset = 54 + 4 * self.colours;
        let mut out = b"BM".to_vec();
        out.extend((offset + self.data.len() as u32).to_le_bytes());
        out.extend([0; 4]);
        out.extend(offset.to_le_bytes());
        out.extend(40u32.to_le_bytes());
        out.extend(self.width.to_le_bytes());
        out.extend(self.height.to_le_bytes());
        out.extend(1u16.to_le_bytes());
        out.extend(self.bits.to_le_bytes());
        out.extend(self.compression.to_le_bytes());
        out.extend([0; 12]);
        out.extend(self.colours.to_le_bytes());
        out.extend([0; 4]);
        out.extend((0..self.colours).flat_map(|i| [i as u8, (i * 3) as u8, (i * 5) as u8, 0]));
        out.extend(&self.data);
        out
    }
}

/// A small picture.
pub(crate) fn plain() -> Vec<u8> {
    Picture::new(24, 16, 24).file()
}

pub(crate) fn add(all: &mut Collection) {
    use Expected::{Either, Fails, Ok};
    for bits in [1, 4, 8, 16, 24, 32] {
        for (width, height) in [(24, 16), (24, -16), (1, 1), (1, 3000), (3000, 1)] {
            let what = format!("BMP of {width} x {height} with {bits} bits");
            all.add(
                "kind.bmp",
                Ok,
                what,
                Picture::new(width, height, bits).file(),
            );
        }
    }
    let bytes = plain();
    all.add_cut(
        "cut.bmp",
        "BMP",
        &bytes,
        &[14, 18, 26, 30, 34, 53, 54, 55, 126, 127],
        bytes.len(),
    );
    let bytes = Picture::new(24, 16, 4).file();
    all.add_cut(
        "cut.bmp",
        "palette BMP",
        &bytes,
        &[14, 54, 58, 60, 118, 119],
        bytes.len(),
    );

    let mut add = |expected, what: &str, bytes| all.add("wrong.bmp", expected, what, bytes);
    let mut changed = |expected, what: &str, at: usize, value: &[u8]| {
        let mut bytes = plain();
        bytes[at..at + value.len()].copy_from_slice(value);
        add(expected, what, bytes);
    };
    for size in [0u32, 1, 11, 13, 39, 41, 1000, u32::MAX] {
        changed(
            Either,
            &format!("an information header of {size} bytes"),
            14,
            &size.to_le_bytes(),
        );
    }
    for offset in [0u32, 1, 53, 1 << 20, u32::MAX] {
        changed(
            Either,
            &format!("pixels at offset {offset}"),
            10,
            &offset.to_le_bytes(),
        );
    }
    for bits in [0u16, 3, 7, 12, 33, 64, 65535] {
        changed(
            Fails,
            &format!("{bits} bits a pixel"),
            28,
            &bits.to_le_bytes(),
        );
    }
    for compression in [1u32, 2, 3, 4, 5, 6, 99, u32::MAX] {
        changed(
            Fails,
            &format!("compression {compression} with 24 bits"),
            30,
            &compression.to_le_bytes(),
        );
    }
    changed(Fails, "width 0", 18, &[0; 4]);
    changed(Fails, "height 0", 22, &[0; 4]);
    changed(Fails, "width -1", 18, &[255; 4]);
    changed(
        Fails,
        "the lowest height there is",
        22,
        &i32::MIN.to_le_bytes(),
    );
    changed(Either, "no planes", 26, &[0, 0]);
    changed(Either, "a file size of 0", 2, &[0; 4]);
    for colours in [0u32, 1, 2, 257, 1 << 20, u32::MAX] {
        let mut bytes = Picture::new(24, 16, 8).file();
        bytes[46..50].copy_from_slice(&colours.to_le_bytes());
        add(
            Either,
            &format!("{colours} palette entries where there are 256"),
            bytes,
        );
    }
    for (what, expected, data) in [
        (
            "runs that fill it",
            Ok,
            [[24u8, 7, 0, 0].repeat(16), vec![0, 1]].concat(),
        ),
        ("no end", Either, [24, 7, 0, 0].repeat(16)),
        ("an end at once", Either, vec![0, 1]),
        ("a run beyond the row", Either, vec![255, 7, 0, 1]),
        (
            "a jump beyond the picture",
            Either,
            vec![0, 2, 255, 255, 24, 7, 0, 1],
        ),
        ("many jumps", Either, [0, 2, 1, 0].repeat(100_000)),
        ("many ends of rows", Either, [0, 0].repeat(200_000)),
        ("runs of no pixel", Either, [0, 0, 0, 0].repeat(100_000)),
        ("a literal that is cut", Fails, vec![0, 200, 1, 2]),
        ("no data", Fails, Vec::new()),
    ] {
        for (bits, compression) in [(8, 1), (4, 2)] {
            let picture = Picture::coded(24, 16, bits, compression, data.clone());
            add(
                expected,
                &format!("run-length codes of {bits} bits: {what}"),
                picture.file(),
            );
        }
    }
    let mut add = |expected, what: &str, bytes| all.add("bomb.bmp", expected, what, bytes);
    for (width, height) in [
        (i32::MAX, i32::MAX),
        (65_535, 65_535),
        (10_001, 10_000),
        (i32::MAX, 1),
        (1, i32::MAX),
    ] {
        for bits in [1, 8, 24] {
            let picture = Picture::coded(width, height, bits, 0, vec![0; 100]);
            add(
                Fails,
                &format!("{width} x {height} with {bits} bits and little data"),
                picture.file(),
            );
        }
        let picture = Picture::coded(width, height, 8, 1, [255, 0].repeat(1000));
        add(
            Fails,
            &format!("{width} x {height} in run-length codes"),
            picture.file(),
        );
    }
    let picture = Picture::coded(5000, 5000, 8, 1, [255, 3].repeat(60_000));
    add(
        Either,
        "5000 x 5000 in run-length codes that leave much out",
        picture.file(),
    );
}
