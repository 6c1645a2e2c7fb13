//! How many rows to ask both models about.
//!
//! A first sample says how frequent yeses are; it is used for nothing else, so that the second one is of a size that nothing in it has
//! chosen. Too few rows cost the whole saving, too many their own price.

use super::binomial::fewest_draws;
use super::{Judged, Promise};

/// Rows of the first sample at least, and the share of all rows that it is otherwise.
const FIRST: u64 = 100;
const FIRST_SHARE: f64 = 0.01;
/// Rows of it at most.
const FIRST_MOST: u64 = 1000;
/// How many times as many rows teach.
const TEACHES: u64 = 4;
/// What grows with the table: a table ten times as large has a sample four times as large.
const LEAST_FACTOR: f64 = 3.0;
const FACTOR: f64 = 6.0;
const POWER: f64 = 0.6;
/// A larger part of the table saves little in the best case.
const MOST_SHARE: f64 = 0.5;

/// Rows below which no sample says anything.
pub const FEWEST_ROWS: u64 = 2 * FIRST;

/// Rows of the first sample of a table of `rows`.
pub fn first(rows: u64) -> u64 {
    let share = (rows as f64 * FIRST_SHARE) as u64;
    share.clamp(FIRST, FIRST_MOST).min(rows)
}

/// Rows of the first sample where something is taught by it.
pub fn first_that_teaches(rows: u64) -> u64 {
    (first(rows) * TEACHES).min(rows / 4).max(first(rows))
}

/// Rows of both samples at least, of a table of `rows`; `teaches` says whether something is taught by the first.
pub fn least(rows: u64, teaches: bool) -> u64 {
    let first = match teaches {
        true => first_that_teaches(rows),
        false => first(rows),
    };
    first + useful(rows - first, 0.0)
}

/// Rows of a second sample that are worth their price, of the `rows` that the first one left, where the dear model is asked about this
/// share.
fn useful(rows: u64, unsure: f64) -> u64 {
    let useful = (LEAST_FACTOR + FACTOR * unsure) * (rows as f64).powf(POWER);
    useful.min((rows as f64 * MOST_SHARE).floor()).ceil() as u64
}

/// Rows of the second sample, of the `rows` that the first one left, by what that says of one category.
pub fn second(rows: u64, first: &[Judged], promise: &Promise, risk: f64) -> u64 {
    let held = first.iter().filter(|row| row.holds).count() as f64;
    let risk = match promise.recall.and(promise.precision) {
        Some(_) => risk / 2.0,
        None => risk,
    };
    let shares = [promise.recall, promise.precision];
    let yeses = shares
        .iter()
        .flatten()
        .map(|share| fewest_draws(1.0 - share, risk));
    let yeses = yeses.max().unwrap_or(0) as f64;
    // So many that there are enough of them nineteen times in twenty.
    let yeses = yeses + 1.7 * yeses.sqrt();
    let frequency = (held - held.sqrt()).max(0.5) / first.len().max(1) as f64;
    let enough = yeses / frequency;
    let most = (rows as f64 * MOST_SHARE).floor();
    let enough = enough.min(most).ceil() as u64;
    enough.max(useful(rows, unsure(first, promise)))
}

/// The scores between which rows would be, by thresholds that keep the promise just on this sample: from the first on, below the second.
pub fn band(sample: &[Judged], promise: &Promise) -> (f32, f32) {
    let mut rows = sample.to_vec();
    rows.sort_by(|a, b| a.score.total_cmp(&b.score));
    let held = rows.iter().filter(|row| row.holds).count() as f64;
    // A tenth of ten rows is one row, however it is rounded.
    let whole = |rows: f64| (rows + 1e-9).floor();
    let mut missed = promise
        .recall
        .map_or(-1.0, |recall| whole((1.0 - recall) * held));
    let low = rows.iter().position(|row| {
        missed -= f64::from(row.holds);
        missed < 0.0
    });
    let low = low.unwrap_or(rows.len());
    let mut mistaken = promise
        .precision
        .map_or(-1.0, |precision| whole((1.0 / precision - 1.0) * held));
    let high = rows[low..].iter().rposition(|row| {
        mistaken -= f64::from(!row.holds);
        mistaken < 0.0
    });
    let from = match (promise.recall, rows.get(low)) {
        (None, _) => f32::NEG_INFINITY,
        (Some(_), Some(row)) => row.score,
        (Some(_), None) => f32::INFINITY,
    };
    let to = match (promise.precision, high) {
        (None, _) => f32::INFINITY,
        (Some(_), Some(last)) => rows[low + last].score.next_up(),
        (Some(_), None) => from,
    };
    (from, to)
}

/// The share of a sample's rows within its [`band`].
pub fn unsure(sample: &[Judged], promise: &Promise) -> f64 {
    let (low, high) = band(sample, promise);
    let open = sample
        .iter()
        .filter(|row| row.score >= low && row.score < high);
    open.count() as f64 / sample.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_band_keeps_the_promise_on_its_sample_and_is_no_wider() {
        // Noes from 0 to 0.99, ten yeses among the upper half of them.
        let sample: Vec<Judged> = (0..100)
            .map(|at| Judged {
                score: at as f32 / 100.0,
                holds: at >= 50 && at % 5 == 0,
            })
            .collect();
        let both = Promise {
            recall: Some(0.8),
            precision: Some(0.8),
        };
        // Two yeses may be missed, and two and a half noes be mistaken.
        let (low, high) = band(&sample, &both);
        assert_eq!(low, 0.6);
        assert_eq!(high, 0.97_f32.next_up());
        assert!((unsure(&sample, &both) - 0.38).abs() < 1e-9);
        let recall = Promise {
            recall: Some(0.8),
            precision: None,
        };
        assert_eq!(band(&sample, &recall), (0.6, f32::INFINITY));
        assert_eq!(unsure(&sample, &Promise::default()), 1.0);
        assert_eq!(unsure(&[], &both), 0.0);
    }
}
