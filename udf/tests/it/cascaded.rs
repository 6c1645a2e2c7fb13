//! A cheap model before a dear one: who is asked what, whose answer stands, and what is counted.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::Float32Type;
use datafusion::logical_expr::LogicalPlan;
use datafusion_proto::bytes::{
    logical_plan_from_bytes_with_extension_codec, logical_plan_to_bytes_with_extension_codec,
};
use picsift_udf::{
    AddedColumns, Annotation, Band, Cascade, InferCodec, OnError, RunStats, annotate,
};
use picsift_vision::{CategorySpec, LoadOptions};

use crate::fake::{Batches, Fake, png, service, sized_png};
use crate::shipped;
use crate::tables::images;

fn band(name: &str, low: f32, high: f32) -> Band {
    Band {
        category: CategorySpec::plain(name),
        low,
        high,
    }
}

/// A labelling of `t` as red and blue, by the fake model and before it another of its kind.
async fn labelling(fake: &Fake, bands: Vec<Band>, audit: f64) -> LogicalPlan {
    let input = fake.context.table("t").await.unwrap();
    let input = input.into_unoptimized_plan();
    let names = ["red", "blue"].map(str::to_string);
    let schema = input.schema().as_arrow();
    let added = AddedColumns::new(&names, schema, false, None).unwrap();
    let annotation = Annotation {
        image: "image".to_string(),
        base: None,
        digest: None,
        model: "fake".to_string(),
        load: LoadOptions::default(),
        added: added.with_answered_by(&names, schema).unwrap(),
        categories: names.iter().map(CategorySpec::plain).collect(),
        threshold: None,
        bytes: None,
        on_error: OnError::Null,
        cascade: Some(Arc::new(Cascade {
            model: "cheap".to_string(),
            load: LoadOptions::default(),
            bands,
            audit,
        })),
    };
    annotate(&fake.engine, input, &annotation).unwrap()
}

/// The rows, what was counted, and how many images either model was shown.
struct Done {
    rows: RecordBatch,
    stats: Arc<RunStats>,
    dear: usize,
    cheap: usize,
}

async fn labelled(rows: &[(i64, Option<Vec<u8>>)], bands: Vec<Band>, audit: f64) -> Done {
    let fake = Fake::new(1);
    fake.add_table("t", rows);
    labelled_table(&fake, bands, audit).await
}

async fn labelled_table(fake: &Fake, bands: Vec<Band>, audit: f64) -> Done {
    let cheap = Batches::default();
    fake.engine.add_service("cheap", service("cheap", &cheap));
    let stats = Arc::new(RunStats::default());
    fake.context
        .state_ref()
        .write()
        .config_mut()
        .set_extension(Arc::clone(&stats));
    let plan = labelling(fake, bands, audit).await;
    let frame = fake.context.execute_logical_plan(plan).await.unwrap();
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let batches = frame.collect().await.unwrap();
    Done {
        rows: arrow::compute::concat_batches(&schema, &batches).unwrap(),
        stats,
        dear: fake.encoded(),
        cheap: cheap.lock().unwrap().iter().sum(),
    }
}

fn texts(rows: &RecordBatch, category: &str) -> Vec<Option<String>> {
    let by = rows.column_by_name("answered_by").unwrap().as_struct();
    let part = by.column_by_name(category).unwrap().as_string::<i32>();
    (0..rows.num_rows())
        .map(|row| (by.is_valid(row) && part.is_valid(row)).then(|| part.value(row).to_string()))
        .collect()
}

/// Red is 250 or 5 of 255, and so always decided; blue is 200, which is a yes, or 50, which is not sure.
#[tokio::test(flavor = "multi_thread")]
async fn the_dear_model_is_asked_what_is_left_open_and_no_more() {
    let bands = || vec![band("red", 0.5, 0.9), band("blue", 0.1, 0.75)];
    let done = labelled(&images(30), bands(), 0.0).await;
    assert_eq!((done.cheap, done.dear), (30, 20));
    let (red, blue) = (texts(&done.rows, "red"), texts(&done.rows, "blue"));
    let is = |name: &str| done.rows.column_by_name(name).unwrap().as_boolean().clone();
    let score = |name: &str| {
        let column = done.rows.column_by_name(name).unwrap();
        column.as_primitive::<Float32Type>().clone()
    };
    for row in 0..30 {
        let third = row % 3 == 0;
        assert_eq!(red[row].as_deref(), Some("cheap"));
        assert_eq!(
            blue[row].as_deref(),
            Some(if third { "cheap" } else { "dear" })
        );
        assert_eq!(is("is_red").value(row), row % 2 == 0);
        assert_eq!(is("is_blue").value(row), third);
        for name in ["red", "blue"] {
            let holds = score(&format!("score_{name}")).value(row) >= 0.5;
            assert_eq!(is(&format!("is_{name}")).value(row), holds, "{name} {row}");
        }
        // What the dear model said is as it said it.
        if !third {
            assert!((score("score_blue").value(row) - 50.0 / 255.0).abs() < 1e-6);
        }
    }
    let counts = done.stats.cascade().take();
    assert_eq!((counts.encoded, counts.spared, counts.unsure), (30, 10, 20));
    assert_eq!((done.stats.images(), done.stats.asked()), (30, 20));
    let blue = &counts.categories["blue"];
    assert_eq!((blue.cheap_yes, blue.cheap_no, blue.dear), (10, 0, 20));
    let red = &counts.categories["red"];
    assert_eq!((red.cheap_yes, red.cheap_no, red.dear), (15, 15, 0));
}

/// An audit asks about what was decided, its answers stand, and mistakes are counted with the score that they were made at.
#[tokio::test(flavor = "multi_thread")]
async fn an_audit_finds_what_the_cheap_model_gets_wrong() {
    // Everything is a no of the cheap model, half of it wrongly.
    let bands = vec![band("red", 1.0, 2.0), band("blue", 1.0, 2.0)];
    let done = labelled(&images(30), bands, 1.0).await;
    assert_eq!((done.cheap, done.dear), (30, 30));
    let counts = done.stats.cascade().take();
    assert_eq!((counts.spared, counts.unsure, counts.audited), (0, 0, 30));
    let red = &counts.categories["red"];
    assert_eq!((red.audited_no, red.missed), (30, 15));
    assert_eq!(red.lowest_missed, Some(250.0 / 255.0));
    let is_red = done.rows.column_by_name("is_red").unwrap().as_boolean();
    assert_eq!(is_red.true_count(), 15);
    assert!(
        texts(&done.rows, "red")
            .iter()
            .all(|by| by.as_deref() == Some("dear"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn null_is_null_and_what_cannot_be_read_fails_once() {
    let rows = [
        (0, None),
        (1, Some(b"no picture".to_vec())),
        // Decoded, but more than either model takes.
        (2, Some(sized_png([250, 0, 0], 1))),
        (3, Some(png([250, 0, 0]))),
    ];
    let bands = vec![band("red", 0.5, 0.9), band("blue", 0.5, 0.9)];
    let done = labelled(&rows, bands, 0.0).await;
    assert_eq!((done.cheap, done.dear), (1, 0));
    assert_eq!((done.stats.images(), done.stats.failures()), (3, 2));
    assert_eq!(
        texts(&done.rows, "red"),
        [None, None, None, Some("cheap".to_string())]
    );
    let is_red = done.rows.column_by_name("is_red").unwrap().as_boolean();
    assert_eq!(
        is_red.iter().collect::<Vec<_>>(),
        [None, None, None, Some(true)]
    );
    let errors = done
        .rows
        .column_by_name("picsift_error")
        .unwrap()
        .as_struct();
    let stages = errors.column_by_name("stage").unwrap().as_string::<i32>();
    assert_eq!((stages.value(1), stages.value(2)), ("decode", "model"));
    assert!(errors.is_null(0) && errors.is_null(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cascade_survives_the_way_to_another_machine() {
    let folder = tempfile::tempdir().unwrap();
    let (here, there) = (
        shipped::session(folder.path()).await,
        shipped::session(folder.path()).await,
    );
    for fake in [&here, &there] {
        let cheap = service("cheap", &Batches::default());
        fake.engine.add_service("cheap", cheap);
    }
    let bands = vec![
        band("red", f32::NEG_INFINITY, 0.9),
        band("blue", 0.1, f32::INFINITY),
    ];
    let plan = labelling(&here, bands, 0.25).await;
    let plan = here.context.state().optimize(&plan).unwrap();
    let send = InferCodec::new(Arc::clone(&here.engine));
    let receive = InferCodec::new(Arc::clone(&there.engine));
    let bytes = logical_plan_to_bytes_with_extension_codec(&plan, &send).unwrap();
    let context = there.context.task_ctx();
    let read = logical_plan_from_bytes_with_extension_codec(&bytes, &context, &receive).unwrap();
    let again = logical_plan_to_bytes_with_extension_codec(&read, &receive).unwrap();
    assert_eq!(bytes, again);
    assert!(read.display_indent().to_string().contains("cheap=cheap"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_fetched_once_for_both_models() {
    let folder = tempfile::tempdir().unwrap();
    let (mut names, mut bytes) = (Vec::new(), 0);
    for (id, image) in images(30) {
        let file = folder.path().join(format!("{id}.png"));
        // What follows the end of a picture makes it another file, of which no answer is known.
        let image = [image.unwrap(), vec![0; id as usize + 1]].concat();
        bytes += image.len() as u64;
        std::fs::write(&file, image).unwrap();
        names.push(file.to_str().unwrap().to_string());
    }
    let names: ArrayRef = Arc::new(StringArray::from(names));
    let table = RecordBatch::try_from_iter([("image", names)]).unwrap();
    let labelled = async |setting: Option<&str>| {
        let fake = Fake::new(1);
        fake.context.register_batch("t", table.clone()).unwrap();
        if let Some(setting) = setting {
            fake.set(setting).await;
        }
        let bands = vec![band("red", 0.5, 0.9), band("blue", 0.1, 0.75)];
        labelled_table(&fake, bands, 0.0).await
    };

    let done = labelled(None).await;
    assert_eq!((done.cheap, done.dear), (30, 20));
    let fetched = (done.stats.fetched(), done.stats.bytes());
    assert_eq!(fetched, (30, bytes));

    // Without room for what is carried from one model to the other it is fetched again, and all are answered.
    let narrow = labelled(Some("picsift.memory_limit = 1")).await;
    assert_eq!((narrow.cheap, narrow.dear), (30, 20));
    assert!(narrow.stats.fetched() > 30);
    assert_eq!(narrow.rows, done.rows);
}
