//! Sizes from files are bounded before they are memory or time.

use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use flate2::Compression;
use flate2::write::ZlibEncoder;
use futures::future::join_all;
use image::{DynamicImage, ImageFormat};
use picsift_images::{DecodePool, Geometry, ImageError, Limits, image_info, prepare};

use crate::support::{busy, data, encode, full, jpeg};

const CROP: Geometry = Geometry::CentreCrop {
    short_side: 256,
    size: 224,
};

fn jpeg_segment(marker: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![0xFF, marker];
    out.extend((body.len() as u16 + 2).to_be_bytes());
    out.extend(body);
    out
}

/// Codes of bits, with a zero behind each 0xFF and ones at the end.
fn codes(all: impl Iterator<Item = (u32, u32)>) -> Vec<u8> {
    let (mut out, mut current, mut used) = (Vec::new(), 0_u8, 0);
    let mut put = |bit: u8| {
        current = current << 1 | bit;
        used += 1;
        if used == 8 {
            out.push(current);
            if current == 0xFF {
                out.push(0);
            }
            (current, used) = (0, 0);
        }
        used
    };
    let mut last = 0;
    for (value, count) in all {
        for bit in (0..count).rev() {
            last = put((value >> bit & 1) as u8);
        }
    }
    while last != 0 {
        last = put(1);
    }
    out
}

/// A grey progressive picture: its means, then `between`, then `scans` scans of no more than runs of blocks without coefficients.
fn scans(side: u16, scans: usize, between: &[u8]) -> Vec<u8> {
    let frame = [
        &[8][..],
        &side.to_be_bytes(),
        &side.to_be_bytes(),
        &[1, 1, 0x11, 0],
    ]
    .concat();
    let blocks = (u32::from(side) / 8).pow(2);
    let mut out = vec![0xFF, 0xD8];
    out.extend(jpeg_segment(0xDB, &[&[0][..], &[1; 64]].concat()));
    out.extend(jpeg_segment(0xC2, &frame));
    // One code each: the difference 0; a run of 16384 blocks or more, and a block.
    out.extend(jpeg_segment(0xC4, &[&[0, 1][..], &[0; 15], &[0]].concat()));
    out.extend(jpeg_segment(
        0xC4,
        &[&[0x10, 1, 1][..], &[0; 14], &[0xE0, 0]].concat(),
    ));
    out.extend(jpeg_segment(0xDA, &[1, 1, 0, 0, 0, 0]));
    out.extend(codes((0..blocks).map(|_| (0, 1))));
    out.extend(between);
    let mut runs = Vec::new();
    let mut left = blocks;
    while left >= 16384 {
        let run = left.min(32767);
        runs.extend([(0, 1), (run - 16384, 14)]);
        left -= run;
    }
    runs.extend((0..left).map(|_| (0b10, 2)));
    let data = codes(runs.into_iter());
    for scan in 0..scans {
        let low = if scan == 0 { 0x0D } else { 0 };
        out.extend(jpeg_segment(0xDA, &[1, 1, 0, 1, 63, low]));
        out.extend(&data);
    }
    out.extend([0xFF, 0xD9]);
    out
}

fn inflating(bytes: usize) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(&vec![0; bytes]).unwrap();
    encoder.finish().unwrap()
}

fn png_chunk(name: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let mut crc = flate2::Crc::new();
    crc.update(name);
    crc.update(data);
    let length = (data.len() as u32).to_be_bytes();
    [&length[..], name, data, &crc.sum().to_be_bytes()].concat()
}

fn png(width: u32, height: u32, depth: u8, colour: u8, chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([depth, colour, 0, 0, 0]);
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    out.extend(png_chunk(b"IHDR", &header));
    chunks.iter().for_each(|chunk| out.extend(chunk));
    out.extend(png_chunk(b"IEND", &[]));
    out
}

/// A TIFF of grey bytes: its strips all share `data`.
fn tiff(side: u32, rows: u32, compression: u32, data: &[u8]) -> Vec<u8> {
    let strips = side.div_ceil(rows);
    let lists = 8 + 2 + 9 * 12 + 4;
    let data_at = lists + 8 * strips;
    let entries = [
        (256, 1, side),
        (257, 1, side),
        (258, 1, 8),
        (259, 1, compression),
        (262, 1, 1),
        (273, strips, if strips == 1 { data_at } else { lists }),
        (277, 1, 1),
        (278, 1, rows),
        (
            279,
            strips,
            if strips == 1 {
                data.len() as u32
            } else {
                lists + 4 * strips
            },
        ),
    ];
    let mut out = b"II*\0\x08\0\0\0\x09\0".to_vec();
    for (tag, count, value) in entries {
        out.extend((tag as u16).to_le_bytes());
        out.extend(4_u16.to_le_bytes());
        out.extend(u32::to_le_bytes(count));
        out.extend(value.to_le_bytes());
    }
    out.extend([0; 4]);
    (0..strips).for_each(|_| out.extend(data_at.to_le_bytes()));
    (0..strips).for_each(|_| out.extend((data.len() as u32).to_le_bytes()));
    out.extend(data);
    out
}

#[test]
fn scans_are_counted_whatever_stands_between_them() {
    let end = jpeg_segment(0xFE, &[0xFF, 0xD9]);
    let scan = jpeg_segment(0xFE, &[0xFF, 0xDA]).repeat(200);
    for (between, count, refused) in [
        (&[][..], 100, true),
        (&end, 100, true),
        (&end, 2000, true),
        // What a comment holds is no scan and no end.
        (&scan, 90, false),
        (&end, 90, false),
    ] {
        let bytes = scans(64, count, between);
        for geometry in [Geometry::Full, CROP] {
            let result = prepare(&bytes, geometry, &Limits::default());
            let said = result.as_ref().err().map(ToString::to_string);
            assert_eq!(
                said.as_deref()
                    .is_some_and(|said| said.contains("more than 100 scans")),
                refused,
                "{count}: {said:?}"
            );
            assert!(refused || result.is_ok(), "{said:?}");
        }
    }
    // A comment that holds an end marker does not make a picture whole.
    let whole = scans(64, 5, &end);
    let cut = prepare(
        &whole[..whole.len() - 40],
        Geometry::Full,
        &Limits::default(),
    );
    assert_eq!(cut.unwrap_err().kind(), "truncated");
}

/// A BMP of run lengths: rows of single pixels.
fn runs(side: u32) -> Vec<u8> {
    let mut out = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0".to_vec();
    out.extend([side.to_le_bytes(), (side / 2).to_le_bytes()].concat());
    out.extend([1, 0, 8, 0, 1, 0, 0, 0]);
    out.resize(54, 0);
    let row = [[1, 0].repeat(side as usize / 10), vec![0, 0]].concat();
    out.extend(row.repeat(side as usize / 2));
    out.extend([0, 1]);
    out
}

/// Pictures that take long for what they are, and are right all the same.
fn slow() -> Vec<(&'static str, Vec<u8>)> {
    let side = 6000;
    let size = (side * side) as usize;
    let idat = |bytes: usize| png_chunk(b"IDAT", &inflating(bytes));
    let grey = DynamicImage::ImageLuma8(image::GrayImage::new(4000, 4000));
    let colours: DynamicImage = busy(2500, 2500).into();
    let strip = inflating(6000);
    vec![
        ("scans", scans(6000, 95, &[])),
        ("png", png(side, side, 8, 0, &[idat(size + side as usize)])),
        ("gif", encode(&busy(1500, 1500).into(), ImageFormat::Gif)),
        ("lossless webp", encode(&colours, ImageFormat::WebP)),
        ("tiff of one strip", tiff(6000, 6000, 8, &inflating(size))),
        ("tiff of many strips", tiff(6000, 1, 8, &strip)),
        ("lzw", encode(&grey, ImageFormat::Tiff)),
        ("jpeg xl", data("flat.jxl")),
        ("runs", runs(12_000)),
    ]
}

/// How long this thread has been at work: other tests take the processor too.
fn worked() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

#[test]
fn decoders_stop_when_the_time_is_up() {
    for (name, bytes) in slow() {
        let geometries = match name {
            "scans" => vec![Geometry::Full, CROP],
            _ => vec![Geometry::Full],
        };
        for geometry in geometries {
            let begun = Instant::now();
            let before = worked();
            let picture = prepare(&bytes, geometry, &Limits::default());
            let (whole, took) = (worked() - before, begun.elapsed());
            assert!(picture.is_ok(), "{name}: {}", picture.unwrap_err());
            let limits = Limits {
                timeout: took.min(whole) / 10,
                ..Limits::default()
            };
            let before = worked();
            let error = prepare(&bytes, geometry, &limits).unwrap_err();
            let stopped = worked() - before;
            assert_eq!(error.kind(), "timed_out", "{name}: {error}");
            assert!(
                stopped < whole / 2 + Duration::from_millis(10),
                "{name} under {geometry:?} took {stopped:?} of {whole:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_thread_works_for_nobody_who_has_gone() {
    let pool = DecodePool::new(1, Limits::default()).unwrap();
    let slow = Bytes::from(scans(9600, 95, &[]));
    let begun = Instant::now();
    let whole = pool.prepare(slow.clone(), CROP).await.unwrap().decode_time;
    assert!(begun.elapsed() >= whole);
    let call = tokio::time::timeout(whole / 10, pool.prepare(slow, CROP)).await;
    assert!(call.is_err());
    let begun = Instant::now();
    pool.prepare(jpeg(&busy(40, 40)).into(), CROP)
        .await
        .unwrap();
    assert!(
        begun.elapsed() < whole / 2,
        "{:?} of {whole:?}",
        begun.elapsed()
    );
}

#[test]
fn texts_of_a_png_are_inflated_within_one_bound() {
    let mut text = b"Raw profile type exif\0\0".to_vec();
    text.extend(inflating(256 << 10));
    let text = png_chunk(b"zTXt", &text);
    let idat = png_chunk(b"IDAT", &inflating(17 * 16));
    let few = png(16, 16, 8, 0, &[text.clone(), idat.clone()]);
    let many = png(16, 16, 8, 0, &[text.repeat(20_000), idat]);
    assert!(many.len() < 64 << 20);
    let time = |bytes: &[u8]| {
        let begun = Instant::now();
        let info = image_info(bytes, &Limits::default()).unwrap();
        assert_eq!((info.width, info.height), (16, 16));
        begun.elapsed()
    };
    time(&few);
    // Inflating them all would be 5 GB.
    let took = time(&many);
    assert!(took < Duration::from_secs(1), "{took:?}");
}

/// What decoding takes by the header.
fn needed(bytes: &[u8], geometry: Geometry) -> u64 {
    let limits = Limits {
        max_memory: 1,
        ..Limits::default()
    };
    match prepare(bytes, geometry, &limits).unwrap_err() {
        ImageError::TooMuchMemory { needed, .. } => needed,
        other => panic!("{other}"),
    }
}

#[test]
fn a_picture_that_takes_more_than_all_may_is_refused_by_name() {
    let bytes = encode(&DynamicImage::new_rgba16(500, 400), ImageFormat::Png);
    let limits = Limits {
        max_memory: 1_500_000,
        ..Limits::default()
    };
    let error = prepare(&bytes, Geometry::Full, &limits).unwrap_err();
    assert_eq!(
        (error.stage().to_string(), error.kind()),
        ("decode".to_owned(), "too_much_memory")
    );
    let said = error.to_string();
    assert_eq!(
        said,
        "decoding the image of 500 x 400 pixels takes 1600000 bytes of memory, and all images together may take 1500000; if there \
         is enough, allow it with --max-image-memory 1600000"
    );
    let limits = Limits {
        max_memory: 1_600_000,
        ..limits
    };
    assert!(prepare(&bytes, Geometry::Full, &limits).is_ok());
    // The largest picture that the limit on pixels lets through, with alpha in 16 bits.
    let largest = png(10_000, 10_000, 16, 6, &[png_chunk(b"IDAT", &[])]);
    let error = prepare(&largest, Geometry::Full, &Limits::default()).unwrap_err();
    assert_ne!(error.kind(), "too_much_memory", "{error}");
}

const CASE: &str = "PICSIFT_BOUNDED_CASE";
const GREW: &str = "memory grew by KiB: ";
const THREADS: usize = 4;

/// Pictures of eight million pixels, in each way that takes another amount of memory.
fn case(name: &str) -> (Vec<u8>, Geometry) {
    let (width, height) = (4000, 2000);
    let colours = || busy(width, height);
    let full = Geometry::Full;
    let dynamic = |image: DynamicImage, format| encode(&image, format);
    let colours: Vec<u8> = match name {
        "png-grey" => dynamic(DynamicImage::new_luma8(width, height), ImageFormat::Png),
        "png-grey-16" => dynamic(DynamicImage::new_luma16(width, height), ImageFormat::Png),
        "png-grey-alpha" => dynamic(DynamicImage::new_luma_a8(width, height), ImageFormat::Png),
        "png-alpha-16" => dynamic(DynamicImage::new_rgba16(width, height), ImageFormat::Png),
        "png-rgb" => dynamic(colours().into(), ImageFormat::Png),
        "webp" => dynamic(colours().into(), ImageFormat::WebP),
        "webp-alpha" => dynamic(DynamicImage::new_rgba8(width, height), ImageFormat::WebP),
        "gif" => {
            // A frame that is not as wide as its canvas.
            let frame = dynamic(DynamicImage::new_rgb8(width - 1, height), ImageFormat::Gif);
            let mut bytes = frame;
            bytes[6..8].copy_from_slice(&(width as u16).to_le_bytes());
            bytes
        }
        "bmp" => dynamic(colours().into(), ImageFormat::Bmp),
        "jpeg" => jpeg(&colours()),
        "jpeg-turned" => {
            crate::support::with_exif(&jpeg(&colours()), &crate::support::orientation(6))
        }
        "jpeg-scans" | "jpeg-scans-crop" => scans(4800, 5, &[]),
        "tiff" => tiff(2832, 2832, 8, &inflating(2832 * 2832)),
        "jpeg-xl" => data("flat.jxl"),
        "jpeg-xl-deep" => data("deep.jxl"),
        "bmp-runs" => runs(4000),
        "tiff-rgba-16" => dynamic(DynamicImage::new_rgba16(width, height), ImageFormat::Tiff),
        other => panic!("{other}"),
    };
    (colours, if name.ends_with("crop") { CROP } else { full })
}

const CASES: [&str; 18] = [
    "png-grey",
    "png-grey-16",
    "png-grey-alpha",
    "png-alpha-16",
    "png-rgb",
    "webp",
    "webp-alpha",
    "gif",
    "bmp",
    "jpeg",
    "jpeg-turned",
    "jpeg-scans",
    "jpeg-scans-crop",
    "tiff",
    "tiff-rgba-16",
    "jpeg-xl",
    "jpeg-xl-deep",
    "bmp-runs",
];

/// A line of this process's status, in KiB.
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Decodes the case in [`CASE`] alone, or many at once in a pool; without the variable nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_process_of_its_own() {
    let Ok(name) = std::env::var(CASE) else {
        return;
    };
    let (many, name) = match name.strip_prefix("many-") {
        Some(name) => (true, name.to_owned()),
        None => (false, name),
    };
    let (bytes, geometry) = case(&name);
    let needed = needed(&bytes, geometry);
    // Only the peak from here on.
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    let before = status("VmRSS");
    if many {
        let limits = Limits {
            max_memory: needed + needed / 2,
            ..Limits::default()
        };
        let pool = DecodePool::new(THREADS, limits).unwrap();
        let bytes = Bytes::from(bytes);
        let finish = |pixels: picsift_images::RgbPixels| pixels.width;
        let calls = (0..2 * THREADS).map(|_| pool.prepare_with(bytes.clone(), geometry, finish));
        for call in join_all(calls).await {
            call.unwrap();
        }
    } else {
        prepare(&bytes, geometry, &Limits::default()).unwrap();
    }
    println!(
        "{GREW}{} {}",
        status("VmHWM").saturating_sub(before),
        needed >> 10
    );
}

/// KiB by which the memory grew, and those of one picture by its header.
fn grown(name: &str) -> (u64, u64) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "bounded::in_a_process_of_its_own", "--nocapture"])
        .env(CASE, name)
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&child.stdout);
    assert!(
        child.status.success(),
        "{name}: {out}{}",
        String::from_utf8_lossy(&child.stderr)
    );
    let line = out
        .lines()
        .find_map(|line| line.split(GREW).nth(1))
        .unwrap();
    let (grew, needed) = line.split_once(' ').unwrap();
    (grew.parse().unwrap(), needed.parse().unwrap())
}

#[test]
fn what_a_header_says_of_memory_is_enough() {
    let complaints: Vec<String> = CASES
        .iter()
        .map(|name| (name, grown(name)))
        // Tables, stacks, what the allocator keeps.
        .filter(|(_, (grew, needed))| *grew > needed + (6 << 10))
        .map(|(name, (grew, needed))| format!("{name}: {grew} KiB where {needed} are said"))
        .collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

#[test]
fn pictures_wait_for_memory_that_others_have() {
    // Of pieces that are smaller than these the allocator keeps some for each thread.
    for name in ["many-png-alpha-16", "many-jpeg-scans"] {
        let (grew, needed) = grown(name);
        // Four threads have room for one picture and a half.
        assert!(grew < 2 * needed, "{name}: {grew} KiB, {needed} for each");
    }
}

#[test]
fn what_is_decoded_in_place_shows_the_same() {
    let deep = image::ImageBuffer::from_fn(7, 5, |x, y| {
        image::Rgba([
            x as u16 * 9362,
            y as u16 * 13107,
            65535,
            65535 - x as u16 * 5000,
        ])
    });
    for picture in [
        DynamicImage::ImageRgba16(deep.clone()),
        DynamicImage::ImageRgb16(DynamicImage::from(deep.clone()).into_rgb16()),
        DynamicImage::ImageLumaA16(DynamicImage::from(deep.clone()).into_luma_alpha16()),
        DynamicImage::ImageLuma16(DynamicImage::from(deep.clone()).into_luma16()),
        DynamicImage::ImageLumaA8(DynamicImage::from(deep.clone()).into_luma_alpha8()),
        DynamicImage::ImageLuma8(DynamicImage::from(deep).into_luma8()),
    ] {
        let got = full(&encode(&picture, ImageFormat::Png));
        let mut want = Vec::new();
        for pixel in picture.to_rgba8().pixels() {
            let [r, g, b, alpha] = pixel.0.map(u32::from);
            want.extend([r, g, b].map(|c| ((c * alpha + 255 * (255 - alpha) + 127) / 255) as u8));
        }
        assert_eq!(got.data, want, "{:?}", picture.color());
    }
}
