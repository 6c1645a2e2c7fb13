//! JPEG: small mosaics in one and several scans, cut marker by marker, with missing and wrong tables, and bombs.
//!
//! The encoder writes flat blocks: a DC coefficient each and now and then a one behind it. That exercises every table and
//! marker while the arithmetic of the transform stays out.

use super::bits::HighFirst;
use super::{Collection, Expected};

const START: [u8; 2] = [0xFF, 0xD8];
const END: [u8; 2] = [0xFF, 0xD9];

/// Real files of other encoders, for what this one cannot write.
const REAL: [(&str, &[u8]); 5] = [
    (
        "progressive JPEG",
        include_bytes!("../data/progressive.jpg"),
    ),
    (
        "JPEG with subsampled colour",
        include_bytes!("../data/subsampled.jpg"),
    ),
    (
        "YCCK JPEG without a profile",
        include_bytes!("../data/ycck.jpg"),
    ),
    (
        "CMYK JPEG without a profile",
        include_bytes!("../data/cmyk_adobe.jpg"),
    ),
    (
        "CMYK JPEG without a profile or Adobe's segment",
        include_bytes!("../data/cmyk_plain.jpg"),
    ),
];

pub(crate) fn segment(marker: u8, data: &[u8]) -> Vec<u8> {
    let mut out = vec![0xFF, marker];
    out.extend((data.len() as u16 + 2).to_be_bytes());
    out.extend(data);
    out
}

/// What to encode.
#[derive(Clone, Copy)]
struct Picture {
    width: u16,
    height: u16,
    components: u8,
    /// Marker of the frame: 0xC0 baseline, 0xC2 progressive.
    frame: u8,
    /// Blocks between restarts as announced and as done; 0 for none.
    restart: (u16, usize),
}

const SMALL: Picture = Picture {
    width: 24,
    height: 16,
    components: 3,
    frame: 0xC0,
    restart: (0, 0),
};

impl Picture {
    fn blocks(self) -> usize {
        usize::from(self.width.div_ceil(8)) * usize::from(self.height.div_ceil(8))
    }

    fn quantisation(self) -> Vec<u8> {
        let mut data = vec![0];
        data.extend([8; 64]);
        segment(0xDB, &data)
    }

    fn frame(self) -> Vec<u8> {
        let mut data = vec![8];
        data.extend(self.height.to_be_bytes());
        data.extend(self.width.to_be_bytes());
        data.push(self.components);
        data.extend((1..=self.components).flat_map(|id| [id, 0x11, 0]));
        segment(self.frame, &data)
    }

    /// The restart interval, where there is one.
    fn interval(self) -> Vec<u8> {
        match self.restart.0 {
            0 => Vec::new(),
            blocks => segment(0xDD, &blocks.to_be_bytes()),
        }
    }

    /// Everything before the first scan.
    fn head(self) -> Vec<u8> {
        [
            START.to_vec(),
            self.quantisation(),
            self.frame(),
            tables(),
            self.interval(),
        ]
        .concat()
    }

    /// A scan over `components` (counted from one) of the coefficients `first..=last`.
    fn scan(self, components: &[u8], first: u8, last: u8) -> Vec<u8> {
        let mut data = vec![components.len() as u8];
        data.extend(components.iter().flat_map(|&id| [id, 0]));
        data.extend([first, last, 0]);
        let mut out = segment(0xDA, &data);
        let mut bits = HighFirst::default();
        let mut before = [0i32; 4];
        for block in 0..self.blocks() {
            if self.restart.1 > 0 && block > 0 && block % self.restart.1 == 0 {
                bits.marker(0xD0 + (block / self.restart.1 - 1) as u8 % 8);
                before = [0; 4];
            }
            for &id in components {
                if first == 0 {
                    let level = (block as i32 * 29 + i32::from(id) * 50) % 160 - 80;
                    dc(&mut bits, level - before[usize::from(id) - 1]);
                    before[usize::from(id) - 1] = level;
                }
                if last > 0 {
                    if block % 3 == 0 {
                        bits.put(0b10, 2);
                        bits.put(1, 1);
                    }
                    bits.put(0, 1);
                }
            }
        }
        out.extend(bits.bytes());
        out
    }

    fn ids(self) -> Vec<u8> {
        (1..=self.components).collect()
    }

    fn scans(self) -> Vec<u8> {
        if self.frame != 0xC2 {
            return self.scan(&self.ids(), 0, 63);
        }
        let mut out = self.scan(&self.ids(), 0, 0);
        for id in self.ids() {
            out.extend(self.scan(&[id], 1, 5));
            out.extend(self.scan(&[id], 6, 63));
        }
        out
    }

    fn file(self) -> Vec<u8> {
        [self.head(), self.scans(), END.to_vec()].concat()
    }
}

/// DC categories 0 to 11 as the codes 0 to 11 of four bits; of AC an end of block ("0"), a one ("10") and the end of a
/// band of 16384 to 32767 blocks ("110").
fn tables() -> Vec<u8> {
    let mut dc = vec![0x00, 0, 0, 0, 12];
    dc.extend([0; 12]);
    dc.extend(0..12);
    let mut ac = vec![0x10, 1, 1, 1];
    ac.extend([0; 13]);
    ac.extend([0x00, 0x01, 0xE0]);
    [segment(0xC4, &dc), segment(0xC4, &ac)].concat()
}

fn dc(bits: &mut HighFirst, difference: i32) {
    let category = 32 - difference.unsigned_abs().leading_zeros();
    bits.put(category, 4);
    let value = if difference < 0 {
        difference - 1
    } else {
        difference
    };
    bits.put(value as u32, category);
}

/// A small picture with a segment behind its start.
pub(crate) fn with_segment(marker: u8, data: &[u8]) -> Vec<u8> {
    let bytes = SMALL.file();
    [&START[..], &segment(marker, data), &bytes[2..]].concat()
}

/// A small picture.
pub(crate) fn plain() -> Vec<u8> {
    SMALL.file()
}

pub(crate) fn add(all: &mut Collection) {
    kinds(all);
    cut(all);
    wrong(all);
    bombs(all);
}

fn kinds(all: &mut Collection) {
    for frame in [0xC0, 0xC1, 0xC2] {
        for components in [1, 3] {
            for (width, height) in [(24, 16), (1, 1), (1, 3000), (3000, 1), (9, 17)] {
                let picture = Picture {
                    width,
                    height,
                    components,
                    frame,
                    ..SMALL
                };
                let what = format!(
                    "JPEG of frame type {frame:x} with {components} components of {width} x {height}"
                );
                all.add("kind.jpg", Expected::Ok, what, picture.file());
            }
        }
    }
    for (what, bytes) in REAL {
        all.add("kind.jpg", Expected::Ok, what, bytes.to_vec());
    }
    for blocks in [1, 2, 5, 6] {
        let picture = Picture {
            restart: (blocks, usize::from(blocks)),
            ..SMALL
        };
        all.add(
            "restarts.jpg",
            Expected::Ok,
            format!("JPEG with a restart every {blocks} blocks"),
            picture.file(),
        );
    }
}

/// Where the markers of a file begin, and where the data of its last scan begins.
fn markers(bytes: &[u8]) -> (Vec<usize>, usize) {
    let (mut places, mut scan, mut at) = (Vec::new(), 0, 2);
    while at + 4 <= bytes.len() {
        if bytes[at] != 0xFF || matches!(bytes[at + 1], 0 | 0xFF | 0xD0..=0xD7) {
            at += 1;
            continue;
        }
        let length = usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]));
        places.extend([at, at + 2]);
        if bytes[at + 1] == 0xDA {
            scan = at + 2 + length;
        }
        at += 2 + length;
    }
    (places, scan)
}

fn cut(all: &mut Collection) {
    let progressive = Picture {
        frame: 0xC2,
        ..SMALL
    };
    let restarts = Picture {
        restart: (2, 2),
        ..SMALL
    };
    let own = [
        ("baseline JPEG", SMALL.file()),
        ("progressive JPEG of seven scans", progressive.file()),
        ("JPEG with restarts", restarts.file()),
    ];
    let real = REAL.map(|(what, bytes)| (what, bytes.to_vec()));
    for (what, bytes) in own.into_iter().chain(real) {
        let (mut places, scan) = markers(&bytes);
        let data = bytes.len() - 2 - scan;
        places.extend((1..4).map(|quarter| scan + data * quarter / 4));
        // The last bytes of a scan may be bits that fill up, or blocks that a decoder may well do without.
        let whole = bytes.len() - 2 - data.min(4);
        all.add_cut("cut.jpg", what, &bytes, &places, whole);
        let mut closed = bytes[..scan + data / 2].to_vec();
        closed.extend(END);
        all.add(
            "cut.jpg",
            Expected::Either,
            format!("{what}: the first half with an end marker"),
            closed,
        );
    }
}

fn wrong(all: &mut Collection) {
    use Expected::{Either, Fails, Ok};
    let mut add = |expected, what: &str, parts: &[&[u8]]| {
        all.add("wrong.jpg", expected, what, parts.concat())
    };
    let (start, end) = (&START[..], &END[..]);
    let (tables, scans) = (tables(), SMALL.scans());
    let (quantisation, frame) = (SMALL.quantisation(), SMALL.frame());
    add(
        Fails,
        "no quantisation table",
        &[start, &frame, &tables, &scans, end],
    );
    // Decoders of moving pictures know standard tables for what has none.
    add(
        Either,
        "no Huffman tables",
        &[start, &quantisation, &frame, &scans, end],
    );
    add(
        Fails,
        "no frame",
        &[start, &quantisation, &tables, &scans, end],
    );
    add(
        Fails,
        "no scan",
        &[start, &quantisation, &frame, &tables, end],
    );
    add(Fails, "nothing but start and end", &[start, end]);
    add(Fails, "nothing but starts", &[&[0xFF, 0xD8].repeat(500)]);
    add(Fails, "nothing but fill bytes", &[start, &[0xFF; 100_000]]);
    add(
        Either,
        "two frames",
        &[start, &quantisation, &frame, &frame, &tables, &scans, end],
    );
    add(
        Either,
        "a picture behind a picture",
        &[&SMALL.file(), &SMALL.file()],
    );
    add(Ok, "bytes behind the end", &[&SMALL.file(), &[7; 5000]]);
    for (marker, name) in [
        (0xC3u8, "lossless"),
        (0xC5, "differential"),
        (0xC7, "differential lossless"),
        (0xC9, "arithmetic"),
        (0xCA, "arithmetic progressive"),
        (0xCB, "arithmetic lossless"),
        (0xCF, "differential arithmetic lossless"),
    ] {
        let mut frame = frame.clone();
        frame[1] = marker;
        add(
            Fails,
            &format!("frame of an {name} process"),
            &[start, &quantisation, &frame, &tables, &scans, end],
        );
    }
    let mut changed = |expected, what: &str, offset: usize, values: &[u8]| {
        let mut frame = frame.clone();
        frame[offset..offset + values.len()].copy_from_slice(values);
        add(
            expected,
            what,
            &[start, &quantisation, &frame, &tables, &scans, end],
        );
    };
    changed(Fails, "12 bits a sample", 4, &[12]);
    changed(Fails, "0 bits a sample", 4, &[0]);
    changed(Fails, "height 0", 5, &[0, 0]);
    changed(Fails, "width 0", 7, &[0, 0]);
    changed(Fails, "no components", 9, &[0]);
    changed(Fails, "255 components", 9, &[255]);
    changed(Either, "two components where there are three", 9, &[2]);
    changed(Fails, "a component of no samples", 11, &[0x00]);
    changed(Either, "a component of 15 x 15 samples", 11, &[0xFF]);
    changed(Either, "a component of 3 x 3 samples", 11, &[0x33]);
    changed(Either, "two components of one name", 13, &[1]);
    changed(Fails, "a quantisation table that is missing", 12, &[3]);
    changed(Fails, "a quantisation table of number 200", 12, &[200]);
    changed(Fails, "65535 x 65535", 5, &[0xFF; 4]);
    changed(Either, "ten times as high as its data", 5, &[0, 160]);
    changed(Either, "half as high as its data", 5, &[0, 8]);
    for (announced, done) in [(0, 2), (3, 2), (2, 3), (1, 6), (65535, 1), (6, 1)] {
        let picture = Picture {
            restart: (announced, done),
            ..SMALL
        };
        add(
            Either,
            &format!("restarts every {done} blocks where {announced} are announced"),
            &[&picture.file()],
        );
    }
    let mut counts = vec![0x00];
    counts.extend([255; 16]);
    counts.resize(17 + 200, 1);
    let over = segment(0xC4, &counts);
    add(
        Fails,
        "a Huffman table that says more codes than it has",
        &[start, &quantisation, &frame, &over, &scans, end],
    );
    let mut full = vec![0x00, 3];
    full.extend([0; 15]);
    full.extend([1, 2, 3]);
    let full = segment(0xC4, &full);
    add(
        Fails,
        "a Huffman table of three codes of one bit",
        &[start, &quantisation, &frame, &tables, &full, &scans, end],
    );
    for length in [0u16, 1, 2, 3, 0xFFFF] {
        let mut bad = quantisation.clone();
        bad[2..4].copy_from_slice(&length.to_be_bytes());
        add(
            Fails,
            &format!("a quantisation segment that says it has {length} bytes"),
            &[start, &bad, &frame, &tables, &scans, end],
        );
        let mut bad = frame.clone();
        bad[2..4].copy_from_slice(&length.to_be_bytes());
        add(
            Fails,
            &format!("a frame that says it has {length} bytes"),
            &[start, &quantisation, &bad, &tables, &scans, end],
        );
    }
    let mut noise = scans.clone();
    noise[14..].fill(0xAA);
    add(
        Either,
        "a scan of one byte again and again",
        &[start, &quantisation, &frame, &tables, &noise, end],
    );
    let comments: Vec<u8> = (0..20_000).flat_map(|_| segment(0xFE, b"words")).collect();
    add(
        Ok,
        "20000 comments",
        &[
            start,
            &comments,
            &quantisation,
            &frame,
            &tables,
            &scans,
            end,
        ],
    );
    let profile = (1..=200u8).flat_map(|n| {
        let mut data = b"ICC_PROFILE\0".to_vec();
        data.extend([n, 200]);
        data.resize(3000, n);
        segment(0xE2, &data)
    });
    let profile: Vec<u8> = profile.collect();
    add(
        Ok,
        "a profile of 200 segments that is none",
        &[start, &profile, &quantisation, &frame, &tables, &scans, end],
    );
}

fn bombs(all: &mut Collection) {
    use Expected::Fails;
    let mut add = |expected, what: String, bytes| all.add("bomb.jpg", expected, what, bytes);
    for frame in [0xC0, 0xC2] {
        for components in [1, 3, 4] {
            for (width, height) in [(65_535, 65_535), (65_535, 1600), (10_001, 10_000)] {
                let picture = Picture {
                    width,
                    height,
                    components,
                    frame,
                    ..SMALL
                };
                let bytes = [picture.head(), SMALL.scans(), END.to_vec()].concat();
                add(
                    Fails,
                    format!(
                        "frame type {frame:x} of {width} x {height} with {components} components and little data"
                    ),
                    bytes,
                );
            }
        }
    }
    for components in [1, 3] {
        let picture = Picture {
            width: 9000,
            height: 9000,
            components,
            frame: 0xC2,
            ..SMALL
        };
        let bytes = [picture.head(), SMALL.scan(&[1], 0, 0), END.to_vec()].concat();
        add(
            Fails,
            format!(
                "progressive of 9000 x 9000 with {components} components and data of six blocks"
            ),
            bytes,
        );
    }
    // A scan over all blocks takes three bytes for 32767 of them, and as many scans as one likes may follow.
    for (side, scans) in [(800u16, 3000), (4000, 3000), (9992, 5_000)] {
        let picture = Picture {
            width: side,
            height: side,
            components: 1,
            frame: 0xC2,
            ..SMALL
        };
        let mut bytes = picture.head();
        bytes.extend(segment(0xDA, &[1, 1, 0, 0, 0, 0]));
        let mut bits = HighFirst::default();
        (0..picture.blocks()).for_each(|_| bits.put(0, 4));
        bytes.extend(bits.bytes());
        for scan in 0..scans {
            let coefficient = 1 + (scan % 63) as u8;
            bytes.extend(segment(0xDA, &[1, 1, 0, coefficient, coefficient, 0]));
            let mut bits = HighFirst::default();
            let mut left = picture.blocks();
            while left > 0 {
                let run = left.clamp(16384, 32767);
                bits.put(0b110, 3);
                bits.put((run - 16384) as u32, 14);
                left = left.saturating_sub(run);
            }
            bytes.extend(bits.bytes());
        }
        bytes.extend(END);
        add(
            Fails,
            format!("progressive of {side} x {side} in {scans} scans"),
            bytes,
        );
    }
    let mut tables_only = START.to_vec();
    (0..30_000).for_each(|_| tables_only.extend(tables()));
    add(
        Fails,
        "30000 times the tables and no picture".to_owned(),
        tables_only,
    );
}
