//! What DataFusion gets wrong and a session works around. A test here that fails because DataFusion is right says that the
//! workaround may go.

use std::sync::Arc;

use arrow::util::pretty::pretty_format_batches;
use picsift::session::session;
use picsift_udf::{Engine, EngineOptions};

use crate::support::root;

/// The setting under which a top-k pushes a filter into its input.
const TOP_K_FILTER: &str = "datafusion.optimizer.enable_topk_dynamic_filter_pushdown";

/// The first rows of a table joined with itself; several rows share each `n`.
async fn first_rows(filter: Option<bool>) -> String {
    let engine = Arc::new(Engine::new(EngineOptions::default()).unwrap());
    let context = session(&engine, 1).unwrap();
    let run = async |query: String| context.sql(&query).await.unwrap().collect().await.unwrap();
    run("SET datafusion.execution.batch_size = 64".to_string()).await;
    if let Some(on) = filter {
        run(format!("SET {TOP_K_FILTER} = {on}")).await;
    }
    let table = root().join("tests/data/topk_self_join.parquet");
    let table = table.display();
    run(format!(
        "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{table}'"
    ))
    .await;
    let query = "SELECT y.grp, x.flag FROM t x JOIN t y ON x.n = y.n ORDER BY x.id NULLS LAST, y.id NULLS LAST LIMIT 5";
    let batches = run(query.to_string()).await;
    pretty_format_batches(&batches).unwrap().to_string()
}

/// <https://github.com/apache/datafusion/issues/25296>: the filter that a top-k pushes into its input drops rows of a self-join
/// that belong to it. `session` turns it off.
#[tokio::test(flavor = "multi_thread")]
async fn the_filter_of_a_top_k_loses_rows_of_a_self_join() {
    let right = first_rows(Some(false)).await;
    assert_eq!(first_rows(None).await, right);
    assert_ne!(
        first_rows(Some(true)).await,
        right,
        "DataFusion is right with the filter: leave it on in src/session.rs"
    );
}
