//! The inference operator: the physical side of [`crate::plan::node::Infer`].
//!
//! Appends the answers' columns to its input and keeps the rows of which its predicates are true, in the input's order and
//! partitions. [`stream`] drives a partition, [`work`] takes a batch through its stages, [`stage`] asks about one image
//! expression, [`order`] says which goes first, [`planner`] makes it of the logical node; [`sorts`] keeps images out of sorts.

mod cheap;
mod columns;
mod order;
pub(crate) mod planner;
mod sorts;
mod stage;
mod stream;
mod work;

#[cfg(test)]
mod schedules;

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{Schema, SchemaRef};
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{
    ColumnStatistics, DataFusionError, Result, Statistics, internal_datafusion_err,
};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::equivalence::ProjectionMapping;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::execution_plan::{CardinalityEffect, EmissionType};
use datafusion::physical_plan::limit::GlobalLimitExec;
use datafusion::physical_plan::metrics::{
    BaselineMetrics, Count, ExecutionPlanMetricsSet, Metric, MetricValue, MetricsSet, Time,
};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{
    ChildStats, DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties,
    PlanProperties, StatisticsArgs,
};
use tokio::sync::Semaphore;

use crate::pipeline::ImagePipeline;
use crate::pipeline::budget::Budget;
use crate::pipeline::engine::Engine;
use crate::pipeline::losses::Losses;
use crate::pipeline::quota::InferenceQuota;
use crate::pipeline::stats::RunStats;
use crate::plan::inference_group::{self, InferenceGroup, answer_fields};
use crate::settings::PicsiftOptions;
use order::StageStats;
pub(crate) use sorts::SortsAboveInference;
use stage::Stage;
use stream::Driver;
use work::Asking;

/// A group of the operator.
pub(crate) type PhysicalGroup = InferenceGroup<Arc<dyn PhysicalExpr>>;

/// Asks about images; see the module.
pub struct InferExec {
    input: Arc<dyn ExecutionPlan>,
    groups: Vec<PhysicalGroup>,
    predicates: Vec<Arc<dyn PhysicalExpr>>,
    engine: Arc<Engine>,
    quota: Arc<InferenceQuota>,
    stats: Arc<RunStats>,
    stage_stats: Vec<Arc<StageStats>>,
    metrics: ExecutionPlanMetricsSet,
    properties: Arc<PlanProperties>,
}

impl InferExec {
    /// Expressions are over the input's columns with the groups' after them.
    ///
    /// # Errors
    /// When the input's orderings cannot be carried over.
    pub(crate) fn new(
        input: Arc<dyn ExecutionPlan>,
        groups: Vec<PhysicalGroup>,
        predicates: Vec<Arc<dyn PhysicalExpr>>,
        engine: Arc<Engine>,
        quota: Arc<InferenceQuota>,
        stats: Arc<RunStats>,
    ) -> Result<Self> {
        let answers = answer_fields(&groups);
        let schema = input.schema();
        let fields: Vec<_> = schema.fields().iter().cloned().chain(answers).collect();
        let schema = Arc::new(Schema::new_with_metadata(fields, schema.metadata().clone()));
        let stage_stats = groups.iter().map(|_| Arc::default()).collect();
        Ok(Self {
            properties: Arc::new(properties(&input, schema)?),
            input,
            groups,
            predicates,
            engine,
            quota,
            stats,
            stage_stats,
            metrics: ExecutionPlanMetricsSet::new(),
        })
    }

    /// What has been counted so far.
    pub fn stats(&self) -> &Arc<RunStats> {
        &self.stats
    }

    /// The input.
    pub fn input(&self) -> &Arc<dyn ExecutionPlan> {
        &self.input
    }

    /// Whether it may ask about so many images or for so long only.
    pub fn is_bounded(&self) -> bool {
        self.quota.max_images().is_some() || self.quota.max_time.is_some()
    }

    pub(crate) fn groups(&self) -> &[PhysicalGroup] {
        &self.groups
    }

    pub(crate) fn predicates(&self) -> &[Arc<dyn PhysicalExpr>] {
        &self.predicates
    }

    pub(crate) fn quota(&self) -> &Arc<InferenceQuota> {
        &self.quota
    }

    /// Loads the models that are asked, which else happens when the first image must be.
    ///
    /// # Errors
    /// When one cannot be loaded.
    pub(crate) async fn start_models(&self) -> Result<()> {
        for column in self.groups.iter().flat_map(|group| &group.columns) {
            let cheap = column.call.cheap.as_ref().map(|cheap| &cheap.model);
            for model in column.call.model.iter().chain(cheap) {
                let started = model.started().await;
                started.map_err(|error| DataFusionError::External(Box::new(error)))?;
            }
        }
        Ok(())
    }

    /// The same over the first rows of the input, with counters of its own.
    pub(crate) fn sample(&self, rows: usize) -> Result<(Arc<dyn ExecutionPlan>, Arc<RunStats>)> {
        let input: Arc<dyn ExecutionPlan> =
            Arc::new(CoalescePartitionsExec::new(Arc::clone(&self.input)));
        let first = GlobalLimitExec::new(input, 0, Some(rows));
        let mut sample = self.over(Arc::new(first))?;
        sample.stats = Arc::default();
        sample.quota = Arc::default();
        let stats = Arc::clone(&sample.stats);
        Ok((Arc::new(sample), stats))
    }

    fn over(&self, input: Arc<dyn ExecutionPlan>) -> Result<Self> {
        Self::new(
            input,
            self.groups.clone(),
            self.predicates.clone(),
            Arc::clone(&self.engine),
            Arc::clone(&self.quota),
            Arc::clone(&self.stats),
        )
    }

    fn expressions(&self) -> impl Iterator<Item = &Arc<dyn PhysicalExpr>> {
        let groups = self.groups.iter().flat_map(InferenceGroup::expressions);
        groups.chain(&self.predicates)
    }
}

/// Order, partitions and what is known of equal and constant columns are the input's, whose columns come first.
fn properties(input: &Arc<dyn ExecutionPlan>, schema: SchemaRef) -> Result<PlanProperties> {
    let own = input.schema();
    let columns: Vec<usize> = (0..own.fields().len()).collect();
    let same = ProjectionMapping::from_indices(&columns, &own)?;
    Ok(PlanProperties::new(
        input.equivalence_properties().project(&same, schema),
        input.output_partitioning().clone(),
        EmissionType::Incremental,
        input.boundedness(),
    ))
}

impl fmt::Debug for InferExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InferExec")
            .field("input", &self.input)
            .field("groups", &self.groups)
            .field("predicates", &self.predicates)
            .finish_non_exhaustive()
    }
}

impl DisplayAs for InferExec {
    fn fmt_as(&self, format: DisplayFormatType, f: &mut fmt::Formatter) -> fmt::Result {
        let (first, between) = match format {
            DisplayFormatType::TreeRender => ("", "\n"),
            _ => ("InferExec: ", "; "),
        };
        f.write_str(first)?;
        inference_group::write(f, &self.groups, &self.predicates, false, between)
    }
}

impl ExecutionPlan for InferExec {
    fn name(&self) -> &str {
        "InferExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        vec![&self.input]
    }

    /// Rows leave in the order in which they came. DataFusion may push a sort below for that; `sorts` brings it back.
    fn maintains_input_order(&self) -> Vec<bool> {
        vec![true]
    }

    /// One stream keeps all cores decoding, and splitting it would only lose the rows' order.
    fn benefits_from_input_partitioning(&self) -> Vec<bool> {
        vec![false]
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for expr in self.expressions() {
            if f(expr)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let input = children
            .into_iter()
            .next()
            .ok_or_else(|| internal_datafusion_err!("InferExec needs an input"))?;
        Ok(Arc::new(self.over(input)?))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let config = context.session_config();
        let settings = PicsiftOptions::of(config.options());
        let limit = settings.memory_limit;
        let budget = |what: &str, limit: usize| {
            let name = format!("InferExec {what} [{partition}]");
            Budget::new(name, limit, context.memory_pool())
        };
        let has_two = self.groups.iter().any(|group| group.cascade().is_some());
        // What is left for a second model is of what a stream may hold of images.
        let of_both = if has_two { limit / 4 } else { 0 };
        let carried = budget("images of both models", of_both);
        let images = budget("images", limit - of_both);
        let losses = config.get_extension::<Losses>();
        let width = self.input.schema().fields().len();
        let models: Vec<_> = self
            .groups
            .iter()
            .map(|group| {
                let cheap = group.columns.iter().find_map(|c| c.call.cheap.as_ref());
                let model = group.columns.iter().find_map(|c| c.call.model.clone());
                (model, cheap.map(|cheap| cheap.model.clone()))
            })
            .collect();
        // Most images come no further than a cheap model.
        let at_once = models
            .iter()
            .map(|(model, cheap)| self.engine.in_flight(cheap.as_ref().or(model.as_ref())));
        let slots = Arc::new(Semaphore::new(at_once.min().unwrap_or(1)));
        let mut first = width;
        let mut stages = Vec::new();
        for ((group, (model, cheap)), stage_stats) in
            self.groups.iter().zip(models).zip(&self.stage_stats)
        {
            let pipeline = |model, quota: &Arc<InferenceQuota>| {
                let (engine, stats) = (Arc::clone(&self.engine), Arc::clone(&self.stats));
                ImagePipeline::new(engine, model, stats).within(
                    Arc::clone(quota),
                    Arc::clone(&slots),
                    Arc::clone(&images),
                )
            };
            // The quota is of what is dear.
            let cheap = cheap.map(|cheap| {
                let cheap = pipeline(Some(cheap), &Arc::default()).cheap();
                (cheap, Arc::clone(&carried))
            });
            let pipeline = pipeline(model, &self.quota).telling(losses.clone());
            let stage = Stage::new(
                group.clone(),
                first,
                pipeline,
                cheap,
                Arc::clone(stage_stats),
            );
            first += group.columns.len();
            stages.push(stage);
        }
        let driver = Driver {
            work: Arc::new(Asking::new(
                stages,
                &self.predicates,
                self.schema(),
                width,
                Arc::clone(&self.stats),
            )),
            input: self.input.execute(partition, Arc::clone(&context))?,
            batch_size: config.batch_size(),
            slots,
            budget: budget("rows", limit),
            quota: Arc::clone(&self.quota),
            metrics: BaselineMetrics::new(&self.metrics, partition),
        };
        let mut output = RecordBatchReceiverStreamBuilder::new(self.schema(), 1);
        let sender = output.tx();
        output.spawn(driver.run(sender));
        Ok(output.build())
    }

    fn metrics(&self) -> Option<MetricsSet> {
        let mut set = self.metrics.clone_inner();
        let counts = [
            ("images", self.stats.images()),
            ("fetched", self.stats.fetched()),
            ("bytes", self.stats.bytes()),
            ("decoded", self.stats.decoded()),
            ("encoded", self.stats.asked()),
            ("reused", self.stats.reused()),
            ("failures", self.stats.failures()),
        ];
        let cascade = self.stats.cascade();
        let of_two = [
            ("cheap_encoded", cascade.encoded()),
            ("spared", cascade.spared()),
            ("unsure", cascade.unsure()),
            ("audited", cascade.audited()),
        ];
        let has_two = self.groups.iter().any(|group| group.cascade().is_some());
        let counts = counts.into_iter();
        for (name, value) in counts.chain(of_two.into_iter().filter(|_| has_two)) {
            let count = Count::new();
            count.add(value as usize);
            let name = name.into();
            set.push(Arc::new(Metric::new(
                MetricValue::Count { name, count },
                None,
            )));
        }
        let times = [
            ("fetch_time", self.stats.fetch()),
            ("decode_time", self.stats.decode()),
            ("model_time", self.stats.model()),
        ];
        for (name, value) in times {
            let time = Time::new();
            time.add_duration(value);
            let name = name.into();
            set.push(Arc::new(Metric::new(
                MetricValue::Time { name, time },
                None,
            )));
        }
        Some(set)
    }

    fn child_stats_requests(&self, partition: Option<usize>) -> Vec<ChildStats> {
        vec![ChildStats::At(partition)]
    }

    fn statistics_from_inputs(
        &self,
        inputs: &[Arc<Statistics>],
        _args: &StatisticsArgs,
    ) -> Result<Arc<Statistics>> {
        let mut statistics = inputs
            .first()
            .map(|input| input.as_ref().clone())
            .unwrap_or_else(|| Statistics::new_unknown(&self.input.schema()));
        if !self.predicates.is_empty() {
            statistics = statistics.to_inexact();
        }
        statistics.total_byte_size = Precision::Absent;
        let answers = self.groups.iter().map(|group| group.columns.len()).sum();
        let unknown = std::iter::repeat_with(ColumnStatistics::new_unknown);
        statistics.column_statistics.extend(unknown.take(answers));
        Ok(Arc::new(statistics))
    }

    fn supports_limit_pushdown(&self) -> bool {
        self.predicates.is_empty()
    }

    fn cardinality_effect(&self) -> CardinalityEffect {
        if self.predicates.is_empty() {
            CardinalityEffect::Equal
        } else {
            CardinalityEffect::LowerEqual
        }
    }
}
