//! The way that picsift goes.

use picsift::cascade::{Judged, Promise, size, thresholds};

use super::tables::{Outcome, Table, outcome};

/// Samples the table by chance, as a job does, and labels by the thresholds that come of it.
pub(crate) fn ours(table: &Table, promise: &Promise, risk: f64, seed: u64) -> Outcome {
    let order = table.shuffled(seed);
    let rows = table.rows() as u64;
    let (first, rest) = order.split_at(size::first(rows) as usize);
    let judged = |row: &usize| Judged {
        score: table.scores[*row],
        holds: table.holds[*row],
    };
    let known: Vec<Judged> = first.iter().map(judged).collect();
    let second = size::second(rows - first.len() as u64, &known, promise, risk) as usize;
    let sample: Vec<Judged> = rest[..second].iter().map(judged).collect();
    let found = thresholds(&sample, promise, risk);
    let mut sampled = vec![false; table.rows()];
    for row in order.iter().take(first.len() + second) {
        sampled[*row] = true;
    }
    outcome(table, &sampled, found.low, found.high)
}
