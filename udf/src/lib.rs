//! SQL functions that look at images, and the inference behind them.
//!
//! [`register_all`] gives a DataFusion session the functions, their settings, the rules that gather a query's questions
//! and the operator that asks them; [`annotate()`] is a labelling as a plan. An [`Engine`] holds what all run on: fetcher, decode
//! pool and models. How pixels are made is `picsift-images`' to know, what a model is `picsift-vision`'s: here they meet.

mod aggregates;
mod codec;
mod estimate;
mod exec;
mod functions;
pub mod metrics;
mod pipeline;
mod plan;
mod settings;

use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::registry::FunctionRegistry;
use datafusion::prelude::{SessionConfig, SessionContext};

use crate::functions::session_model::SessionModel;

pub use codec::InferCodec;
pub use estimate::{Estimate, Sample, estimate};
pub use exec::InferExec;
pub use exec::planner::InferPlanner;
pub use functions::embed::EMBEDDING_MODEL;
pub use functions::labelling::{Labelling, labels};
pub use pipeline::cascade::{Answered, Band, Cascade, CascadeCounts, CascadeStats};
pub use pipeline::checked::is_digest_type;
pub use pipeline::corrections::Corrections;
pub use pipeline::engine::{Engine, EngineError, EngineOptions};
pub use pipeline::image_column::{
    IMAGE_TYPES, ImageSource, image_names, image_sources, is_binary, is_image_struct,
    is_image_type, is_string, is_text,
};
pub use pipeline::image_key::{DIGEST_PREFIX, ImageKey};
pub use pipeline::losses::Losses;
pub use pipeline::models::ModelHandle;
pub use pipeline::origin::ReferenceOrigin;
pub use pipeline::outcome::{FailedImage, Outcome, RowError};
pub use pipeline::quota::{AtEnd, Exhausted, InferenceQuota};
pub use pipeline::stats::{FetchObserver, RunStats};
pub use pipeline::{ImagePipeline, QuestionSet};
pub use plan::annotate::{AddedColumns, Annotation, CLASH_PREFIX, annotate, output_schema};
pub use plan::embedded::{Lessons, lessons};
pub use plan::lineage::{LocatedTable, column_folder, execute, table_base};
pub use settings::{
    CalibratedCategory, CalibratedModel, CascadeError, CascadeFile, OnError, PicsiftOptions,
    ReadCascade, SampledTable, question_name,
};

/// A session configuration that knows the `picsift.*` settings.
pub fn with_settings(config: SessionConfig) -> SessionConfig {
    config.with_option_extension(PicsiftOptions::default())
}

/// Registers the functions, the rules that gather their calls and the planner of the operator, in the place of the session's
/// query planner. The session's configuration should come from [`with_settings`]; without it the settings have their
/// defaults and `SET picsift...` is refused.
///
/// # Errors
/// DataFusion's, when a function cannot be registered.
pub fn register_all(
    context: &SessionContext,
    engine: &Arc<Engine>,
) -> datafusion::common::Result<()> {
    let state = context.state_ref();
    let mut state = state.write();
    let options = state.config_mut().options_mut();
    if let Some(settings) = options.extensions.get_mut::<PicsiftOptions>() {
        settings.know(engine);
    }
    let model = SessionModel::new(Arc::clone(engine), state.config().options());
    for function in functions::all(&model) {
        state.register_udf(function)?;
    }
    let planner = exec::planner::InferQueryPlanner::new(Arc::clone(engine));
    let resolve = plan::resolve::ResolveCalls::new(Arc::clone(engine));
    let physical = exec::SortsAboveInference::among(state.physical_optimizers());
    *state = SessionStateBuilder::new_from_existing(state.clone())
        .with_analyzer_rule(Arc::new(resolve))
        .with_optimizer_rule(Arc::new(plan::extract::ExtractInference))
        .with_physical_optimizer_rules(physical)
        .with_query_planner(Arc::new(planner))
        .build();
    drop(state);
    register_aggregates(context)
}

/// Registers the aggregates that judge answers, which need no engine.
///
/// # Errors
/// DataFusion's, when one cannot be registered.
pub fn register_aggregates(context: &SessionContext) -> datafusion::common::Result<()> {
    let state = context.state_ref();
    let mut state = state.write();
    for aggregate in aggregates::all() {
        state.register_udaf(aggregate)?;
    }
    Ok(())
}
