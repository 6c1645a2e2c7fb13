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
    let useful = (LEAST_FACTOR + FACTOR * unsure(first, promise)) * (rows as f64).powf(POWER);
    let most = (rows as f64 * MOST_SHARE).floor();
    enough.max(useful).min(most).ceil() as u64
}

/// The share of a sample's rows that would be between thresholds which keep the promise just on that sample.
fn unsure(sample: &[Judged], promise: &Promise) -> f64 {
    let mut rows = sample.to_vec();
    rows.sort_by(|a, b| a.score.total_cmp(&b.score));
    let held = rows.iter().filter(|row| row.holds).count() as f64;
    let mut missed = promise.recall.map_or(-1.0, |recall| (1.0 - recall) * held);
    let low = rows.iter().take_while(|row| {
        missed -= f64::from(row.holds);
        missed >= 0.0
    });
    let low = low.count();
    let mut mistaken = promise
        .precision
        .map_or(-1.0, |precision| (1.0 / precision - 1.0) * held);
    let high = rows[low..].iter().rev().take_while(|row| {
        mistaken -= f64::from(!row.holds);
        mistaken >= 0.0
    });
    (rows.len() - low - high.count()) as f64 / rows.len().max(1) as f64
}
