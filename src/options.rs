//! What several commands and jobs are told alike, as plain values.

use std::path::PathBuf;

use picsift_vision::categories::{JobCategory, with_heads};
use picsift_vision::{DEFAULT_MODEL, LoadOptions, PromptStyle};

use crate::cascade::Promise;
use crate::error::AppError;

/// Which model answers, and how it is loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelOptions {
    /// A name that `picsift models` lists, `owner/name@revision` of the hub, or a folder. Default: the embedded model.
    pub name: String,
    /// Device, number format, quantisation and crops. Default: as the model was published, on the best device there is.
    pub load: LoadOptions,
}

impl Default for ModelOptions {
    fn default() -> Self {
        Self {
            name: DEFAULT_MODEL.to_string(),
            load: LoadOptions::default(),
        }
    }
}

/// Share of what a cheap model decides that the dear one is asked about all the same, unless it is set.
pub const AUDIT: f64 = 0.005;

/// Probability with which promises hold, unless it is set.
pub const CONFIDENCE: f64 = 0.95;

/// A cheap model that answers for the model that is asked, which is the dear one.
#[derive(Debug, Clone, PartialEq)]
pub struct CascadeOptions {
    /// The cheap model.
    pub cheap: ModelOptions,
    /// What is promised of categories that have no promise of their own.
    pub promise: Promise,
    /// Probability, 0 to 1, both left out, with which all promises hold together. Default: [`CONFIDENCE`].
    pub confidence: f64,
    /// Most images that the dear model is asked about, those of the sample among them; `None` is no bound.
    pub max_asked: Option<u64>,
    /// Share, 0 to 1, of what the cheap model decides that the dear one is asked about all the same. Default: [`AUDIT`].
    pub audit: f64,
    /// What the sample is drawn by.
    pub seed: u64,
}

/// Which categories are asked for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CategoryOptions {
    /// Nouns, in the order of their columns.
    pub names: Vec<String>,
    /// A TOML file of categories, which come after those named.
    pub file: Option<PathBuf>,
    /// A file that `picsift teach` wrote: the categories that it is about are answered by what was taught.
    pub heads: Option<PathBuf>,
    /// Score from 0 to 1 at which a category holds that has no threshold of its own; `None` is the model's, and 0.5 of what was taught.
    pub threshold: Option<f32>,
    /// How they are put to a model that reads questions; default: in its makers' words.
    pub style: PromptStyle,
}

impl CategoryOptions {
    /// The categories.
    ///
    /// # Errors
    /// [`AppError::Usage`] when there is none, one stands twice, or a file is no list of categories or no file of heads.
    pub fn resolve(&self) -> Result<Vec<JobCategory>, AppError> {
        let mut all = with_heads(&self.names, self.file.as_deref(), self.heads.as_deref())
            .map_err(|error| AppError::Usage(error.to_string()))?;
        for category in &mut all {
            category.spec.category.style = self.style;
        }
        Ok(all)
    }
}
