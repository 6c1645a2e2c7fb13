//! Images through the service of the embedded model, and what became of them: answers, and each error with how often it came.

use std::collections::BTreeMap;
use std::sync::Arc;

use picsift_vision::{
    Category, LoadOptions, Question, RgbImage, Service, ServiceOptions, VisionError, describe,
};
use serde_json::json;

use super::{Outcome, Run};

/// More than three batches.
const IMAGES: u32 = 200;

pub(super) fn run(run: &mut Run) -> Outcome {
    let options = LoadOptions {
        device: run.args.device,
        dtype: Some(run.args.dtype),
        ..LoadOptions::default()
    };
    let described = describe("shapes", &options, &())?;
    let mut loaded = described.load_all(&())?.into_iter();
    let first = loaded.next().ok_or("no device was opened")?;
    let service = Service::start_all(first, loaded.collect(), ServiceOptions::default())?;
    let questions: Arc<[Question]> = ["circle", "star"]
        .map(|name| service.questions().category(&Category::named(name)))
        .into_iter()
        .collect::<Result<_, VisionError>>()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().build()?;
    let mut views = Vec::new();
    for seed in 0..IMAGES {
        let picture = RgbImage {
            width: 64,
            height: 48,
            data: (0..64 * 48 * 3)
                .map(|at| ((at * 7 + seed * 31) % 251) as u8)
                .collect(),
        };
        views.push(service.preprocessor().views(picture)?);
    }
    // All at once, so that batches are as large as they may be.
    let jobs: Vec<_> = views
        .into_iter()
        .map(|views| {
            let (service, questions) = (service.clone(), Arc::clone(&questions));
            runtime.spawn(async move { service.submit(views, questions).await })
        })
        .collect();
    let mut errors: BTreeMap<String, u32> = BTreeMap::new();
    let mut answered = 0;
    for job in jobs {
        match runtime.block_on(job)? {
            Ok(_) => answered += 1,
            Err(error) => *errors.entry(error.to_string()).or_default() += 1,
        }
    }
    let stats = service.stats();
    run.say(
        "ask",
        errors.is_empty(),
        json!({ "answered": answered, "errors": errors, "batches": stats.batches, "halved": stats.halved,
                "without_next": stats.without_next, "devices": service.info().device, "lost": stats.lost }),
    );
    Ok(())
}
