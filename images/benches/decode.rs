//! Decode and resize, one image on one thread, per format and size; and the JPEG libraries side by side.
//!
//! `cargo bench -p picsift-images --bench decode`. The pictures are made here: octaves of noise, which compress
//! much like photographs (about 1.6 bits per pixel at quality 85).

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::io::Cursor;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use picsift_images::{Geometry, Limits, image_info, prepare, sha256, similarity_hash};
use zune_jpeg::zune_core::bytestream::ZCursor;

const CROP: Geometry = Geometry::CentreCrop {
    short_side: 256,
    size: 224,
};

/// A pseudo-random number in 0..1 for a lattice point.
fn lattice(x: u32, y: u32, seed: u32) -> f32 {
    let mut h =
        x.wrapping_mul(0x9E37_79B1) ^ y.wrapping_mul(0x85EB_CA77) ^ seed.wrapping_mul(0xC2B2_AE3D);
    h = (h ^ (h >> 15)).wrapping_mul(0x2C1B_3C6D);
    h = (h ^ (h >> 12)).wrapping_mul(0x297A_2D39);
    ((h ^ (h >> 15)) >> 8) as f32 / (1 << 24) as f32
}

fn noise(x: f32, y: f32, seed: u32) -> f32 {
    let (x0, y0) = (x as u32, y as u32);
    let (fx, fy) = (x.fract(), y.fract());
    let row = |y: u32| lattice(x0, y, seed) * (1.0 - fx) + lattice(x0 + 1, y, seed) * fx;
    row(y0) * (1.0 - fy) + row(y0 + 1) * fy
}

/// A picture with the spectrum of a photograph.
fn photo(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        let mut value = [0.0; 3];
        for octave in 0..8 {
            let (step, weight) = (
                256.0 / f32::powi(2.0, octave),
                f32::powf(0.72, octave as f32),
            );
            let (u, v) = (x as f32 / step, y as f32 / step);
            let grey = noise(u, v, octave as u32);
            for (c, value) in value.iter_mut().enumerate() {
                let colour = if octave < 4 {
                    noise(u, v, 100 * (c as u32 + 1) + octave as u32)
                } else {
                    grey
                };
                *value += weight * (0.6 * grey + 0.4 * colour);
            }
        }
        Rgb(value.map(|v| ((v / 3.3 - 0.5) * 330.0 + 128.0).clamp(0.0, 255.0) as u8))
    })
}

fn jpeg(image: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 85)
        .encode_image(image)
        .unwrap();
    bytes
}

fn encoded(image: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::from(image.clone())
        .write_to(&mut bytes, format)
        .unwrap();
    bytes.into_inner()
}

/// What the crate does: bytes to the 224 x 224 crop.
fn prepares(c: &mut Criterion) {
    let limits = Limits::default();
    let mut group = c.benchmark_group("prepare");
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(4));
    let small = photo(512, 384);
    let big = photo(4000, 3000);
    let mut inputs = vec![
        ("jpeg 512x384".to_owned(), jpeg(&small)),
        ("jpeg 1600x1200".to_owned(), jpeg(&photo(1600, 1200))),
        ("jpeg 4000x3000".to_owned(), jpeg(&big)),
        ("png 4000x3000".to_owned(), encoded(&big, ImageFormat::Png)),
    ];
    for format in [
        ImageFormat::Png,
        ImageFormat::WebP,
        ImageFormat::Gif,
        ImageFormat::Bmp,
        ImageFormat::Tiff,
    ] {
        let name = format.extensions_str()[0];
        inputs.push((format!("{name} 512x384"), encoded(&small, format)));
    }
    for (name, bytes) in &inputs {
        println!("{name}: {} bytes", bytes.len());
        group.bench_function(name, |b| {
            b.iter(|| prepare(black_box(bytes), CROP, &limits).unwrap())
        });
    }
    let bytes = jpeg(&small);
    group.bench_function("info jpeg 512x384", |b| {
        b.iter(|| image_info(black_box(&bytes), &limits).unwrap())
    });
    group.bench_function("sha256 jpeg 512x384", |b| {
        b.iter(|| sha256(black_box(&bytes)))
    });
    let pixels = prepare(&bytes, CROP, &limits).unwrap();
    group.bench_function("similarity hash 224x224", |b| {
        b.iter(|| similarity_hash(black_box(&pixels)))
    });
    group.finish();
}

/// The JPEG libraries, each at the smallest scale (in eighths) that a short side of 256 needs.
fn jpeg_libraries(c: &mut Criterion) {
    let mut group = c.benchmark_group("jpeg libraries");
    group
        .sample_size(20)
        .measurement_time(Duration::from_secs(4));
    for (width, height, scale) in [
        (512, 384, 8),
        (800, 600, 4),
        (1600, 1200, 2),
        (4000, 3000, 1),
    ] {
        let bytes = jpeg(&photo(width, height));
        let size = format!("{width}x{height}");
        group.bench_function(format!("zune-jpeg {size} full"), |b| {
            b.iter(|| {
                zune_jpeg::JpegDecoder::new(ZCursor::new(black_box(&bytes)))
                    .decode()
                    .unwrap()
            });
        });
        group.bench_function(format!("jpeg-decoder {size} at {scale} eighths"), |b| {
            b.iter(|| {
                let mut decoder = jpeg_decoder::Decoder::new(black_box(bytes.as_slice()));
                if scale < 8 {
                    let side = |full: u32| (full * u32::from(scale)).div_ceil(8) as u16;
                    decoder.scale(side(width), side(height)).unwrap();
                }
                decoder.decode().unwrap()
            });
        });
        group.bench_function(format!("mozjpeg {size} at {scale} eighths"), |b| {
            b.iter(|| {
                let mut decoder = mozjpeg::Decompress::new_mem(black_box(&bytes)).unwrap();
                decoder.scale(scale);
                let mut decoder = decoder.rgb().unwrap();
                let rows = decoder.read_scanlines::<[u8; 3]>().unwrap();
                decoder.finish().unwrap();
                rows
            });
        });
    }
    group.finish();
}

criterion_group!(benches, prepares, jpeg_libraries);
criterion_main!(benches);
