//! The store of answers with 100,000 images and ten questions about each: puts/s, lookups/s in images, bytes per image.
//!
//! `cargo bench -p picsift-vision --bench store`

#![allow(missing_docs, clippy::expect_used)]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use picsift_vision::store::{Asked, KnownReference, Store, StoreOptions};
use picsift_vision::{Answer, InputGeometry, ModelInfo, Question};
use sha2::{Digest, Sha256};

const IMAGES: u64 = 100_000;
const QUESTIONS: u16 = 10;
/// Images that are looked up at once.
const TOGETHER: usize = 64;

fn content(image: u64) -> [u8; 32] {
    Sha256::digest(image.to_le_bytes()).into()
}

fn address(image: u64) -> String {
    format!("https://example.org/photos/{image}.jpg")
}

fn asked() -> Asked {
    let info = ModelInfo {
        name: "bench".to_owned(),
        revision: "1".to_owned(),
        licence: None,
        device: "cpu".to_owned(),
        dtype: "f32",
        crops: None,
        input: InputGeometry::Full,
        default_threshold: 0.5,
        can_talk: false,
    };
    let questions: Vec<_> = (0..QUESTIONS)
        .map(|class| Question::Classes([class].into()))
        .collect();
    Asked::new(&info, 1, &questions)
}

/// Puts everything and says how long that took; criterion would do it hundreds of times.
fn fill(store: &Store, asked: &Asked) {
    let contents: Vec<_> = (0..IMAGES).map(content).collect();
    let started = Instant::now();
    for (image, content) in (0..).zip(&contents) {
        let answers = (0..QUESTIONS).map(|class| Some(Answer::Score(f32::from(class) / 10.0)));
        store.put(content, asked, answers.collect(), Some(image));
    }
    store.flush();
    let seconds = started.elapsed().as_secs_f64();
    let info = store.info().expect("the store can be read");
    println!(
        "put: {:.0} images/s; {:.0} bytes per image",
        IMAGES as f64 / seconds,
        info.bytes as f64 / info.images as f64
    );
    let started = Instant::now();
    for (image, content) in (0..).zip(&contents) {
        let known = KnownReference {
            version: "\"33a64df551425fcc55e4d42a148795d9f25f89d4\"".to_owned(),
            content: *content,
            similarity: Some(image),
        };
        store.put_reference(&address(image), known);
    }
    store.flush();
    let seconds = started.elapsed().as_secs_f64();
    println!("put_reference: {:.0}/s", IMAGES as f64 / seconds);
    let started = Instant::now();
    let verified = store.verify().expect("the store can be read");
    println!(
        "verify: {:.0} rows/s",
        verified.rows as f64 / started.elapsed().as_secs_f64()
    );
}

fn lookups(c: &mut Criterion) {
    let home = tempfile::tempdir().expect("a folder for the store");
    let store = Store::open(StoreOptions {
        folder: home.path().to_owned(),
        max_bytes: 1 << 30,
        notice: Arc::new(|sentence: &str| println!("{sentence}")),
    })
    .expect("a new store opens");
    let asked = asked();
    fill(&store, &asked);

    // Not in the order in which they were put, and far from their neighbours.
    let mut next = (0..u64::MAX).map(|number| content(number.wrapping_mul(7919) % IMAGES));
    let mut group = c.benchmark_group("store");
    group.throughput(Throughput::Elements(1));
    group.bench_function("lookup", |b| {
        b.iter(|| store.lookup(&next.next().expect("there is no end"), &asked));
    });
    group.bench_function("reference", |b| {
        let mut numbers = (0..u64::MAX).map(|number| number.wrapping_mul(7919) % IMAGES);
        b.iter(|| store.reference(&address(numbers.next().expect("there is no end"))));
    });
    group.throughput(Throughput::Elements(TOGETHER as u64));
    group.bench_function("lookup_many", |b| {
        b.iter(|| {
            let contents: Vec<_> = next.by_ref().take(TOGETHER).collect();
            store.lookup_many(black_box(&contents), &asked)
        });
    });
    group.bench_function("lookup_many of strangers", |b| {
        let mut strangers = (IMAGES..u64::MAX).map(content);
        b.iter(|| {
            let contents: Vec<_> = strangers.by_ref().take(TOGETHER).collect();
            store.lookup_many(black_box(&contents), &asked)
        });
    });
    group.finish();
}

criterion_group!(benches, lookups);
criterion_main!(benches);
