//! Many slow fetches at once, decoded as they arrive, beside decoding the same bytes from memory.
//!
//! `cargo bench -p picsift-images --bench fetch`. A server on this machine waits 100 ms before each answer; 1,000
//! fetches are under way at once, and two threads decode. The last line is the ratio of both rates: near 1, the
//! fetches keep the decoders busy. Client and server need some 2,500 open files (`ulimit -n`).

#![allow(clippy::unwrap_used, missing_docs)]

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures::StreamExt;
use image::codecs::jpeg::JpegEncoder;
use image::{Rgb, RgbImage};
use picsift_images::{
    DecodePool, FetchOptions, FetchPolicy, Fetcher, Geometry, ImageError, Limits, Stores,
};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use url::Url;

const IMAGES: usize = 2000;
const AT_ONCE: usize = 1000;
const WAIT: Duration = Duration::from_millis(100);
const CROP: Geometry = Geometry::CentreCrop {
    short_side: 256,
    size: 224,
};

/// A picture of 512 x 384 pixels that takes about as many bytes as a photograph.
fn jpeg() -> Bytes {
    let mut state = 1u32;
    let mut noise = move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 26) as f32
    };
    let image = RgbImage::from_fn(512, 384, |x, y| {
        let wave = |a: f32, b: f32| 110.0 + 90.0 * (x as f32 / a).sin() * (y as f32 / b).cos();
        let grain = noise() / 2.0;
        Rgb([wave(31.0, 47.0), wave(90.0, 23.0), wave(57.0, 71.0)].map(|v| (v + grain) as u8))
    });
    let mut bytes = Vec::new();
    JpegEncoder::new_with_quality(&mut bytes, 85)
        .encode_image(&image)
        .unwrap();
    bytes.into()
}

async fn serve(body: Bytes) -> Url {
    let answer = move || {
        let body = body.clone();
        async move {
            tokio::time::sleep(WAIT).await;
            body
        }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    let app = Router::new().route("/{name}", get(answer));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    url
}

/// Brings all images to pixels, `AT_ONCE` under way, and gives the time that it took.
async fn run<F, G>(pool: &DecodePool, bytes: F) -> Duration
where
    F: Fn(usize) -> G,
    G: Future<Output = Result<Bytes, ImageError>>,
{
    let begun = Instant::now();
    let mut done = futures::stream::iter(0..IMAGES)
        .map(|i| {
            let bytes = bytes(i);
            async move { pool.prepare(bytes.await?, CROP).await }
        })
        .buffer_unordered(AT_ONCE);
    while let Some(result) = done.next().await {
        result.unwrap();
    }
    begun.elapsed()
}

fn fetches(c: &mut Criterion) {
    let body = jpeg();
    println!("{} images of {} bytes", IMAGES, body.len());
    let runtime = Runtime::new().unwrap();
    let base = runtime.block_on(serve(body.clone()));
    let options = FetchOptions {
        concurrency: AT_ONCE,
        limits: Limits::default(),
        policy: FetchPolicy {
            at_once_per_host: AT_ONCE,
            ..FetchPolicy::default()
        },
        ..FetchOptions::default()
    };
    let fetcher = Fetcher::new(Arc::new(Stores::new()), options);
    let pool = DecodePool::new(2, Limits::default()).unwrap();
    let mut group = c.benchmark_group("two decoding threads");
    group
        .sample_size(10)
        .throughput(Throughput::Elements(IMAGES as u64));
    let (memory, network) = (RefCell::new(Vec::new()), RefCell::new(Vec::new()));
    let many = |count: u64, times: &RefCell<Vec<Duration>>, one: &dyn Fn() -> Duration| {
        (0..count)
            .map(|_| {
                let time = one();
                times.borrow_mut().push(time);
                time
            })
            .sum()
    };
    group.bench_function("from memory", |b| {
        let one = || runtime.block_on(run(&pool, |_| std::future::ready(Ok(body.clone()))));
        b.iter_custom(|count| many(count, &memory, &one));
    });
    let bytes = |i: usize| {
        let (fetcher, base) = (&fetcher, &base);
        async move {
            let fetched = fetcher.fetch(&format!("{i}.jpg"), Some(base)).await?;
            Ok::<_, ImageError>(fetched.bytes)
        }
    };
    group.bench_function("fetched, 100 ms each", |b| {
        let one = || runtime.block_on(run(&pool, &bytes));
        b.iter_custom(|count| many(count, &network, &one));
    });
    // What the transfers themselves take of the two cores, the server's part included.
    group.bench_function("fetched, not decoded", |b| {
        b.iter(|| {
            runtime.block_on(async {
                let mut done = futures::stream::iter(0..IMAGES)
                    .map(&bytes)
                    .buffer_unordered(AT_ONCE);
                while let Some(result) = done.next().await {
                    result.unwrap();
                }
            });
        });
    });
    group.finish();
    let rate = |times: &RefCell<Vec<Duration>>| {
        let mut times = times.borrow().clone();
        times.sort_unstable();
        IMAGES as f64 / times[times.len() / 2].as_secs_f64()
    };
    let (memory, network) = (rate(&memory), rate(&network));
    println!(
        "medians: {memory:.0} images/s from memory, {network:.0} images/s fetched, ratio {:.2}",
        network / memory
    );
}

criterion_group!(benches, fetches);
criterion_main!(benches);
