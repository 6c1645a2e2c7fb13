//! How much work will cost, as it was measured on a few images.

use std::io::Write;
use std::time::Duration;

use indicatif::{HumanCount, HumanDuration};
use picsift_udf::Estimate;

use crate::label::{CascadeEstimate, Survey};

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

/// Writes what a cascade costs beside the dear model's estimates: what is sure, and what it is at most.
pub(super) fn write_cascade(
    out: &mut impl Write,
    survey: &Survey,
    cascade: &CascadeEstimate,
) -> std::io::Result<()> {
    let rows = match survey.limit {
        Some(limit) => survey.rows.min(limit as u64),
        None => survey.rows,
    };
    let part = rows as f64 / survey.rows.max(1) as f64;
    let all = |estimates: &[Estimate]| -> Option<f64> {
        let each = estimates
            .iter()
            .map(|estimate| Some(estimate.time()?.as_secs_f64()));
        Some(part * each.sum::<Option<f64>>()?)
    };
    let Some((cheap, dear)) = all(&cascade.estimates).zip(all(&survey.estimates)) else {
        return writeln!(
            out,
            "  cascade {} looks at every image before; its time is not known: the sample has no image to ask",
            cascade.cheap
        );
    };
    let least = dear * cascade.sampled as f64 / rows.max(1) as f64;
    let time = |seconds: f64| shown(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
    writeln!(
        out,
        "  cascade {} looks at every image, in about {}; {} is asked about a sample of {} rows or more and what is left open, from about {} \
         to the whole {}",
        cascade.cheap,
        time(cheap),
        survey.model,
        HumanCount(cascade.sampled),
        time(least),
        time(dear)
    )?;
    writeln!(
        out,
        "          together from about {} to {}; the sample says how much is left open",
        time(cheap + least),
        time(cheap + dear)
    )
}

fn shown(time: Duration) -> String {
    if time < Duration::from_secs(60) {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        HumanDuration(time).to_string()
    }
}
