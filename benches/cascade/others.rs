//! Two published ways, written from their papers' descriptions.
//!
//! SUPG (Kang, Gan, Bailis, Hashimoto, Zaharia: Approximate Selection with Guarantees using Proxies, VLDB 2020): importance sampling by the
//! square root of the score, intervals by the normal approximation. BARGAIN (Zeighami, Shankar, Parameswaran: Cut Costs, Not Accuracy:
//! LLM-Powered Data Processing with Guarantees, 2025): uniform sampling along nested candidates, tests by betting (Waudby-Smith and Ramdas
//! 2024). Each gives both thresholds, half of the risk to either, and asks about what lies between.

use picsift::cascade::Promise;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::tables::{Outcome, Table, outcome};

/// SUPG with a budget of so many draws, half of them for either threshold.
pub(crate) fn supg(
    table: &Table,
    promise: &Promise,
    risk: f64,
    budget: usize,
    seed: u64,
) -> Outcome {
    let mut random = StdRng::seed_from_u64(seed);
    let mut asked = vec![false; table.rows()];
    let all: Vec<usize> = (0..table.rows()).collect();
    let draws = budget / 2;
    let low = match promise.recall {
        Some(recall) => {
            let sample = weighted(table, &all, draws, &mut random, &mut asked);
            supg_low(table, &sample, recall, risk / 2.0)
        }
        None => f32::NEG_INFINITY,
    };
    let high = match promise.precision {
        Some(precision) => {
            let first = weighted(table, &all, draws / 2, &mut random, &mut asked);
            let held = first
                .iter()
                .map(|(row, weight)| f64::from(table.holds[*row]) * weight);
            let share = upper(&held.collect::<Vec<_>>(), risk / 4.0);
            let mut order = all.clone();
            order.sort_by(|a, b| table.scores[*b].total_cmp(&table.scores[*a]));
            let most = (share * table.rows() as f64 / precision).ceil() as usize;
            order.truncate(most.clamp(1, table.rows()));
            let second = weighted(table, &order, draws - draws / 2, &mut random, &mut asked);
            supg_high(table, second, precision, risk / 4.0)
        }
        None => f32::INFINITY,
    };
    outcome(table, &asked, low, high)
}

/// Rows drawn by the square root of their scores, each with what it stands for in a mean over `rows`.
fn weighted(
    table: &Table,
    rows: &[usize],
    draws: usize,
    random: &mut StdRng,
    asked: &mut [bool],
) -> Vec<(usize, f64)> {
    let roots: Vec<f64> = rows
        .iter()
        .map(|row| f64::from(table.scores[*row]).sqrt())
        .collect();
    let sum: f64 = roots.iter().sum();
    let uniform = 1.0 / rows.len() as f64;
    let chance: Vec<f64> = roots
        .iter()
        .map(|root| 0.9 * root / sum.max(1e-12) + 0.1 * uniform)
        .collect();
    let mut up_to = 0.0;
    let ends: Vec<f64> = chance
        .iter()
        .map(|chance| {
            up_to += chance;
            up_to
        })
        .collect();
    (0..draws)
        .map(|_| {
            let at = ends.partition_point(|end| *end < random.random::<f64>() * up_to);
            let at = at.min(rows.len() - 1);
            asked[rows[at]] = true;
            (rows[at], uniform / chance[at])
        })
        .collect()
}

fn supg_low(table: &Table, sample: &[(usize, f64)], recall: f64, risk: f64) -> f32 {
    let mut held: Vec<(f32, f64)> = sample
        .iter()
        .filter(|(row, _)| table.holds[*row])
        .map(|(row, weight)| (table.scores[*row], *weight))
        .collect();
    held.sort_by(|a, b| a.0.total_cmp(&b.0));
    let all: f64 = held.iter().map(|(_, weight)| weight).sum();
    // The highest threshold with that recall on the sample.
    let at = |recall: f64| {
        let mut below = 0.0;
        let passed = held.iter().take_while(|(_, weight)| {
            below += weight;
            below <= (1.0 - recall) * all
        });
        held.get(passed.count())
            .map_or(f32::NEG_INFINITY, |(score, _)| *score)
    };
    let first = at(recall);
    let part = |above: bool| -> Vec<f64> {
        let weight = |(row, weight): &(usize, f64)| {
            let counts = table.holds[*row] && (table.scores[*row] >= first) == above;
            f64::from(counts) * weight
        };
        sample.iter().map(weight).collect()
    };
    let (above, below) = (
        upper(&part(true), risk / 2.0),
        lower(&part(false), risk / 2.0),
    );
    at(above / (above + below.max(0.0)).max(1e-12))
}

fn supg_high(table: &Table, mut sample: Vec<(usize, f64)>, precision: f64, risk: f64) -> f32 {
    const STEP: usize = 100;
    sample.sort_by(|a, b| table.scores[b.0].total_cmp(&table.scores[a.0]));
    let candidates = sample.len().div_ceil(STEP).max(1);
    let mut best = f32::INFINITY;
    for end in (1..=candidates).map(|step| (step * STEP).min(sample.len())) {
        let part = &sample[..end];
        let Some((last, _)) = part.last() else { break };
        let mean: f64 = part.iter().map(|(_, weight)| weight).sum::<f64>() / end as f64;
        let held = part
            .iter()
            .map(|(row, weight)| f64::from(table.holds[*row]) * weight / mean);
        if lower(&held.collect::<Vec<_>>(), risk / candidates as f64) > precision {
            best = table.scores[*last];
        }
    }
    best
}

fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values
        .iter()
        .map(|value| (value - mean).powi(2))
        .sum::<f64>()
        / count;
    (mean, variance.sqrt() / count.sqrt())
}

fn upper(values: &[f64], risk: f64) -> f64 {
    let (mean, error) = moments(values);
    mean + error * (2.0 * (1.0 / risk).ln()).sqrt()
}

fn lower(values: &[f64], risk: f64) -> f64 {
    let (mean, error) = moments(values);
    mean - error * (2.0 * (1.0 / risk).ln()).sqrt()
}

/// BARGAIN: `draws` rows for recall, and as many as its tests take, at most that many a candidate, for precision.
pub(crate) fn bargain(
    table: &Table,
    promise: &Promise,
    risk: f64,
    draws: usize,
    seed: u64,
) -> Outcome {
    let order = table.shuffled(seed ^ 0xba);
    let mut asked = vec![false; table.rows()];
    let low = match promise.recall {
        Some(recall) => {
            let sample = &order[..draws.min(order.len())];
            sample.iter().for_each(|row| asked[*row] = true);
            let held: Vec<f32> = sample
                .iter()
                .filter(|row| table.holds[**row])
                .map(|row| table.scores[*row])
                .collect();
            let mut candidates = held.clone();
            candidates.sort_by(f32::total_cmp);
            candidates.dedup();
            let mut low = f32::NEG_INFINITY;
            for candidate in candidates {
                let mut bet = Bet::new(recall, risk / 2.0);
                if !held.iter().any(|score| bet.wins(*score >= candidate)) {
                    break;
                }
                low = candidate;
            }
            low
        }
        None => f32::NEG_INFINITY,
    };
    let high = match promise.precision {
        Some(precision) => {
            let mut scores = table.scores.clone();
            scores.sort_by(|a, b| b.total_cmp(a));
            let mut high = f32::INFINITY;
            for step in 1..=20 {
                let candidate = scores[(scores.len() * step / 20 - 1).min(scores.len() - 1)];
                let mut bet = Bet::new(precision, risk / 2.0);
                let above = order.iter().filter(|row| table.scores[**row] >= candidate);
                let mut sample = above.take(draws);
                let won = sample.any(|row| {
                    asked[*row] = true;
                    bet.wins(table.holds[*row])
                });
                if !won {
                    break;
                }
                high = candidate;
            }
            high
        }
        None => f32::INFINITY,
    };
    outcome(table, &asked, low, high)
}

/// A bet that a mean is at least a target: whoever is right grows rich.
struct Bet {
    target: f64,
    risk: f64,
    capital: f64,
    count: f64,
    sum: f64,
    squares: f64,
}

impl Bet {
    fn new(target: f64, risk: f64) -> Self {
        Self {
            target,
            risk,
            capital: 1.0,
            count: 0.0,
            sum: 0.5,
            squares: 0.25,
        }
    }

    /// One draw more; whether the bet is won by now.
    fn wins(&mut self, holds: bool) -> bool {
        let value = f64::from(holds);
        let variance = self.squares / (self.count + 1.0);
        let next = self.count + 1.0;
        let stake = (2.0 * (1.0 / self.risk).ln() / (variance * next * (next + 1.0).ln())).sqrt();
        self.capital *= 1.0 + stake.min(0.75 / self.target) * (value - self.target);
        self.count = next;
        self.sum += value;
        let mean = self.sum / (self.count + 1.0);
        self.squares += (value - mean).powi(2);
        self.capital >= 1.0 / self.risk
    }
}
