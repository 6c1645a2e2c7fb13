//! The messages that operators and calls are written as.
//!
//! Expressions are bytes here: DataFusion's own messages, of logical or physical expressions. Field numbers never change
//! their meaning; a reader of another version fails on a function or option that it does not know, never guesses.

use picsift_vision::{
    Category, CategorySpec, Generation, Head, LoadOptions, PromptStyle, Temperature, heads,
};
use std::fmt::Display;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use datafusion::common::{Result, plan_datafusion_err, plan_err};
use prost::Message;

use crate::functions;
use crate::pipeline::base;
use crate::pipeline::cascade;
use crate::pipeline::engine::Engine;
use crate::pipeline::models::ModelSpec;
use crate::pipeline::quota::{AtEnd, InferenceQuota};
use crate::plan;
use crate::plan::call::{CallKind, CallSpec};
use crate::plan::inference_group::{AnswerColumn, InferenceGroup};

#[derive(Clone, PartialEq, Message)]
pub(super) struct Infer {
    #[prost(message, repeated, tag = "1")]
    pub(super) asks: Vec<Ask>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(super) predicates: Vec<Vec<u8>>,
    #[prost(uint64, optional, tag = "3")]
    max_images: Option<u64>,
    #[prost(double, optional, tag = "4")]
    max_seconds: Option<f64>,
    #[prost(bool, tag = "5")]
    stops: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Ask {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) image: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    pub(super) columns: Vec<Column>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Column {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(message, optional, tag = "2")]
    pub(super) call: Option<Call>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(super) guard: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Call {
    #[prost(string, tag = "1")]
    function: String,
    /// One, or those that rows choose from.
    #[prost(message, repeated, tag = "8")]
    bases: Vec<Base>,
    #[prost(string, tag = "3")]
    on_error: String,
    /// Absent for a call that asks no model.
    #[prost(message, optional, tag = "4")]
    model: Option<Model>,
    /// Absent for categories.
    #[prost(message, optional, tag = "5")]
    question: Option<Question>,
    #[prost(message, repeated, tag = "6")]
    categories: Vec<NamedCategory>,
    #[prost(float, optional, tag = "7")]
    threshold: Option<f32>,
    /// Whether each image has its digest.
    #[prost(bool, tag = "9")]
    checked: bool,
    /// Whether the model is asked for the image's embedding.
    #[prost(bool, tag = "10")]
    embedding: bool,
    /// Absent where no cheap model answers.
    #[prost(message, optional, tag = "11")]
    cascade: Option<Cascade>,
}

#[derive(Clone, PartialEq, Message)]
struct Cascade {
    #[prost(message, optional, tag = "1")]
    model: Option<Model>,
    #[prost(message, repeated, tag = "2")]
    bands: Vec<Band>,
    #[prost(double, tag = "3")]
    audit: f64,
}

#[derive(Clone, PartialEq, Message)]
struct Band {
    #[prost(message, optional, tag = "1")]
    category: Option<NamedCategory>,
    #[prost(float, tag = "2")]
    low: f32,
    #[prost(float, tag = "3")]
    high: f32,
}

/// The current folder where neither is there.
#[derive(Clone, PartialEq, Message)]
struct Base {
    #[prost(string, optional, tag = "1")]
    folder: Option<String>,
    #[prost(string, optional, tag = "2")]
    unknown: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Model {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    device: String,
    #[prost(string, optional, tag = "3")]
    quantize: Option<String>,
    #[prost(string, tag = "4")]
    crops: String,
    #[prost(string, optional, tag = "5")]
    dtype: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Question {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(uint64, tag = "2")]
    max_tokens: u64,
    #[prost(float, tag = "3")]
    temperature: f32,
}

#[derive(Clone, PartialEq, Message)]
struct NamedCategory {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, optional, tag = "2")]
    prompt: Option<String>,
    #[prost(string, repeated, tag = "3")]
    nouns: Vec<String>,
    #[prost(float, optional, tag = "4")]
    threshold: Option<f32>,
    #[prost(string, repeated, tag = "5")]
    templates: Vec<String>,
    /// Absent for the default.
    #[prost(string, optional, tag = "6")]
    style: Option<String>,
    /// What was taught of it, as a file of heads; absent for a category that was not.
    #[prost(bytes = "vec", optional, tag = "7")]
    head: Option<Vec<u8>>,
}

impl Infer {
    /// # Errors
    /// As [`check`].
    pub(super) fn new(
        asks: &[InferenceGroup<Vec<u8>>],
        predicates: Vec<Vec<u8>>,
        quota: &InferenceQuota,
    ) -> Result<Self> {
        for column in asks.iter().flat_map(|ask| &ask.columns) {
            check(&column.call)?;
        }
        Ok(Self {
            asks: asks.iter().map(Ask::from).collect(),
            predicates,
            max_images: quota.max_images(),
            max_seconds: quota.max_time.map(|time| time.as_secs_f64()),
            stops: quota.at_end == AtEnd::Stop,
        })
    }

    /// The quota, from its start.
    pub(super) fn quota(&self) -> Result<InferenceQuota> {
        let max_time = self.max_seconds.map(Duration::try_from_secs_f64);
        let max_time = max_time
            .transpose()
            .map_err(|e| plan_datafusion_err!("max_seconds of an Infer message: {e}"))?;
        let at_end = if self.stops { AtEnd::Stop } else { AtEnd::Fail };
        Ok(InferenceQuota::new(self.max_images, max_time, at_end))
    }
}

/// # Errors
/// For a call with corrections: they stay in this process, and without them its answers would be others.
pub(super) fn check(call: &plan::call::Call) -> Result<()> {
    match call.corrections {
        None => Ok(()),
        Some(_) => plan_err!(
            "a plan with corrections cannot be run on other machines; apply them with picsift label"
        ),
    }
}

impl From<&ModelSpec> for Model {
    fn from(model: &ModelSpec) -> Self {
        Self {
            name: model.name.clone(),
            device: model.load.device.to_string(),
            dtype: model.load.dtype.map(|dtype| dtype.to_string()),
            quantize: model.load.quantize.map(|q| q.to_string()),
            crops: model.load.crops.to_string(),
        }
    }
}

impl From<&plan::call::Call> for Call {
    fn from(call: &plan::call::Call) -> Self {
        let spec = &call.spec;
        let mut call = Self {
            function: call.function.name().to_string(),
            bases: match &spec.base {
                base::Base::Several(bases) => bases.iter().map(Base::from).collect(),
                base::Base::Checked(base) => vec![Base::from(&**base)],
                one => vec![Base::from(one)],
            },
            checked: matches!(spec.base, base::Base::Checked(_)),
            on_error: spec.on_error.to_string(),
            cascade: spec.cascade.as_deref().map(Cascade::from),
            ..Self::default()
        };
        match &spec.kind {
            CallKind::File => {}
            CallKind::Embedding(asked) => {
                call.model = Some(asked.into());
                call.embedding = true;
            }
            CallKind::Categories(asked, categories, threshold) => {
                call.model = Some(asked.into());
                call.threshold = *threshold;
                call.categories = categories.iter().map(NamedCategory::from).collect();
            }
            CallKind::Question(asked, text, generation) => {
                call.model = Some(asked.into());
                call.question = Some(Question {
                    text: text.clone(),
                    max_tokens: generation.max_tokens as u64,
                    temperature: generation.temperature.get(),
                });
            }
        }
        call
    }
}

impl From<&CategorySpec> for NamedCategory {
    fn from(spec: &CategorySpec) -> Self {
        Self {
            name: spec.category.name.clone(),
            prompt: spec.category.prompt.clone(),
            nouns: spec.category.nouns.clone(),
            templates: spec.category.templates.clone(),
            style: (spec.category.style != PromptStyle::default())
                .then(|| spec.category.style.to_string()),
            head: (spec.category.head.as_ref())
                .and_then(|head| heads::to_bytes(std::slice::from_ref(head), "")),
            threshold: spec.threshold,
        }
    }
}

impl Call {
    /// The call as it was before it was written.
    pub(super) fn spec(self) -> Result<CallSpec> {
        let kind = match (self.model, self.question) {
            (None, _) => CallKind::File,
            (Some(model), _) if self.embedding => CallKind::Embedding(model.spec()?),
            (Some(model), None) => CallKind::Categories(
                model.spec()?,
                self.categories
                    .into_iter()
                    .map(NamedCategory::spec)
                    .collect::<Result<_>>()?,
                self.threshold,
            ),
            (Some(model), Some(question)) => {
                CallKind::Question(model.spec()?, question.text.clone(), question.generation()?)
            }
        };
        let base = match <[Base; 1]>::try_from(self.bases) {
            Ok([one]) => one.read()?,
            Err(none) if none.is_empty() => {
                return plan_err!("a call of picsift's came without the folder of its references");
            }
            Err(several) => {
                let several = several.into_iter().map(Base::read);
                base::Base::Several(several.collect::<Result<_>>()?)
            }
        };
        Ok(CallSpec {
            kind,
            base: match self.checked {
                true => base::Base::Checked(Box::new(base)),
                false => base,
            },
            on_error: parsed(&self.on_error)?,
            cascade: self.cascade.map(Cascade::read).transpose()?.map(Arc::new),
        })
    }
}

impl From<&cascade::Cascade> for Cascade {
    fn from(cascade: &cascade::Cascade) -> Self {
        let model = ModelSpec {
            name: cascade.model.clone(),
            load: cascade.load,
        };
        let bands = cascade.bands.iter().map(|band| Band {
            category: Some(NamedCategory::from(&band.category)),
            low: band.low,
            high: band.high,
        });
        Self {
            model: Some(Model::from(&model)),
            bands: bands.collect(),
            audit: cascade.audit,
        }
    }
}

impl Cascade {
    fn read(self) -> Result<cascade::Cascade> {
        let Some(model) = self.model else {
            return plan_err!("a cascade in a plan of picsift has no model");
        };
        let model = model.spec()?;
        let bands = self.bands.into_iter().map(|band| {
            let Some(category) = band.category else {
                return plan_err!("a band of a cascade in a plan of picsift has no category");
            };
            Ok(cascade::Band {
                category: category.spec()?,
                low: band.low,
                high: band.high,
            })
        });
        Ok(cascade::Cascade {
            model: model.name,
            load: model.load,
            bands: bands.collect::<Result<_>>()?,
            audit: self.audit,
        })
    }
}

impl From<&base::Base> for Base {
    fn from(base: &base::Base) -> Self {
        let (folder, unknown) = match base {
            base::Base::At(folder) => (Some(folder.to_string()), None),
            base::Base::Unknown(images) => (None, Some(images.clone())),
            // Bases that rows choose from are no choices themselves.
            base::Base::Here | base::Base::Several(_) | base::Base::Checked(_) => (None, None),
        };
        Self { folder, unknown }
    }
}

impl Base {
    fn read(self) -> Result<base::Base> {
        Ok(match (self.folder, self.unknown) {
            (Some(folder), _) => base::Base::At(Arc::new(parsed(&folder)?)),
            (None, Some(images)) => base::Base::Unknown(images),
            (None, None) => base::Base::Here,
        })
    }
}

impl Model {
    pub(super) fn spec(self) -> Result<ModelSpec> {
        Ok(ModelSpec {
            name: self.name,
            load: LoadOptions {
                device: parsed(&self.device)?,
                dtype: self.dtype.as_deref().map(parsed).transpose()?,
                quantize: self.quantize.as_deref().map(parsed).transpose()?,
                crops: parsed(&self.crops)?,
            },
        })
    }
}

impl Question {
    fn generation(&self) -> Result<Generation> {
        let Ok(max_tokens) = usize::try_from(self.max_tokens) else {
            return plan_err!("{} tokens are too many for this machine", self.max_tokens);
        };
        let temperature = Temperature::try_from(self.temperature);
        Ok(Generation {
            max_tokens,
            temperature: temperature.map_err(|e| plan_datafusion_err!("{e}"))?,
        })
    }
}

impl NamedCategory {
    fn spec(self) -> Result<CategorySpec> {
        Ok(CategorySpec {
            category: Category {
                style: match &self.style {
                    Some(style) => parsed(style)?,
                    None => PromptStyle::default(),
                },
                name: self.name,
                prompt: self.prompt,
                nouns: self.nouns,
                templates: self.templates,
                head: self.head.as_deref().map(head).transpose()?,
            },
            threshold: self.threshold,
        })
    }
}

/// The one head of a message.
fn head(bytes: &[u8]) -> Result<Head> {
    let heads = heads::parse(bytes)
        .map_err(|e| plan_datafusion_err!("the head of a category in a plan of picsift: {e}"))?;
    match <[Head; 1]>::try_from(heads) {
        Ok([head]) => Ok(head),
        Err(_) => plan_err!("a category in a plan of picsift has several heads"),
    }
}

fn parsed<T>(text: &str) -> Result<T>
where
    T: FromStr,
    T::Err: Display,
{
    text.parse()
        .map_err(|e| plan_datafusion_err!("'{text}' in a plan of picsift: {e}"))
}

impl From<&InferenceGroup<Vec<u8>>> for Ask {
    fn from(ask: &InferenceGroup<Vec<u8>>) -> Self {
        let columns = ask.columns.iter().map(|column| Column {
            name: column.name.clone(),
            call: Some(Call::from(&*column.call)),
            guard: column.guard.clone(),
        });
        Self {
            image: ask.image.clone(),
            columns: columns.collect(),
        }
    }
}

/// The groups of a message, with their models described.
pub(super) fn groups(engine: &Engine, asks: Vec<Ask>) -> Result<Vec<InferenceGroup<Vec<u8>>>> {
    let column = |column: Column| {
        Ok(AnswerColumn {
            name: column.name,
            call: call(engine, column.call)?,
            guard: column.guard,
        })
    };
    let groups = asks.into_iter().map(|ask| {
        Ok(InferenceGroup {
            image: ask.image,
            columns: ask.columns.into_iter().map(column).collect::<Result<_>>()?,
        })
    });
    groups.collect()
}

/// A message of these bytes.
pub(super) fn read<M: Message + Default>(bytes: &[u8]) -> Result<M> {
    M::decode(bytes).map_err(|e| plan_datafusion_err!("a plan of picsift cannot be read: {e}"))
}

/// The one of these bytes' call, its model started.
pub(super) fn call(engine: &Engine, call: Option<Call>) -> Result<Arc<plan::call::Call>> {
    let Some(call) = call else {
        return plan_err!("a column of an Infer message has no call");
    };
    let name = &call.function;
    let Some(function) = functions::by_name(name) else {
        return plan_err!("picsift has no function '{name}'");
    };
    let resolved = plan::call::Call::resolve(engine, function, call.spec()?)?;
    Ok(Arc::new(resolved))
}
