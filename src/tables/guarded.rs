//! Arrow's reader, which ends its thread at some batches that are not what their columns say.
//!
//! Owns that such a file is an error with its name. What a file is refused for before it is read is `streams`' to know: that keeps memory in
//! bounds, and this the program alive.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use async_trait::async_trait;
use datafusion::catalog::Session;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, Statistics, exec_err};
use datafusion::datasource::file_format::FileFormat;
use datafusion::datasource::file_format::arrow::ArrowFormat;
use datafusion::datasource::file_format::file_compression_type::FileCompressionType;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    FileOpenFuture, FileOpener, FileScanConfig, FileScanConfigBuilder, FileSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{ExecutionPlan, PhysicalExpr};
use futures::{FutureExt, StreamExt};
use object_store::{ObjectMeta, ObjectStore};

/// [`ArrowFormat`], whose panics are errors.
#[derive(Debug, Default)]
pub(super) struct GuardedArrow(ArrowFormat);

#[async_trait]
impl FileFormat for GuardedArrow {
    fn get_ext(&self) -> String {
        self.0.get_ext()
    }

    fn get_ext_with_compression(&self, compression: &FileCompressionType) -> Result<String> {
        self.0.get_ext_with_compression(compression)
    }

    fn compression_type(&self) -> Option<FileCompressionType> {
        self.0.compression_type()
    }

    async fn infer_schema(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        files: &[ObjectMeta],
    ) -> Result<SchemaRef> {
        self.0.infer_schema(state, store, files).await
    }

    async fn infer_stats(
        &self,
        state: &dyn Session,
        store: &Arc<dyn ObjectStore>,
        schema: SchemaRef,
        file: &ObjectMeta,
    ) -> Result<Statistics> {
        self.0.infer_stats(state, store, schema, file).await
    }

    async fn create_physical_plan(
        &self,
        state: &dyn Session,
        scan: FileScanConfig,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let plan = self.0.create_physical_plan(state, scan).await?;
        let source = plan.downcast_ref::<DataSourceExec>();
        let scan = source.and_then(|source| source.data_source().downcast_ref::<FileScanConfig>());
        let Some(scan) = scan else {
            return Ok(plan);
        };
        let guarded = Arc::new(Guarded(Arc::clone(scan.file_source())));
        let scan = FileScanConfigBuilder::from(scan.clone()).with_source(guarded);
        Ok(DataSourceExec::from_data_source(scan.build()))
    }

    fn file_source(&self, schema: TableSchema) -> Arc<dyn FileSource> {
        Arc::new(Guarded(self.0.file_source(schema)))
    }
}

/// A source of batches, or what opens its files.
struct Guarded<T: ?Sized>(Arc<T>);

impl FileSource for Guarded<dyn FileSource> {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        scan: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        let opener = self.0.create_file_opener(store, scan, partition)?;
        Ok(Arc::new(Guarded(opener)))
    }

    fn table_schema(&self) -> &TableSchema {
        self.0.table_schema()
    }

    fn with_batch_size(&self, rows: usize) -> Arc<dyn FileSource> {
        Arc::new(Self(self.0.with_batch_size(rows)))
    }

    fn projection(&self) -> Option<&ProjectionExprs> {
        self.0.projection()
    }

    fn metrics(&self) -> &ExecutionPlanMetricsSet {
        self.0.metrics()
    }

    fn file_type(&self) -> &str {
        self.0.file_type()
    }

    /// Streams are read from their beginning.
    fn supports_repartitioning(&self) -> bool {
        false
    }

    fn try_pushdown_projection(
        &self,
        projection: &ProjectionExprs,
    ) -> Result<Option<Arc<dyn FileSource>>> {
        let source = self.0.try_pushdown_projection(projection)?;
        Ok(source.map(|source| Arc::new(Self(source)) as _))
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.0.apply_expressions(visit)
    }
}

impl FileOpener for Guarded<dyn FileOpener> {
    fn open(&self, file: PartitionedFile) -> Result<FileOpenFuture> {
        // It lies on a disk of this machine.
        let name = format!("/{}", file.object_meta.location);
        let opened = AssertUnwindSafe(self.0.open(file)?).catch_unwind();
        Ok(Box::pin(async move {
            let batches = match opened.await {
                Ok(opened) => opened?,
                Err(_) => return unreadable(&name),
            };
            // Nothing is read behind such a batch.
            let batches = AssertUnwindSafe(batches).catch_unwind();
            let batches = batches.map(move |batch| batch.unwrap_or_else(|_| unreadable(&name)));
            Ok(batches.boxed())
        }))
    }
}

fn unreadable<T>(name: &str) -> Result<T> {
    exec_err!(
        "cannot read '{name}' as Arrow: a batch in it is not what its columns say; save the data set again"
    )
}
