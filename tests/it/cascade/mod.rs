//! A cheap model that answers for a dear one: the promise, what is asked and spared, and jobs that are carried on.

#[path = "../../../benches/cascade/copies.rs"]
mod copies;
mod drift;
#[path = "../../../benches/cascade/ours.rs"]
mod ours;
mod queries;
mod refused;
#[path = "../../../benches/cascade/tables.rs"]
mod tables;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use arrow::array::{AsArray, BooleanArray, Float32Array, RecordBatch, StructArray};
use picsift::cascade::Promise;
use serde_json::Value;
use tables::Table;

use crate::support::*;

/// Copies of each of the 221 photographs.
const COPIES: usize = 3;

/// What the tests share: made once, read only.
struct Photos {
    folder: PathBuf,
}

impl Photos {
    fn get() -> &'static Self {
        static PHOTOS: OnceLock<Photos> = OnceLock::new();
        PHOTOS.get_or_init(|| {
            // Nothing drops what is static, so the next run makes it anew.
            let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cascade");
            let _ = std::fs::remove_dir_all(&folder);
            std::fs::create_dir_all(&folder).unwrap();
            let photos = Self { folder };
            copies::write(
                &root().join(REFERENCES).join("images"),
                &photos.table(),
                COPIES,
            );
            // What the cheap model is taught is what the dear one says of the photographs themselves.
            let labelled = photos.folder.join("lesson");
            let dear = ["--model", "coco-ssd", "--categories", "person,bird"];
            label(EMBEDDED, &labelled, &photos.cache(), &dear);
            let mut args = vec!["teach", labelled.to_str().unwrap()];
            let heads = photos.heads();
            args.extend(["--truth", "person=is_person", "--truth", "bird=is_bird"]);
            args.extend([
                "--model",
                "efficientnet-lite0",
                "-o",
                heads.to_str().unwrap(),
            ]);
            stdout(&command(args, &photos.cache()).output().unwrap());
            let truth = photos.folder.join("truth");
            label(
                photos.table().to_str().unwrap(),
                &truth,
                &photos.cache(),
                &dear,
            );
            photos
        })
    }

    fn table(&self) -> PathBuf {
        self.folder.join("copies.parquet")
    }

    fn heads(&self) -> PathBuf {
        self.folder.join("heads.safetensors")
    }

    /// Kept answers of what is made here, which the tests do not see.
    fn cache(&self) -> PathBuf {
        self.folder.join("cache")
    }

    /// What the dear model says of every row.
    fn truth(&self) -> RecordBatch {
        read_table(&self.folder.join("truth"))
    }

    /// Flags of a cascade over these photographs.
    fn flags<'a>(&self, heads: &'a str) -> Vec<&'a str> {
        let flags = [
            "--model",
            "coco-ssd",
            "--cascade",
            "efficientnet-lite0",
            "--heads",
            heads,
            "--min-recall",
            "0.8",
            "--min-precision",
            "0.8",
        ];
        flags.to_vec()
    }
}

fn label(input: &str, output: &Path, cache: &Path, more: &[&str]) -> String {
    let mut args = vec!["label", input, "-o", output.to_str().unwrap()];
    args.extend(more);
    stdout(&command(args, cache).output().unwrap())
}

fn manifest(folder: &Path) -> Value {
    let text = std::fs::read_to_string(folder.join("_picsift.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Recall and precision of `labelled` against `truth`.
fn quality(labelled: &RecordBatch, truth: &RecordBatch, name: &str) -> (f64, f64) {
    let (found, right): (&BooleanArray, &BooleanArray) =
        (column(labelled, name), column(truth, name));
    let rows = 0..truth.num_rows();
    let both = rows
        .filter(|row| found.value(*row) && right.value(*row))
        .count() as f64;
    (
        both / right.true_count() as f64,
        both / found.true_count() as f64,
    )
}

/// Who answered about a category, row by row.
fn answered_by(labelled: &RecordBatch, category: &str) -> Vec<String> {
    let parts: &StructArray = column(labelled, "answered_by");
    let part = parts.column_by_name(category).unwrap();
    let part = part.as_string::<i32>();
    part.iter().map(|by| by.unwrap().to_string()).collect()
}

/// The promise is about any table and any scores: a thousand of them, of which one in twenty may break it.
#[test]
fn a_promise_is_broken_no_more_often_than_it_says() {
    let promise = Promise {
        recall: Some(0.9),
        precision: Some(0.9),
    };
    let (mut broken, mut asked) = (0, 0.0);
    for number in 0..1000 {
        let table = Table::simulated(number, 3000);
        let outcome = ours::ours(&table, &promise, 0.05, number);
        broken += usize::from(outcome.recall < 0.9 || outcome.precision < 0.9);
        asked += outcome.asked as f64 / table.rows() as f64;
    }
    // 50, and three standard deviations of chance.
    assert!(broken <= 71, "{broken} of 1000");
    assert!(asked / 1000.0 < 0.8, "{}", asked / 1000.0);
}

#[test]
fn the_promise_is_kept_against_the_dear_model_and_images_are_spared() {
    let photos = Photos::get();
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let output = folder.path().join("labelled");
    let heads = photos.heads();
    let mut flags = photos.flags(heads.to_str().unwrap());
    flags.extend(["--categories", "person", "--answered-by"]);
    let table = photos.table();
    let said = label(table.to_str().unwrap(), &output, cache.path(), &flags);
    let (labelled, truth) = (read_table(&output), photos.truth());
    let (recall, precision) = quality(&labelled, &truth, "is_person");
    assert!(recall >= 0.8 && precision >= 0.8, "{recall} {precision}");

    let manifest = manifest(&output);
    let cascade = &manifest["cascade"];
    let counts = &cascade["counts"];
    let number = |of: &Value, name: &str| of[name].as_u64().unwrap();
    let rows = labelled.num_rows() as u64;
    assert_eq!(cascade["cheap"]["name"], "efficientnet-lite0");
    assert_eq!(cascade["rows"], rows);
    let parts = ["spared", "unsure", "audited"].map(|name| number(counts, name));
    assert_eq!(parts.iter().sum::<u64>(), rows);
    assert_eq!(number(&manifest["counts"], "images"), rows);
    // Of what the sample asked nothing is asked again.
    assert!(number(&manifest["counts"], "asked") <= parts[1] + parts[2]);
    let shown = number(cascade, "sampled") + number(&manifest["counts"], "asked");
    assert!(shown * 10 < rows * 9, "{shown} of {rows}");
    let category = &cascade["categories"][0];
    assert!(category["recall"].as_f64().unwrap() >= 0.8);
    assert!(category["precision"].as_f64().unwrap() >= 0.8);
    assert!(said.contains("efficientnet-lite0 answered for"), "{said}");
    assert!(said.contains("against the dear model"), "{said}");

    // Who answered is said, and the columns agree with each other whoever it was.
    let by = answered_by(&labelled, "person");
    let dear = by.iter().filter(|by| *by == "dear").count() as u64;
    assert_eq!(dear, parts[1] + parts[2]);
    let scores: &Float32Array = column(&labelled, "score_person");
    let is: &BooleanArray = column(&labelled, "is_person");
    let right: &BooleanArray = column(&truth, "is_person");
    let threshold = manifest["categories"][0]["threshold"].as_f64().unwrap() as f32;
    for (row, by) in by.iter().enumerate() {
        assert_eq!(is.value(row), scores.value(row) >= threshold, "row {row}");
        if by == "dear" {
            assert_eq!(is.value(row), right.value(row), "row {row}");
        }
    }

    // The same command again has nothing to do; another promise is another job.
    let again = label(table.to_str().unwrap(), &output, cache.path(), &flags);
    assert!(again.contains("nothing to do"), "{again}");
    let mut other = vec![
        "label",
        table.to_str().unwrap(),
        "-o",
        output.to_str().unwrap(),
    ];
    other.extend(&flags);
    other.extend(["--confidence", "0.99"]);
    let said = refused_by(&command(other, cache.path()).output().unwrap());
    assert!(
        said.contains("cascade confidence was 0.95 and is 0.99 now"),
        "{said}"
    );
}

/// A word that the cheap model does not know is learnt on the way, from what the dear one says of the first sample.
#[test]
fn a_cheap_model_is_taught_what_it_does_not_know() {
    let photos = Photos::get();
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let output = folder.path().join("labelled");
    let flags = photos.flags("");
    let flags: Vec<&str> = flags
        .into_iter()
        .filter(|flag| !flag.is_empty() && *flag != "--heads")
        .collect();
    let more = [&flags[..], &["--categories", "person"]].concat();
    label(
        photos.table().to_str().unwrap(),
        &output,
        cache.path(),
        &more,
    );
    let (recall, precision) = quality(&read_table(&output), &photos.truth(), "is_person");
    assert!(recall >= 0.8 && precision >= 0.8, "{recall} {precision}");
    let manifest = manifest(&output);
    let category = &manifest["cascade"]["categories"][0];
    assert!(
        category["taught"].is_string() && category["head"].is_string(),
        "{category}"
    );
    let spared = manifest["cascade"]["counts"]["spared"].as_u64();
    assert!(spared > Some(200), "{spared:?}");
}

/// Asserts exit code 2 and gives what was said last.
fn refused_by(output: &std::process::Output) -> String {
    assert_eq!(output.status.code(), Some(2), "{}", stderr(output));
    stderr(output).trim().lines().last().unwrap().to_string()
}

/// A category more costs calls about itself alone: of one that was decided before nothing is asked again.
#[test]
fn a_second_category_costs_its_own_calls() {
    let photos = Photos::get();
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (table, heads) = (photos.table(), photos.heads());
    let run = |name: &str, categories: &str| {
        let output = folder.path().join(name);
        let mut flags = photos.flags(heads.to_str().unwrap());
        flags.extend(["--categories", categories, "--answered-by"]);
        label(table.to_str().unwrap(), &output, cache.path(), &flags);
        (read_table(&output), manifest(&output))
    };
    let (one, _) = run("one", "person");
    let (two, manifest) = run("two", "person,bird");
    let (before, person, bird) = (
        answered_by(&one, "person"),
        answered_by(&two, "person"),
        answered_by(&two, "bird"),
    );
    let new = (0..two.num_rows()).filter(|&row| {
        let asked = |by: &[String]| by[row] == "dear";
        asked(&bird) || (asked(&person) && !asked(&before))
    });
    let asked = manifest["counts"]["asked"].as_u64().unwrap();
    assert!(asked <= new.count() as u64, "{asked}");
    assert!(manifest["cascade"]["categories"].as_array().unwrap().len() == 2);
}

#[test]
fn a_category_that_a_sample_shows_too_little_of_is_the_dear_models_and_that_is_said() {
    let photos = Photos::get();
    let (folder, cache) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let output = folder.path().join("labelled");
    let flags = [
        "--model",
        "coco-ssd",
        "--cascade",
        "efficientnet-lite0",
        "--categories",
        "zebra",
        "--min-recall",
        "0.95",
        "--limit",
        "300",
        "--answered-by",
    ];
    let said = label(
        photos.table().to_str().unwrap(),
        &output,
        cache.path(),
        &flags,
    );
    assert!(
        said.contains("of 'zebra' the cheap model decides nothing"),
        "{said}"
    );
    assert!(said.contains("it is asked about every image"), "{said}");
    let manifest = manifest(&output);
    assert_eq!(manifest["cascade"]["counts"]["spared"], 0);
    assert_eq!(manifest["counts"]["rows"], 300);
    let by = answered_by(&read_table(&output), "zebra");
    assert!(by.iter().all(|by| by == "dear"));
}

/// Whenever it is killed, ten times and more in the sample and in shards, a job ends with the rows and the thresholds that it would have had.
#[test]
fn a_job_that_is_killed_is_carried_on_with_equal_output() {
    let photos = Photos::get();
    let folder = tempfile::tempdir().unwrap();
    let (table, heads) = (photos.table(), photos.heads());
    let arguments = |output: &Path| {
        let mut args: Vec<String> = vec!["label".into(), table.to_str().unwrap().into()];
        args.extend(["-o".to_string(), output.to_str().unwrap().to_string()]);
        args.extend(
            photos
                .flags(heads.to_str().unwrap())
                .iter()
                .map(|flag| flag.to_string()),
        );
        let more = [
            "--categories",
            "person",
            "--shard-rows",
            "60",
            "--no-cache",
            "--audit",
            "0.05",
        ];
        args.extend(more.map(str::to_string));
        args
    };
    let whole = folder.path().join("whole");
    stdout(&picsift(arguments(&whole)));
    let killed = folder.path().join("killed");
    let journal = folder.path().join(".killed.picsift").join("journal");
    let records = || std::fs::read_dir(&journal).map_or(0, |entries| entries.count());
    let mut kills = 0;
    while !killed.join("_picsift.json").is_file() {
        let cache = tempfile::tempdir().unwrap();
        let mut child = command(arguments(&killed), cache.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // A record of the run itself, and one of what it did.
        let enough = records() + 2;
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success());
                break;
            }
            if records() >= enough {
                child.kill().unwrap();
                child.wait().unwrap();
                kills += 1;
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(3));
        }
    }
    assert!(kills >= 10, "{kills}");
    assert_same_rows(&read_table(&killed), &read_table(&whole));
    let (killed, whole) = (manifest(&killed), manifest(&whole));
    // Without kept answers too, what the sample asked is not asked again where it stays open.
    let counted = |name: &str| whole["cascade"]["counts"][name].as_u64().unwrap();
    let asked = whole["counts"]["asked"].as_u64().unwrap();
    let open = counted("unsure") + counted("audited");
    assert!(asked < open, "{asked} of {open}");
    assert_eq!(
        killed["cascade"]["categories"],
        whole["cascade"]["categories"]
    );
    assert_eq!(
        killed["cascade"]["counts"]["categories"],
        whole["cascade"]["counts"]["categories"]
    );
}
