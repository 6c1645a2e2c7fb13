//! Categories that were taught: answered from the embedding that the model is asked for anyway, beside questions of other kinds.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::Float32Type;
use picsift_udf::ModelHandle;
use picsift_vision::{Head, heads};

use crate::fake::Fake;
use crate::tables::colour;

/// Heads of the fake model's embeddings, whose first number is how red a picture is.
fn teach(fake: &Fake, folder: &std::path::Path) -> Head {
    let handle = ModelHandle::from(fake.service.clone());
    let model = handle.head_model().unwrap();
    let ruddy = Head::new("ruddy", &model, vec![10.0, 0.0, 0.0], -5.0).unwrap();
    let bytes = heads::to_bytes(std::slice::from_ref(&ruddy), "").unwrap();
    std::fs::write(folder.join("heads.safetensors"), bytes).unwrap();
    ruddy
}

fn numbers(batches: &[RecordBatch], column: usize) -> Vec<Option<f32>> {
    let all = batches.iter().flat_map(|batch| {
        let values = batch.column(column).as_primitive::<Float32Type>().clone();
        (0..values.len()).map(move |row| values.is_valid(row).then(|| values.value(row)))
    });
    all.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn one_look_at_an_image_answers_what_was_taught_and_all_else() {
    let folder = tempfile::tempdir().unwrap();
    let fake = Fake::with_images(20);
    let ruddy = teach(&fake, folder.path());
    fake.set(&format!(
        "picsift.heads = '{}'",
        folder.path().join("heads.safetensors").display()
    ))
    .await;
    let query = "SELECT classify_score(image, 'ruddy'), classify_score(image, 'red'), embed(image), \
                 classify_json(image, ['red', 'ruddy']), ask(image, 'What?') FROM t ORDER BY id";
    let (batches, encoded) = fake.run(query).await;
    assert_eq!(encoded, 20);
    let (taught, known) = (numbers(&batches, 0), numbers(&batches, 1));
    let lists = batches.iter().flat_map(|batch| {
        let lists = batch.column(2).as_fixed_size_list().clone();
        (0..lists.len()).map(move |row| lists.value(row))
    });
    let texts = batches.iter().flat_map(|batch| {
        let texts = batch.column(3).as_string::<i32>().clone();
        (0..texts.len()).map(move |row| texts.value(row).to_string())
    });
    for (id, (unit, json)) in lists.zip(texts).enumerate() {
        let unit = unit.as_primitive::<Float32Type>().values().to_vec();
        let expected = ruddy.probability(&unit).unwrap();
        assert_eq!(taught[id], Some(expected), "{id}");
        assert_eq!(known[id], Some(f32::from(colour(id)[0]) / 255.0), "{id}");
        // A probability holds from a half on, whatever the model's own threshold is.
        assert!(
            json.contains(&format!("\"ruddy\": {}", expected >= 0.5)),
            "{json}"
        );
    }
    assert!(taught.iter().flatten().any(|score| *score > 0.5));
    assert!(taught.iter().flatten().any(|score| *score < 0.5));
    // What is in no file of heads is the model's, and a setting is taken back.
    fake.set("picsift.heads = none").await;
    let refused = fake
        .context
        .sql("SELECT classify(image, 'ruddy') FROM t")
        .await;
    let refused = match refused {
        Ok(frame) => frame.collect().await.map(drop),
        Err(error) => Err(error),
    };
    assert!(refused.unwrap_err().to_string().contains("ruddy"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taught_filters_and_guards_like_any_other_category() {
    let folder = tempfile::tempdir().unwrap();
    let fake = Fake::with_images(20);
    let ruddy = teach(&fake, folder.path());
    fake.set(&format!(
        "picsift.heads = '{}'",
        folder.path().join("heads.safetensors").display()
    ))
    .await;
    let (batches, encoded) = fake
        .run("SELECT id FROM t WHERE id < 10 AND classify(image, 'ruddy') ORDER BY id")
        .await;
    assert_eq!(encoded, 10);
    let found: usize = batches.iter().map(RecordBatch::num_rows).sum();
    let holds = |id: &usize| {
        let own = colour(*id).map(|channel| f32::from(channel) + 1.0);
        let length = own.iter().map(|x| x * x).sum::<f32>().sqrt();
        ruddy.probability(&own.map(|x| x / length)).unwrap() >= 0.5
    };
    assert_eq!(found, (0..10).filter(holds).count());
    let (batches, encoded) = fake
        .run("SELECT CASE WHEN id >= 15 THEN classify(image, 'ruddy') ELSE false END FROM t")
        .await;
    assert_eq!((encoded, batches[0].num_columns()), (5, 1));
}
