//! What a bound on memory, images or time leaves of a query.

use std::sync::Arc;

use picsift_udf::{AtEnd, Exhausted, InferenceQuota};

use crate::fake::{FATAL, Fake, png};
use crate::tables::{images, rows};

#[tokio::test(flavor = "multi_thread")]
async fn over_the_memory_bound_a_query_is_slower_and_right() {
    let fake = Fake::with_images(200);
    fake.set("picsift.memory_limit = 1000").await;
    let (batches, encoded) = fake
        .run("SELECT id FROM t WHERE classify(image, 'red')")
        .await;
    assert_eq!((rows(&batches), encoded), (100, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_allowance_stops_a_query_with_what_would_help() {
    let fake = Fake::with_images(200);
    fake.set("picsift.max_images = 20").await;
    let query = "SELECT id FROM t WHERE classify(image, 'red')";
    let stopped = fake.context.sql(query).await.unwrap().collect().await;
    let message = stopped.unwrap_err().to_string();
    assert!(
        message.contains("20 images") && message.contains("max_images"),
        "{message}"
    );
    assert!(fake.encoded() <= 20, "{}", fake.encoded());
    // What is known already costs nothing, not even where nothing may be asked.
    for bound in [20, 0] {
        fake.set(&format!("picsift.max_images = {bound}")).await;
        let (batches, encoded) = fake
            .run("SELECT id FROM t WHERE id < 15 AND classify(image, 'red')")
            .await;
        assert_eq!((rows(&batches), encoded), (8, 0), "{bound}");
    }
    fake.set("picsift.max_images = none").await;
    fake.set("picsift.max_seconds = 0").await;
    let stopped = fake.context.sql(query).await.unwrap().collect().await;
    assert!(stopped.unwrap_err().to_string().contains("max_seconds"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_rows_get_the_allowance_whichever_image_is_ready_first() {
    let fake = Fake::new(1);
    let mut pictures = images(40);
    // So much behind the picture takes a while to read, and the others pass by.
    let heavy = pictures[0].1.as_mut().unwrap();
    heavy.resize(32 << 20, 0);
    // One that no model sees, and one that was seen before, cost nothing.
    pictures[2].1 = None;
    pictures[4].1 = pictures[3].1.clone();
    fake.add_table("t", &pictures);
    let allowance = Arc::new(InferenceQuota::new(Some(7), None, AtEnd::Stop));
    fake.context
        .state_ref()
        .write()
        .config_mut()
        .set_extension(Arc::clone(&allowance));
    let frame = fake
        .context
        .sql("SELECT id, classify(image, 'red') FROM t")
        .await
        .unwrap();
    let batches = frame.collect().await.unwrap();
    assert_eq!((rows(&batches), fake.encoded()), (9, 7));
    assert_eq!(allowance.exhausted(), Some(Exhausted::Images(7)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_is_lost_ends_a_query_whatever_becomes_of_failures() {
    let fake = Fake::new(1);
    let mut pictures = images(200);
    pictures[90].1 = Some(png(FATAL));
    fake.add_table("t", &pictures);
    fake.set("picsift.on_error = 'null'").await;
    for query in [
        "SELECT id, classify(image, 'red') FROM t",
        "SELECT count(*) FROM t WHERE try_classify(image, 'red')['value']",
    ] {
        let ended = fake.context.sql(query).await.unwrap().collect().await;
        let message = ended.unwrap_err().to_string();
        assert!(
            message.contains("device 'cuda:0'") && message.contains("an illegal address"),
            "{message}"
        );
    }
    // What was seen before it broke is known, and the broken one was asked once.
    let before = fake.encoded();
    assert!((90..200).contains(&before), "{before}");
    let known = "SELECT id FROM t WHERE id < 10 AND classify(image, 'red') IS NOT NULL";
    let (batches, encoded) = fake.run(known).await;
    assert_eq!((rows(&batches), encoded), (10, 0));
}
