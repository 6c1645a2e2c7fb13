//! How many images a query pays for: first as DataFusion's own async functions, then with the operator.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BinaryArray, Int64Array, RecordBatch, StringArray};
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties};
use futures::StreamExt;

use crate::fake::{Fake, png};
use crate::stock;
use crate::tables::{colour, images, rows, table};

/// Images that each query of a fresh session over `count` images pays for, and that both give the same rows.
async fn costs(count: usize, stock: &str, own: &str) -> (usize, usize) {
    let fake = Fake::with_images(count);
    let (expected, stock_cost) = fake.text(stock).await;
    let fake = Fake::with_images(count);
    let (found, own_cost) = fake.text(own).await;
    assert_eq!(found, expected, "{own}");
    (stock_cost, own_cost)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cheap_predicate_goes_first() {
    let query = "SELECT id FROM t WHERE classify(image, 'red') AND id < 20 ORDER BY id";
    let stock = query.replace("classify(image, 'red')", "stock_red(image)");
    assert_eq!(costs(300, &stock, query).await, (300, 20));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_limit_pays_for_tens_of_images() {
    let query = "SELECT id, classify(image, 'red') AS red FROM t LIMIT 10";
    let filtered = "SELECT id FROM t WHERE classify(image, 'red') LIMIT 10";
    for query in [query, filtered] {
        let stock = query.replace("classify(image, 'red')", "stock_red(image)");
        let (stock, own) = costs(10_000, &stock, query).await;
        assert!(own <= 64, "{own} images for {query}");
        assert!(stock >= own, "{stock}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn select_where_and_order_by_share_an_answer() {
    let query = "SELECT id, classify(image, 'red') AS red FROM t WHERE classify(image, 'red') ORDER BY classify(image, 'red'), id";
    let stock = query.replace("classify(image, 'red')", "stock_red(image)");
    let (stock, own) = costs(100, &stock, query).await;
    assert!(stock > 100, "{stock}");
    assert_eq!(own, 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_questions_read_an_image_once() {
    let fake = Fake::with_images(50);
    let names = ["red", "green", "blue"];
    let columns: Vec<String> = (0..10)
        .map(|i| match i % 4 {
            0 => format!("classify(image, '{}') AS c{i}", names[i % 3]),
            1 => format!("classify_score(image, '{}') AS c{i}", names[i % 3]),
            2 => format!("classify_label(image, ['red', 'blue']) AS c{i}"),
            _ => format!("ask(image, 'What is {i}?') AS c{i}"),
        })
        .collect();
    let (_, encoded) = fake
        .run(&format!("SELECT {} FROM t", columns.join(", ")))
        .await;
    assert_eq!(encoded, 50);
    let stock = Fake::with_images(50);
    let columns: Vec<String> = (0..10)
        .map(|i| format!("stock_red(image) OR id = -{i} AS c{i}"))
        .collect();
    let (_, encoded) = stock
        .run(&format!("SELECT {} FROM t", columns.join(", ")))
        .await;
    assert!(encoded >= 50, "{encoded}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_branch_not_taken_is_not_asked() {
    for (query, needed) in [
        (
            "SELECT id, CASE WHEN id < 10 THEN classify(image, 'red') END AS c FROM t ORDER BY id",
            10,
        ),
        (
            "SELECT id, CASE WHEN id >= 30 THEN false WHEN id >= 10 THEN classify(image, 'red') ELSE true END AS c FROM t ORDER BY id",
            20,
        ),
        (
            "SELECT id, id < 95 OR classify(image, 'red') AS c FROM t ORDER BY id",
            5,
        ),
        (
            "SELECT id, id < 7 AND classify(image, 'red') AS c FROM t ORDER BY id",
            7,
        ),
        (
            "SELECT id, coalesce(CASE WHEN id > 5 THEN true END, classify(image, 'red')) AS c FROM t ORDER BY id",
            6,
        ),
        (
            "SELECT id FROM t WHERE id < 3 OR (id < 20 AND NOT classify(image, 'red')) ORDER BY id",
            17,
        ),
    ] {
        let stock = query.replace("classify(image, 'red')", "stock_red(image)");
        let (stock, own) = costs(100, &stock, query).await;
        assert_eq!((stock, own), (100, needed), "{query}");
    }
    let query = "SELECT count(*) FILTER (WHERE id < 9 AND classify(image, 'red')) AS n FROM t";
    assert_eq!(Fake::with_images(100).run(query).await.1, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_join_can_ask() {
    let fake = Fake::with_images(40);
    fake.add_table("small", &images(8));
    let query = "SELECT a.id FROM t a JOIN small b ON a.id = b.id AND classify(a.image, 'red') ORDER BY a.id";
    let stock = query.replace("classify(a.image, 'red')", "stock_red(a.image)");
    assert_eq!(fake.run(&stock).await.1, 40);
    let (batches, encoded) = fake.run(query).await;
    assert_eq!((rows(&batches), encoded), (4, 8));
    let query = "SELECT count(*) FROM t a JOIN small b ON a.id = b.id AND classify(a.image, 'green') = classify(b.image, 'green')";
    assert_eq!(fake.run(query).await.1, 8);
    // Both sides have the same images: what one was asked is known of the other.
    let fake = Fake::with_images(40);
    fake.add_table("small", &images(8));
    let query = "SELECT count(*) FROM t a JOIN small b ON classify(a.image, 'blue') = classify(b.image, 'blue') AND a.id < 8";
    let (_, encoded) = fake.run(query).await;
    assert_eq!(encoded, 8);
    let query = "SELECT a.id, b.id AS other FROM small b LEFT JOIN t a ON a.id = b.id AND classify(a.image, 'green') ORDER BY b.id";
    let (batches, _) = fake.run(query).await;
    assert_eq!(rows(&batches), 8);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_and_havings_are_asked_once() {
    let fake = Fake::with_images(60);
    let query = "SELECT classify_label(image, ['red', 'blue']) AS label, count(*) AS n FROM t \
        GROUP BY classify_label(image, ['red', 'blue']) HAVING classify_label(image, ['red', 'blue']) IS NOT NULL ORDER BY label";
    let (text, encoded) = fake.text(query).await;
    let expected = "
+-------+----+
| label | n  |
+-------+----+
| blue  | 10 |
| red   | 30 |
+-------+----+";
    assert_eq!((text.as_str(), encoded), (expected.trim(), 60));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_stands_ten_times_is_asked_once() {
    let repeated: Vec<_> = (0..500)
        .map(|i| (i as i64, Some(png(colour(i % 50)))))
        .collect();
    let fake = Fake::new(1);
    stock::register(&fake);
    fake.add_table("t", &repeated);
    let (batches, encoded) = fake
        .run("SELECT id FROM t WHERE classify(image, 'red')")
        .await;
    assert_eq!((rows(&batches), encoded), (250, 50));
    let (_, encoded) = fake.run("SELECT id FROM t WHERE stock_red(image)").await;
    assert_eq!(encoded, 500);
}

#[tokio::test(flavor = "multi_thread")]
async fn references_are_fetched_once() {
    let folder = tempfile::tempdir().unwrap();
    let paths: Vec<String> = (0..100)
        .map(|i| {
            let path = folder.path().join(format!("{}.png", i % 10));
            std::fs::write(&path, png(colour(i % 10))).unwrap();
            path.display().to_string()
        })
        .collect();
    let fake = Fake::new(1);
    let column: ArrayRef = Arc::new(StringArray::from(paths));
    let batch = RecordBatch::try_from_iter([("path", column)]).unwrap();
    fake.context.register_batch("t", batch).unwrap();
    let frame = fake
        .context
        .sql("SELECT count(*) FROM t WHERE classify(path, 'red')")
        .await
        .unwrap();
    let plan = frame.create_physical_plan().await.unwrap();
    let context = fake.context.task_ctx();
    datafusion::physical_plan::collect(Arc::clone(&plan), context)
        .await
        .unwrap();
    let counts = counts(&plan);
    for (name, expected) in [
        ("images", 100),
        ("fetched", 10),
        ("decoded", 10),
        ("encoded", 10),
        ("reused", 90),
        ("failures", 0),
    ] {
        assert_eq!(counts(name), expected, "{name}");
    }
}

/// The operator's counters in a plan.
fn counts(plan: &Arc<dyn ExecutionPlan>) -> impl Fn(&str) -> usize {
    fn find(plan: &Arc<dyn ExecutionPlan>) -> Option<Arc<dyn ExecutionPlan>> {
        if plan.name() == "InferExec" {
            return Some(Arc::clone(plan));
        }
        plan.children().into_iter().find_map(find)
    }
    let metrics = find(plan).unwrap().metrics().unwrap();
    move |name| metrics.sum_by_name(name).unwrap().as_usize()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_image_is_asked_only_where_the_first_leaves_it_open() {
    let fake = Fake::new(1);
    let batch = RecordBatch::try_from_iter([
        (
            "a",
            Arc::new(BinaryArray::from_iter_values(
                (0..200).map(|i| png(colour(i))),
            )) as ArrayRef,
        ),
        (
            "b",
            Arc::new(BinaryArray::from_iter_values(
                (0..200).map(|i| png(colour(1000 + 2 * i))),
            )) as ArrayRef,
        ),
    ])
    .unwrap();
    fake.context.register_batch("t", batch).unwrap();
    // A third of the first images are blue, all of the second are red.
    let query = "SELECT count(*) AS n FROM t WHERE classify(b, 'red') AND classify(a, 'blue')";
    let (text, encoded) = fake.text(query).await;
    assert!(text.contains("| 67 "), "{text}");
    // The order is found out on the way: few of the second images are asked in vain.
    assert!((267..340).contains(&encoded), "{encoded}");
    let query = "SELECT CASE WHEN classify(a, 'green') THEN classify(b, 'green') END AS c FROM t";
    // Nothing is green.
    let (_, encoded) = fake.run(query).await;
    assert_eq!(encoded, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn nulls_empty_tables_and_broken_images_do_not_matter() {
    let fake = Fake::new(1);
    let mut some = images(30);
    some[3].1 = None;
    some[11].1 = Some(b"broken".to_vec());
    fake.add_table("t", &some);
    fake.add_table("nothing", &[]);
    let (batches, encoded) = fake
        .run("SELECT id FROM t WHERE classify(image, 'red') IS NULL ORDER BY id")
        .await;
    assert_eq!((rows(&batches), encoded), (2, 28));
    let (batches, encoded) = fake
        .run("SELECT id, classify(image, 'red') FROM nothing WHERE ask(image, 'What?') = 'x'")
        .await;
    assert_eq!((rows(&batches), encoded), (0, 0));
    let (batches, _) = fake
        .run("SELECT count(classify(image, 'red')) FROM nothing")
        .await;
    assert_eq!(rows(&batches), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_leave_in_their_order_and_before_all_are_done() {
    let fake = Fake::with_images(1000);
    let frame = fake
        .context
        .sql("SELECT id, classify(image, 'red') FROM t")
        .await
        .unwrap();
    let mut stream = frame.execute_stream().await.unwrap();
    let mut next = 0;
    let mut first = None;
    while let Some(batch) = stream.next().await {
        let batch = batch.unwrap();
        first.get_or_insert_with(|| (batch.num_rows(), fake.encoded()));
        let ids = batch
            .column(0)
            .as_any()
            .downcast_ref::<Int64Array>()
            .unwrap();
        for id in ids.values() {
            assert_eq!(*id, next);
            next += 1;
        }
    }
    assert_eq!(next, 1000);
    let (rows, encoded) = first.unwrap();
    assert!(rows <= 64 && encoded < 200, "{rows} rows after {encoded}");
}

#[tokio::test(flavor = "multi_thread")]
async fn dropping_the_stream_stops_the_work() {
    let fake = Fake::with_images(2000);
    let frame = fake
        .context
        .sql("SELECT classify(image, 'red') FROM t")
        .await
        .unwrap();
    let mut stream = frame.execute_stream().await.unwrap();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let soon = fake.encoded();
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    assert_eq!(fake.encoded(), soon, "the model goes on for nobody");
    assert!(soon < 500, "{soon}");
    let alive = tokio::runtime::Handle::current()
        .metrics()
        .num_alive_tasks();
    assert_eq!(alive, 0, "a task is left running");
}

#[tokio::test(flavor = "multi_thread")]
async fn order_partitions_and_statistics_are_the_inputs() {
    let fake = Fake::new(2);
    fake.context
        .register_table("t", Arc::new(table(&images(100), 2)))
        .unwrap();
    let plan = |query: &'static str| {
        let fake = &fake;
        async move {
            let frame = fake.context.sql(query).await.unwrap();
            frame.create_physical_plan().await.unwrap()
        }
    };
    let all = plan("SELECT id, classify(image, 'red') FROM t").await;
    assert_eq!(all.output_partitioning().partition_count(), 2);
    let (batches, encoded) = fake
        .run("SELECT id FROM t WHERE classify(image, 'red')")
        .await;
    assert_eq!((rows(&batches), encoded), (50, 100));
}

#[tokio::test(flavor = "multi_thread")]
async fn views_subqueries_and_functions_of_answers_share_too() {
    let fake = Fake::with_images(40);
    fake.context
        .sql("CREATE VIEW v AS SELECT *, classify(image, 'red') AS red FROM t")
        .await
        .unwrap();
    for (query, expected_rows, needed) in [
        ("SELECT id FROM v WHERE red AND id < 10", 5, 10),
        (
            "WITH c AS (SELECT * FROM v WHERE NOT red) SELECT id, classify(image, 'blue') FROM c WHERE id > 20",
            10,
            19,
        ),
        (
            "SELECT id FROM t WHERE id IN (SELECT id FROM t WHERE classify(image, 'green'))",
            0,
            40,
        ),
        (
            "SELECT id FROM t WHERE classify_label(image, ['red', 'blue']) IN ('red', 'green')",
            20,
            40,
        ),
        (
            "SELECT id FROM (SELECT load_image(image) AS i, id FROM t) WHERE classify(i, 'blue')",
            14,
            40,
        ),
        (
            "SELECT id, row_number() OVER (ORDER BY classify_score(image, 'green')) AS n FROM t",
            40,
            40,
        ),
        ("SELECT DISTINCT classify(image, 'green') FROM t", 1, 40),
        (
            "SELECT id FROM t WHERE classify(image, 'red') UNION ALL SELECT id FROM t WHERE classify(image, 'red')",
            40,
            40,
        ),
        (
            "SELECT id FROM t ORDER BY classify_score(image, 'green') DESC, id LIMIT 3",
            3,
            40,
        ),
        (
            "SELECT id, ask(image, 'What?') FROM t ORDER BY id DESC LIMIT 3",
            3,
            3,
        ),
        (
            "SELECT id, classify(image, 'red') AS c FROM t ORDER BY id LIMIT 3 OFFSET 5",
            3,
            3,
        ),
        (
            "SELECT max(CASE WHEN classify(image, 'red') THEN id END) FROM t WHERE id BETWEEN 5 AND 14",
            1,
            10,
        ),
        (
            "SELECT try_classify(image, 'red')['score'] + classify_score(image, 'red') FROM t",
            40,
            40,
        ),
    ] {
        // A session of its own each time: nothing is known yet.
        let fresh = Fake::with_images(40);
        fresh
            .context
            .sql("CREATE VIEW v AS SELECT *, classify(image, 'red') AS red FROM t")
            .await
            .unwrap();
        let (batches, encoded) = fresh.run(query).await;
        assert_eq!(
            (rows(&batches), encoded),
            (expected_rows, needed),
            "{query}"
        );
    }
    drop(fake);
}

/// DataFusion moves the part of an answer below the sort and into the subquery, behind the operator's back.
#[tokio::test(flavor = "multi_thread")]
async fn a_part_of_an_answer_above_a_named_subquery() {
    let fake = Fake::with_images(40);
    let query = "SELECT id, try_classify(image, 'red')['error'] AS e FROM (SELECT id, image FROM t) AS s \
                 WHERE image_info(image)['width'] > 0 ORDER BY id LIMIT 3";
    let batches = fake.context.sql(query).await.unwrap();
    assert_eq!(rows(&batches.collect().await.unwrap()), 3);
    assert_eq!(fake.encoded(), 40);
}
