//! How much work will cost, as it was measured on a few images.

use std::io::Write;
use std::time::Duration;

use indicatif::{HumanCount, HumanDuration};
use picsift_udf::Estimate;

/// Writes an estimate's lines; at most `limit` of its rows are asked.
pub(super) fn write(
    out: &mut impl Write,
    estimate: &Estimate,
    limit: Option<usize>,
) -> std::io::Result<()> {
    let estimate = &Estimate {
        rows: match (estimate.rows, limit) {
            (Some((rows, exact)), Some(limit)) => Some((rows.min(limit), exact)),
            (rows, _) => rows,
        },
        ..estimate.clone()
    };
    let sample = &estimate.sample;
    match estimate.rows {
        Some((rows, true)) => writeln!(out, "  rows    {}", HumanCount(rows as u64))?,
        Some((rows, false)) => writeln!(out, "  rows    about {}", HumanCount(rows as u64))?,
        None => writeln!(out, "  rows    not known before the query runs")?,
    }
    if let Some(images) = estimate.images() {
        writeln!(out, "  images  about {}", HumanCount(images.round() as u64))?;
    }
    match (estimate.rate(), estimate.time()) {
        (Some(rate), Some(time)) => {
            writeln!(
                out,
                "  time    about {}, at {rate:.1} images/s",
                shown(time)
            )?;
        }
        (Some(rate), None) => writeln!(out, "  time    {rate:.1} images/s")?,
        (None, _) => writeln!(out, "  time    not known: the sample has no image to ask")?,
    }
    writeln!(
        out,
        "  sample  {} rows, {} images, {} rows kept, in {}",
        sample.rows,
        sample.images,
        sample.kept,
        shown(sample.time)
    )
}

fn shown(time: Duration) -> String {
    if time < Duration::from_secs(60) {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        HumanDuration(time).to_string()
    }
}
