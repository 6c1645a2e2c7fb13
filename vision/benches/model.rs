//! How fast the embedded networks answer, in images/s; its depthwise filter beside candle's; the packing rule.
//!
//! `cargo bench -p picsift-vision --bench model`

#![allow(missing_docs, clippy::expect_used)]

use std::hint::black_box;
use std::sync::Arc;

use candle_core::{Device, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use picsift_vision::ops::{Depthwise, to_blocks};
use picsift_vision::{Job, LoadOptions, PackLimits, Question, Views, VisionError, pack};

fn views(side: u32, seed: u32) -> Views {
    let bytes = (0..side * side * 3)
        .map(|i| (i.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 24) as u8);
    Views {
        side,
        grid: (1, 1),
        data: bytes.collect(),
    }
}

fn answer(c: &mut Criterion) {
    let classes = |first: u16| Question::Classes((first * 100..first * 100 + 50).collect());
    let thing = |number| Question::Classes([number].into());
    answers(c, "efficientnet-lite0", 224, (0..10).map(classes).collect());
    answers(c, "coco-ssd", 300, [thing(0)].into());
    answers(c, "coco-ssd", 300, (0..80).map(thing).collect());
}

fn answers(c: &mut Criterion, name: &str, side: u32, questions: Arc<[Question]>) {
    let mut model = picsift_vision::load(name, &LoadOptions::default(), &())
        .expect("the embedded model loads")
        .model;
    let mut group = c.benchmark_group(format!("{name}, {} questions", questions.len()));
    for size in [1, 8, 32] {
        let jobs: Vec<Job> = (0..size)
            .map(|seed| Job {
                views: views(side, seed),
                questions: Arc::clone(&questions),
            })
            .collect();
        group.throughput(Throughput::Elements(u64::from(size)));
        group.bench_function(BenchmarkId::new("batch", size), |b| {
            b.iter(|| {
                let results = model.answer(black_box(&jobs));
                results.into_iter().collect::<Result<Vec<_>, VisionError>>()
            });
        });
    }
    group.finish();
}

/// One of the network's layers, on one image: 240 channels of 28 x 28, filter 5.
fn depthwise(c: &mut Criterion) -> candle_core::Result<()> {
    let (channels, side, kernel) = (240, 28, 5);
    let x = Tensor::rand(0_f32, 1.0, (1, channels, side, side), &Device::Cpu)?;
    let weights = Tensor::rand(-1_f32, 1.0, (channels, 1, kernel, kernel), &Device::Cpu)?;
    let op = Depthwise::new(
        kernel,
        1,
        &weights.flatten_all()?.to_vec1::<f32>()?,
        &vec![0.0; channels],
    )?;
    let blocks = to_blocks(&x)?;
    let mut group = c.benchmark_group("depthwise");
    group.bench_function("custom op", |b| b.iter(|| blocks.apply_op1_no_bwd(&op)));
    group.bench_function("candle grouped conv2d", |b| {
        b.iter(|| {
            x.conv2d(&weights, kernel / 2, 1, 1, channels)?
                .clamp(0.0, 6.0)
        });
    });
    group.finish();
    Ok(())
}

fn layers(c: &mut Criterion) {
    depthwise(c).expect("the layer runs");
}

fn packing(c: &mut Criterion) {
    let costs: Vec<usize> = (0..1024).map(|i| 40_000 + i * 7919 % 20_000).collect();
    let limits = PackLimits {
        items: 32,
        cost: 1 << 20,
    };
    let mut group = c.benchmark_group("packing");
    group.throughput(Throughput::Elements(costs.len() as u64));
    group.bench_function("1024 jobs", |b| b.iter(|| pack(black_box(&costs), limits)));
    group.finish();
}

criterion_group!(benches, answer, layers, packing);
criterion_main!(benches);
