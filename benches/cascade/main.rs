//! Simulated tables through cascades: how often a promise is broken, and how many rows the dear model is asked about, by picsift and by
//! two published ways at the same promise.
//!
//! `cargo bench --bench cascade [-- TABLES ROWS]`; without arguments 1,000 tables of 20,000 rows. `cargo bench --bench cascade -- photos 20000`
//! labels so many real pictures with real weights instead.

#![allow(clippy::expect_used)]

mod copies;
mod others;
mod ours;
mod photos;
mod tables;

use std::collections::BTreeMap;

use picsift::cascade::Promise;

use others::{bargain, supg};
use ours::ours;
use tables::{Outcome, Table};

const RISK: f64 = 0.05;
/// Draws of the others.
const BUDGETS: [usize; 4] = [500, 1000, 2000, 4000];

/// What a way costs and breaks.
#[derive(Default, Clone, Copy)]
struct Sum {
    tables: usize,
    share: f64,
    broken: usize,
}

impl Sum {
    fn add(&mut self, table: &Table, promise: &Promise, outcome: Outcome) {
        let kept = promise.recall.is_none_or(|least| outcome.recall >= least)
            && promise
                .precision
                .is_none_or(|least| outcome.precision >= least);
        self.tables += 1;
        self.share += outcome.asked as f64 / table.rows() as f64;
        self.broken += usize::from(!kept);
    }
}

type Way = (String, Box<dyn Fn(&Table, &Promise, u64) -> Outcome>);

fn main() {
    let numbers: Vec<usize> = std::env::args()
        .filter_map(|text| text.parse().ok())
        .collect();
    if std::env::args().any(|text| text == "photos") {
        photos::run(numbers.first().copied().unwrap_or(20_000));
        return;
    }
    let count = numbers.first().copied().unwrap_or(1000);
    let rows = numbers.get(1).copied().unwrap_or(20_000);
    for least in [0.9, 0.95] {
        let promise = Promise {
            recall: Some(least),
            precision: Some(least),
        };
        let mut ways: Vec<Way> = vec![(
            "picsift".to_string(),
            Box::new(|table, promise, seed| ours(table, promise, RISK, seed)),
        )];
        for budget in BUDGETS {
            let way = move |table: &Table, promise: &Promise, seed| {
                supg(table, promise, RISK, budget, seed)
            };
            ways.push((format!("SUPG {budget}"), Box::new(way)));
        }
        for draws in BUDGETS {
            let way = move |table: &Table, promise: &Promise, seed| {
                bargain(table, promise, RISK, draws, seed)
            };
            ways.push((format!("BARGAIN {draws}"), Box::new(way)));
        }
        println!(
            "recall and precision {least} with {} %, {count} tables of {rows} rows; tables that break the promise, and rows asked about",
            100.0 * (1.0 - RISK)
        );
        for (name, way) in &ways {
            let mut all = Sum::default();
            let mut shapes: BTreeMap<tables::Shape, Sum> = BTreeMap::new();
            for number in 0..count as u64 {
                let table = Table::simulated(number, rows);
                let outcome = way(&table, &promise, number);
                all.add(&table, &promise, outcome);
                shapes
                    .entry(table.shape)
                    .or_default()
                    .add(&table, &promise, outcome);
            }
            let each: Vec<String> = shapes
                .iter()
                .map(|(shape, sum)| {
                    let share = 100.0 * sum.share / sum.tables as f64;
                    format!("{shape:?} {share:.0} % ({})", sum.broken)
                })
                .collect();
            println!(
                "{name:12} {:5.1} % broken, {:5.1} % asked: {}",
                100.0 * all.broken as f64 / all.tables as f64,
                100.0 * all.share / all.tables as f64,
                each.join(", ")
            );
        }
    }
}
