//! The DataFusion session that every command runs in.
//!
//! Owns its configuration and says why each value differs from DataFusion's own: rows carry images here, so row groups are
//! bounded by what images weigh, as batches are by [`crate::batches`].

use std::sync::Arc;

use datafusion::catalog::{DynamicFileCatalog, TableProviderFactory, UrlTableFactory};
use datafusion::common::Result;
use datafusion::common::config::MaxRowGroupBytes;
use datafusion::execution::memory_pool::{FairSpillPool, MemoryPool};
use datafusion::execution::runtime_env::{RuntimeEnv, RuntimeEnvBuilder};
use datafusion::execution::{SessionState, SessionStateBuilder};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::prelude::{SessionConfig, SessionContext};
use picsift_images::Stores;
use picsift_udf::Engine;

use crate::error::AppError;
use crate::stores::{StoreRegistry, Versions};
use crate::tables::{BoundedParquet, ExternalTables, NamedFiles, Notes, PathTables, PlainCopies};

/// The catalog of a server's clients.
pub const CATALOG: &str = "picsift";

/// The schema of their bare names.
pub const PUBLIC: &str = "public";

/// Functions that make much memory of a number, which clients do without. `generate_series` and `range` as tables make their rows one
/// after the other, and stay.
const AMPLIFIERS: [&str; 7] = [
    "repeat",
    "lpad",
    "rpad",
    "array_repeat",
    "array_resize",
    "range",
    "generate_series",
];

/// Bytes of a Parquet row group in memory while it is written.
pub const ROW_GROUP_BYTES: usize = 32 << 20;

/// A session whose tables are paths and URLs and that has picsift's functions.
///
/// `partitions` is how many streams a plan may run at once; one keeps the rows in their files' order.
///
/// # Errors
/// DataFusion's, when the runtime cannot be set up.
pub fn session(engine: &Arc<Engine>, partitions: usize) -> Result<SessionContext> {
    let context = of_tables(engine.stores(), partitions)?;
    picsift_udf::register_all(&context, engine)?;
    Ok(context)
}

/// What the clients of a server share beside the engine.
#[derive(Debug, Clone)]
pub struct Shared {
    /// What their queries' sorts, joins and groups take memory from.
    pub memory: Arc<dyn MemoryPool>,
    /// Most bytes of what queries put on the disk for want of memory.
    pub spilled_bytes: u64,
}

/// A session of a server's clients: its tables are those of the catalog that is registered as [`CATALOG`], of which [`PUBLIC`] is the
/// schema of bare names. No path and no URL is a table, and no statement makes one of a file.
///
/// # Errors
/// As [`session`].
pub fn of_clients(
    engine: &Arc<Engine>,
    partitions: usize,
    shared: &Shared,
) -> Result<SessionContext> {
    let config = config(partitions)
        .with_create_default_catalog_and_schema(false)
        .with_default_catalog_and_schema(CATALOG, PUBLIC);
    let versions = Arc::new(Versions::default());
    let runtime = RuntimeEnvBuilder::new()
        .with_memory_pool(Arc::clone(&shared.memory))
        .with_max_temp_directory_size(shared.spilled_bytes);
    let state = state(config, runtime, engine.stores(), &versions)?;
    let context = SessionContext::new_with_state(state);
    picsift_udf::register_all(&context, engine)?;
    with_views(&context);
    for function in AMPLIFIERS {
        context.deregister_udf(function);
    }
    Ok(context)
}

/// What tasks of queries read and compute with on a machine of a cluster: the stores of an engine, and so much memory for all of them.
///
/// # Errors
/// As [`session`].
pub fn of_tasks(engine: &Arc<Engine>, memory: usize) -> Result<Arc<RuntimeEnv>> {
    let stores = Arc::clone(engine.stores());
    let registry = StoreRegistry::new(stores, Arc::new(Versions::default()));
    RuntimeEnvBuilder::new()
        .with_object_store_registry(Arc::new(registry))
        .with_memory_pool(Arc::new(FairSpillPool::new(memory)))
        .build_arc()
}

/// What is done to each plan that came from another machine before it runs: how scans are bounded and named is no part of what is sent.
pub fn rules_of_tasks() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    vec![Arc::new(BoundedParquet), Arc::new(NamedFiles)]
}

/// The settings that every session begins with.
fn config(partitions: usize) -> SessionConfig {
    let mut config = SessionConfig::new()
        .with_target_partitions(partitions)
        .with_information_schema(true);
    let options = config.options_mut();
    // It gives wrong rows where a table is joined with itself (https://github.com/apache/datafusion/issues/25296).
    options.optimizer.enable_topk_dynamic_filter_pushdown = false;
    // It loses fields of structs that the condition of a join reads, and answers are structs.
    options.optimizer.enable_leaf_expression_pushdown = false;
    // Commands that read tables want plain text; statements switch it, see `with_views`.
    options.execution.parquet.schema_force_view_types = false;
    options.execution.parquet.max_row_group_bytes = MaxRowGroupBytes::try_new(ROW_GROUP_BYTES).ok();
    options.sql_parser.map_string_types_to_utf8view = false;
    // A glob may name folders, and a folder's tables may lie deeper than one level.
    options.execution.listing_table_ignore_subdirectory = false;
    // A hive folder's value is text unless the table says otherwise, and stays a plain column when written again.
    options.execution.listing_table_factory_infer_partitions = true;
    picsift_udf::with_settings(config)
}

/// A session's state over these stores, which reads files at their `versions`.
fn state(
    config: SessionConfig,
    runtime: RuntimeEnvBuilder,
    stores: &Arc<Stores>,
    versions: &Arc<Versions>,
) -> Result<SessionState> {
    let registry = StoreRegistry::new(Arc::clone(stores), Arc::clone(versions));
    let runtime = runtime
        .with_object_store_registry(Arc::new(registry))
        .build_arc()?;
    let mut state = SessionStateBuilder::new()
        .with_config(config)
        .with_runtime_env(runtime)
        .with_default_features()
        .with_physical_optimizer_rule(Arc::new(BoundedParquet))
        .with_physical_optimizer_rule(Arc::new(NamedFiles))
        .build();
    state.config_mut().set_extension(Arc::clone(versions));
    Ok(state)
}

/// A session whose tables are paths and URLs in these stores.
fn of_tables(stores: &Arc<Stores>, partitions: usize) -> Result<SessionContext> {
    let versions = Arc::new(Versions::default());
    let state = state(
        config(partitions),
        RuntimeEnvBuilder::new(),
        stores,
        &versions,
    )?;
    let notes = Notes::default();
    let tables = Arc::new(PathTables::new(notes.clone()));
    let externals = Arc::new(ExternalTables::new(notes.clone()));
    let catalogs = Arc::new(DynamicFileCatalog::new(
        Arc::clone(state.catalog_list()),
        Arc::clone(&tables) as Arc<dyn UrlTableFactory>,
    ));
    let mut state = SessionStateBuilder::new_from_existing(state)
        .with_catalog_list(catalogs)
        .build();
    state.config_mut().set_extension(Arc::new(notes));
    for format in ["PARQUET", "CSV", "JSON"] {
        let factory = Arc::clone(&externals) as Arc<dyn TableProviderFactory>;
        state
            .table_factories_mut()
            .insert(format.to_string(), factory);
    }
    let context = SessionContext::new_with_state(state);
    tables.attach(&context);
    Ok(context)
}

/// Reads text of Parquet as views, which statements compute with faster; [`crate::tables::plain_rows`] ends them.
pub fn with_views(context: &SessionContext) {
    let state = context.state_ref();
    let mut state = state.write();
    let parquet = &mut state.config_mut().options_mut().execution.parquet;
    parquet.schema_force_view_types = true;
    state.add_analyzer_rule(Arc::new(PlainCopies));
}

/// Streams that a plan runs at once unless something else is said: one a core.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(2, |n| n.get())
}

/// Keeps the sides of joins as they are written: rows on the right stay in their order.
pub fn keep_joins(context: &SessionContext) {
    let state = context.state_ref();
    let mut state = state.write();
    state.config_mut().options_mut().optimizer.join_reordering = false;
}

/// A session for commands that ask about no image: tables, and the aggregates that judge answers.
///
/// # Errors
/// As [`session`].
pub fn of_columns(partitions: usize) -> std::result::Result<SessionContext, AppError> {
    let context = of_tables(&Arc::new(Stores::new()), partitions).map_err(AppError::Plan)?;
    picsift_udf::register_aggregates(&context).map_err(AppError::Plan)?;
    Ok(context)
}
