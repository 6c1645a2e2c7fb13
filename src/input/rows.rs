//! One long stream of rows, cut into shards.
//!
//! A shard is the part of the input that is labelled, written and remembered together: what a killed job has to do again.
//! The scan goes on from one shard to the next without being opened again; each shard is a table of its own to the
//! plan that labels it.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use datafusion::catalog::streaming::StreamingTable;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::PartitionStream;
use futures::StreamExt;
use futures::future::BoxFuture;
use tokio::sync::{Mutex, watch};

use super::scan::last_place;

/// How much of the input makes a shard; the first bound that is reached ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardSize {
    /// Rows.
    pub rows: usize,
    /// Bytes of them in memory: rows may hold images.
    pub bytes: usize,
    /// Time since its first row: a slow model must not make it long.
    pub time: Duration,
}

/// Opens what comes after a row (its file's number and the rows before it in the file; `None` for all) in another way, after an error with
/// which that helps.
pub type Reopen = Box<
    dyn Fn(
            &DataFusionError,
            Option<(u32, u64)>,
        ) -> Option<BoxFuture<'static, Result<SendableRecordBatchStream>>>
        + Send
        + Sync,
>;

/// The rows of a scan, taken shard by shard.
pub struct InputRows {
    schema: SchemaRef,
    taken: Mutex<Taken>,
    stop: watch::Receiver<bool>,
}

impl fmt::Debug for InputRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InputRows").finish_non_exhaustive()
    }
}

struct Taken {
    rows: SendableRecordBatchStream,
    /// How the rest is read where this is no way; `None` once it is.
    reopen: Option<Reopen>,
    /// The last row that came.
    last: Option<(u32, u64)>,
    /// What the last shard left of a batch.
    rest: Option<RecordBatch>,
    /// Whether there is nothing behind what was taken.
    ended: bool,
    /// Rows that may still be taken; `None` is no bound.
    left: Option<usize>,
}

impl InputRows {
    /// `rows`, at most `limit` of them; once `stop` is true there are no more. Where they end in an error, `reopen` is asked once.
    pub fn new(
        rows: SendableRecordBatchStream,
        limit: Option<usize>,
        stop: watch::Receiver<bool>,
        reopen: Reopen,
    ) -> Arc<Self> {
        Arc::new(Self {
            schema: rows.schema(),
            taken: Mutex::new(Taken {
                rows,
                reopen: Some(reopen),
                last: None,
                rest: None,
                ended: false,
                left: limit,
            }),
            stop,
        })
    }

    /// Whether there may be rows for another shard.
    pub async fn may_go_on(&self) -> bool {
        let taken = self.taken.lock().await;
        !taken.ended && taken.left != Some(0) && !*self.stop.borrow()
    }

    /// The next shard as a table that can be scanned once.
    ///
    /// # Errors
    /// DataFusion's, for a schema that makes no table.
    pub fn shard(self: &Arc<Self>, size: ShardSize) -> Result<StreamingTable> {
        let part = Shard {
            rows: Arc::clone(self),
            size,
        };
        StreamingTable::try_new(Arc::clone(&self.schema), vec![Arc::new(part)])
    }

    /// The next rows, at most `rows` of them; `None` when there are none, or none are to be taken any more.
    async fn next(&self, rows: usize) -> Option<Result<RecordBatch>> {
        let mut stop = self.stop.clone();
        let mut taken = self.taken.lock().await;
        let rows = taken.left.map_or(rows, |left| rows.min(left));
        if rows == 0 || *stop.borrow() {
            return None;
        }
        let batch = match taken.rest.take() {
            Some(batch) => batch,
            None => loop {
                let next = tokio::select! {
                    // The sender lives as long as the job; should it be gone, nobody can stop it any more.
                    Ok(_) = stop.wait_for(|stop| *stop) => return None,
                    next = taken.rows.next() => next,
                };
                match next {
                    None => {
                        taken.ended = true;
                        return None;
                    }
                    Some(Err(error)) => {
                        let last = taken.last;
                        let again = taken.reopen.take().and_then(|again| again(&error, last));
                        match again {
                            None => return Some(Err(error)),
                            Some(again) => match again.await {
                                Ok(rows) => taken.rows = rows,
                                Err(error) => return Some(Err(error)),
                            },
                        }
                    }
                    Some(Ok(batch)) if batch.num_rows() == 0 => {}
                    Some(Ok(batch)) => {
                        taken.last = last_place(&batch);
                        break batch;
                    }
                }
            },
        };
        let batch = if batch.num_rows() > rows {
            taken.rest = Some(batch.slice(rows, batch.num_rows() - rows));
            batch.slice(0, rows)
        } else {
            batch
        };
        taken.left = taken.left.map(|left| left - batch.num_rows());
        Some(Ok(batch))
    }
}

/// The next part of the rows, until it is as large as it may be.
#[derive(Debug)]
struct Shard {
    rows: Arc<InputRows>,
    size: ShardSize,
}

impl PartitionStream for Shard {
    fn schema(&self) -> &SchemaRef {
        &self.rows.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let rows = Arc::clone(&self.rows);
        let size = self.size;
        let start = (rows, size, None::<Instant>);
        let parts = futures::stream::unfold(start, |(rows, left, begun)| async move {
            let late = begun.is_some_and(|begun: Instant| begun.elapsed() >= left.time);
            if left.rows == 0 || left.bytes == 0 || late {
                return None;
            }
            let part = rows.next(left.rows).await?;
            let (taken, bytes) = part
                .as_ref()
                .map_or((0, 0), |batch| (batch.num_rows(), bytes_of(batch)));
            let left = ShardSize {
                rows: left.rows - taken,
                bytes: left.bytes.saturating_sub(bytes),
                time: left.time,
            };
            Some((part, (rows, left, begun.or_else(|| Some(Instant::now())))))
        });
        Box::pin(RecordBatchStreamAdapter::new(
            Arc::clone(&self.rows.schema),
            parts,
        ))
    }
}

/// Bytes of the rows themselves: batches may share buffers that are larger.
fn bytes_of(batch: &RecordBatch) -> usize {
    let columns = batch.columns().iter();
    columns
        .map(|column| column.to_data().get_slice_memory_size().unwrap_or_default())
        .sum()
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, Int64Type, Schema};
    use datafusion::prelude::SessionContext;

    use super::*;

    fn input(limit: Option<usize>, stop: watch::Receiver<bool>) -> Arc<InputRows> {
        let field = Field::new("id", DataType::Int64, false);
        let schema = Arc::new(Schema::new(vec![field]));
        let batches: Vec<Result<RecordBatch>> = (0..4)
            .map(|batch| {
                let ids: Int64Array = (batch * 5..batch * 5 + 5).collect::<Vec<i64>>().into();
                Ok(RecordBatch::try_new(
                    Arc::clone(&schema),
                    vec![Arc::new(ids)],
                )?)
            })
            .collect();
        let stream = futures::stream::iter(batches);
        let rows = Box::pin(RecordBatchStreamAdapter::new(schema, stream));
        InputRows::new(rows, limit, stop, Box::new(|_, _| None))
    }

    fn size(rows: usize) -> ShardSize {
        ShardSize {
            rows,
            bytes: usize::MAX,
            time: Duration::MAX,
        }
    }

    async fn ids(rows: &Arc<InputRows>, size: ShardSize) -> Vec<i64> {
        let table = rows.shard(size).unwrap();
        let frame = SessionContext::new().read_table(Arc::new(table)).unwrap();
        let batches = frame.collect().await.unwrap();
        let ids = |batch: &RecordBatch| {
            batch
                .column(0)
                .as_primitive::<Int64Type>()
                .values()
                .to_vec()
        };
        batches.iter().flat_map(ids).collect()
    }

    #[tokio::test]
    async fn shards_follow_each_other_without_a_gap() {
        let (_keep, stop) = watch::channel(false);
        let rows = input(None, stop);
        assert_eq!(ids(&rows, size(7)).await, (0..7).collect::<Vec<_>>());
        assert_eq!(ids(&rows, size(2)).await, [7, 8]);
        assert!(rows.may_go_on().await);
        assert_eq!(ids(&rows, size(100)).await, (9..20).collect::<Vec<_>>());
        assert!(!rows.may_go_on().await);
    }

    #[tokio::test]
    async fn bytes_and_a_limit_end_it_too() {
        let (_keep, stop) = watch::channel(false);
        let rows = input(Some(12), stop);
        let small = ShardSize {
            bytes: 1,
            ..size(100)
        };
        assert_eq!(ids(&rows, small).await, (0..5).collect::<Vec<_>>());
        assert_eq!(ids(&rows, size(100)).await, (5..12).collect::<Vec<_>>());
        assert!(!rows.may_go_on().await);
    }

    #[tokio::test]
    async fn a_stop_ends_the_shard() {
        let (sender, stop) = watch::channel(false);
        let rows = input(None, stop);
        assert_eq!(ids(&rows, size(3)).await.len(), 3);
        sender.send(true).unwrap();
        assert_eq!(ids(&rows, size(3)).await.len(), 0);
        assert!(!rows.may_go_on().await);
    }
}
