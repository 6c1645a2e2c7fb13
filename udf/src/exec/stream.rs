//! The stream of one partition: rows in, a bounded number under way, rows out in their order.
//!
//! A task of its own drives it, so that images are fetched, decoded and judged while the consumer is busy; dropping the stream
//! aborts the task and all that it has under way. It begins with few rows and takes on as many again as are done, so that
//! `LIMIT 10` pays for tens of images; it holds no more input than the budget allows.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow::array::RecordBatch;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_plan::metrics::{BaselineMetrics, RecordOutput};
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;
use futures::{FutureExt, StreamExt};
use tokio::sync::{Semaphore, mpsc};

use super::work::Done;
use crate::pipeline::budget::{Budget, MemoryPermit};
use crate::pipeline::quota::{AtEnd, InferenceQuota};

/// Rows under way at the start.
const FIRST_ROWS: usize = 16;
/// Rows under way at most, most of them without an image to ask about.
const MOST_ROWS: usize = 4096;
/// Smallest and largest number of rows that go through together.
const FEWEST_TOGETHER: usize = 8;
const MOST_TOGETHER: usize = 64;

/// What is done with the rows of a stream.
pub(crate) trait BatchPipeline: Send + Sync + 'static {
    /// Takes a batch through, whose first row has the number `first` in the input.
    ///
    /// # Errors
    /// What ends the stream.
    fn run(&self, batch: RecordBatch, first: usize) -> impl Future<Output = Result<Done>> + Send;
}

/// What drives one partition.
pub(crate) struct Driver<W> {
    pub(crate) work: Arc<W>,
    pub(crate) input: SendableRecordBatchStream,
    /// Most rows of a batch that the session wants.
    pub(crate) batch_size: usize,
    /// One permit for each image that may be under way.
    pub(crate) slots: Arc<Semaphore>,
    pub(crate) budget: Arc<Budget>,
    pub(crate) quota: Arc<InferenceQuota>,
    pub(crate) metrics: BaselineMetrics,
}

/// An input batch, of which the rows from `offset` on are still to be taken.
struct Taken {
    batch: RecordBatch,
    offset: usize,
    held: Arc<MemoryPermit>,
}

/// Rows with what they hold of the budget until they are sent.
type Underway = BoxFuture<'static, (Result<Done>, Arc<MemoryPermit>)>;

struct State {
    open: FuturesOrdered<Underway>,
    /// Rows in `open` and `done`.
    rows: usize,
    /// Rows that are through.
    through: usize,
    /// Number of the next row.
    next_row: usize,
    taken: Option<Taken>,
    /// A batch for which there is no room yet.
    waiting: Option<RecordBatch>,
    done: VecDeque<(RecordBatch, usize, Arc<MemoryPermit>)>,
    /// No more rows are taken.
    ended: bool,
}

impl<W: BatchPipeline> Driver<W> {
    /// Runs until the input ends, an error occurs or the receiver is dropped.
    ///
    /// # Errors
    /// The input's, an expression's, or that a quota is used up.
    pub(crate) async fn run(mut self, output: mpsc::Sender<Result<RecordBatch>>) -> Result<()> {
        let mut state = State {
            open: FuturesOrdered::new(),
            rows: 0,
            through: 0,
            next_row: 0,
            taken: None,
            waiting: None,
            done: VecDeque::new(),
            ended: false,
        };
        loop {
            let room = !state.ended && state.rows < Self::most_rows(&state);
            let free = room && self.slots.available_permits() > 0;
            if free && self.open_next(&mut state) {
                // It starts at once, and takes the permits that it needs before more is opened.
                if let Some(Some(finished)) = state.open.next().now_or_never() {
                    self.finish(&mut state, finished)?;
                }
                continue;
            }
            if self.make_room(&mut state) {
                continue;
            }
            let needs_input = room && state.taken.is_none() && state.waiting.is_none();
            let needs_slot = room && !free && state.taken.is_some();
            let slots = Arc::clone(&self.slots);
            tokio::select! {
                biased;
                permit = output.reserve(), if !state.done.is_empty() => {
                    let Ok(permit) = permit else { return Ok(()) };
                    if let Some((batch, rows, _held)) = state.done.pop_front() {
                        state.rows -= rows;
                        state.through += rows;
                        permit.send(Ok(batch.record_output(&self.metrics)));
                    }
                }
                // However long the consumer pauses: another operator may wait for an answer that is found out here. What is
                // done meanwhile is bounded by the rows under way.
                Some(finished) = state.open.next(), if !state.open.is_empty() => {
                    self.finish(&mut state, finished)?;
                }
                // Queues after all images that wait, so that a permit is free only when none does.
                _ = slots.acquire(), if needs_slot => {}
                batch = self.input.next(), if needs_input => match batch {
                    Some(batch) => state.waiting = Some(batch?),
                    None => state.ended = true,
                },
                else => return Ok(()),
            }
        }
    }

    fn most_rows(state: &State) -> usize {
        (FIRST_ROWS + state.through).min(MOST_ROWS)
    }

    /// Sends the next rows on their way, if there are any.
    fn open_next(&self, state: &mut State) -> bool {
        let together = Self::most_rows(state) / 2;
        let together = together
            .clamp(FEWEST_TOGETHER, MOST_TOGETHER)
            .min(self.batch_size.max(1));
        let Some(taken) = &mut state.taken else {
            return false;
        };
        let rows = together.min(taken.batch.num_rows() - taken.offset);
        let slice = taken.batch.slice(taken.offset, rows);
        let held = Arc::clone(&taken.held);
        taken.offset += rows;
        if taken.offset == taken.batch.num_rows() {
            state.taken = None;
        }
        let (work, first) = (Arc::clone(&self.work), state.next_row);
        state.next_row += rows;
        state.rows += rows;
        let run = async move { (work.run(slice, first).await, held) };
        state.open.push_back(run.boxed());
        true
    }

    /// Takes on the batch that waits, if the budget has room for it or nothing is held.
    fn make_room(&self, state: &mut State) -> bool {
        let Some(batch) = state.waiting.take_if(|_| state.taken.is_none()) else {
            return false;
        };
        if batch.num_rows() == 0 {
            return true;
        }
        match self.budget.try_hold(batch.get_array_memory_size()) {
            Some(held) => {
                state.taken = Some(Taken {
                    batch,
                    offset: 0,
                    held: Arc::new(held),
                });
                true
            }
            None => {
                state.waiting = Some(batch);
                false
            }
        }
    }

    fn finish(
        &self,
        state: &mut State,
        (done, held): (Result<Done>, Arc<MemoryPermit>),
    ) -> Result<()> {
        let done = done?;
        if let Some(end) = done.exhausted {
            if self.quota.at_end == AtEnd::Fail {
                return Err(exhausted(&end));
            }
            state.ended = true;
            state.open.clear();
            state.taken = None;
            state.waiting = None;
        }
        if done.batch.num_rows() == 0 {
            state.rows -= done.rows;
            state.through += done.rows;
        } else {
            state.done.push_back((done.batch, done.rows, held));
        }
        Ok(())
    }
}

fn exhausted(end: &crate::pipeline::quota::Exhausted) -> DataFusionError {
    DataFusionError::External(Box::new(*end))
}
