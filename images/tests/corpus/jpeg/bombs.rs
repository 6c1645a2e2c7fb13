//! JPEG that costs much: huge frames of little data, scans without end.

use super::super::bits::HighFirst;
use super::super::{Collection, Expected};
use super::{END, Picture, SMALL, START, segment, tables};

pub(super) fn bombs(all: &mut Collection) {
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
