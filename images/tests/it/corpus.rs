//! The 2,000 bad images of `tests/corpus` through the decode pool: nothing panics, hangs or takes memory beyond its bound,
//! and what is certain of a file is what happens.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::{StreamExt, stream};
use picsift_images::{DecodePool, Geometry, ImageError, ImageInfo, Limits, RgbPixels, Stage};

use crate::corpus_files::{Case, Expected, FILES, cases};

const SEED: u64 = 1;

const CROP: Geometry = Geometry::CentreCrop {
    short_side: 256,
    size: 224,
};

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
    /// The longest of the three.
    time: Duration,
}

impl Outcome {
    async fn of(pool: &DecodePool, case: Case) -> Outcome {
        let bytes = Bytes::from(case.bytes.clone());
        let (begun, mut time) = (Instant::now(), Duration::ZERO);
        let mut lap = || {
            let until_now = begun.elapsed();
            time = time.max(until_now);
        };
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
        lap();
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
                    | ImageError::Truncated { .. }
                    | ImageError::Corrupt { .. }
                    | ImageError::UnsupportedFeature { .. }
                    | ImageError::TooManyPixels { .. }
            );
            if !sensible || error.stage() != Stage::Decode {
                complain(format!("fails as {error:?}"));
            }
        }
        if self.full.is_ok() != self.crop.is_ok() {
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

/// Decodes everything under a limit of so many pixels and prints its peak memory; a process of its own, see [`decode_all`].
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
    let pool = DecodePool::new(2, limits.clone()).unwrap();
    let outcomes: Vec<Outcome> = stream::iter(cases)
        .map(|case| Outcome::of(&pool, case))
        .buffer_unordered(4)
        .collect()
        .await;
    let grown = peak_mib() - before;
    let complaints: Vec<String> = outcomes
        .iter()
        .flat_map(|o| o.complaints(&limits))
        .collect();
    let slow: Vec<String> = outcomes
        .iter()
        .filter(|o| o.time > Duration::from_secs(1))
        .map(|o| format!("{} ({}) {:?}", o.case.file, o.case.what, o.time))
        .collect();
    let good = outcomes.iter().filter(|o| o.full.is_ok()).count();
    println!("slow: {slow:#?}");
    println!("decoded {good}");
    println!("grown {grown}");
    assert!(
        complaints.is_empty(),
        "{} complaints:\n{}",
        complaints.len(),
        complaints.join("\n")
    );
}
