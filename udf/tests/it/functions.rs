//! Results of the functions, NULL rules, and that images are asked in batches.

use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, Int64Array, RecordBatch};
use arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::SessionContext;

use crate::fake::{png, session, sized_png};

async fn table(query: &str, context: &SessionContext) -> String {
    context.sql("SET picsift.model = 'fake'").await.unwrap();
    let batches = context.sql(query).await.unwrap().collect().await.unwrap();
    pretty_format_batches(&batches).unwrap().to_string()
}

/// `colours`: a red, a green, a white and a broken image, and a NULL.
fn register_colours(context: &SessionContext) {
    let images = [
        png([250, 0, 0]),
        png([0, 200, 10]),
        png([255; 3]),
        b"no image".to_vec(),
    ];
    let images: Vec<_> = images
        .iter()
        .map(|i| Some(i.as_slice()))
        .chain([None])
        .collect();
    let columns: [(&str, ArrayRef); 2] = [
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5]))),
        ("image", Arc::new(BinaryArray::from_opt_vec(images))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    context.register_batch("colours", batch).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn scores_become_every_form_of_answer() {
    let (context, _) = session();
    register_colours(&context);
    let query = "SELECT id, classify(image, 'red') AS red, classify_labels(image, ['blue', 'red']) AS labels, \
        classify_label(image, ['green', 'red', 'blue']) AS label, classify_json(image, ['red', 'green']) AS json \
        FROM colours ORDER BY id";
    let expected = r#"
+----+-------+-------------+-------+-------------------------------+
| id | red   | labels      | label | json                          |
+----+-------+-------------+-------+-------------------------------+
| 1  | true  | [red]       | red   | {"red": true, "green": false} |
| 2  | false | []          | green | {"red": false, "green": true} |
| 3  | true  | [blue, red] | green | {"red": true, "green": true}  |
| 4  |       |             |       |                               |
| 5  |       |             |       |                               |
+----+-------+-------------+-------+-------------------------------+"#;
    assert_eq!(table(query, &context).await, expected.trim());
}

#[tokio::test(flavor = "multi_thread")]
async fn words_are_given_as_they_are_and_as_nouns() {
    let (context, _) = session();
    register_colours(&context);
    let query = "SELECT id, ask(image, 'What?') AS words, ask_classes(image, 'What?') AS nouns FROM colours WHERE id <> 3 ORDER BY id";
    let text = table(query, &context).await;
    let rows: Vec<&str> = text.lines().skip(3).collect();
    assert!(
        rows[0].contains("Two dogs and a cat. (What?; 128/0)") && rows[0].contains("[dog, cat]"),
        "{text}"
    );
    assert!(
        rows[1].contains("| []"),
        "an empty answer is an empty list: {text}"
    );
    assert!(
        !rows[2].contains('['),
        "a broken image has no answer: {text}"
    );
    assert!(!rows[3].contains('['), "NULL gives NULL: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_of_answers_reach_the_model() {
    let (context, _) = session();
    register_colours(&context);
    for setting in ["max_tokens = 7", "temperature = 0.5"] {
        context
            .sql(&format!("SET picsift.{setting}"))
            .await
            .unwrap();
    }
    let query = "SELECT ask(image, 'What?') AS words, ask_classes(image, 'What?') AS nouns FROM colours WHERE id = 1";
    let text = table(query, &context).await;
    assert!(text.contains("(What?; 7/0.5)"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_the_model_cannot_take_is_its_rows_error() {
    let (context, _) = session();
    let (narrow, wide) = (sized_png([250, 0, 0], 1), sized_png([250, 0, 0], 9));
    let images: ArrayRef = Arc::new(BinaryArray::from_vec(vec![&narrow, &wide]));
    let batch = RecordBatch::try_from_iter([("image", images)]).unwrap();
    context.register_batch("narrow", batch).unwrap();
    let query = "SELECT t.value AS v, t.error AS e FROM (SELECT try_classify(image, 'red') AS t FROM narrow)";
    let text = table(query, &context).await;
    assert!(
        text.contains(
            "model: model 'fake' takes images of 2 x 1 or more pixels, but this one has 1 x 4"
        ),
        "{text}"
    );
    assert!(text.contains("| true "), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn try_classify_tells_values_from_errors_from_nulls() {
    let (context, _) = session();
    register_colours(&context);
    context.sql("SET picsift.on_error = 'fail'").await.unwrap();
    let query = "SELECT id, t.value AS v, t.error IS NOT NULL AS e, t IS NULL AS n \
        FROM (SELECT id, try_classify(image, 'red') AS t FROM colours) ORDER BY id";
    let expected = "
+----+-------+-------+-------+
| id | v     | e     | n     |
+----+-------+-------+-------+
| 1  | true  | false | false |
| 2  | false | false | false |
| 3  | true  | false | false |
| 4  |       | true  | false |
| 5  |       | false | true  |
+----+-------+-------+-------+";
    assert_eq!(table(query, &context).await, expected.trim());
    let stopped = context
        .sql("SELECT classify(image, 'red') FROM colours")
        .await
        .unwrap()
        .collect()
        .await;
    let message = stopped.unwrap_err().find_root().to_string();
    assert!(message.contains("row 4: decode: "), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn images_are_asked_in_batches_never_row_by_row() {
    let (context, batches) = session();
    let images = (0..512).map(|i| png([250, (i % 256) as u8, (i / 256) as u8]));
    let images: ArrayRef = Arc::new(BinaryArray::from_iter_values(images));
    context
        .register_batch(
            "many",
            RecordBatch::try_from_iter([("image", images)]).unwrap(),
        )
        .unwrap();
    let text = table(
        "SELECT count(*) AS n FROM many WHERE classify(image, 'red')",
        &context,
    )
    .await;
    assert!(text.contains("| 512 |"), "{text}");
    let batches = batches.lock().unwrap();
    assert_eq!(batches.iter().sum::<usize>(), 512);
    assert!(
        batches.len() < 512 / 2,
        "{} batches for 512 images",
        batches.len()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_table_gives_an_empty_result() {
    let (context, batches) = session();
    register_colours(&context);
    let text = table(
        "SELECT classify(image, 'red') AS red FROM colours WHERE id > 99",
        &context,
    )
    .await;
    assert!(!text.contains("true"), "{text}");
    assert!(batches.lock().unwrap().is_empty());
}
