//! Units of a job as tasks: a plan of one row a unit, in a partition of its own.
//!
//! Ballista deals out partitions of plans whose leaves it knows, so the numbers of the units are rows in memory, and [`UnitsExec`] above
//! them has each done. Its own rows are the units that could not be done, with why; the plan says which executors could not do them before.
//! What a unit is, it does not know: the job is bytes to it.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray, UInt32Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, UInt32Type};
use bytes::Bytes;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Result, exec_err, internal_datafusion_err};
use datafusion::datasource::memory::MemorySourceConfig;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, Partitioning,
    PlanProperties,
};
use futures::TryStreamExt;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

use crate::message::marked;
use crate::slots::Slots;

/// What does units of jobs.
#[async_trait::async_trait]
pub trait Units: Send + Sync {
    /// Does a unit of a job, or finds that it is done: `None`. Else why it could not be done here, in a sentence. It may be dropped before
    /// its end.
    ///
    /// # Errors
    /// In a sentence, what makes the whole job hopeless.
    async fn unit(&self, job: &[u8], unit: u32) -> std::result::Result<Option<String>, String>;
}

/// [`Units`] on the threads that they are to be done on.
#[derive(Clone)]
pub(crate) struct UnitsOn {
    pub(crate) units: Arc<dyn Units>,
    pub(crate) threads: Handle,
    pub(crate) slots: Arc<Slots>,
}

/// Has units done; see the module.
pub(crate) struct UnitsExec {
    pub(crate) job: Bytes,
    /// Executors that these units are kept from while others are there.
    pub(crate) not_on: Arc<[String]>,
    input: Arc<dyn ExecutionPlan>,
    schema: SchemaRef,
    /// `None` where plans are only passed on.
    by: Option<UnitsOn>,
    properties: Arc<PlanProperties>,
}

/// The plan of these units of a job, a partition each.
///
/// # Errors
/// DataFusion's.
pub(crate) fn plan(job: Bytes, units: &[u32], not_on: &[String]) -> Result<Arc<dyn ExecutionPlan>> {
    let schema: SchemaRef = Arc::new(Schema::new(vec![Field::new(
        "unit",
        DataType::UInt32,
        false,
    )]));
    let partitions = units.iter().map(|unit| {
        let column: ArrayRef = Arc::new(UInt32Array::from(vec![*unit]));
        Ok(vec![RecordBatch::try_new(
            Arc::clone(&schema),
            vec![column],
        )?])
    });
    let partitions = partitions.collect::<Result<Vec<_>>>()?;
    let rows = MemorySourceConfig::try_new_exec(&partitions, Arc::clone(&schema), None)?;
    Ok(Arc::new(UnitsExec::new(job, not_on.into(), rows, None)))
}

impl UnitsExec {
    pub(crate) fn new(
        job: Bytes,
        not_on: Arc<[String]>,
        input: Arc<dyn ExecutionPlan>,
        by: Option<UnitsOn>,
    ) -> Self {
        let partitions = input.output_partitioning().partition_count();
        let schema: SchemaRef = Arc::new(Schema::new(vec![
            Field::new("unit", DataType::UInt32, false),
            Field::new("why", DataType::Utf8, false),
        ]));
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(partitions),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Self {
            job,
            not_on,
            input,
            schema,
            by,
            properties: Arc::new(properties),
        }
    }
}

impl fmt::Debug for UnitsExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UnitsExec").finish_non_exhaustive()
    }
}

impl DisplayAs for UnitsExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("UnitsExec")
    }
}

impl ExecutionPlan for UnitsExec {
    fn name(&self) -> &str {
        "UnitsExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children.into_iter().next();
        let input = input.ok_or_else(|| internal_datafusion_err!("UnitsExec needs an input"))?;
        Ok(Arc::new(Self::new(
            self.job.clone(),
            Arc::clone(&self.not_on),
            input,
            self.by.clone(),
        )))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let Some(by) = self.by.clone() else {
            return exec_err!("units are done by executors");
        };
        let (job, schema) = (self.job.clone(), Arc::clone(&self.schema));
        let own = Arc::clone(&schema);
        let rows = self.input.execute(partition, context)?;
        let rows = rows.and_then(move |batch| {
            let (by, job, schema) = (by.clone(), job.clone(), Arc::clone(&own));
            async move {
                let (mut failed, mut reasons) = (Vec::new(), Vec::new());
                for &unit in batch.column(0).as_primitive::<UInt32Type>().values() {
                    if let Some(why) = one(&by, job.clone(), unit).await? {
                        failed.push(unit);
                        reasons.push(why);
                    }
                }
                let failed: ArrayRef = Arc::new(UInt32Array::from(failed));
                let reasons: ArrayRef = Arc::new(StringArray::from(reasons));
                Ok(RecordBatch::try_new(schema, vec![failed, reasons])?)
            }
        });
        Ok(Box::pin(RecordBatchStreamAdapter::new(schema, rows)))
    }
}

/// Has one unit done on threads that are not Ballista's; it ends with whoever waits for it. Why it could not be done, if so.
async fn one(by: &UnitsOn, job: Bytes, unit: u32) -> Result<Option<String>> {
    let units = Arc::clone(&by.units);
    let mut task = JoinSet::new();
    task.spawn_on(async move { units.unit(&job, unit).await }, &by.threads);
    match task.join_next().await {
        Some(Ok(Ok(why))) => {
            by.slots.ended(why.is_some(), &by.threads);
            Ok(why)
        }
        Some(Ok(Err(sentence))) => exec_err!("{}", marked(&sentence)),
        Some(Err(panic)) => exec_err!("{}", marked(&format!("unit {unit} ended badly: {panic}"))),
        None => exec_err!("a unit was never begun"),
    }
}

/// The units of rows of a [`UnitsExec`], with why each could not be done.
pub(crate) fn failed(rows: &RecordBatch) -> Vec<(u32, String)> {
    let (Some(units), Some(reasons)) = (
        rows.column(0).as_primitive_opt::<UInt32Type>(),
        rows.column(1).as_string_opt::<i32>(),
    ) else {
        return Vec::new();
    };
    let reasons = reasons
        .iter()
        .map(|why| why.unwrap_or_default().to_string());
    units.values().iter().copied().zip(reasons).collect()
}
