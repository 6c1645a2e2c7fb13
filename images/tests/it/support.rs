//! Small images and comparisons.

use std::io::Cursor;
use std::path::PathBuf;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use picsift_images::{FetchPolicy, Geometry, Limits, RgbPixels, prepare};

/// The default policy, and the servers of these tests besides.
pub(crate) fn local_hosts() -> FetchPolicy {
    FetchPolicy {
        hosts: vec!["127.0.0.0/8".parse().unwrap()],
        ..FetchPolicy::default()
    }
}

/// A file of `tests/data`.
pub(crate) fn data(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub(crate) fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub(crate) fn full(bytes: &[u8]) -> RgbPixels {
    prepare(bytes, Geometry::Full, &Limits::default()).unwrap()
}

pub(crate) fn at(pixels: &RgbPixels, x: u32, y: u32) -> [u8; 3] {
    let i = 3 * (y * pixels.width + x) as usize;
    [pixels.data[i], pixels.data[i + 1], pixels.data[i + 2]]
}

#[track_caller]
pub(crate) fn assert_near(got: [u8; 3], want: [u8; 3], tolerance: u8) {
    let near = got
        .iter()
        .zip(want)
        .all(|(&g, w)| g.abs_diff(w) <= tolerance);
    assert!(near, "{got:?} is not within {tolerance} of {want:?}");
}

/// Largest and mean difference of two images of one size.
#[track_caller]
pub(crate) fn difference(a: &RgbPixels, b: &RgbPixels) -> (u8, f64) {
    assert_eq!((a.width, a.height), (b.width, b.height));
    let diffs = || a.data.iter().zip(&b.data).map(|(a, b)| a.abs_diff(*b));
    (
        diffs().max().unwrap(),
        diffs().map(f64::from).sum::<f64>() / a.data.len() as f64,
    )
}

/// The four colours of the test images: red, green, blue, sand.
pub(crate) const QUADRANTS: [[u8; 3]; 4] =
    [[200, 30, 40], [20, 180, 60], [30, 50, 190], [190, 180, 120]];

/// The colours in the middle of the four quarters, row after row.
pub(crate) fn quarters(pixels: &RgbPixels) -> [[u8; 3]; 4] {
    let (x, y) = (pixels.width / 4, pixels.height / 4);
    [
        at(pixels, x, y),
        at(pixels, 3 * x, y),
        at(pixels, x, 3 * y),
        at(pixels, 3 * x, 3 * y),
    ]
}

/// A 48 x 32 picture of four flat quarters.
pub(crate) fn quadrants() -> RgbImage {
    RgbImage::from_fn(48, 32, |x, y| {
        Rgb(QUADRANTS[usize::from(y >= 16) * 2 + usize::from(x >= 24)])
    })
}

/// A busy picture, so that every part of an encoded file matters.
pub(crate) fn busy(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let wave =
            |a: f32, b: f32| (127.0 + 120.0 * (x as f32 / a).sin() * (y as f32 / b).cos()) as u8;
        Rgb([wave(5.0, 9.0), wave(23.0, 4.0), wave(11.0, 31.0)])
    })
}

pub(crate) fn jpeg(image: &RgbImage) -> Vec<u8> {
    encode(&image.clone().into(), ImageFormat::Jpeg)
}

/// Puts an APP1 segment with `exif` behind the start marker of a JPEG.
pub(crate) fn with_exif(jpeg: &[u8], exif: &[u8]) -> Vec<u8> {
    let mut out = jpeg[..2].to_vec();
    out.extend([0xFF, 0xE1]);
    out.extend(((exif.len() + 8) as u16).to_be_bytes());
    out.extend(b"Exif\0\0");
    out.extend(exif);
    out.extend(&jpeg[2..]);
    out
}

/// A minimal EXIF block: one directory with the orientation alone.
pub(crate) fn orientation(value: u8) -> Vec<u8> {
    let mut exif = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
    exif.extend([value, 0, 0, 0, 0, 0, 0, 0]);
    exif
}
