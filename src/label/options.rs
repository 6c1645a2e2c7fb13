//! What a labelling job is told.

use std::num::NonZeroUsize;
use std::time::Duration;

use picsift_udf::{EngineOptions, OnError};

use crate::options::{CascadeOptions, CategoryOptions, ModelOptions};

/// Rows of a shard unless they are set: a minute or two of the embedded model on two cores.
pub const SHARD_ROWS: NonZeroUsize = match NonZeroUsize::new(20_000) {
    Some(rows) => rows,
    None => NonZeroUsize::MIN,
};

/// What an output that is there already means for a job.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Existing {
    /// It is finished where the same job was stopped; else it is an error, or nothing is to be done.
    #[default]
    Resume,
    /// It is replaced.
    Overwrite,
    /// Files that are new in the input are labelled and added.
    Incremental,
    /// Its failed images are asked again.
    RetryFailed,
}

/// Everything that a job can be told; what is not said has the defaults of [`LabelOptions::new`].
#[derive(Debug, Clone)]
pub struct LabelOptions {
    /// Files, folders or globs of Parquet, CSV or JSON; local or URLs.
    pub inputs: Vec<String>,
    /// Folder that gets the labelled table; local or a URL.
    pub output: String,
    /// What is asked.
    pub categories: CategoryOptions,
    /// Which model is asked.
    pub model: ModelOptions,
    /// Column of the images; `None` is the only candidate.
    pub image: Option<String>,
    /// Column of the SHA-256 that each image must have; an image with another is a failure. `None` checks none.
    pub digest: Option<String>,
    /// Whether the output has a column of the images' embeddings; default no.
    pub embedding: bool,
    /// Whether the column of the images holds the pictures themselves in the output; default no.
    pub embed: bool,
    /// Whether the output has the column of the images; default yes.
    pub keep_images: bool,
    /// SQL predicate of the rows that are labelled; `None` is all.
    pub predicate: Option<String>,
    /// Most rows; `None` is all.
    pub limit: Option<usize>,
    /// Columns whose values become folders: the table's own, or `label`.
    pub partition_by: Vec<String>,
    /// What an image that cannot be judged does; default [`OnError::Null`].
    pub on_error: OnError,
    /// What an output that is there already means.
    pub existing: Existing,
    /// Share of failed images, 0 to 1, above which the job ends; judged from 100 images on and at its end.
    pub max_error_ratio: Option<f64>,
    /// Rows that are written and remembered together; default [`SHARD_ROWS`].
    pub shard_rows: NonZeroUsize,
    /// File of corrections that win over the model.
    pub corrections: Option<String>,
    /// Images to ask the model about at most; what is done by then is published as a part.
    pub max_images: Option<u64>,
    /// Time from the first image on; what is done by then is published as a part.
    pub max_time: Option<Duration>,
    /// A cheap model that answers where it may; the model is asked the rest.
    pub cascade: Option<CascadeOptions>,
    /// Whether the output has a column that says which of both answered; default no.
    pub answered_by: bool,
    /// Limits on an image, what references may reach, where answers are kept.
    pub engine: EngineOptions,
}

impl LabelOptions {
    /// The job that labels `inputs` into the folder `output`.
    pub fn new(
        inputs: impl IntoIterator<Item = impl Into<String>>,
        output: impl Into<String>,
    ) -> Self {
        Self {
            inputs: inputs.into_iter().map(Into::into).collect(),
            output: output.into(),
            categories: CategoryOptions::default(),
            model: ModelOptions::default(),
            image: None,
            digest: None,
            embedding: false,
            embed: false,
            keep_images: true,
            predicate: None,
            limit: None,
            partition_by: Vec::new(),
            on_error: OnError::Null,
            existing: Existing::default(),
            max_error_ratio: None,
            shard_rows: SHARD_ROWS,
            corrections: None,
            max_images: None,
            max_time: None,
            cascade: None,
            answered_by: false,
            engine: EngineOptions::default(),
        }
    }

    /// Asks for these nouns too.
    pub fn with_categories(mut self, names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.categories
            .names
            .extend(names.into_iter().map(Into::into));
        self
    }

    /// Asks this model.
    pub fn with_model(mut self, model: ModelOptions) -> Self {
        self.model = model;
        self
    }

    /// Labels only rows for which this SQL predicate holds.
    pub fn with_predicate(mut self, predicate: impl Into<String>) -> Self {
        self.predicate = Some(predicate.into());
        self
    }

    /// Labels at most this many rows.
    pub fn with_limit(mut self, rows: usize) -> Self {
        self.limit = Some(rows);
        self
    }

    /// What to do about an output that is there already.
    pub fn with_existing(mut self, existing: Existing) -> Self {
        self.existing = existing;
        self
    }

    /// Runs on an engine with these options.
    pub fn with_engine(mut self, engine: EngineOptions) -> Self {
        self.engine = engine;
        self
    }
}
