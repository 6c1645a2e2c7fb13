//! Rows come in the order that a query states, whatever stands above and below the operator, in one partition or several.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{Int64Type, SchemaRef};
use arrow::util::display::{ArrayFormatter, FormatOptions};
use datafusion::datasource::MemTable;
use datafusion::prelude::col;
use std::sync::Arc;

use crate::fake::{Fake, png};
use crate::stock;
use crate::tables::{colour, table};

/// More than a few batches of 64.
const ROWS: i64 = 500;

/// Numbers up to [`ROWS`] in an order that is none.
fn shuffled() -> Vec<i64> {
    (0..ROWS).map(|row| row * 137 % ROWS).collect()
}

fn fake(partitions: usize) -> Fake {
    let fake = Fake::new(partitions);
    let rows: Vec<_> = shuffled()
        .into_iter()
        .map(|id| (id, (id % 11 != 5).then(|| png(colour(id as usize % 40)))))
        .collect();
    let tables = Arc::new(table(&rows, partitions));
    fake.context.register_table("t", tables).unwrap();
    stock::register(&fake);
    fake
}

fn ids(batches: &[RecordBatch]) -> Vec<i64> {
    let ids = |batch: &RecordBatch| {
        batch
            .column(0)
            .as_primitive::<Int64Type>()
            .values()
            .to_vec()
    };
    batches.iter().flat_map(ids).collect()
}

/// Queries that state an order by their first column, with how many rows they give.
const ORDERED: [(&str, usize); 14] = [
    (
        "SELECT id, NOT classify(image, 'red') AS f FROM t ORDER BY id LIMIT 200",
        200,
    ),
    (
        "SELECT id, coalesce(classify(image, 'red'), false) AS f FROM t ORDER BY id LIMIT 200",
        200,
    ),
    (
        "SELECT id, classify_score(image, 'red') * 100 AS f FROM t ORDER BY id LIMIT 200 OFFSET 50",
        200,
    ),
    (
        "SELECT id, classify(image, 'red') AS f FROM t ORDER BY id",
        500,
    ),
    (
        "SELECT id, image, classify(image, 'red') AS f FROM t ORDER BY id LIMIT 130",
        130,
    ),
    (
        "SELECT id, CASE WHEN id % 3 = 0 THEN classify(image, 'red') END AS f FROM t ORDER BY id",
        500,
    ),
    (
        "SELECT * FROM (SELECT id, classify(image, 'red') AS f FROM t) v WHERE f OR f IS NULL ORDER BY id LIMIT 180",
        180,
    ),
    (
        "SELECT id, row_number() OVER (ORDER BY id) AS n, NOT classify(image, 'red') AS f FROM t ORDER BY id LIMIT 200",
        200,
    ),
    (
        "SELECT id, lag(id) OVER (ORDER BY id) AS n, classify(image, 'red') AS f FROM t ORDER BY id",
        500,
    ),
    (
        "SELECT a.id, NOT classify(a.image, 'red') AS f FROM t a JOIN t b ON a.id = b.id ORDER BY a.id LIMIT 200",
        200,
    ),
    (
        "SELECT id, f FROM (SELECT id, NOT classify(image, 'red') AS f FROM t UNION ALL SELECT id + 500, classify(image, 'red') FROM t) u ORDER BY id LIMIT 700",
        700,
    ),
    (
        "SELECT id, count(*) FILTER (WHERE classify(image, 'red')) AS n FROM t GROUP BY id ORDER BY id LIMIT 200",
        200,
    ),
    (
        "SELECT DISTINCT id, classify(image, 'red') AS f FROM t ORDER BY id LIMIT 200",
        200,
    ),
    (
        "SELECT id, f FROM (SELECT id, image, classify(image, 'red') AS f FROM t ORDER BY id LIMIT 300) v WHERE classify(image, 'blue') IS NOT NULL ORDER BY id LIMIT 150",
        150,
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn rows_come_in_the_order_that_is_stated() {
    for partitions in [1, 3] {
        let fake = fake(partitions);
        for (query, count) in ORDERED {
            let found = ids(&fake.run(query).await.0);
            let mut sorted = found.clone();
            sorted.sort_unstable();
            assert_eq!(found, sorted, "{query}, {partitions} partitions");
            assert_eq!(found.len(), count, "{query}");
        }
        let query = "SELECT id, NOT classify(image, 'red') AS f FROM t ORDER BY id DESC NULLS FIRST LIMIT 200 OFFSET 7";
        let found = ids(&fake.run(query).await.0);
        let expected: Vec<i64> = (ROWS - 207..ROWS - 7).rev().collect();
        assert_eq!(found, expected, "{partitions} partitions");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_can_be_the_order() {
    for partitions in [1, 3] {
        let fake = fake(partitions);
        let query = "SELECT id, classify_score(image, 'red') AS s FROM t ORDER BY s DESC NULLS LAST, id LIMIT 490";
        let batches = fake.run(query).await.0;
        let mut found: Vec<(Option<String>, i64)> = Vec::new();
        for batch in &batches {
            let options = FormatOptions::default();
            let scores = ArrayFormatter::try_new(batch.column(1).as_ref(), &options).unwrap();
            for (row, id) in ids(std::slice::from_ref(batch)).into_iter().enumerate() {
                let score = batch
                    .column(1)
                    .is_valid(row)
                    .then(|| scores.value(row).to_string());
                found.push((score, id));
            }
        }
        let number = |score: &Option<String>| {
            score
                .as_ref()
                .map_or(-1.0, |score| score.parse::<f32>().unwrap())
        };
        let sorted = found
            .is_sorted_by(|(a, first), (b, second)| (-number(a), first) <= (-number(b), second));
        assert!(sorted, "{found:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_not_carried_through_a_sort() {
    for partitions in [1, 3] {
        let fake = fake(partitions);
        for query in [
            "SELECT id, classify(image, 'red') AS f FROM t ORDER BY id",
            "SELECT id, NOT classify(image, 'red') AS f FROM t ORDER BY id DESC",
            "SELECT id, row_number() OVER (ORDER BY id) AS n FROM t WHERE classify(image, 'red')",
        ] {
            let plan = fake.explained(query).await;
            let (sort, infer) = (plan.rfind("SortExec"), plan.find("InferExec"));
            assert!(sort.is_some() && sort < infer, "{query}\n{plan}");
        }
        let query = "SELECT id, NOT classify(image, 'red') AS f FROM t ORDER BY id LIMIT 5";
        let plan = fake.explained(query).await;
        let (sort, infer) = (plan.find("TopK"), plan.find("InferExec"));
        assert!(sort.is_some() && sort > infer, "{plan}");
        assert_eq!(fake.run(query).await.1, 5, "{partitions} partitions");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_in_order_needs_no_sort() {
    let fake = Fake::new(1);
    let rows: Vec<_> = (0..ROWS)
        .map(|id| (id, Some(png(colour(id as usize % 40)))))
        .collect();
    let table = table(&rows, 1);
    let schema: SchemaRef = datafusion::catalog::TableProvider::schema(&table);
    let batches = fake
        .context
        .read_table(Arc::new(table))
        .unwrap()
        .collect()
        .await
        .unwrap();
    let sorted = MemTable::try_new(schema, vec![batches])
        .unwrap()
        .with_sort_order(vec![vec![col("id").sort(true, false)]]);
    fake.context.register_table("s", Arc::new(sorted)).unwrap();
    let query = "SELECT id, NOT classify(image, 'red') AS f FROM s ORDER BY id NULLS LAST";
    let plan = fake.explained(query).await;
    assert!(!plan.contains("SortExec"), "{plan}");
    assert_eq!(ids(&fake.run(query).await.0), (0..ROWS).collect::<Vec<_>>());
}
