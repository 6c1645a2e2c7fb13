//! What planning costs: with many categories, with calls nested deep in CASE, and how both grow.
//!
//! `cargo bench --bench planning` prints medians of five; it fails where the time grows faster than it may, as ratios within
//! the run.

#![allow(clippy::unwrap_used)]

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::prelude::SessionContext;
use picsift::session::session;
use picsift_udf::{Engine, EngineOptions};

const RUNS: usize = 5;
/// A thousand categories may take so long.
const THOUSAND: Duration = Duration::from_millis(500);
/// Twice the depth of CASE may take so many times as long: the square, and some.
const TWICE_AS_DEEP: f64 = 8.0;

#[tokio::main]
async fn main() {
    let engine = Arc::new(Engine::new(EngineOptions::default()).unwrap());
    let context = session(&engine, 2).unwrap();
    context
        .sql("CREATE TABLE t AS SELECT 1 AS n, arrow_cast('', 'Binary') AS image")
        .await
        .unwrap();
    // Reading the noun tables and the model is a process' cost, not a plan's.
    planned(&context, "SELECT classify(image, 'dog') FROM t").await;
    let names = nouns();
    for count in [1, 10, 100, 1000] {
        let count = names.len().min(count);
        let each: Vec<_> = names[..count]
            .iter()
            .map(|n| format!("classify(image, '{n}')"))
            .collect();
        let list: Vec<_> = names[..count].iter().map(|n| format!("'{n}'")).collect();
        let calls = median(&context, &format!("SELECT {} FROM t", each.join(", "))).await;
        let list = format!(
            "SELECT classify_labels(image, [{}]) FROM t",
            list.join(", ")
        );
        let list = median(&context, &list).await;
        println!(
            "{count:5} categories: {} ms as calls, {} ms as a list",
            ms(calls),
            ms(list)
        );
        assert!(
            calls.max(list) < THOUSAND,
            "a plan takes longer than {THOUSAND:?}"
        );
    }
    let mut before: Option<Duration> = None;
    for depth in [4, 8, 16] {
        let time = median(&context, &format!("SELECT {} AS x FROM t", nested(depth))).await;
        println!("{depth:5} deep in CASE: {} ms", ms(time));
        if let Some(before) = before {
            let growth = time.as_secs_f64() / before.as_secs_f64();
            assert!(
                growth < TWICE_AS_DEEP,
                "twice as deep takes {growth:.1} times as long"
            );
        }
        before = Some(time);
    }
}

/// A call below so many levels of CASE, in its conditions.
fn nested(depth: usize) -> String {
    (0..depth).fold("classify(image, 'fish')".to_string(), |inner, level| {
        format!("CASE WHEN {inner} THEN n > {level} ELSE n < {level} END")
    })
}

/// Nouns that the built-in model knows, from the list of its classes.
fn nouns() -> Vec<String> {
    let classes = include_str!("../vision/data/efficientnet-lite0/classes.csv");
    let names = classes
        .lines()
        .skip(1)
        .filter_map(|line| line.splitn(3, ',').nth(2));
    let mut known = HashSet::new();
    names
        .map(|name| name.trim_matches('"').replace('\'', "''"))
        .filter(|name| known.insert(name.clone()))
        .collect()
}

async fn planned(context: &SessionContext, query: &str) -> Duration {
    let started = Instant::now();
    context
        .sql(query)
        .await
        .unwrap()
        .create_physical_plan()
        .await
        .unwrap();
    started.elapsed()
}

async fn median(context: &SessionContext, query: &str) -> Duration {
    let mut times = Vec::new();
    for _ in 0..RUNS {
        times.push(planned(context, query).await);
    }
    times.sort();
    times[RUNS / 2]
}

fn ms(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1e3)
}
