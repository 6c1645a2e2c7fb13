//! What a query will cost, before it runs.
//!
//! The rows that reach an operator are what DataFusion's statistics say; how many of them have an image, what those cost and
//! how many rows are kept is measured on the first few. What the sample found out is not asked again when the query then runs.

use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::common::Result;
use datafusion::common::stats::Precision;
use datafusion::execution::TaskContext;
use datafusion::physical_plan::{
    ExecutionPlan, StatisticsArgs, StatisticsContext, collect, displayable,
};

use crate::exec::InferExec;

/// Rows of the sample; the model's first batch is among them, and its slow start counts.
const SAMPLE: usize = 32;

/// What one operator of a plan will cost.
#[derive(Debug, Clone)]
pub struct Estimate {
    /// The operator, as EXPLAIN shows it.
    pub operator: String,
    /// Rows that reach it, where the tables' own counts tell; whether that is exact.
    pub rows: Option<(usize, bool)>,
    /// Rows, images and rows kept of the sample, and how long it took.
    pub sample: Sample,
}

/// What was measured.
#[derive(Debug, Clone, Copy, Default)]
pub struct Sample {
    /// Rows that were read; fewer than usual where the table is small.
    pub rows: usize,
    /// Images among them that were asked.
    pub images: usize,
    /// Rows that the operator let through.
    pub kept: usize,
    /// How long the sample took.
    pub time: Duration,
}

impl Estimate {
    /// Images to ask, if the rest of the table is like the sample.
    pub fn images(&self) -> Option<f64> {
        let (rows, _) = self.rows?;
        Some(rows as f64 * self.sample.images as f64 / self.sample.rows.max(1) as f64)
    }

    /// Images a second; `None` where the sample had no image.
    pub fn rate(&self) -> Option<f64> {
        let seconds = self.sample.time.as_secs_f64();
        (self.sample.images > 0 && seconds > 0.0).then(|| self.sample.images as f64 / seconds)
    }

    /// How long the images will take.
    pub fn time(&self) -> Option<Duration> {
        let seconds = self.images()? / self.rate()?;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// Estimates each operator of a plan, those further down first, by running it on a few rows.
///
/// # Errors
/// What running the sample gives.
pub async fn estimate(
    plan: &Arc<dyn ExecutionPlan>,
    context: &Arc<TaskContext>,
) -> Result<Vec<Estimate>> {
    let mut operators = Vec::new();
    find(plan, &mut operators);
    let mut estimates = Vec::new();
    for operator in operators {
        let Some(infer) = operator.downcast_ref::<InferExec>() else {
            continue;
        };
        let statistics = StatisticsContext::new()
            .compute(infer.input().as_ref(), &StatisticsArgs::new())?
            .num_rows;
        let rows = match statistics {
            Precision::Exact(rows) => Some((rows, true)),
            Precision::Inexact(rows) => Some((rows, false)),
            Precision::Absent => None,
        };
        let (sampled, stats) = infer.sample(SAMPLE)?;
        // Once a run, not once an image.
        infer.start_models().await?;
        let started = Instant::now();
        let batches = collect(sampled, Arc::clone(context)).await?;
        estimates.push(Estimate {
            operator: displayable(operator.as_ref())
                .one_line()
                .to_string()
                .trim()
                .to_string(),
            rows,
            sample: Sample {
                rows: stats.rows() as usize,
                images: stats.asked() as usize,
                kept: batches.iter().map(|batch| batch.num_rows()).sum(),
                time: started.elapsed(),
            },
        });
    }
    Ok(estimates)
}

fn find(plan: &Arc<dyn ExecutionPlan>, operators: &mut Vec<Arc<dyn ExecutionPlan>>) {
    for child in plan.children() {
        find(child, operators);
    }
    if plan.downcast_ref::<InferExec>().is_some() {
        operators.push(Arc::clone(plan));
    }
}
