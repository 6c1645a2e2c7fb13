//! SQL functions that look at images, and the inference behind them.
//!
//! [`register_all`] gives a DataFusion session the functions, their settings, the rules that gather a query's questions
//! and the operator that asks them; [`annotate()`] is a labelling as a plan. An [`Engine`] holds what all run on: fetcher, decode
//! pool and models. How pixels are made is `picsift-images`' to know, what a model is `picsift-vision`'s: here they meet.

mod aggregates;
mod annotate;
mod base;
mod budget;
mod call;
mod codec;
mod columns;
mod conditional;
mod constants;
mod corrections;
mod correlated;
mod engine;
mod estimate;
mod exec;
mod extract;
mod functions;
mod grouping;
mod image_column;
mod image_key;
mod inference_group;
mod kernel;
mod labelling;
mod lineage;
mod losses;
mod memory_cache;
pub mod metrics;
mod models;
mod node;
mod origin;
mod outcome;
mod persistent_cache;
mod pipeline;
mod placeholder;
mod planner;
mod quota;
mod resolve;
mod settings;
mod similar;
mod stats;

use std::sync::Arc;

use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::registry::FunctionRegistry;
use datafusion::prelude::{SessionConfig, SessionContext};

pub use annotate::{AddedColumns, Annotation, CLASH_PREFIX, annotate, output_schema};
pub use codec::InferCodec;
pub use corrections::Corrections;
pub use engine::{Engine, EngineError, EngineOptions};
pub use estimate::{Estimate, Sample, estimate};
pub use exec::InferExec;
pub use image_column::{
    IMAGE_TYPES, ImageSource, image_names, image_sources, is_binary, is_image_struct,
    is_image_type, is_string, is_text,
};
pub use image_key::{DIGEST_PREFIX, ImageKey};
pub use labelling::{Labelling, labels};
pub use lineage::{LocatedTable, execute, table_base};
pub use losses::Losses;
pub use models::ModelHandle;
pub use origin::ReferenceOrigin;
pub use outcome::{Outcome, RowError};
pub use pipeline::{ImagePipeline, QuestionSet};
pub use planner::InferPlanner;
pub use quota::{AtEnd, Exhausted, InferenceQuota};
pub use settings::{OnError, PicsiftOptions};
pub use stats::RunStats;

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
    for function in functions::all() {
        state.register_udf(function)?;
    }
    for aggregate in aggregates::all() {
        state.register_udaf(aggregate)?;
    }
    let planner = planner::InferQueryPlanner::new(Arc::clone(engine));
    let resolve = resolve::ResolveCalls::new(Arc::clone(engine));
    let physical = exec::SortsAboveInference::among(state.physical_optimizers());
    *state = SessionStateBuilder::new_from_existing(state.clone())
        .with_analyzer_rule(Arc::new(resolve))
        .with_optimizer_rule(Arc::new(extract::ExtractInference))
        .with_physical_optimizer_rules(physical)
        .with_query_planner(Arc::new(planner))
        .build();
    Ok(())
}
