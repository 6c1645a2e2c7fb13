//! One batch through all stages: ask, drop the rows that are decided, ask the next.
//!
//! It owns which stage runs when: one whose columns are there, the best by [`super::order`] first, and a predicate as soon as
//! all that it reads is there. It knows nothing of streams.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::{and, filter_record_batch, prep_null_mask_filter};
use arrow::datatypes::SchemaRef;
use datafusion::common::{Result, internal_err};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_expr::utils::collect_columns;

use super::stage::Stage;
use super::stream::BatchPipeline;
use crate::pipeline::quota::Exhausted;
use crate::pipeline::stats::RunStats;

/// Asks all that an operator asks about a batch.
pub(crate) struct Asking {
    stages: Vec<Stage>,
    predicates: Vec<Predicate>,
    schema: SchemaRef,
    /// Columns of the input, which come first in the schema.
    width: usize,
    stats: Arc<RunStats>,
}

struct Predicate {
    expr: Arc<dyn PhysicalExpr>,
    reads: Vec<usize>,
}

/// A batch that is done.
pub(crate) struct Done {
    /// The rows that are left, with all columns.
    pub(crate) batch: RecordBatch,
    /// Rows that went in.
    pub(crate) rows: usize,
    /// Why rows after those of `batch` could not be asked.
    pub(crate) exhausted: Option<Exhausted>,
}

/// A batch on its way, with all columns of the schema; those not asked yet are NULL.
struct State {
    batch: RecordBatch,
    /// The rows' numbers in the input.
    rows: Vec<usize>,
    there: Vec<bool>,
    exhausted: Option<Exhausted>,
}

impl Asking {
    pub(crate) fn new(
        stages: Vec<Stage>,
        predicates: &[Arc<dyn PhysicalExpr>],
        schema: SchemaRef,
        width: usize,
        stats: Arc<RunStats>,
    ) -> Self {
        let predicates = predicates
            .iter()
            .map(|expr| Predicate {
                expr: Arc::clone(expr),
                reads: collect_columns(expr).iter().map(|c| c.index()).collect(),
            })
            .collect();
        Self {
            stages,
            predicates,
            schema,
            width,
            stats,
        }
    }

    /// The stage to run: the first of the best among those whose columns are there.
    fn next(&self, stages: &[&Stage], there: &[bool]) -> Result<usize> {
        let ready = stages
            .iter()
            .enumerate()
            .filter(|(_, stage)| stage.reads().iter().all(|&column| there[column]));
        let best = ready.min_by(|(_, a), (_, b)| {
            let ranks = a.stage_stats.rank().total_cmp(&b.stage_stats.rank());
            ranks.then(a.first.cmp(&b.first))
        });
        match best {
            Some((index, _)) => Ok(index),
            None => internal_err!("the images of a query wait for one another"),
        }
    }

    async fn ask(&self, stage: &Stage, state: &mut State) -> Result<()> {
        let rows = &state.rows;
        let answered = stage.run(&state.batch, &|place| rows[place] + 1).await?;
        let mut columns: Vec<ArrayRef> = state.batch.columns().to_vec();
        for (place, column) in stage.makes().zip(answered.columns) {
            columns[place] = column;
            state.there[place] = true;
        }
        state.batch = RecordBatch::try_new(Arc::clone(&self.schema), columns)?;
        if let Some((row, end)) = answered.exhausted {
            // What is known of later rows does not count: the result ends where asking did.
            state.batch = state.batch.slice(0, row);
            state.rows.truncate(row);
            state.exhausted = Some(end);
        }
        Ok(())
    }

    /// Drops the rows of which a predicate that can be evaluated now is not true; whether there was one.
    fn decide(&self, state: &mut State, predicates: &mut Vec<&Predicate>) -> Result<bool> {
        let mut keep: Option<BooleanArray> = None;
        let mut waiting = Vec::new();
        for predicate in predicates.drain(..) {
            if !predicate.reads.iter().all(|&column| state.there[column]) {
                waiting.push(predicate);
                continue;
            }
            let rows = state.batch.num_rows();
            let holds = predicate.expr.evaluate(&state.batch)?.into_array(rows)?;
            let holds = holds.as_boolean();
            let holds = if holds.null_count() > 0 {
                prep_null_mask_filter(holds)
            } else {
                holds.clone()
            };
            keep = Some(match keep {
                None => holds,
                Some(keep) => and(&keep, &holds)?,
            });
        }
        *predicates = waiting;
        let Some(keep) = keep else { return Ok(false) };
        if keep.true_count() < state.rows.len() {
            state.batch = filter_record_batch(&state.batch, &keep)?;
            let mut kept = keep.values().iter();
            state.rows.retain(|_| kept.next().unwrap_or(false));
        }
        Ok(true)
    }
}

impl BatchPipeline for Asking {
    /// The batch with its answers.
    ///
    /// # Errors
    /// What an expression or, where failures stop the query, an image gives.
    async fn run(&self, batch: RecordBatch, first: usize) -> Result<Done> {
        let count = batch.num_rows();
        self.stats.add_rows(count);
        let fields = self.schema.fields().iter();
        let mut columns = batch.columns().to_vec();
        columns.extend(
            fields
                .skip(self.width)
                .map(|field| new_null_array(field.data_type(), count)),
        );
        let mut state = State {
            batch: RecordBatch::try_new(Arc::clone(&self.schema), columns)?,
            rows: (first..first + count).collect(),
            there: (0..self.schema.fields().len())
                .map(|column| column < self.width)
                .collect(),
            exhausted: None,
        };
        let mut stages: Vec<&Stage> = self.stages.iter().collect();
        let mut predicates: Vec<&Predicate> = self.predicates.iter().collect();
        self.decide(&mut state, &mut predicates)?;
        while !stages.is_empty() && !state.rows.is_empty() {
            let next = self.next(&stages, &state.there)?;
            let stage = stages.swap_remove(next);
            self.ask(stage, &mut state).await?;
            let tested = state.rows.len();
            if self.decide(&mut state, &mut predicates)? {
                stage.stage_stats.note_passed(tested, state.rows.len());
            }
        }
        Ok(Done {
            batch: state.batch,
            rows: count,
            exhausted: state.exhausted,
        })
    }
}
