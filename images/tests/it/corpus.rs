//! The 2,000 bad images of `tests/corpus` through the decode pool: nothing panics, hangs or takes memory beyond its bound,
//! and what is certain of a file is what happens.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, stream};
use picsift_images::{
    DecodePool, Geometry, ImageError, ImageInfo, Limits, RgbPixels, Stage, image_info,
};

use crate::corpus_files::{Case, Expected, FILES, cases, write};

const SEED: u64 = 1;

const CROP: Geometry = Geometry::CentreCrop {
    short_side: 256,
    size: 224,
};

const THREADS: usize = 2;

/// How the process that decodes begins the line with its peak memory in MiB.
const GROWN: &str = "grown by MiB: ";

/// Set in the process that decodes, to the largest number of pixels.
const PIXELS: &str = "PICSIFT_CORPUS_PIXELS";

fn corpus() -> Vec<Case> {
    let photos =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../datasets/photos/references/images");
    cases(SEED, &photos).unwrap()
}

/// What came of one file.
struct Outcome {
    case: Case,
    info: Result<ImageInfo, ImageError>,
    full: Result<RgbPixels, ImageError>,
    crop: Result<RgbPixels, ImageError>,
    /// How long the three took together.
    time: Duration,
}

impl Outcome {
    async fn of(pool: &DecodePool, case: Case) -> Outcome {
        let bytes = Bytes::from(case.bytes.clone());
        let begun = Instant::now();
        let info = pool.info(bytes.clone()).await;
        let full = pool
            .prepare(bytes.clone(), Geometry::Full)
            .await
            .map(|p| p.value);
        let full = full.map(|pixels| {
            assert_eq!(
                pixels.data.len() as u64,
                u64::from(pixels.width) * u64::from(pixels.height) * 3
            );
            // Only the size is looked at later.
            RgbPixels {
                data: Vec::new(),
                ..pixels
            }
        });
        let crop = pool.prepare(bytes, CROP).await.map(|p| p.value);
        let time = begun.elapsed();
        Outcome {
            case,
            info,
            full,
            crop,
            time,
        }
    }

    fn complaints(&self, limits: &Limits) -> Vec<String> {
        let mut all = Vec::new();
        let mut complain =
            |text: String| all.push(format!("{} ({}): {text}", self.case.file, self.case.what));
        let errors = [
            self.info.as_ref().err(),
            self.full.as_ref().err(),
            self.crop.as_ref().err(),
        ];
        for error in errors.into_iter().flatten() {
            let sensible = matches!(
                error,
                ImageError::Empty
                    | ImageError::UnknownFormat { .. }
                    | ImageError::UnsupportedFormat { .. }
                    | ImageError::Truncated { .. }
                    | ImageError::Corrupt { .. }
                    | ImageError::UnsupportedFeature { .. }
                    | ImageError::TooManyPixels { .. }
            );
            if !sensible || error.stage() != Stage::Decode {
                complain(format!("fails as {error:?}"));
            }
        }
        // Damage in a large JPEG may be where a decoder at reduced scale does not look.
        if self.case.expected != Expected::Either && self.full.is_ok() != self.crop.is_ok() {
            complain(format!(
                "whole {:?}, cropped {:?}",
                self.full.as_ref().err(),
                self.crop.as_ref().err()
            ));
        }
        match (&self.info, &self.full) {
            (Err(error), Ok(_)) => complain(format!("has pixels but no facts: {error}")),
            (Ok(info), Ok(pixels))
                if (info.width, info.height) != (pixels.width, pixels.height) =>
            {
                complain(format!(
                    "{} x {} by its header, {} x {} by its pixels",
                    info.width, info.height, pixels.width, pixels.height
                ));
            }
            _ => {}
        }
        let too_large = matches!(&self.full, Err(ImageError::TooManyPixels { width, height, .. })
            if u64::from(*width) * u64::from(*height) <= Limits::default().max_pixels);
        match (self.case.expected, &self.full) {
            (Expected::Ok, Err(error)) if !too_large => complain(format!("fails: {error}")),
            (Expected::Fails, Ok(pixels)) => {
                complain(format!("decodes to {} x {}", pixels.width, pixels.height))
            }
            _ => {}
        }
        if self.time >= limits.timeout {
            complain(format!("took {:?}", self.time));
        }
        all
    }
}

/// Peak memory of this process in MiB.
fn peak_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        >> 10
}

/// Decodes everything under the limit of pixels in [`PIXELS`] and prints its peak memory; without the variable nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_process_of_its_own() {
    let Ok(pixels) = std::env::var(PIXELS) else {
        return;
    };
    let limits = Limits {
        max_pixels: pixels.parse().unwrap(),
        ..Limits::default()
    };
    let cases = corpus();
    let before = peak_mib();
    let pool = DecodePool::new(THREADS, limits.clone()).unwrap();
    let outcomes: Vec<Outcome> = stream::iter(cases)
        .map(|case| Outcome::of(&pool, case))
        .buffer_unordered(THREADS)
        .collect()
        .await;
    println!("{GROWN}{}", peak_mib() - before);
    let complaints: Vec<String> = outcomes
        .iter()
        .flat_map(|outcome| outcome.complaints(&limits))
        .collect();
    assert!(
        complaints.is_empty(),
        "{} complaints:\n{}",
        complaints.len(),
        complaints.join("\n")
    );
}

/// Runs [`in_a_process_of_its_own`] in one: its peak memory is that of this work and of no other test's.
#[track_caller]
fn decode_all(max_pixels: u64, most_mib: u64) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "corpus::in_a_process_of_its_own", "--nocapture"])
        .env(PIXELS, max_pixels.to_string())
        .output()
        .unwrap();
    let out = String::from_utf8_lossy(&child.stdout);
    let err = String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success(), "{out}\n{err}");
    // A panic that a pool catches is a defect all the same.
    assert!(!err.contains("panicked"), "{err}");
    let grown = out.lines().find_map(|line| line.strip_prefix(GROWN));
    let grown: u64 = grown.unwrap().parse().unwrap();
    assert!(grown < most_mib, "memory grew by {grown} MiB");
}

#[test]
fn bad_images_neither_panic_nor_hang_nor_fill_the_memory() {
    // Two threads at 16 bytes a pixel; the largest pictures that decode have 50 million of 8 bytes or less.
    decode_all(Limits::default().max_pixels, 1_600);
    // Two threads at 16 bytes a pixel, and 16 MiB for tables.
    decode_all(4_000_000, 160);
}

#[test]
fn the_corpus_is_small_and_the_same_for_the_same_seed() {
    let cases = corpus();
    assert_eq!(cases.len(), FILES);
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &cases).unwrap();
    let size: u64 = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum();
    assert!(size < 40 << 20, "{size} bytes");
    let csv = std::fs::read_to_string(folder.path().join("expected.csv")).unwrap();
    assert_eq!(csv.lines().count(), 1 + FILES);
    let again = corpus();
    assert!(
        cases
            .iter()
            .zip(&again)
            .all(|(a, b)| (&a.file, &a.bytes) == (&b.file, &b.bytes))
    );
}

#[test]
fn a_broken_orientation_turns_nothing() {
    for case in corpus().iter().filter(|case| case.file.contains("-exif.")) {
        let info = image_info(&case.bytes, &Limits::default()).unwrap();
        assert_eq!((info.width, info.height), (24, 16), "{}", case.what);
    }
}
