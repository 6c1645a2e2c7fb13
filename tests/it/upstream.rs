//! What DataFusion gets wrong and a session works around. A test here that fails because DataFusion is right says that the
//! workaround may go.

use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use datafusion::prelude::{ParquetReadOptions, SessionConfig, SessionContext};
use picsift::session::session;
use picsift_udf::{Engine, EngineOptions};

use crate::support::root;

/// The setting under which a top-k pushes a filter into its input.
const TOP_K_FILTER: &str = "datafusion.optimizer.enable_topk_dynamic_filter_pushdown";

/// The first rows of a table joined with itself, as DataFusion alone gives them; several rows share each `n`.
async fn first_rows(filter: &str) -> String {
    let config = SessionConfig::new()
        .with_batch_size(64)
        .with_target_partitions(1)
        .set_str(TOP_K_FILTER, filter);
    let context = SessionContext::new_with_config(config);
    let table = root().join("tests/data/topk_self_join.parquet");
    let options = ParquetReadOptions::default();
    let registered = context.register_parquet("t", table.to_str().unwrap(), options);
    registered.await.unwrap();
    let query = "SELECT y.grp, x.flag FROM t x JOIN t y ON x.n = y.n ORDER BY x.id NULLS LAST, y.id NULLS LAST LIMIT 5";
    let batches = context.sql(query).await.unwrap().collect().await.unwrap();
    pretty_format_batches(&batches).unwrap().to_string()
}

/// <https://github.com/apache/datafusion/issues/25296>: the filter that a top-k pushes into its input drops rows of a self-join
/// that belong to it. `session` turns it off.
#[tokio::test(flavor = "multi_thread")]
async fn the_filter_of_a_top_k_loses_rows_of_a_self_join() {
    assert_ne!(
        first_rows("true").await,
        first_rows("false").await,
        "DataFusion is right with the filter: leave it on in src/session.rs"
    );
    let engine = Arc::new(Engine::new(EngineOptions::default()).unwrap());
    let context = session(&engine, 1).unwrap();
    let state = context.state();
    let options = &state.config_options().optimizer;
    assert!(!options.enable_topk_dynamic_filter_pushdown);
}
