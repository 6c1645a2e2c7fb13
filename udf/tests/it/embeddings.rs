//! Embeddings in queries: what is embedded, once for all that ask, and what compares it.

use std::sync::atomic::Ordering;

use arrow::array::{Array, AsArray, FixedSizeListArray, RecordBatch};
use arrow::datatypes::{DataType, Float32Type};

use crate::fake::Fake;
use crate::tables::{colour, images};

/// The embedding of the image with this number, as the fake model makes it.
fn expected(id: usize) -> [f64; 3] {
    let own = colour(id).map(|channel| f64::from(channel) + 1.0);
    let length = own.iter().map(|x| x * x).sum::<f64>().sqrt();
    own.map(|x| x / length)
}

fn cosine(a: [f64; 3], b: [f64; 3]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn floats(batches: &[RecordBatch], column: usize) -> Vec<Option<f32>> {
    let all = batches.iter().flat_map(|batch| {
        let values = batch.column(column).as_primitive::<Float32Type>().clone();
        (0..values.len()).map(move |row| values.is_valid(row).then(|| values.value(row)))
    });
    all.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_a_vector_of_unit_length_as_wide_as_the_model_says() {
    let fake = Fake::with_images(20);
    let (batches, encoded) = fake
        .run("SELECT embed(image) AS e FROM t ORDER BY id")
        .await;
    assert_eq!(encoded, 20);
    let field = batches[0].schema().field(0).clone();
    let DataType::FixedSizeList(item, 3) = field.data_type() else {
        panic!("{field:?}");
    };
    assert_eq!(item.data_type(), &DataType::Float32);
    assert_eq!(field.metadata()[picsift_udf::EMBEDDING_MODEL], "fake@1");
    let lists: Vec<FixedSizeListArray> = batches
        .iter()
        .map(|batch| batch.column(0).as_fixed_size_list().clone())
        .collect();
    let rows = lists
        .iter()
        .flat_map(|list| (0..list.len()).map(move |row| list.value(row)));
    for (id, row) in rows.enumerate() {
        let row = row.as_primitive::<Float32Type>().values().to_vec();
        let length: f32 = row.iter().map(|x| x * x).sum();
        assert!((length - 1.0).abs() < 1e-6, "{length}");
        for (ours, expected) in row.iter().zip(expected(id)) {
            assert!((f64::from(*ours) - expected).abs() < 1e-3, "{row:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn images_and_words_are_compared_in_any_form() {
    let fake = Fake::with_images(20);
    let query = "SELECT similarity(image, image), similarity(image, 'red'), similarity('red', image), \
                 similarity(embed(image), embed_text('red')), similarity(embed(image), [1.0, 0.0, 0.0]), \
                 similarity(image, embed_text(word)), similarity('red', 'blue'), similarity(image, NULL) \
                 FROM (SELECT *, 'red' || '' AS word FROM t) ORDER BY id";
    let (batches, encoded) = fake.run(query).await;
    // All of it asks one embedding of an image.
    assert_eq!(encoded, 20);
    let red = [1.0, 0.0, 0.0];
    for (id, same) in floats(&batches, 0).into_iter().enumerate() {
        assert!((same.unwrap() - 1.0).abs() < 1e-6);
        let expected = cosine(expected(id), red);
        for column in 1..6 {
            let found = floats(&batches, column)[id].unwrap();
            assert!(
                (f64::from(found) - expected).abs() < 1e-3,
                "{column}: {found} {expected}"
            );
        }
    }
    assert!(floats(&batches, 6).iter().all(|x| x == &Some(0.0)));
    assert!(floats(&batches, 7).iter().all(Option::is_none));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_similarity_is_planned_as_other_calls_are() {
    let fake = Fake::with_images(300);
    let nearest = "SELECT id FROM t ORDER BY similarity(image, 'blue') DESC, id LIMIT 5";
    let (found, encoded) = fake.text(nearest).await;
    assert_eq!(encoded, 300);
    let mut ids: Vec<usize> = (0..300).collect();
    let blue = |id: &usize| cosine(expected(*id), [0.0, 0.0, 1.0]);
    ids.sort_by(|a, b| blue(b).total_cmp(&blue(a)).then(a.cmp(b)));
    for id in &ids[..5] {
        assert!(found.contains(&format!("| {id} ")), "{id}: {found}");
    }
    // Cheap predicates first, and what is embedded is asked together with what is classified.
    let both =
        "SELECT id, classify(image, 'red') FROM t WHERE id < 20 AND similarity(image, 'red') > 0.3";
    let fake = Fake::with_images(300);
    assert_eq!(fake.run(both).await.1, 20);
    let grouped = "SELECT similarity(image, 'red') > 0.5 AS near, count(*) FROM t GROUP BY near ORDER BY near";
    let fake = Fake::with_images(50);
    assert_eq!(fake.run(grouped).await.1, 50);
    let asked = "SELECT count(*) FROM t WHERE CASE WHEN id < 10 THEN similarity(image, 'red') > 0 ELSE false END";
    let fake = Fake::with_images(50);
    assert_eq!(fake.run(asked).await.1, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_null_image_and_one_that_cannot_be_read_have_no_embedding() {
    let fake = Fake::new(1);
    fake.add_table("t", &images(3));
    let query = "SELECT embed(x), similarity(x, 'red') FROM (SELECT image AS x FROM t UNION ALL SELECT NULL UNION ALL SELECT 'no image'::bytea)";
    let (batches, _) = fake.run(query).await;
    let valid: usize = batches
        .iter()
        .map(|b| b.num_rows() - b.column(0).null_count())
        .sum();
    assert_eq!(valid, 3);
    assert_eq!(floats(&batches, 1).iter().flatten().count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_compared_is_said_at_planning() {
    let fake = Fake::with_images(3);
    for (query, said) in [
        ("SELECT similarity(image) FROM t", "takes 2 arguments"),
        ("SELECT similarity(image, 1) FROM t", "argument 2 is Int64"),
        (
            "SELECT similarity(embed(image), arrow_cast([1.0, 2.0], 'FixedSizeList(2, Float32)')) FROM t",
            "one embedding is 3 wide and the other 2",
        ),
        ("SELECT similarity(image, '!') FROM t", "'!' says nothing"),
        (
            "SELECT similarity(image, 'red.jpg') FROM t",
            "write load_image('red.jpg') for the picture",
        ),
        ("SELECT embed_text(id) FROM t", "expected text"),
        ("SELECT embed(id) FROM t", "argument 1, the image, is Int64"),
        ("SELECT embed(image, 'x') FROM t", "takes 1 argument"),
    ] {
        let planned = async {
            let frame = fake.context.sql(query).await?;
            frame.into_optimized_plan()
        };
        let error = planned.await.unwrap_err().to_string();
        assert!(error.contains(said), "{query}: {error}");
    }
    // Of another length row by row, which no type says.
    let frame = fake
        .context
        .sql("SELECT similarity(embed(image), [1.0]) FROM t")
        .await;
    let error = frame.unwrap().collect().await.unwrap_err().to_string();
    assert!(error.contains("3 wide and the other 1"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_model_is_another_width_and_models_do_not_mix() {
    let fake = Fake::with_images(3);
    let kept = "CREATE TABLE kept AS SELECT id, embed(image) AS e FROM t";
    fake.context
        .sql(kept)
        .await
        .unwrap()
        .collect()
        .await
        .unwrap();
    let set = "SET picsift.model = 'efficientnet-lite0'";
    fake.context.sql(set).await.unwrap();
    let frame = fake
        .context
        .sql("SELECT embed(image) FROM t")
        .await
        .unwrap();
    let field = frame.schema().field(0).clone();
    assert!(
        matches!(field.data_type(), DataType::FixedSizeList(_, 1280)),
        "{field:?}"
    );
    let mixed = "SELECT similarity(e, embed(image)) FROM kept JOIN t ON kept.id = t.id";
    let error = fake.context.sql(mixed).await.unwrap_err().to_string();
    assert!(error.contains("3 wide and the other 1280"), "{error}");
    let words = fake
        .context
        .sql("SELECT embed_text('red')")
        .await
        .unwrap_err();
    assert!(
        words.to_string().contains("embeds images but no texts"),
        "{words}"
    );
    fake.context
        .sql("SET picsift.model = 'shapes'")
        .await
        .unwrap();
    let error = fake
        .context
        .sql("SELECT embed(image) FROM t")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("embeds no images"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn planning_a_similarity_loads_no_model() {
    let fake = Fake::with_images(3);
    let loads = fake.loaded_late();
    let query = "EXPLAIN SELECT id FROM t ORDER BY similarity(image, 'blue') DESC LIMIT 5";
    let plan = fake.text(query).await.0;
    assert!(plan.contains("asks=[embed()]"), "{plan}");
    assert_eq!(loads.load(Ordering::Relaxed), 0);
}
