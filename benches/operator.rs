//! What the inference operator costs and saves: its own time for each image, how it scales with cores, and the same
//! function run by DataFusion's stock async execution beside it.
//!
//! `cargo bench --bench operator` prints the figures; ratios are of runs within one process, taken in turn, medians of five.

#![allow(clippy::unwrap_used)]

mod stock;
mod support;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{ArrayRef, BinaryArray, RecordBatch};
use datafusion::datasource::MemTable;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use picsift::session::session;
use picsift_udf::{Engine, EngineOptions};
use picsift_vision::{
    Answer, BatchAdvice, Category, Generation, InputGeometry, Job, Loaded, Model, ModelInfo,
    Preprocessor, Question, Questions, RgbImage, Service, ServiceOptions, Views, VisionError,
};

/// Images of the tables of photographs.
const PHOTOGRAPHS: usize = 400;
/// Tiny images, for the operator's own cost.
const TINY: usize = 50_000;
const RUNS: usize = 5;

#[tokio::main]
async fn main() {
    own_cost().await;
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("photographs.parquet");
    support::table(&table, PHOTOGRAPHS);
    scaling(&table).await;
    against_stock(&table).await;
}

/// A model that answers at once.
struct AtOnce;

impl Questions for AtOnce {
    fn category(&self, _category: &Category) -> Result<Question, VisionError> {
        Ok(Question::Classes([0].into()))
    }

    fn open(&self, _text: &str, _generation: Generation) -> Result<Question, VisionError> {
        Err(VisionError::CannotTalk {
            model: "at-once".to_string(),
        })
    }
}

impl Preprocessor for AtOnce {
    fn views(&self, image: RgbImage) -> Result<Views, VisionError> {
        Ok(Views {
            side: 1,
            grid: (1, 1),
            data: image.data[..3].to_vec(),
        })
    }
}

impl Model for AtOnce {
    fn answer(&mut self, jobs: &[Job]) -> Vec<Result<Vec<Answer>, VisionError>> {
        jobs.iter().map(|_| Ok(vec![Answer::Score(0.7)])).collect()
    }
}

fn engine(decode_threads: usize) -> Arc<Engine> {
    let engine = Arc::new(
        Engine::new(EngineOptions {
            decode_threads,
            ..EngineOptions::default()
        })
        .unwrap(),
    );
    let loaded = Loaded {
        info: ModelInfo {
            name: "at-once".to_string(),
            revision: "1".to_string(),
            licence: None,
            device: "cpu".to_string(),
            dtype: "u8",
            crops: None,
            input: InputGeometry::Full,
            default_threshold: 0.5,
            can_talk: false,
        },
        questions: Arc::new(AtOnce),
        preprocessor: Arc::new(AtOnce),
        model: Box::new(AtOnce),
        batch: BatchAdvice::default(),
    };
    let service = Service::start(loaded, ServiceOptions::default()).unwrap();
    engine.add_service("at-once", service);
    engine
}

async fn sql(context: &SessionContext, query: &str) -> Duration {
    let started = Instant::now();
    context.sql(query).await.unwrap().collect().await.unwrap();
    started.elapsed()
}

/// A BMP of one pixel whose bytes are `number`'s.
fn tiny(number: u32) -> Vec<u8> {
    let mut bytes = b"BM".to_vec();
    bytes.extend(58_u32.to_le_bytes());
    bytes.extend([0; 4]);
    for field in [54_u32, 40, 1, 1] {
        bytes.extend(field.to_le_bytes());
    }
    bytes.extend([1, 0, 24, 0]);
    bytes.extend([0; 24]);
    bytes.extend(number.to_le_bytes());
    bytes
}

async fn own_cost() {
    let images = BinaryArray::from_iter_values((0..TINY as u32).map(tiny));
    let images: ArrayRef = Arc::new(images);
    let batch = RecordBatch::try_from_iter([("image", images)]).unwrap();
    let batches = (0..TINY).step_by(1000).map(|at| batch.slice(at, 1000));
    let table = MemTable::try_new(batch.schema(), vec![batches.collect()]).unwrap();
    let table = Arc::new(table);
    let mut times = Vec::new();
    for _ in 0..RUNS {
        // A fresh engine knows no answers.
        let context = session(&engine(2), 1).unwrap();
        context.register_table("t", table.clone()).unwrap();
        sql(&context, "SET picsift.model = 'at-once'").await;
        times.push(
            sql(
                &context,
                "SELECT count(*) FROM t WHERE classify(image, 'x')",
            )
            .await,
        );
    }
    println!(
        "one-pixel images, a model that answers at once, one partition: {:.1} us an image, decoding and hashing included",
        median(times).as_secs_f64() * 1e6 / TINY as f64
    );
}

async fn scaling(table: &Path) {
    let query = format!(
        "SELECT count(*) FROM '{}' WHERE classify(image, 'x')",
        table.display()
    );
    let settings = [(1, 1), (2, 1), (2, 2)];
    let mut times = vec![Vec::new(); settings.len()];
    for _ in 0..RUNS {
        for (times, (threads, partitions)) in times.iter_mut().zip(settings) {
            let context = session(&engine(threads), partitions).unwrap();
            sql(&context, "SET picsift.model = 'at-once'").await;
            times.push(sql(&context, &query).await);
        }
    }
    let rates: Vec<f64> = times.into_iter().map(rate).collect();
    println!(
        "decoding whole photographs: {:.0} images/s with 1 decode thread; 2 threads {:.2} times that with 1 partition, {:.2} times with 2",
        rates[0],
        rates[1] / rates[0],
        rates[2] / rates[0]
    );
}

fn rate(times: Vec<Duration>) -> f64 {
    PHOTOGRAPHS as f64 / median(times).as_secs_f64()
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// The classifier's function, by the operator and by an async function that overlaps decoding and inference as well as a
/// batch allows.
async fn against_stock(table: &Path) {
    let calls: Vec<String> = support::CATEGORIES
        .split(',')
        .map(|word| format!("F(image, '{word}')"))
        .collect();
    let ten = format!("SELECT id, {} FROM t", calls.join(", "));
    let forms = [
        ("one call", "SELECT id, F(image, 'animal') FROM t"),
        (
            "the call in SELECT and WHERE",
            "SELECT id, F(image, 'animal') AS a FROM t WHERE F(image, 'animal') OR id < 0",
        ),
        ("ten categories", ten.as_str()),
        (
            "WHERE id < 40 AND the call",
            "SELECT id FROM t WHERE F(image, 'animal') AND id < 40",
        ),
    ];
    for (name, query) in forms {
        let (mut stock_times, mut own_times, mut busy) = (Vec::new(), Vec::new(), Vec::new());
        // Ten calls take the stock functions ten times as long.
        for _ in 0..if name == "ten categories" { 1 } else { 3 } {
            let context =
                SessionContext::new_with_config(SessionConfig::new().with_target_partitions(2));
            register(&context, table).await;
            stock::register(
                &context,
                &Arc::new(Engine::new(EngineOptions::default()).unwrap()),
            );
            stock_times.push(sql(&context, &query.replace("F(", "stock_classify(")).await);

            let engine = Arc::new(Engine::new(EngineOptions::default()).unwrap());
            let context = session(&engine, 2).unwrap();
            register(&context, table).await;
            let model = format!("SET picsift.model = '{}'", stock::MODEL);
            context.sql(&model).await.unwrap();
            let before = cpu_time();
            let time = sql(&context, &query.replace("F(", "classify(")).await;
            busy.push((cpu_time() - before).as_secs_f64() / time.as_secs_f64() / 2.0);
            own_times.push(time);
        }
        busy.sort_by(f64::total_cmp);
        let (stock, own) = (rate(stock_times), rate(own_times));
        println!(
            "{name}: {own:.0} images/s, stock async execution {stock:.0}: {:.2} times; CPU {:.0} % busy",
            own / stock,
            busy[busy.len() / 2] * 100.0
        );
    }
}

async fn register(context: &SessionContext, table: &Path) {
    let options = ParquetReadOptions::default();
    context
        .register_parquet("t", table.to_str().unwrap(), options)
        .await
        .unwrap();
}

/// User and system time of this process so far, from /proc (Linux only): hundredths of a second.
fn cpu_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(ticks * 10)
}
