//! The file that `picsift calibrate` writes and `SET picsift.cascade` reads: from which scores on a cheap model decides.
//!
//! Owns the file's form and what it is bound to: both models with their revisions, and each category's question to either. Thresholds say
//! nothing about other scores than those they were made of, so that whatever differs is refused.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use datafusion::common::{Result, plan_datafusion_err, plan_err};
use picsift_images::{PIXELS_REVISION, hex};
use picsift_vision::store::QuestionId;
use picsift_vision::{
    Category, CategorySpec, CropPolicy, Heads, HeadsError, LoadOptions, Quantization, Question,
};
use serde::{Deserialize, Serialize};

use crate::pipeline::cascade::{Band, Cascade};
use crate::pipeline::engine::Engine;
use crate::pipeline::models::{ModelHandle, ModelSpec};

/// Most bytes of a file: two thousand categories.
const MOST_BYTES: u64 = 4 << 20;

/// What a file of a cascade says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CascadeFile {
    /// Probability, 0 to 1, with which the promises about all categories hold of the table that was sampled.
    pub confidence: f64,
    /// Share, 0 to 1, of what the cheap model decides that the dear one is asked about all the same.
    pub audit: f64,
    /// File of heads by which the cheap model scores, from this file's folder.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heads: Option<PathBuf>,
    /// The model that is spared.
    pub dear: CalibratedModel,
    /// The model that decides.
    pub cheap: CalibratedModel,
    /// What was sampled.
    pub sample: SampledTable,
    /// The categories by their names.
    pub category: BTreeMap<String, CalibratedCategory>,
}

/// One of the two models, as it was when they were compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibratedModel {
    /// As a person names it.
    pub name: String,
    /// Which weights.
    pub revision: String,
    /// Number format of its weights, where it was quantised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantize: Option<String>,
    /// How large images are cut up, where that is not the reference's way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crops: Option<String>,
}

/// The table that thresholds were made of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SampledTable {
    /// Its name, without credentials.
    pub table: String,
    /// Its rows.
    pub rows: u64,
    /// Rows that both models were asked about.
    pub asked: u64,
    /// What the rows were drawn by.
    pub seed: u64,
}

/// A category's thresholds and what was promised of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibratedCategory {
    /// A cheap score below is a no; absent where none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub low: Option<f32>,
    /// A cheap score from here on is a yes; absent where none is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub high: Option<f32>,
    /// Score of the dear model from which the category holds.
    pub threshold: f32,
    /// What was promised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_recall: Option<f64>,
    /// See `min_recall`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_precision: Option<f64>,
    /// Question for a cheap model that reads one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Further nouns of the cheap model's question.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nouns: Vec<String>,
    /// Sentences around a noun, for a cheap model that compares texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<String>,
    /// Names of the questions, which cover model, revision, number format, preprocessing and words.
    pub dear_question: String,
    /// See `dear_question`.
    pub cheap_question: String,
}

/// Why a file of a cascade is of no use.
#[derive(Debug, thiserror::Error)]
pub enum CascadeError {
    /// It cannot be read.
    #[error("cannot read the cascade {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// It is none.
    #[error("{} is no cascade: {reason}; picsift calibrate writes such files", path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Its heads cannot be had.
    #[error(transparent)]
    Heads(#[from] HeadsError),
}

/// A cascade that was read. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ReadCascade {
    path: Arc<Path>,
    file: Arc<CascadeFile>,
    heads: Option<Heads>,
}

/// The name by which a file knows a question.
pub fn question_name(model: &ModelHandle, question: &Question) -> String {
    hex(QuestionId::new(model.info(), PIXELS_REVISION, question).as_bytes())
}

impl ReadCascade {
    /// Reads a file and the heads that it names.
    ///
    /// # Errors
    /// [`CascadeError`].
    pub fn read(path: &Path) -> std::result::Result<Self, CascadeError> {
        let read = |source| CascadeError::Read {
            path: path.to_owned(),
            source,
        };
        let form = |reason: String| CascadeError::Form {
            path: path.to_owned(),
            reason,
        };
        if std::fs::metadata(path).map_err(read)?.len() > MOST_BYTES {
            return Err(form(format!("it is larger than {MOST_BYTES} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(read)?;
        let file: CascadeFile = toml::from_str(&text).map_err(|error| form(error.to_string()))?;
        file.check().map_err(form)?;
        let heads = match &file.heads {
            None => None,
            Some(heads) => {
                let folder = path.parent().unwrap_or(Path::new(""));
                Some(Heads::read(&folder.join(heads))?)
            }
        };
        Ok(Self {
            path: path.into(),
            file: Arc::new(file),
            heads,
        })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The cascade for calls of `dear` about these categories; `None` where the file has none of them.
    ///
    /// # Errors
    /// A planning error where models, revisions or questions are not those of the file.
    pub(crate) fn bind(
        &self,
        engine: &Engine,
        dear: &ModelSpec,
        categories: &[CategorySpec],
        threshold: Option<f32>,
    ) -> Result<Option<Arc<Cascade>>> {
        let file = &*self.file;
        let path = self.path.display();
        if dear.name != file.dear.name {
            return plan_err!(
                "the cascade {path} spares the model '{}', and '{}' is asked; SET picsift.model = '{}', or calibrate this model",
                file.dear.name,
                dear.name,
                file.dear.name
            );
        }
        let described = |spec: &ModelSpec| {
            let model = engine.model(&spec.name, &spec.load);
            model.map_err(|error| plan_datafusion_err!("{error}"))
        };
        let dear_model = described(dear)?;
        let cheap = ModelSpec {
            name: file.cheap.name.clone(),
            load: file.cheap.load(dear.load)?,
        };
        let cheap_model = described(&cheap)?;
        for (model, known) in [(&dear_model, &file.dear), (&cheap_model, &file.cheap)] {
            let revision = &model.info().revision;
            if *revision != known.revision {
                return plan_err!(
                    "the cascade {path} was calibrated with revision {} of '{}', and here it is {revision}; calibrate again",
                    known.revision,
                    known.name
                );
            }
        }
        let known = |spec: &CategorySpec| file.category.get(&spec.category.name);
        if !categories.iter().any(|spec| known(spec).is_some()) {
            return Ok(None);
        }
        for spec in categories {
            let Some(known) = known(spec) else { continue };
            let name = &spec.category.name;
            let own = spec.threshold.or(threshold);
            let own = own.unwrap_or(dear_model.info().default_threshold);
            if own != known.threshold {
                return plan_err!(
                    "the cascade {path} was calibrated for a threshold {} of '{name}', and here it is {own}; calibrate again, or \
                     SET picsift.threshold = {}",
                    known.threshold,
                    known.threshold
                );
            }
            let asked = dear_model.category(&spec.category);
            let asked = asked.map_err(|error| plan_datafusion_err!("{error}"))?;
            if question_name(&dear_model, &asked) != known.dear_question {
                return plan_err!(
                    "the cascade {path} was calibrated for another question about '{name}' to '{}': words, number format or \
                     preprocessing differ; calibrate again",
                    file.dear.name
                );
            }
        }
        let mut bands = Vec::with_capacity(file.category.len());
        for (name, known) in &file.category {
            let category = self.category(name, known);
            let asked = cheap_model.category(&category.category);
            let asked = asked.map_err(|error| plan_datafusion_err!("{error}"))?;
            if question_name(&cheap_model, &asked) != known.cheap_question {
                return plan_err!(
                    "the cascade {path} was calibrated for another question about '{name}' to '{}': words, heads, number format or \
                     preprocessing differ; calibrate again",
                    file.cheap.name
                );
            }
            bands.push(Band {
                category,
                low: known.low.unwrap_or(f32::NEG_INFINITY),
                high: known.high.unwrap_or(f32::INFINITY),
            });
        }
        Ok(Some(Arc::new(Cascade {
            model: cheap.name,
            load: cheap.load,
            bands,
            audit: file.audit,
        })))
    }

    fn category(&self, name: &str, known: &CalibratedCategory) -> CategorySpec {
        let heads = self.heads.as_ref();
        CategorySpec {
            category: Category {
                prompt: known.prompt.clone(),
                nouns: known.nouns.clone(),
                templates: known.templates.clone(),
                head: heads.and_then(|heads| heads.get(name)).cloned(),
                ..Category::named(name)
            },
            threshold: None,
        }
    }
}

impl CascadeFile {
    /// What no file that picsift wrote says.
    fn check(&self) -> std::result::Result<(), String> {
        if !(0.0..=1.0).contains(&self.audit) {
            return Err(format!("its audit {} is not within 0 to 1", self.audit));
        }
        for (name, known) in &self.category {
            let (low, high) = (known.low.unwrap_or(0.0), known.high.unwrap_or(2.0));
            if low.is_nan() || high.is_nan() || low > high {
                return Err(format!(
                    "'{name}' would be a no below {low} and a yes from {high} on"
                ));
            }
        }
        Ok(())
    }
}

impl CalibratedModel {
    /// A model as it is called and loaded here.
    pub fn new(name: &str, load: &LoadOptions, model: &ModelHandle) -> Self {
        let crops = (load.crops != CropPolicy::default()).then(|| load.crops.to_string());
        Self {
            name: name.to_owned(),
            revision: model.info().revision.clone(),
            quantize: load.quantize.map(|quantize| quantize.to_string()),
            crops,
        }
    }

    /// How it is loaded beside a model that is loaded so.
    fn load(&self, beside: LoadOptions) -> Result<LoadOptions> {
        let wrong = |error: String| plan_datafusion_err!("picsift.cascade: {error}");
        let quantize: Option<Quantization> = match &self.quantize {
            None => None,
            Some(text) => Some(
                text.parse::<Quantization>()
                    .map_err(|e| wrong(format!("{e}")))?,
            ),
        };
        Ok(LoadOptions {
            quantize,
            crops: match &self.crops {
                None => CropPolicy::default(),
                Some(text) => text
                    .parse::<CropPolicy>()
                    .map_err(|e| wrong(format!("{e}")))?,
            },
            ..beside
        })
    }
}
