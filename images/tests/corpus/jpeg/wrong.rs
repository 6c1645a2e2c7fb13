//! JPEG against the rules: tables, frames and scans that are missing, doubled or lie.

use super::super::{Collection, Expected};
use super::{END, Picture, SMALL, START, segment, tables};

pub(super) fn wrong(all: &mut Collection) {
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
    // Any bytes are an arithmetic code of something.
    for (marker, expected, name) in [
        (0xC3u8, Fails, "lossless"),
        (0xC5, Fails, "differential"),
        (0xC7, Fails, "differential lossless"),
        (0xC9, Either, "arithmetic"),
        (0xCA, Either, "arithmetic progressive"),
        (0xCB, Fails, "arithmetic lossless"),
        (0xCF, Fails, "differential arithmetic lossless"),
    ] {
        let mut frame = frame.clone();
        frame[1] = marker;
        add(
            expected,
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
