//! `picsift teach` over a million embeddings of 768 numbers and twenty categories as a process: time and peak memory.
//!
//! `cargo bench --bench teach` prints them; `PICSIFT_BENCH_ROWS` takes another number of rows. The model is of SigLIP's shape with random
//! weights: the table has its embeddings, so that it embeds the categories' words and no image. The embeddings are noise with a
//! direction for each category in them, of which 0.5 % to 20 % of the rows have some. The peak is the kernel's own high-water mark
//! (Linux only).

#![allow(clippy::unwrap_used)]

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::properties::WriterProperties;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const CATEGORIES: usize = 20;
const WIDTH: usize = 768;
/// Rows of a batch, and of a row group: 32 MB, as `picsift label` writes them.
const BATCH: usize = 10_000;

fn main() {
    let rows = std::env::var("PICSIFT_BENCH_ROWS");
    let rows = rows.map_or(1_000_000, |rows| rows.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    write_model(&model);
    let of = embedded_by(&model, folder.path());
    let table = folder.path().join("rows.parquet");
    write_table(&table, rows, &of);
    let heads = folder.path().join("heads.safetensors");
    let names: Vec<String> = (0..CATEGORIES).map(|at| format!("c{at}")).collect();
    let mut command = Command::new(env!("CARGO_BIN_EXE_picsift"));
    command.args([
        "teach",
        table.to_str().unwrap(),
        "--truth",
        "truth_{}",
        "--format",
        "json",
    ]);
    command.args([
        "--categories",
        &names.join(","),
        "-o",
        heads.to_str().unwrap(),
    ]);
    command.args(["--model", model.to_str().unwrap()]);
    command.env("PICSIFT_CACHE", folder.path().join("cache"));
    let (seconds, peak, said) = timed(&mut command);
    println!(
        "picsift teach, {rows} rows of {WIDTH}, {CATEGORIES} categories: {seconds:.1} s, peak {peak} MB"
    );
    let report: serde_json::Value = serde_json::from_str(&said).unwrap();
    for category in report["categories"].as_array().unwrap() {
        println!(
            "{}: {} of {} hold, AP {:.3} taught, {:.3} by itself",
            category["name"].as_str().unwrap(),
            category["yes"],
            rows,
            category["taught"]["average_precision"]["value"]
                .as_f64()
                .unwrap(),
            category["zero_shot"]["average_precision"]["value"]
                .as_f64()
                .unwrap(),
        );
    }
}

/// Seconds, the peak resident size in MB and what was printed.
fn timed(command: &mut Command) -> (f64, u64, String) {
    let started = Instant::now();
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut out = child.stdout.take().unwrap();
    let read = std::thread::spawn(move || std::io::read_to_string(&mut out).unwrap());
    let mut peak = 0;
    loop {
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<u64>().ok());
        peak = peak.max(kib.unwrap_or(0));
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return (
                started.elapsed().as_secs_f64(),
                peak >> 10,
                read.join().unwrap(),
            );
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// The small model of the tests made wide, with one layer a tower and random weights.
fn write_model(folder: &Path) {
    let small = Path::new(env!("CARGO_MANIFEST_DIR")).join("vision/tests/goldens/siglip2");
    std::fs::create_dir(folder).unwrap();
    for name in ["preprocessor_config.json", "tokenizer.json"] {
        std::fs::copy(small.join(name), folder.join(name)).unwrap();
    }
    let config = std::fs::read_to_string(small.join("config.json")).unwrap();
    let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
    for tower in ["text_config", "vision_config"] {
        config[tower]["hidden_size"] = WIDTH.into();
        config[tower]["num_hidden_layers"] = 1.into();
    }
    config["text_config"]["projection_size"] = WIDTH.into();
    std::fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let bytes = std::fs::read(small.join("model.safetensors")).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let tensors: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let (mut header, mut numbers) = (serde_json::Map::new(), 0);
    for (name, tensor) in tensors.as_object().unwrap() {
        if name == "__metadata__" || (name.contains(".layers.") && !name.contains(".layers.0.")) {
            continue;
        }
        let (narrow, is_text) = match name.starts_with("text_model") {
            true => (64, true),
            false => (96, false),
        };
        let places = is_text && name.contains("position_embedding");
        let shape: Vec<u64> = tensor["shape"]
            .as_array()
            .unwrap()
            .iter()
            .enumerate()
            .map(|(at, size)| match size.as_u64().unwrap() {
                size if places && at == 0 => size,
                size if size == narrow || size == 96 => WIDTH as u64,
                size if size == 3 * narrow => 3 * WIDTH as u64,
                size => size,
            })
            .collect();
        let count = shape.iter().product::<u64>() as usize;
        let ends = [4 * numbers, 4 * (numbers + count)];
        header.insert(
            name.clone(),
            serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": ends}),
        );
        numbers += count;
    }
    let mut header = serde_json::Value::from(header).to_string();
    while !header.len().is_multiple_of(8) {
        header.push(' ');
    }
    let mut random = StdRng::seed_from_u64(2);
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    for _ in 0..numbers {
        file.extend((0.1 * (random.random::<f32>() - 0.5)).to_le_bytes());
    }
    std::fs::write(folder.join("model.safetensors"), file).unwrap();
}

/// What a column of the model's embeddings says of itself: its metadata, by a job over one photograph.
fn embedded_by(model: &Path, folder: &Path) -> std::collections::HashMap<String, String> {
    let output = folder.join("one");
    let run = Command::new(env!("CARGO_BIN_EXE_picsift"))
        .args([
            "label",
            "datasets/photos/embedded",
            "--limit",
            "1",
            "--embedding",
            "--no-cache",
        ])
        .args(["--categories", "c0", "--model", model.to_str().unwrap()])
        .args(["-o", output.to_str().unwrap()])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    assert!(
        run.status.success(),
        "{}",
        String::from_utf8_lossy(&run.stderr)
    );
    let files = walkdir::WalkDir::new(&output).into_iter().flatten();
    let is_table =
        |entry: &walkdir::DirEntry| entry.path().extension().is_some_and(|e| e == "parquet");
    let file = files.into_iter().find(is_table).unwrap();
    let builder =
        ParquetRecordBatchReaderBuilder::try_new(File::open(file.path()).unwrap()).unwrap();
    let field = builder
        .schema()
        .field_with_name("embedding")
        .unwrap()
        .clone();
    field.metadata().clone()
}

fn write_table(path: &Path, rows: usize, of: &std::collections::HashMap<String, String>) {
    let mut random = StdRng::seed_from_u64(1);
    let mut noise =
        |count: usize| -> Vec<f32> { (0..count).map(|_| random.random::<f32>() - 0.5).collect() };
    let directions: Vec<Vec<f32>> = (0..CATEGORIES).map(|_| noise(WIDTH)).collect();
    let item = Arc::new(Field::new_list_field(DataType::Float32, true));
    let list = DataType::FixedSizeList(Arc::clone(&item), WIDTH as i32);
    let mut fields = vec![Field::new("embedding", list, true).with_metadata(of.clone())];
    fields.extend(
        (0..CATEGORIES).map(|at| Field::new(format!("truth_c{at}"), DataType::Boolean, true)),
    );
    let schema = Arc::new(Schema::new(fields));
    let properties = WriterProperties::builder()
        .set_max_row_group_row_count(Some(BATCH))
        .build();
    let file = File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, Arc::clone(&schema), Some(properties)).unwrap();
    for start in (0..rows).step_by(BATCH) {
        let count = BATCH.min(rows - start);
        let mut numbers = noise(count * WIDTH);
        let mut columns: Vec<ArrayRef> = Vec::new();
        for (at, direction) in directions.iter().enumerate() {
            let share = 0.005 * 40_f32.powf(at as f32 / (CATEGORIES - 1) as f32);
            let holds: Vec<bool> = noise(count).into_iter().map(|x| x + 0.5 < share).collect();
            for (row, holds) in numbers.chunks_exact_mut(WIDTH).zip(&holds) {
                if *holds {
                    row.iter_mut()
                        .zip(direction)
                        .for_each(|(x, d)| *x += 0.1 * d);
                }
            }
            columns.push(Arc::new(BooleanArray::from(holds)));
        }
        let numbers: ArrayRef = Arc::new(Float32Array::from(numbers));
        let lists = FixedSizeListArray::new(Arc::clone(&item), WIDTH as i32, numbers, None);
        columns.insert(0, Arc::new(lists));
        writer
            .write(&RecordBatch::try_new(Arc::clone(&schema), columns).unwrap())
            .unwrap();
    }
    writer.close().unwrap();
}
