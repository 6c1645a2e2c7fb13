//! The `picsift.*` settings of a SQL session and what their texts mean.
//!
//! Owns names, defaults and checks, nothing else: which models there are is the model crate's to say. `SET` checks all that can be
//! known without loading a model, and `RESET` takes a setting back to what the session began with.

mod cascade;

use std::any::Any;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::common::{DataFusionError, Result, config_err};
use picsift_images::shown;
use picsift_vision::{DEFAULT_MODEL, Generation, Heads, LoadOptions, PromptStyle};
use url::Url;

use crate::pipeline::base::typed_folder;
use crate::pipeline::engine::Engine;
use crate::pipeline::models::ModelSpec;

pub use cascade::{
    CalibratedCategory, CalibratedModel, CascadeError, CascadeFile, ReadCascade, SampledTable,
    question_name,
};

/// Settings of picsift in a SQL session, `SET picsift.<name> = ...`.
#[derive(Debug, Clone)]
pub struct PicsiftOptions {
    /// `model`: which model answers.
    pub model: String,
    /// `device`, `dtype`, `quantize` and `crops`: where the model runs and how it is loaded.
    pub load: LoadOptions,
    /// `max_tokens` and `temperature`: how open questions are answered.
    pub generation: Generation,
    /// `prompt_style`: how categories are put to a model that reads questions.
    pub prompt_style: PromptStyle,
    /// `heads`: what was taught, which answers for the categories that it is about.
    pub heads: Option<Heads>,
    /// `cascade`: a cheap model that answers where it may.
    pub cascade: Option<ReadCascade>,
    /// `threshold`: the score from which a category holds, 0 to 1; `None` is the model's own.
    pub threshold: Option<f32>,
    /// `base`: the folder of relative references whose own is not known.
    pub base: Option<Arc<Url>>,
    /// `on_error`: what an image that cannot be read or judged does.
    pub on_error: OnError,
    /// `max_images`: most images that a query asks the model about; `None` is no bound.
    pub max_images: Option<u64>,
    /// `max_seconds`: longest time that a query may take from its first image on; `None` is no bound.
    pub max_time: Option<Duration>,
    /// `memory_limit`: most bytes of images that one stream of a query holds at once, encoded and as the model's views.
    pub memory_limit: usize,
    /// What the session began with, if that is not the program's.
    defaults: Option<Arc<PicsiftOptions>>,
    /// Who knows which models there are, beside those of the model crate.
    engine: Option<Arc<Engine>>,
}

/// [`PicsiftOptions::memory_limit`] unless it is set.
const MEMORY_LIMIT: usize = 256 << 20;

impl Default for PicsiftOptions {
    fn default() -> Self {
        Self {
            model: DEFAULT_MODEL.to_string(),
            load: LoadOptions::default(),
            generation: Generation::default(),
            prompt_style: PromptStyle::default(),
            heads: None,
            cascade: None,
            threshold: None,
            base: None,
            on_error: OnError::Null,
            max_images: None,
            max_time: None,
            memory_limit: MEMORY_LIMIT,
            defaults: None,
            engine: None,
        }
    }
}

impl ConfigExtension for PicsiftOptions {
    const PREFIX: &'static str = "picsift";
}

impl ExtensionOptions for PicsiftOptions {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        if value.eq_ignore_ascii_case("default") {
            return self.reset(key);
        }
        match key {
            "model" => {
                self.check_model(value)?;
                self.model = value.to_string();
            }
            "device" => self.load.device = parsed(key, value)?,
            "dtype" => {
                self.load.dtype = match is_auto(value) {
                    true => None,
                    false => Some(parsed(key, value)?),
                }
            }
            "quantize" => {
                self.load.quantize = match is_none(value) {
                    true => None,
                    false => Some(parsed(key, value)?),
                }
            }
            "crops" => self.load.crops = parsed(key, value)?,
            "prompt_style" => self.prompt_style = parsed(key, value)?,
            "max_tokens" => match value.parse() {
                Ok(tokens) if tokens >= 1 => self.generation.max_tokens = tokens,
                _ => {
                    return config_err!(
                        "picsift.max_tokens is '{value}'; it must be a whole number from 1"
                    );
                }
            },
            "temperature" => self.generation.temperature = parsed(key, value)?,
            "heads" if is_none(value) => self.heads = None,
            "heads" => match Heads::read(Path::new(value)) {
                Ok(heads) => self.heads = Some(heads),
                Err(error) => return config_err!("picsift.heads: {error}"),
            },
            "cascade" if is_none(value) => self.cascade = None,
            "cascade" => match ReadCascade::read(Path::new(value)) {
                Ok(cascade) => self.cascade = Some(cascade),
                Err(error) => return config_err!("picsift.cascade: {error}"),
            },
            "threshold" if is_none(value) => self.threshold = None,
            "threshold" => match value.parse::<f32>() {
                Ok(threshold) if (0.0..=1.0).contains(&threshold) => {
                    self.threshold = Some(threshold);
                }
                _ => {
                    return config_err!(
                        "picsift.threshold is '{value}'; it must be a number from 0 to 1"
                    );
                }
            },
            "base" => {
                self.base = match value.to_ascii_lowercase().as_str() {
                    "none" | "null" => None,
                    _ => match typed_folder(value) {
                        Ok(folder) => Some(Arc::new(folder)),
                        Err(error) => return config_err!("picsift.{key}: {error}"),
                    },
                }
            }
            "on_error" => self.on_error = parsed(key, value)?,
            "max_images" => self.max_images = bound(key, value, "a whole number")?,
            "max_seconds" => {
                let seconds: Option<f64> = bound(key, value, "a number of seconds")?;
                self.max_time = match seconds.map(Duration::try_from_secs_f64) {
                    None => None,
                    Some(Ok(time)) => Some(time),
                    Some(Err(error)) => {
                        return config_err!("picsift.{key} is '{value}': {error}");
                    }
                };
            }
            "memory_limit" => {
                self.memory_limit = match value.parse() {
                    Ok(bytes) if bytes > 0 => bytes,
                    _ => {
                        return config_err!(
                            "picsift.{key} is '{value}'; it must be a number of bytes, from 1"
                        );
                    }
                }
            }
            _ => return unknown(key),
        }
        Ok(())
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        let entry = |name: &str, value: Option<String>, description| ConfigEntry {
            key: format!("{}.{name}", Self::PREFIX),
            value,
            description,
        };
        vec![
            entry("model", Some(self.model.clone()), "Model that answers."),
            entry(
                "device",
                Some(self.load.device.to_string()),
                "Where the model runs: auto, cpu, cuda, cuda:N or cuda:all.",
            ),
            entry(
                "dtype",
                Some(match self.load.dtype {
                    None => "auto".to_string(),
                    Some(dtype) => dtype.to_string(),
                }),
                "Number format that the model computes in: auto (bf16 on a GPU, f32 on a CPU), f32 or bf16.",
            ),
            entry(
                "quantize",
                Some(match self.load.quantize {
                    None => "none".to_string(),
                    Some(quantization) => quantization.to_string(),
                }),
                "Number format that the model's weights are quantised to while they are loaded: none, q8_0 (8.5 bits a \
                 weight) or q4k (4.5 bits).",
            ),
            entry(
                "crops",
                Some(self.load.crops.to_string()),
                "What of a large image a model that cuts images up sees: reference, the overview and the crops of the \
                 published model, or global, the overview alone, which is faster and blind to what is small.",
            ),
            entry(
                "max_tokens",
                Some(self.generation.max_tokens.to_string()),
                "Most tokens of an answer in words, from 1; it is cut off there.",
            ),
            entry(
                "temperature",
                Some(self.generation.temperature.to_string()),
                "How freely an answer's words are chosen, 0 to 2; at 0 always the likeliest.",
            ),
            entry(
                "prompt_style",
                Some(self.prompt_style.to_string()),
                "How a category is put to a model that reads questions: vendor, in its makers' words, or shared, with the category \
                 at the end, which costs less where there are many.",
            ),
            entry(
                "heads",
                self.heads
                    .as_ref()
                    .map(|heads| heads.path().display().to_string()),
                "File that picsift teach wrote: the categories that it is about are answered by what was taught; none is none.",
            ),
            entry(
                "cascade",
                self.cascade
                    .as_ref()
                    .map(|cascade| cascade.path().display().to_string()),
                "File that picsift calibrate wrote: a cheap model answers in the place of the model where it may; none is none.",
            ),
            entry(
                "threshold",
                self.threshold.map(|threshold| threshold.to_string()),
                "Score from which a category holds, 0 to 1; unset, the model's own.",
            ),
            entry(
                "base",
                self.base.as_ref().map(|folder| shown(folder.as_str())),
                "Folder, a path or URL, of relative references whose own is not known, as that of a column that is made \
                 of two tables'; none is none.",
            ),
            entry(
                "on_error",
                Some(self.on_error.to_string()),
                "What an image that cannot be read or judged gives: null, or fail to stop the query.",
            ),
            entry(
                "max_images",
                self.max_images.map(|images| images.to_string()),
                "Most images that a query asks the model about before it stops with an error; none is no bound.",
            ),
            entry(
                "max_seconds",
                self.max_time.map(|time| time.as_secs_f64().to_string()),
                "Seconds from its first image on after which a query stops with an error; none is no bound.",
            ),
            entry(
                "memory_limit",
                Some(self.memory_limit.to_string()),
                "Most bytes of images that each stream of a query holds at once; where more are needed it waits.",
            ),
        ]
    }
}

impl PicsiftOptions {
    /// The session's settings, or the defaults where the session was made without them.
    pub fn of(config: &ConfigOptions) -> Self {
        config
            .extensions
            .get::<PicsiftOptions>()
            .cloned()
            .unwrap_or_default()
    }

    /// The model that is asked, and how it is loaded.
    pub(crate) fn model_spec(&self) -> ModelSpec {
        ModelSpec {
            name: self.model.clone(),
            load: self.load,
        }
    }

    /// Makes the settings what [`PicsiftOptions::reset`] goes back to.
    pub fn keep_as_defaults(&mut self) {
        self.defaults = Some(Arc::new(Self {
            defaults: None,
            engine: None,
            ..self.clone()
        }));
    }

    /// Takes a setting back to what the session began with.
    ///
    /// # Errors
    /// A configuration error for a name that is none of a setting.
    pub fn reset(&mut self, key: &str) -> Result<()> {
        let began = self.defaults.clone().unwrap_or_default();
        match key {
            "model" => self.model.clone_from(&began.model),
            "device" => self.load.device = began.load.device,
            "dtype" => self.load.dtype = began.load.dtype,
            "quantize" => self.load.quantize = began.load.quantize,
            "crops" => self.load.crops = began.load.crops,
            "max_tokens" => self.generation.max_tokens = began.generation.max_tokens,
            "temperature" => self.generation.temperature = began.generation.temperature,
            "prompt_style" => self.prompt_style = began.prompt_style,
            "heads" => self.heads.clone_from(&began.heads),
            "cascade" => self.cascade.clone_from(&began.cascade),
            "threshold" => self.threshold = began.threshold,
            "on_error" => self.on_error = began.on_error,
            "max_images" => self.max_images = began.max_images,
            "max_seconds" => self.max_time = began.max_time,
            "memory_limit" => self.memory_limit = began.memory_limit,
            _ => return unknown(key),
        }
        Ok(())
    }

    /// Takes the models of `engine` for known ones too.
    pub(crate) fn know(&mut self, engine: &Arc<Engine>) {
        self.engine = Some(Arc::clone(engine));
    }

    /// A configuration is made before its engine, which may have models of its own; so there any name will do.
    fn check_model(&self, name: &str) -> Result<()> {
        if self.engine.as_ref().is_none_or(|engine| engine.has(name)) {
            return Ok(());
        }
        let known = picsift_vision::check_name(name);
        known.map_err(|error| DataFusionError::External(Box::new(error)))
    }
}

fn unknown(key: &str) -> Result<()> {
    config_err!(
        "there is no setting picsift.{key}; there are picsift.model, device, dtype, quantize, crops, prompt_style, heads, cascade, \
         threshold, base, max_tokens, temperature, on_error, max_images, max_seconds and memory_limit"
    )
}

/// Whether a value takes an optional setting back: `SET ... = NULL`, or 'none'.
fn is_none(value: &str) -> bool {
    value.eq_ignore_ascii_case("none") || value.eq_ignore_ascii_case("null")
}

/// Whether a value leaves the number format to the device.
fn is_auto(value: &str) -> bool {
    value.eq_ignore_ascii_case("auto") || is_none(value)
}

/// The value of a setting, or an error that names it.
fn parsed<T>(key: &str, value: &str) -> Result<T>
where
    T: FromStr,
    T::Err: fmt::Display,
{
    value
        .parse()
        .or_else(|error| config_err!("picsift.{key}: {error}"))
}

/// A bound that may be `none`.
fn bound<T: FromStr>(key: &str, value: &str, kind: &str) -> Result<Option<T>> {
    if is_none(value) {
        return Ok(None);
    }
    match value.parse() {
        Ok(bound) => Ok(Some(bound)),
        Err(_) => config_err!("picsift.{key} is '{value}'; it must be {kind}, or none"),
    }
}

/// What a failed image does to the query or job that asked about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnError {
    /// Its answers are NULL, and the rest goes on.
    #[default]
    Null,
    /// The query or job stops with the row's error.
    Fail,
}

impl FromStr for OnError {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.to_ascii_lowercase().as_str() {
            "null" => Ok(Self::Null),
            "fail" => Ok(Self::Fail),
            _ => Err(format!("'{text}' is not known; use 'null' or 'fail'")),
        }
    }
}

impl fmt::Display for OnError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Fail => "fail",
        })
    }
}

#[cfg(test)]
mod tests;
