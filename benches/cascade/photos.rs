//! Real weights: the repository's photographs, copied and changed, labelled by coco-ssd and by efficientnet-lite0 in its place, which
//! is taught by the sample.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use arrow::array::{AsArray, BooleanArray, RecordBatch};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::Value;

use super::copies;

const CATEGORIES: &str = "person,bird";

/// Labels so many pictures both ways and prints what each took and kept.
pub(crate) fn run(pictures: usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let table = path("copies.parquet");
    copies::write(
        &root.join("datasets/photos/references/images"),
        Path::new(&table),
        pictures.div_ceil(221),
    );
    let picsift = |cache: &str, args: &[&str]| {
        let started = Instant::now();
        let done = Command::new(env!("CARGO_BIN_EXE_picsift"))
            .args(args)
            .env("PICSIFT_CACHE", path(cache))
            .output()
            .expect("picsift");
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(
            done.status.success(),
            "{}",
            String::from_utf8_lossy(&done.stderr)
        );
        (said, started.elapsed().as_secs_f64())
    };
    let truth = path("truth");
    let label = |cache: &str, output: &str, more: &[&str]| {
        let args = [
            &["label", &table, "-o", output, "--model", "coco-ssd"][..],
            more,
        ]
        .concat();
        picsift(cache, &args)
    };
    let (_, alone) = label("alone", &truth, &["--categories", CATEGORIES]);
    let truth = read(&truth);
    println!("coco-ssd by itself: {alone:.0} s");
    for categories in ["person", CATEGORIES] {
        let cheap = path(&format!("cheap-{categories}"));
        // What the cheap model does not know, or knows worse, it is taught by the sample.
        let flags = [
            "--cascade",
            "efficientnet-lite0",
            "--min-recall",
            "0.9",
            "--min-precision",
            "0.9",
        ];
        let (said, together) = label(
            categories,
            &cheap,
            &[&flags[..], &["--categories", categories]].concat(),
        );
        print!("{said}");
        report(&cheap, categories, &truth, together);
    }
}

/// Says how many pictures the dear model was shown for the cascade in `cheap`, and what its answers are worth against `truth`.
fn report(cheap: &str, categories: &str, truth: &[RecordBatch], took: f64) {
    let text = std::fs::read_to_string(Path::new(cheap).join("_picsift.json")).expect("a manifest");
    let manifest: Value = serde_json::from_str(&text).expect("JSON");
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    let rows = number(&manifest["counts"]["rows"]);
    let cascade = &manifest["cascade"];
    let asked = number(&cascade["sampled"]) + number(&manifest["counts"]["asked"]);
    println!(
        "{rows} pictures, {asked} shown to the dear model, {} of them for the sample; {:.2} x fewer, in {took:.0} s",
        number(&cascade["sampled"]),
        rows as f64 / asked as f64
    );
    for category in cascade["categories"].as_array().into_iter().flatten() {
        println!(
            "  {}: {} of {} rows that found thresholds held; below {} of them {}, {} missed; above {}, {} mistaken",
            category["name"],
            category["held"],
            category["sampled"],
            category["low"],
            category["below"],
            category["missed"],
            category["above"],
            category["mistaken"]
        );
    }
    let found = read(cheap);
    for name in categories.split(',') {
        let column = |table: &[RecordBatch]| -> Vec<bool> {
            let is = format!("is_{name}");
            let parts = table
                .iter()
                .map(|batch| batch.column_by_name(&is).expect("a column").as_boolean());
            parts
                .flat_map(|part: &BooleanArray| {
                    part.iter().map(|is| is == Some(true)).collect::<Vec<_>>()
                })
                .collect()
        };
        let (right, found) = (column(truth), column(&found));
        let count =
            |of: &dyn Fn(usize) -> bool| (0..right.len()).filter(|row| of(*row)).count() as f64;
        let both = count(&|row| right[row] && found[row]);
        println!(
            "{name}: recall {:.3}, precision {:.3} against coco-ssd, {} of {} rows",
            both / count(&|row| right[row]),
            both / count(&|row| found[row]),
            count(&|row| right[row]),
            right.len()
        );
    }
}

/// The rows of an output, files in the order of their names.
fn read(folder: &str) -> Vec<RecordBatch> {
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .expect("an output")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|end| end == "parquet"))
        .collect();
    files.sort();
    let read = |path: &std::path::PathBuf| {
        let file = std::fs::File::open(path).expect("a file");
        let reader = ParquetRecordBatchReaderBuilder::try_new(file).expect("Parquet");
        reader
            .build()
            .expect("a reader")
            .map(|batch| batch.expect("rows"))
            .collect::<Vec<_>>()
    };
    files.iter().flat_map(read).collect()
}
