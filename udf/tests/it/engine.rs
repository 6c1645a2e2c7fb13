//! What callers notice of an engine's models: each is loaded once, wherever it is asked for from.

use std::sync::Arc;

use picsift_udf::{Engine, EngineOptions};
use picsift_vision::{CropPolicy, DEFAULT_MODEL, LoadOptions, Service, ServiceOptions, Views};

fn engine() -> Arc<Engine> {
    Arc::new(Engine::new(EngineOptions::default()).unwrap())
}

/// Asks the service about an image that it counts and refuses.
async fn touch(service: &Service) {
    let views = Views {
        side: 1,
        grid: (1, 1),
        data: vec![0; 3],
    };
    service.submit(views, [].into()).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_asks_for_a_model_while_it_is_loaded_gets_the_same_one() {
    let engine = engine();
    let tasks = (0..8).map(|_| {
        let engine = Arc::clone(&engine);
        tokio::spawn(async move {
            engine
                .service(DEFAULT_MODEL, &LoadOptions::default())
                .unwrap()
        })
    });
    let services = futures::future::join_all(tasks).await;
    for service in &services {
        touch(service.as_ref().unwrap()).await;
    }
    for service in &services {
        assert_eq!(service.as_ref().unwrap().stats().images, 8);
    }
    assert_eq!(engine.loaded().len(), 1);
}

#[tokio::test]
async fn images_on_their_way_are_as_many_as_all_devices_need() {
    let batches = crate::fake::Batches::default();
    let loaded = || crate::fake::loaded(&batches);
    let options = ServiceOptions::default();
    let one = Service::start(loaded(), options).unwrap();
    let three = Service::start_all(loaded(), vec![loaded(), loaded()], options).unwrap();
    let engine = engine();
    engine.add_service("one", one);
    engine.add_service("three", three);
    let in_flight = |name| {
        let model = engine.model(name, &LoadOptions::default()).unwrap();
        engine.in_flight(Some(&model))
    };
    assert_eq!(in_flight("one"), 3 * 32);
    assert_eq!(in_flight("three"), 3 * 32 * 3);
}

#[tokio::test]
async fn a_model_asked_for_with_other_options_is_another_one() {
    let engine = engine();
    let global = LoadOptions {
        crops: CropPolicy::Global,
        ..LoadOptions::default()
    };
    let first = engine
        .service(DEFAULT_MODEL, &LoadOptions::default())
        .unwrap();
    let second = engine.service(DEFAULT_MODEL, &global).unwrap();
    touch(&first).await;
    assert_eq!((first.stats().images, second.stats().images), (1, 0));
    assert_eq!(engine.loaded().len(), 2);
}

#[test]
fn a_model_that_cannot_be_had_is_an_error_each_time_and_loads_nothing() {
    // Outside of a runtime, as a library's caller may be.
    let engine = engine();
    for _ in 0..2 {
        let error = engine
            .service("resnet", &LoadOptions::default())
            .unwrap_err();
        assert!(error.to_string().contains("'resnet'"), "{error}");
    }
    assert!(engine.loaded().is_empty());
    engine
        .service(DEFAULT_MODEL, &LoadOptions::default())
        .unwrap();
}
