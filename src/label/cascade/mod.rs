//! A job by two models: the cheap one answers where it may, the job's own, the dear one, is asked the rest.
//!
//! [`CheapModel`] is what the options say, checked; `sample` draws rows and asks both models about them; `calibrate` makes thresholds of
//! that, as a stage of the job before its first shard. The arithmetic is [`crate::cascade`]'s, the decision about an image the
//! operator's.

mod calibrate;
mod file;
mod sample;
mod taught;

use std::sync::Arc;

use picsift_udf::{Band, Cascade, Engine, Lessons, ModelHandle, question_name};
use picsift_vision::categories::JobCategory;
use picsift_vision::{CategorySpec, HeadModel, PromptStyle, VisionError};
use serde_json::{Value, json};

use super::prepare::PreparedJob;
use super::sources::Source;
use crate::cascade::{Promise, size};
use crate::dataset::cascade::CascadeEntry;
use crate::error::AppError;
use crate::options::{CascadeOptions, ModelOptions};

pub(in crate::label) use calibrate::calibrate;
pub use file::calibrate_file;
pub use sample::SampledRow;

/// The cheap model of a job.
#[derive(Clone)]
pub struct CheapModel {
    /// What was asked for.
    pub options: CascadeOptions,
    /// The model; its weights are read when an image is asked about.
    pub model: ModelHandle,
    /// The categories as it is asked about them, in the job's order.
    pub specs: Vec<CategorySpec>,
    /// What is promised of each; nothing of one that the dear model alone answers.
    pub promises: Vec<Promise>,
    /// Whether it is taught what the dear model says of the first sample, as the cheap one does not know it by itself or worse.
    taught: Vec<bool>,
}

impl CheapModel {
    /// The cheap model of a job about `categories`, whose heads become its: the `dear` model, asked as `asked` says, answers by itself.
    ///
    /// # Errors
    /// [`AppError::Usage`] where both are one model, nothing is promised, or the cheap one cannot score a category.
    pub fn new(
        engine: &Engine,
        options: &CascadeOptions,
        asked: &ModelOptions,
        dear: &ModelHandle,
        categories: &mut [JobCategory],
    ) -> Result<Self, AppError> {
        let model = engine.model(&options.cheap.name, &options.cheap.load)?;
        let same = |a: &ModelHandle, b: &ModelHandle| {
            let (a, b) = (a.info(), b.info());
            (&a.name, &a.revision, a.dtype, a.crops) == (&b.name, &b.revision, b.dtype, b.crops)
        };
        if options.cheap == *asked || same(&model, dear) {
            return Err(AppError::Usage(format!(
                "--cascade {} is the model that is asked itself; name a cheaper one, such as efficientnet-lite0 or siglip2",
                options.cheap.name
            )));
        }
        let mut specs = Vec::with_capacity(categories.len());
        let mut promises = Vec::with_capacity(categories.len());
        let mut taught = Vec::with_capacity(categories.len());
        let mut refused = Vec::new();
        for category in categories.iter_mut() {
            let promise = Promise {
                recall: category.min_recall.or(options.promise.recall),
                precision: category.min_precision.or(options.promise.precision),
            };
            let mut spec = category.spec.clone();
            spec.threshold = None;
            if !model.info().can_talk {
                spec.category.style = PromptStyle::default();
            }
            let mut teach = false;
            if promise != Promise::default()
                && let Err(error) = model.category(&spec.category)
            {
                teach = spec.category.head.is_none() && model.head_model().is_some();
                if !teach {
                    refused.push(error);
                }
            }
            taught.push(teach);
            specs.push(spec);
            promises.push(promise);
            category.spec.category.head = None;
        }
        if let Some(error) = VisionError::together(refused) {
            return Err(AppError::Usage(format!(
                "--cascade {} cannot score every category: {error}; name a model that embeds images, which is taught what it does not know",
                options.cheap.name
            )));
        }
        if promises
            .iter()
            .all(|promise| *promise == Promise::default())
        {
            return Err(AppError::Usage(
                "--cascade needs a promise to keep: --min-recall 0.95, --min-precision 0.95 or both, or those of categories in the \
                 categories file"
                    .to_string(),
            ));
        }
        Ok(Self {
            options: options.clone(),
            model,
            specs,
            promises,
            taught,
        })
    }

    /// What of it decides the answers of a job.
    pub fn identity(&self) -> Value {
        let info = self.model.info();
        let mut categories = serde_json::Map::new();
        for (spec, promise) in self.specs.iter().zip(&self.promises) {
            let question = self.model.category(&spec.category).ok();
            categories.insert(
                spec.category.name.clone(),
                json!({
                    "least recall": promise.recall,
                    "least precision": promise.precision,
                    "question to the cheap model":
                        question.map(|question| question_name(&self.model, &question)),
                }),
            );
        }
        json!({
            "model": info.name,
            "revision": info.revision,
            "number format": info.dtype,
            "confidence": self.options.confidence,
            "audit": self.options.audit,
            "category": categories,
        })
    }

    /// The cascade by the thresholds of an entry; `None` where nothing is decided.
    pub fn cascade(&self, entry: &CascadeEntry) -> Option<Arc<Cascade>> {
        let deciding = entry.categories.iter().filter(|known| known.decides());
        let bands = deciding.filter_map(|known| {
            let mut specs = self.specs.iter();
            let spec = specs.find(|spec| spec.category.name == known.name)?;
            let spec = spec.clone();
            Some(Band {
                category: match known.taught.as_deref().and_then(taught::read) {
                    Some(head) => spec.with_head(Some(head)),
                    None => spec,
                },
                low: known.low.unwrap_or(f32::NEG_INFINITY),
                high: known.high.unwrap_or(f32::INFINITY),
            })
        });
        let bands: Vec<Band> = bands.collect();
        (!bands.is_empty()).then(|| {
            Arc::new(Cascade {
                model: self.options.cheap.name.clone(),
                load: self.options.cheap.load,
                bands,
                audit: self.options.audit,
            })
        })
    }

    /// What the cheap model is asked about every image of a table.
    pub(in crate::label) fn lessons(&self, job: &PreparedJob, source: &Source) -> Lessons {
        let known: Vec<usize> = self
            .promised()
            .filter(|&place| !self.to_teach(place))
            .collect();
        let column = |place: usize| (self.specs[place].clone(), format!("picsift_cheap_{place}"));
        Lessons {
            image: job.tables.image.clone(),
            base: source.base.clone(),
            digest: job.options.digest.clone(),
            model: self.options.cheap.name.clone(),
            load: self.options.cheap.load,
            embedding: known.is_empty().then(|| "picsift_cheap".to_string()),
            categories: known.into_iter().map(column).collect(),
        }
    }

    /// Rows of a sample of so many at least.
    pub(in crate::label) fn least_sample(&self, rows: u64) -> u64 {
        size::least(rows, self.promised().any(|place| self.to_teach(place)))
    }

    /// Takes the heads of an entry that were taught on the way; whether there are any.
    fn take_taught(&mut self, entry: &CascadeEntry) -> bool {
        let mut any = false;
        for spec in &mut self.specs {
            let mut known = entry.categories.iter();
            let known = known.find(|known| known.name == spec.category.name);
            if let Some(head) = known.and_then(|known| taught::read(known.taught.as_deref()?)) {
                spec.category.head = Some(head);
                any = true;
            }
        }
        any
    }

    /// Whose embeddings it could be taught by; `None` for a model that embeds nothing.
    fn head_model(&self) -> Option<HeadModel> {
        self.model.head_model()
    }

    /// Whether a category is yet to be taught to the cheap model.
    fn to_teach(&self, place: usize) -> bool {
        self.taught[place] && self.specs[place].category.head.is_none()
    }

    /// The categories that something is promised of, by their places.
    pub(super) fn promised(&self) -> impl Iterator<Item = usize> {
        let promises = self.promises.iter().enumerate();
        let promised = promises.filter(|(_, promise)| **promise != Promise::default());
        promised.map(|(place, _)| place)
    }
}
