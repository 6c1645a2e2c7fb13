//! SQL functions that look at images, and the inference behind them.
//!
//! [`register_all`] gives a DataFusion session the functions, their settings and the rule that makes them run;
//! [`annotate()`] adds a labelling's columns to a stream. An [`Engine`] holds what both run on: fetcher, decode pool and one
//! service per model. How pixels are made is `picsift-images`' to know, what a model is `picsift-vision`'s: here they meet.

mod annotate;
mod call;
mod columns;
mod engine;
mod functions;
mod hoist;
mod image_column;
mod infer;
mod labelling;
mod lineage;
mod lower;
mod marker;
mod settings;

use std::sync::Arc;

use datafusion::logical_expr::registry::FunctionRegistry;
use datafusion::prelude::{SessionConfig, SessionContext};

pub use annotate::{AddedColumns, Annotation, CLASH_PREFIX, annotate, output_schema};
pub use engine::{Engine, EngineError, EngineOptions};
pub use image_column::{
    IMAGE_TYPES, ImageSource, image_sources, is_binary, is_image_struct, is_image_type, is_string,
};
pub use infer::{Inquiry, Outcome, RowError, RunStats};
pub use labelling::{CategorySpec, Labelling, answers_json, best_label, holds, labels};
pub use lineage::{base_of, table_base};
pub use settings::{OnError, PicsiftOptions};

/// A session configuration that knows the `picsift.*` settings.
pub fn with_settings(config: SessionConfig) -> SessionConfig {
    config.with_option_extension(PicsiftOptions::default())
}

/// Registers the functions and the rule that makes them run. The session's configuration should come from
/// [`with_settings`]; without it the settings have their defaults and `SET picsift...` is refused.
///
/// # Errors
/// DataFusion's, when a function cannot be registered.
pub fn register_all(
    context: &SessionContext,
    engine: &Arc<Engine>,
) -> datafusion::common::Result<()> {
    let state = context.state_ref();
    let mut state = state.write();
    for function in functions::all() {
        state.register_udf(function)?;
    }
    state.add_analyzer_rule(Arc::new(lower::LowerImageFunctions::new(Arc::clone(
        engine,
    ))));
    Ok(())
}
