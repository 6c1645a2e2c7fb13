//! Which file of a table cannot be read.
//!
//! Owns that what a reader says of a file comes with the file's name, and that one that ends its thread at damaged batches, as Arrow's does, is an
//! error too. What stores say names the file already, and is passed on as it is, since whoever tries again goes by it. Which files are refused
//! before they are read is `streams`' and `bounded`'s to know.

use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode, TreeNodeRecursion};
use datafusion::common::{Result, exec_err};
use datafusion::datasource::listing::PartitionedFile;
use datafusion::datasource::physical_plan::{
    FileOpener, FileScanConfig, FileScanConfigBuilder, FileSource,
};
use datafusion::datasource::source::DataSourceExec;
use datafusion::datasource::table_schema::TableSchema;
use datafusion::error::DataFusionError;
use datafusion::physical_expr::projection::ProjectionExprs;
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_plan::metrics::ExecutionPlanMetricsSet;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan, PhysicalExpr};
use datafusion_datasource::morsel::{Morsel, MorselPlan, MorselPlanner, Morselizer};
use futures::stream::BoxStream;
use futures::{FutureExt, StreamExt};
use object_store::ObjectStore;

use super::locate::without_secrets;
use crate::error::innermost;

/// Puts the names of files into what scans say. It is the last rule of a session: others know scans by their formats.
#[derive(Debug, Default)]
pub struct NamedFiles;

impl PhysicalOptimizerRule for NamedFiles {
    fn optimize(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        _config: &ConfigOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let named = |source: &Arc<dyn FileSource>| match source.is::<Named>() {
            true => None,
            false => Some(Arc::new(Named(Arc::clone(source))) as Arc<dyn FileSource>),
        };
        with_sources(plan, named)
    }

    fn name(&self) -> &str {
        "named_files"
    }

    fn schema_check(&self) -> bool {
        true
    }
}

/// The plan as it was before [`NamedFiles`], to be sent to another machine.
///
/// # Errors
/// DataFusion's.
pub fn without_names(plan: Arc<dyn ExecutionPlan>) -> Result<Arc<dyn ExecutionPlan>> {
    with_sources(plan, |source| {
        let named = source.downcast_ref::<Named>()?;
        Some(Arc::clone(&named.0))
    })
}

/// The plan with other sources in the place of some of its scans'.
fn with_sources(
    plan: Arc<dyn ExecutionPlan>,
    other: impl Fn(&Arc<dyn FileSource>) -> Option<Arc<dyn FileSource>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let scan = |node: &Arc<dyn ExecutionPlan>| {
        let scan = node.downcast_ref::<DataSourceExec>()?;
        let config = scan.data_source().downcast_ref::<FileScanConfig>()?;
        let source = other(config.file_source())?;
        let config = FileScanConfigBuilder::from(config.clone()).with_source(source);
        Some(DataSourceExec::from_data_source(config.build()) as Arc<dyn ExecutionPlan>)
    };
    plan.transform_up(|node| match scan(&node) {
        Some(scan) => Ok(Transformed::yes(scan)),
        None => Ok(Transformed::no(node)),
    })
    .data()
}

/// A source whose files are named.
struct Named(Arc<dyn FileSource>);

impl FileSource for Named {
    fn create_file_opener(
        &self,
        store: Arc<dyn ObjectStore>,
        scan: &FileScanConfig,
        partition: usize,
    ) -> Result<Arc<dyn FileOpener>> {
        self.0.create_file_opener(store, scan, partition)
    }

    fn create_morselizer(
        &self,
        store: Arc<dyn ObjectStore>,
        scan: &FileScanConfig,
        partition: usize,
    ) -> Result<Box<dyn Morselizer>> {
        Ok(Box::new(NamedMorselizer {
            inner: self.0.create_morselizer(store, scan, partition)?,
            store: match scan.object_store_url.as_str() {
                "file:///" => "/".to_string(),
                other => without_secrets(other.to_string()),
            },
            format: match self.0.file_type() {
                "parquet" => "Parquet",
                "csv" => "CSV",
                "json" => "JSON",
                _ => "Arrow",
            },
        }))
    }

    fn table_schema(&self) -> &TableSchema {
        self.0.table_schema()
    }

    fn with_batch_size(&self, rows: usize) -> Arc<dyn FileSource> {
        Arc::new(Self(self.0.with_batch_size(rows)))
    }

    fn filter(&self) -> Option<Arc<dyn PhysicalExpr>> {
        self.0.filter()
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

    fn fmt_extra(&self, form: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        self.0.fmt_extra(form, f)
    }

    fn supports_repartitioning(&self) -> bool {
        self.0.supports_repartitioning()
    }

    fn reorder_files(&self, files: Vec<PartitionedFile>) -> Vec<PartitionedFile> {
        self.0.reorder_files(files)
    }

    fn apply_expressions(
        &self,
        visit: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        self.0.apply_expressions(visit)
    }
}

#[derive(Debug)]
struct NamedMorselizer {
    inner: Box<dyn Morselizer>,
    /// What stands before a file's place in its store.
    store: String,
    format: &'static str,
}

impl Morselizer for NamedMorselizer {
    fn plan_file(&self, file: PartitionedFile) -> Result<Box<dyn MorselPlanner>> {
        let place = Arc::new(Place {
            name: format!("{}{}", self.store, file.object_meta.location),
            format: self.format,
        });
        let planner = catch_unwind(AssertUnwindSafe(|| self.inner.plan_file(file)));
        Ok(place.planner(place.told(planner)?))
    }
}

#[derive(Debug)]
struct NamedPlanner {
    inner: Box<dyn MorselPlanner>,
    place: Arc<Place>,
}

impl MorselPlanner for NamedPlanner {
    fn plan(self: Box<Self>) -> Result<Option<MorselPlan>> {
        let Self { inner, place } = *self;
        let planned = catch_unwind(AssertUnwindSafe(|| inner.plan()));
        let Some(mut plan) = place.told(planned)? else {
            return Ok(None);
        };
        let morsel = |inner| {
            let place = Arc::clone(&place);
            Box::new(NamedMorsel { inner, place }) as Box<dyn Morsel>
        };
        let planners = plan.take_ready_planners().into_iter();
        let mut named = MorselPlan::new()
            .with_morsels(plan.take_morsels().into_iter().map(morsel).collect())
            .with_planners(planners.map(|inner| place.planner(inner)).collect());
        if let Some(pending) = plan.take_pending_planner() {
            named.set_pending_planner(async move {
                let planner = AssertUnwindSafe(pending).catch_unwind().await;
                Ok(place.planner(place.told(planner)?))
            });
        }
        Ok(Some(named))
    }
}

#[derive(Debug)]
struct NamedMorsel {
    inner: Box<dyn Morsel>,
    place: Arc<Place>,
}

impl Morsel for NamedMorsel {
    fn into_stream(self: Box<Self>) -> BoxStream<'static, Result<RecordBatch>> {
        let Self { inner, place } = *self;
        // Nothing is read behind a batch that ended the reader.
        let batches = AssertUnwindSafe(inner.into_stream()).catch_unwind();
        batches.map(move |batch| place.told(batch)).boxed()
    }
}

/// A file that is read.
#[derive(Debug)]
struct Place {
    name: String,
    format: &'static str,
}

impl Place {
    fn planner(self: &Arc<Self>, inner: Box<dyn MorselPlanner>) -> Box<dyn MorselPlanner> {
        let place = Arc::clone(self);
        Box::new(NamedPlanner { inner, place })
    }

    /// What was read, or why it cannot be.
    fn told<T>(&self, read: std::thread::Result<Result<T>>) -> Result<T> {
        let why = match read {
            Ok(Ok(read)) => return Ok(read),
            Ok(Err(error)) => {
                let why = innermost(&error);
                if !is_of_reader(&error) || why.contains(&self.name) {
                    return Err(error);
                }
                why
            }
            Err(_) => "what is in it is not what it says itself".to_string(),
        };
        exec_err!("cannot read '{}' as {}: {why}", self.name, self.format)
    }
}

/// Whether a reader says it of a file's content, and no store of the file.
fn is_of_reader(error: &DataFusionError) -> bool {
    let is_said = matches!(
        error.find_root(),
        DataFusionError::ParquetError(_) | DataFusionError::ArrowError(..)
    );
    let mut inner: Option<&(dyn Error + 'static)> = Some(error);
    let mut is_of_store = false;
    while let Some(error) = inner {
        is_of_store |= error.is::<object_store::Error>() || error.is::<std::io::Error>();
        inner = error.source();
    }
    is_said && !is_of_store
}
