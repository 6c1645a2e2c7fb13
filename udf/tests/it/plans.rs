//! What plans must not depend on: the names between a limit and a call, and how deep conditions are nested.

use std::time::Duration;

use arrow::array::{Array, AsArray};

use crate::fake::Fake;
use crate::tables::rows;

#[tokio::test(flavor = "multi_thread")]
async fn a_top_k_looks_through_views_and_names() {
    for query in [
        "SELECT * FROM v ORDER BY id LIMIT 5",
        "SELECT id, NOT f AS g FROM v ORDER BY id DESC LIMIT 5",
        "SELECT id + 1 AS next, f, blue FROM (SELECT id, f, classify(image, 'blue') AS blue FROM w) x ORDER BY next LIMIT 5",
        "WITH a AS (SELECT * FROM v), b AS (SELECT id AS k, f FROM a) SELECT k, f FROM b ORDER BY k LIMIT 2 OFFSET 3",
        "SELECT f FROM v ORDER BY id % 7, id LIMIT 5",
        "SELECT * FROM (SELECT * FROM v ORDER BY id LIMIT 5) x WHERE f OR NOT f",
    ] {
        let fake = Fake::with_images(300);
        for view in [
            "CREATE VIEW v AS SELECT id, classify(image, 'red') AS f FROM t",
            "CREATE VIEW w AS SELECT *, classify(image, 'red') AS f FROM t",
        ] {
            fake.context.sql(view).await.unwrap();
        }
        let (batches, encoded) = fake.run(query).await;
        assert!(rows(&batches) >= 2, "{query}");
        assert!(encoded <= 5, "{encoded} for {query}");
    }
    // What is sorted by is asked of every row, the rest of the first ones.
    let fake = Fake::with_images(60);
    let query = "SELECT id, s, ask(image, 'What?') AS words FROM (SELECT *, classify_score(image, 'red') AS s FROM t) v ORDER BY s, id LIMIT 5";
    let (batches, encoded) = fake.run(query).await;
    assert_eq!((rows(&batches), encoded), (5, 65));
}

/// A call below so many levels of a condition.
fn nested(depth: usize, level: impl Fn(String, usize) -> String) -> String {
    (0..depth).fold("classify(image, 'red')".to_string(), level)
}

#[tokio::test(flavor = "multi_thread")]
async fn conditions_nested_deep_are_planned_at_once() {
    let case = |inner: String, level: usize| {
        format!("CASE WHEN {inner} THEN id > {level} ELSE id < {level} END")
    };
    let coalesce = |inner: String, level: usize| {
        format!("coalesce(nullif({inner}, id % 3 = 0), id > {level})")
    };
    // The same in Rust, for the image with this number.
    let red = |id: i64| id % 2 == 0;
    let by_case = |id: i64, depth: i64| {
        (0..depth).fold(red(id), |inner, level| match inner {
            true => id > level,
            false => id < level,
        })
    };
    let by_coalesce = |id: i64, depth: i64| {
        (0..depth).fold(red(id), |inner, level| match inner == (id % 3 == 0) {
            true => id > level,
            false => inner,
        })
    };
    for depth in [3, 15] {
        let fake = Fake::with_images(40);
        let query = format!(
            "SELECT id, {}, {} FROM t ORDER BY id",
            nested(depth, case),
            nested(depth, coalesce)
        );
        // Copies that double with each level would take hours.
        let ran = tokio::time::timeout(Duration::from_secs(60), fake.run(&query));
        let (batches, encoded) = ran.await.expect("it is planned in a minute");
        assert_eq!(encoded, 40);
        let mut id = 0;
        for batch in &batches {
            let (cases, coalesced) = (batch.column(1).as_boolean(), batch.column(2).as_boolean());
            for row in 0..batch.num_rows() {
                let found = (cases.value(row), coalesced.value(row));
                let expected = (by_case(id, depth as i64), by_coalesce(id, depth as i64));
                assert!(cases.is_valid(row) && coalesced.is_valid(row));
                assert_eq!(found, expected, "id {id}, depth {depth}");
                id += 1;
            }
        }
        assert_eq!(id, 40);
    }
}
