//! What decoding in processes of their own costs: the repository's photographs, and one of twelve megapixels, with and without, in turn.
//!
//! `cargo bench --bench sandbox` prints images per second and their ratio.

#![allow(clippy::unwrap_used)]

#[allow(dead_code, reason = "only the photographs are used")]
mod support;

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, stream};
use picsift_images::{DecodePool, Geometry, Limits, Sandbox};

/// What a model of fixed size wants.
const CROP: Geometry = Geometry::CentreCrop {
    short_side: 256,
    size: 224,
};

/// How long each way decodes before the other's turn, and how often each has one.
const TURN: Duration = Duration::from_secs(2);
const TURNS: usize = 6;

fn main() {
    let threads = std::thread::available_parallelism().map_or(2, |n| n.get());
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let plain = DecodePool::new(threads, Limits::default()).unwrap();
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_picsift"), ["decode-for-picsift"]);
    let started = Instant::now();
    let (other, confinement) = DecodePool::sandboxed(threads, Limits::default(), sandbox).unwrap();
    println!(
        "{threads} threads; {confinement:?}; first process after {:?}",
        started.elapsed()
    );
    let photographs: Vec<Bytes> = support::photographs(None)
        .into_iter()
        .map(Bytes::from)
        .collect();
    let large = vec![Bytes::from(large())];
    for (name, images, geometry) in [
        ("photographs, cropped", &photographs, CROP),
        ("photographs, whole", &photographs, Geometry::Full),
        ("12 megapixels, cropped", &large, CROP),
        ("12 megapixels, whole", &large, Geometry::Full),
    ] {
        let (mut here, mut there) = (0.0, 0.0);
        for _ in 0..TURNS {
            here += runtime.block_on(rate(&plain, images, geometry)) / TURNS as f64;
            there += runtime.block_on(rate(&other, images, geometry)) / TURNS as f64;
        }
        println!(
            "{name}: {here:.0} images/s, in processes {there:.0}; {:.1} % less",
            100.0 * (1.0 - there / here)
        );
    }
}

/// Images per second over a turn.
async fn rate(pool: &DecodePool, images: &[Bytes], geometry: Geometry) -> f64 {
    let started = Instant::now();
    let all = images
        .iter()
        .cycle()
        .take_while(|_| started.elapsed() < TURN);
    let decoded = stream::iter(all)
        .map(|image| pool.prepare(image.clone(), geometry))
        .buffer_unordered(16)
        .fold(0_u64, async |count, image| {
            image.unwrap();
            count + 1
        });
    decoded.await as f64 / started.elapsed().as_secs_f64()
}

/// A JPEG of 4000 x 3000 pixels, made of the repository's photographs side by side.
fn large() -> Vec<u8> {
    let tiles: Vec<_> = support::photographs(None)
        .into_iter()
        .map(|bytes| image::load_from_memory(&bytes).unwrap().into_rgb8())
        .collect();
    let picture = image::RgbImage::from_fn(4000, 3000, |x, y| {
        let tile = &tiles[((y / 300) * 14 + x / 300) as usize % tiles.len()];
        *tile.get_pixel(x % 300 % tile.width(), y % 300 % tile.height())
    });
    let mut bytes = Vec::new();
    image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 85)
        .encode_image(&picture)
        .unwrap();
    bytes
}
