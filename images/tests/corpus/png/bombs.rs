//! PNG that costs much: huge headers, data and profiles that inflate, animations.

use super::super::bits::{zlib_stored, zlib_zeros};
use super::super::{Collection, Expected};
use super::{chunk, end, file, header};

pub(super) fn bombs(all: &mut Collection) {
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

pub(super) fn animated(all: &mut Collection) {
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
