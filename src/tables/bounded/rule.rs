//! The rule that puts a reader within bounds under every scan of Parquet, however the scan came about.

use std::sync::Arc;

use datafusion::common::Result;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::datasource::physical_plan::{FileScanConfig, FileScanConfigBuilder, ParquetSource};
use datafusion::datasource::source::DataSourceExec;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::ExecutionPlan;

use super::super::locate::without_secrets;
use super::reader::Factory;
use crate::batches;

/// Lets scans of Parquet refuse pages that would become far more in memory than they are in the file.
#[derive(Debug, Default)]
pub struct BoundedParquet;

impl PhysicalOptimizerRule for BoundedParquet {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let most = config.execution.batch_size.get();
        let rows = batches::rows_together(&plan).map_or(most, |rows| rows.min(most)) as u64;
        plan.transform_up(|node| match bounded(&node, rows) {
            Some(scan) => Ok(Transformed::yes(scan)),
            None => Ok(Transformed::no(node)),
        })
        .data()
    }

    fn name(&self) -> &str {
        "bounded_parquet"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

fn bounded(node: &Arc<dyn ExecutionPlan>, rows: u64) -> Option<Arc<dyn ExecutionPlan>> {
    let scan = node.downcast_ref::<DataSourceExec>()?;
    let config = scan.data_source().downcast_ref::<FileScanConfig>()?;
    let source = config.file_source().downcast_ref::<ParquetSource>()?;
    let inner = Arc::clone(source.parquet_file_reader_factory()?);
    let source = source
        .clone()
        .with_parquet_file_reader_factory(Arc::new(Factory {
            inner,
            root: root(config.object_store_url.as_str()),
            rows,
            table: Arc::clone(config.file_source().table_schema().file_schema()),
        }));
    let config = FileScanConfigBuilder::from(config.clone())
        .with_source(Arc::new(source))
        .build();
    Some(DataSourceExec::from_data_source(config))
}

/// What stands before a file's place in its store, as a person would write it.
fn root(store: &str) -> String {
    match store {
        "file:///" => "/".to_string(),
        other => without_secrets(other.to_string()),
    }
}
