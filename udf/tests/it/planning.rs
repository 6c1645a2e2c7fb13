//! What planning needs of a model: its description, and of hundreds of categories little time.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use datafusion::logical_expr::LogicalPlan;
use datafusion::physical_plan::collect;
use datafusion::prelude::{SessionConfig, SessionContext};
use datafusion_proto::bytes::{
    logical_plan_from_bytes_with_extension_codec, logical_plan_to_bytes_with_extension_codec,
    physical_plan_from_bytes_with_extension_codec, physical_plan_to_bytes_with_extension_codec,
};
use picsift_udf::{
    AddedColumns, Annotation, Engine, EngineOptions, InferCodec, OnError, annotate, register_all,
    with_settings,
};
use picsift_vision::store::{LEAST_BYTES, Store, StoreOptions};
use picsift_vision::{
    BatchAdvice, Category, CategorySpec, DEFAULT_MODEL, DescribedModel, Generation, LoadOptions,
    ModelDescription, Question, Questions, VisionError,
};
use tempfile::TempDir;

use crate::fake::Fake;
use crate::shipped;
use crate::tables::{images, rows, table};

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_made_shown_sent_and_read_without_the_model_and_run_with_one() {
    let folder = tempfile::tempdir().unwrap();
    let here = shipped::session(folder.path()).await;
    let there = shipped::session(folder.path()).await;
    let (at_home, away) = (here.loaded_late(), there.loaded_late());
    let query = "SELECT a.id, classify(a.image, 'red'), ask(b.image, 'What?') FROM t a JOIN t b ON a.id = b.id \
                 WHERE classify(a.image, 'green') IS NOT NULL";
    let explained = here.context.sql(&format!("EXPLAIN {query}")).await.unwrap();
    explained.collect().await.unwrap();
    let frame = here.context.sql(query).await.unwrap();
    let (send, receive) = (
        InferCodec::new(Arc::clone(&here.engine)),
        InferCodec::new(Arc::clone(&there.engine)),
    );
    let context = there.context.task_ctx();
    let logical = frame.clone().into_optimized_plan().unwrap();
    let bytes = logical_plan_to_bytes_with_extension_codec(&logical, &send).unwrap();
    logical_plan_from_bytes_with_extension_codec(&bytes, &context, &receive).unwrap();
    let physical = frame.create_physical_plan().await.unwrap();
    let bytes = physical_plan_to_bytes_with_extension_codec(physical, &send).unwrap();
    let read = physical_plan_from_bytes_with_extension_codec(&bytes, &context, &receive).unwrap();
    let loads = || {
        (
            at_home.load(Ordering::Relaxed),
            away.load(Ordering::Relaxed),
        )
    };
    assert_eq!(loads(), (0, 0));
    assert!(here.engine.loaded().is_empty() && there.engine.loaded().is_empty());

    let batches = collect(read, there.context.task_ctx()).await.unwrap();
    assert_eq!((rows(&batches), loads()), (30, (0, 1)));
    assert_eq!(there.engine.loaded().len(), 1);
    there.run(query).await;
    assert_eq!(loads(), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_is_not_loaded_where_all_answers_are_kept() {
    let home = tempfile::tempdir().unwrap();
    let run = || async {
        let store = Store::open(StoreOptions {
            folder: home.path().to_owned(),
            max_bytes: LEAST_BYTES,
            notice: Arc::new(|_: &str| {}),
        });
        let store = store.unwrap();
        let options = EngineOptions {
            store: Some(store.clone()),
            ..EngineOptions::default()
        };
        let fake = Fake::with(1, options);
        fake.add_table("t", &images(20));
        let loads = fake.loaded_late();
        let query = "SELECT id, classify_score(image, 'red') FROM t ORDER BY id";
        let found = fake.text(query).await.0;
        store.flush();
        (found, loads.load(Ordering::Relaxed))
    };
    let (first, second) = (run().await, run().await);
    assert_eq!((first.1, second.1), (1, 0));
    assert_eq!(first.0, second.0);
}

/// The files of the embedded vision-language model as a folder, with one of them changed.
fn model_folder(change: Option<(&str, Option<&[u8]>)>) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vision/data/shapes");
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        std::fs::copy(from.join(file), folder.path().join(file)).unwrap();
    }
    match change {
        Some((file, Some(content))) => std::fs::write(folder.path().join(file), content).unwrap(),
        Some((file, None)) => std::fs::remove_file(folder.path().join(file)).unwrap(),
        None => {}
    }
    folder
}

/// A session with a table `t` of three images.
fn session() -> (SessionContext, Arc<Engine>) {
    let engine = Arc::new(Engine::new(EngineOptions::default()).unwrap());
    let context = SessionContext::new_with_config(with_settings(SessionConfig::new()));
    register_all(&context, &engine).unwrap();
    let rows = table(&images(3), 1);
    context.register_table("t", Arc::new(rows)).unwrap();
    (context, engine)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_a_model_is_said_as_soon_as_it_can_be_seen() {
    let query = "SELECT classify(image, 'circle') FROM t";
    let asking = |folder: &TempDir| {
        let set = format!("SET picsift.model = '{}'", folder.path().display());
        async move {
            let (context, engine) = session();
            context.sql(&set).await.unwrap();
            (context, engine)
        }
    };
    let weights = std::fs::read(model_folder(None).path().join("model.safetensors")).unwrap();
    let half = &weights[..weights.len() / 2];
    for (file, content, said) in [
        ("model.safetensors", None, "has no model.safetensors"),
        (
            "model.safetensors",
            Some(half),
            "is not a whole safetensors file",
        ),
        ("config.json", Some(&b"{"[..]), "config.json"),
        ("tokenizer.json", Some(b"{}"), "tokenizer.json"),
    ] {
        let folder = model_folder(Some((file, content)));
        let (context, _) = asking(&folder).await;
        let frame = context.sql(query).await.unwrap();
        let error = frame.create_physical_plan().await.unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }

    // A tensor that is missing is found when the weights are read.
    let name = b"model.text.blocks.0.attn.proj.bias";
    let place = weights.windows(name.len()).position(|part| part == name);
    let mut other = weights.clone();
    other[place.unwrap() + name.len() - 1] = b'x';
    let folder = model_folder(Some(("model.safetensors", Some(&other))));
    let (context, engine) = asking(&folder).await;
    let explained = context.sql(&format!("EXPLAIN {query}")).await.unwrap();
    explained.collect().await.unwrap();
    let frame = context.sql(query).await.unwrap();
    let error = frame.collect().await.unwrap_err().to_string();
    assert!(
        error.contains("has no tensor 'model.text.blocks.0.attn.proj.bias'"),
        "{error}"
    );
    assert!(engine.loaded().is_empty());
}

#[test]
fn a_description_says_of_a_model_what_the_loaded_one_says() {
    let engine = Engine::new(EngineOptions::default()).unwrap();
    let folder = model_folder(None);
    for name in [DEFAULT_MODEL, "shapes", folder.path().to_str().unwrap()] {
        let described = engine.model(name, &LoadOptions::default()).unwrap();
        assert!(described.running().is_none());
        let service = described.service().unwrap();
        assert_eq!(described.info(), service.info());
        assert_eq!(described.batch(), service.batch());
    }
}

/// So many categories, each a class by its name.
fn categories(count: usize) -> Vec<CategorySpec> {
    let list = include_str!("../../../vision/data/efficientnet-lite0/classes.csv");
    let names = list.lines().skip(1).map(|line| {
        let name = line.splitn(3, ',').nth(2).unwrap();
        name.trim_matches('"').to_string()
    });
    let mut seen = std::collections::HashSet::new();
    let names = names.filter(|name| seen.insert(name.to_lowercase()));
    names.take(count).map(CategorySpec::plain).collect()
}

/// A labelling of `t` by a model of this name.
async fn labelling(
    context: &SessionContext,
    model: &str,
    categories: Vec<CategorySpec>,
) -> (LogicalPlan, Annotation) {
    let input = context.table("t").await.unwrap().into_unoptimized_plan();
    let names: Vec<_> = (0..categories.len()).map(|n| n.to_string()).collect();
    let annotation = Annotation {
        image: "image".to_string(),
        base: None,
        digest: None,
        model: model.to_string(),
        load: LoadOptions::default(),
        added: AddedColumns::new(&names, input.schema().as_arrow(), false, None).unwrap(),
        categories,
        threshold: None,
        bytes: None,
        on_error: OnError::Null,
        cascade: None,
    };
    (input, annotation)
}

#[tokio::test(flavor = "multi_thread")]
async fn hundreds_of_categories_are_resolved_soon() {
    let (context, engine) = session();
    let categories = categories(500);
    assert_eq!(categories.len(), 500);
    let (input, annotation) = labelling(&context, DEFAULT_MODEL, categories).await;
    let resolve = || {
        let started = Instant::now();
        let plan = annotate(&engine, input.clone(), &annotation).unwrap();
        (started.elapsed(), plan)
    };
    let ((first, _), (second, plan)) = (resolve(), resolve());
    assert!(first < Duration::from_secs(2), "{first:?}");
    assert!(second < Duration::from_millis(500), "{second:?}");
    let started = Instant::now();
    let frame = context.execute_logical_plan(plan).await.unwrap();
    frame.create_physical_plan().await.unwrap();
    println!(
        "resolved in {first:?}, again in {second:?}, planned in {:?}",
        started.elapsed()
    );
    assert!(engine.loaded().is_empty());
}

/// Counts how often it is asked for a category's question.
struct Counted(Arc<AtomicUsize>);

impl Questions for Counted {
    fn category(&self, _: &Category) -> Result<Question, VisionError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Question::Classes([0].into()))
    }

    fn open(&self, _: &str, _: Generation) -> Result<Question, VisionError> {
        unreachable!("nothing is asked in words")
    }
}

/// Each shard of a job is planned anew, and a category is in seven of its columns.
#[tokio::test(flavor = "multi_thread")]
async fn a_category_is_compiled_once_however_often_it_is_planned() {
    let (context, engine) = session();
    let made = Arc::new(AtomicUsize::new(0));
    let known = engine.model(DEFAULT_MODEL, &LoadOptions::default());
    let description = ModelDescription {
        info: known.unwrap().info().clone(),
        questions: Arc::new(Counted(Arc::clone(&made))),
        batch: BatchAdvice::default(),
    };
    let model = DescribedModel::new(description, |_| unreachable!("nothing is run"));
    engine.add_described("counted", model);
    let categories = (0..100).map(|n| CategorySpec::plain(format!("category {n}")));
    let (input, annotation) = labelling(&context, "counted", categories.collect()).await;
    for _ in 0..3 {
        annotate(&engine, input.clone(), &annotation).unwrap();
        assert_eq!(made.load(Ordering::Relaxed), 100);
    }
}
