//! The model that a session's settings name, for functions whose result type follows from it.
//!
//! DataFusion makes such functions anew whenever a setting changes. Nothing is looked up before a query uses one.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::common::{Result, plan_datafusion_err};
use datafusion::config::ConfigOptions;

use crate::pipeline::engine::Engine;
use crate::pipeline::models::{ModelHandle, ModelSpec};
use crate::settings::PicsiftOptions;

/// The model that a session's settings name.
#[derive(Clone)]
pub(crate) struct SessionModel {
    engine: Arc<Engine>,
    spec: ModelSpec,
}

impl SessionModel {
    pub(crate) fn new(engine: Arc<Engine>, config: &ConfigOptions) -> Self {
        Self {
            engine,
            spec: PicsiftOptions::of(config).model_spec(),
        }
    }

    /// The same under other settings.
    pub(crate) fn of_config(&self, config: &ConfigOptions) -> Self {
        Self::new(Arc::clone(&self.engine), config)
    }

    /// The same for a model that is named.
    pub(crate) fn of_spec(engine: Arc<Engine>, spec: ModelSpec) -> Self {
        Self { engine, spec }
    }

    /// Which model.
    pub(crate) fn spec(&self) -> &ModelSpec {
        &self.spec
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The model, described.
    ///
    /// # Errors
    /// A planning error for one that cannot be had.
    pub(crate) fn described(&self) -> Result<ModelHandle> {
        let described = self.engine.model(&self.spec.name, &self.spec.load);
        described.map_err(|error| plan_datafusion_err!("{error}"))
    }
}

impl fmt::Debug for SessionModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SessionModel").field(&self.spec).finish()
    }
}

impl PartialEq for SessionModel {
    fn eq(&self, other: &Self) -> bool {
        self.spec == other.spec
    }
}

impl Eq for SessionModel {}

impl Hash for SessionModel {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.spec.hash(state);
    }
}
