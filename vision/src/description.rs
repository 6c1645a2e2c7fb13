//! A model before its weights are read: what planning needs of it, and how it is then loaded.
//!
//! A plan is made, shown, sent and read on machines that never run it. So what a model says of itself and which questions it
//! takes are had from its configuration and its tokenizer, and the weights are read when something is asked.

use std::fmt;
use std::sync::Arc;

use crate::error::VisionError;
use crate::model::{BatchAdvice, Loaded, ModelInfo, Questions};
use crate::source::FetchProgress;

/// What is known of a model without its weights.
#[derive(Clone)]
pub struct ModelDescription {
    /// What it is once it is loaded.
    pub info: ModelInfo,
    /// Which questions it takes.
    pub questions: Arc<dyn Questions>,
    /// How many images it likes to be given at once.
    pub batch: BatchAdvice,
}

impl fmt::Debug for ModelDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ModelDescription")
            .field("info", &self.info)
            .finish_non_exhaustive()
    }
}

/// Reads the weights, after fetching them if need be; may be called again after a failure.
type Loader = dyn Fn(&dyn FetchProgress) -> Result<Loaded, VisionError> + Send + Sync;

/// A model that can be loaded, onto one device or onto several.
pub struct DescribedModel {
    description: ModelDescription,
    loader: Box<Loader>,
    /// Those of further devices.
    others: Vec<Box<Loader>>,
}

impl DescribedModel {
    /// A model that `loader` loads; what it loads is what `description` says.
    pub fn new(
        description: ModelDescription,
        loader: impl Fn(&dyn FetchProgress) -> Result<Loaded, VisionError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            description,
            loader: Box::new(loader),
            others: Vec::new(),
        }
    }

    /// The same model on the devices of both, for one service.
    pub(crate) fn and(mut self, other: Self) -> Self {
        let device = &mut self.description.info.device;
        *device = joined(device, &other.description.info.device);
        self.others.push(other.loader);
        self.others.extend(other.others);
        self
    }

    /// How many devices it is loaded onto.
    pub fn devices(&self) -> usize {
        1 + self.others.len()
    }

    /// What is known of it.
    pub fn description(&self) -> &ModelDescription {
        &self.description
    }

    /// Loads it onto its first device. Blocks: minutes, where the weights are fetched first.
    ///
    /// # Errors
    /// [`VisionError::Source`] when the weights cannot be fetched; whatever the model's own loading gives.
    pub fn load(&self, progress: &dyn FetchProgress) -> Result<Loaded, VisionError> {
        (self.loader)(progress)
    }

    /// Loads it onto each of its devices, in their order.
    ///
    /// # Errors
    /// As [`DescribedModel::load`], of any device.
    pub fn load_all(&self, progress: &dyn FetchProgress) -> Result<Vec<Loaded>, VisionError> {
        let loaders = std::iter::once(&self.loader).chain(&self.others);
        loaders.map(|loader| loader(progress)).collect()
    }
}

/// The devices of a model that runs on several, as [`ModelInfo::device`] has them.
pub(crate) fn joined(devices: &str, more: &str) -> String {
    format!("{devices}, {more}")
}

impl fmt::Debug for DescribedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DescribedModel")
            .field("description", &self.description)
            .finish_non_exhaustive()
    }
}
