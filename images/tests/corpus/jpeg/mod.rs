//! JPEG: small mosaics in one and several scans, cut marker by marker, with missing and wrong tables, and bombs.
//!
//! The encoder writes flat blocks: a DC coefficient each and now and then a one behind it. That exercises every table and
//! marker while the arithmetic of the transform stays out.

mod bombs;
mod wrong;

use super::bits::HighFirst;
use super::{Collection, Expected};

const START: [u8; 2] = [0xFF, 0xD8];
const END: [u8; 2] = [0xFF, 0xD9];

/// Real files of other encoders, for what this one cannot write.
const REAL: [(&str, &[u8]); 5] = [
    (
        "progressive JPEG",
        include_bytes!("../../data/progressive.jpg"),
    ),
    (
        "JPEG with subsampled colour",
        include_bytes!("../../data/subsampled.jpg"),
    ),
    (
        "YCCK JPEG without a profile",
        include_bytes!("../../data/ycck.jpg"),
    ),
    (
        "CMYK JPEG without a profile",
        include_bytes!("../../data/cmyk_adobe.jpg"),
    ),
    (
        "CMYK JPEG without a profile or Adobe's segment",
        include_bytes!("../../data/cmyk_plain.jpg"),
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
    wrong::wrong(all);
    bombs::bombs(all);
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
