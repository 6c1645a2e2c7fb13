//! Two streams that want the same answers, in many orders of events.
//!
//! A stream's driver, what is known of contents and the quota are the operator's own; images and the model are replaced by
//! turns that pass. A scheduler polls what was woken, one at a time, in an order that follows from a seed: where nothing was
//! woken and something is not done, a query would wait forever.

use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use datafusion::common::Result;
use datafusion::execution::memory_pool::{MemoryPool, UnboundedMemoryPool};
use datafusion::physical_plan::metrics::{BaselineMetrics, ExecutionPlanMetricsSet};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use picsift_vision::Answer;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{Semaphore, mpsc};

use super::stream::{BatchPipeline, Driver};
use super::work::Done;
use crate::pipeline::budget::Budget;
use crate::pipeline::memory_cache::{AskedId, MemoryAnswerCache};
use crate::pipeline::quota::{AtEnd, Exhausted, InferenceQuota};

/// Rows of each stream.
const ROWS: i64 = 40;

/// Wakes one task of the scheduler.
struct Bell {
    task: usize,
    woken: Arc<Mutex<BTreeSet<usize>>>,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.woken.lock().unwrap().insert(self.task);
    }
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs `tasks` to their ends; false where all that are left wait for something that will not come.
fn run(tasks: Vec<Task>, random: &mut StdRng) -> bool {
    let woken = Arc::new(Mutex::new((0..tasks.len()).collect::<BTreeSet<_>>()));
    let mut tasks: Vec<Option<Task>> = tasks.into_iter().map(Some).collect();
    while tasks.iter().any(Option::is_some) {
        let next = {
            let mut woken = woken.lock().unwrap();
            if woken.is_empty() {
                return false;
            }
            let place = random.random_range(0..woken.len());
            let next = *woken.iter().nth(place).unwrap();
            woken.remove(&next);
            next
        };
        let bell = Bell {
            task: next,
            woken: Arc::clone(&woken),
        };
        let waker = Waker::from(Arc::new(bell));
        if let Some(task) = &mut tasks[next]
            && let Poll::Ready(()) = task.as_mut().poll(&mut Context::from_waker(&waker))
        {
            tasks[next] = None;
        }
    }
    true
}

/// Passes a number of turns.
async fn turns(count: usize) {
    for _ in 0..count {
        let mut passed = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut passed, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

/// What all streams of a query share.
#[derive(Clone)]
struct Shared {
    known: Arc<MemoryAnswerCache>,
    quota: Arc<InferenceQuota>,
}

/// Asks about images whose content is the number in the first column, as the operator does.
struct Looking {
    shared: Shared,
    slots: Arc<Semaphore>,
    budget: Arc<Budget>,
}

impl Looking {
    async fn look(&self, content: i64) -> Result<(), Exhausted> {
        let reserved = self.shared.quota.reserve(true).await;
        let _slot = self.slots.acquire().await;
        let _held = self.budget.hold(100).await;
        let asked = AskedId::new("model", &[]);
        let found = self.shared.known.find([content as u8; 32], asked).await;
        if let Err(place) = found {
            turns(content as usize % 4).await;
            reserved.take()?;
            turns(2).await;
            let _ = place.insert(Arc::new([Answer::Score(0.5)]));
        }
        Ok(())
    }
}

impl BatchPipeline for Looking {
    async fn run(&self, batch: RecordBatch, _first: usize) -> Result<Done> {
        let contents = batch
            .column(0)
            .as_primitive::<Int64Type>()
            .values()
            .to_vec();
        let looks = contents.into_iter().enumerate();
        let mut looks: FuturesUnordered<_> = looks
            .map(|(place, content)| async move { (place, self.look(content).await) })
            .collect();
        let mut end: Option<(usize, Exhausted)> = None;
        while let Some((place, looked)) = looks.next().await {
            if let Err(reason) = looked
                && end.is_none_or(|(first, _)| place < first)
            {
                end = Some((place, reason));
            }
        }
        let rows = batch.num_rows();
        Ok(Done {
            batch: batch.slice(0, end.map_or(rows, |(first, _)| first)),
            rows,
            exhausted: end.map(|(_, reason)| reason),
        })
    }
}

/// A stream over `contents` in batches of so many rows: its driver and what comes out.
fn stream(
    shared: &Shared,
    contents: Vec<i64>,
    batch_rows: usize,
    slots: usize,
    memory: usize,
) -> (Task, mpsc::Receiver<Result<RecordBatch>>) {
    let batches: Vec<_> = contents
        .chunks(batch_rows)
        .map(|rows| {
            let column: ArrayRef = Arc::new(Int64Array::from(rows.to_vec()));
            RecordBatch::try_from_iter([("content", column)]).unwrap()
        })
        .collect();
    let schema = batches[0].schema();
    let input = futures::stream::iter(batches.into_iter().map(Ok));
    let pool: Arc<dyn MemoryPool> = Arc::new(UnboundedMemoryPool::default());
    let slots = Arc::new(Semaphore::new(slots));
    let driver = Driver {
        work: Arc::new(Looking {
            shared: shared.clone(),
            slots: Arc::clone(&slots),
            budget: Budget::new("images".to_string(), memory, &pool),
        }),
        input: Box::pin(RecordBatchStreamAdapter::new(schema, input)),
        batch_size: 64,
        slots,
        budget: Budget::new("rows".to_string(), memory, &pool),
        quota: Arc::clone(&shared.quota),
        metrics: BaselineMetrics::new(&ExecutionPlanMetricsSet::new(), 0),
    };
    let (sender, receiver) = mpsc::channel(1);
    let task = async move { driver.run(sender).await.unwrap() };
    (Box::pin(task), receiver)
}

/// How the rows of two streams are taken.
#[derive(Debug, Clone, Copy)]
enum Consumer {
    /// All of one, then all of the other, as a hash join does.
    OneAfterTheOther,
    /// In turns, as a merge join does.
    InTurns,
    /// One stream is dropped after its first batch, as a limit does.
    FirstBatchOnly,
}

async fn rows_of(stream: &mut mpsc::Receiver<Result<RecordBatch>>) -> Option<usize> {
    let batch = stream.recv().await?;
    Some(batch.unwrap().num_rows())
}

async fn consume(
    how: Consumer,
    mut first: mpsc::Receiver<Result<RecordBatch>>,
    mut second: mpsc::Receiver<Result<RecordBatch>>,
    rows: Arc<Mutex<usize>>,
) {
    let count = |more: usize| *rows.lock().unwrap() += more;
    match how {
        Consumer::OneAfterTheOther => {}
        Consumer::InTurns => loop {
            let (one, other) = (rows_of(&mut first).await, rows_of(&mut second).await);
            count(one.unwrap_or(0) + other.unwrap_or(0));
            if one.is_none() || other.is_none() {
                break;
            }
        },
        Consumer::FirstBatchOnly => {
            count(rows_of(&mut first).await.unwrap_or(0));
            first.close();
            while rows_of(&mut first).await.is_some() {}
        }
    }
    while let Some(more) = rows_of(&mut first).await {
        count(more);
    }
    while let Some(more) = rows_of(&mut second).await {
        count(more);
    }
}

/// Runs two streams over the same contents in an order that follows from the seed; how many rows came out, or `None` where
/// they wait forever.
fn explore(seed: u64, how: Consumer, max_images: Option<u64>) -> Option<usize> {
    let mut random = StdRng::seed_from_u64(seed);
    let shared = Shared {
        known: Arc::new(MemoryAnswerCache::new()),
        quota: Arc::new(InferenceQuota::new(
            max_images,
            Some(Duration::from_secs(3600)),
            AtEnd::Stop,
        )),
    };
    let (mut tasks, mut outputs) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let first = random.random_range(0..10);
        let contents = (0..ROWS).map(|row| (row + first) % 50).collect();
        let batch_rows = [1, 2, 3, 5, 7, 64][random.random_range(0..6)];
        let slots = random.random_range(1..8);
        let memory = [1, 250, 1 << 20][random.random_range(0..3)];
        let (task, output) = stream(&shared, contents, batch_rows, slots, memory);
        tasks.push(task);
        outputs.push(output);
    }
    let rows = Arc::default();
    let (second, first) = (outputs.pop()?, outputs.pop()?);
    tasks.push(Box::pin(consume(how, first, second, Arc::clone(&rows))));
    run(tasks, &mut random).then(|| *rows.lock().unwrap())
}

#[test]
fn no_order_of_events_makes_two_streams_wait_for_each_other() {
    for how in [
        Consumer::OneAfterTheOther,
        Consumer::InTurns,
        Consumer::FirstBatchOnly,
    ] {
        for seed in 0..300 {
            let rows = explore(seed, how, None);
            assert!(rows.is_some(), "{how:?} hangs with seed {seed}");
            if !matches!(how, Consumer::FirstBatchOnly) {
                assert_eq!(rows, Some(2 * ROWS as usize), "{how:?}, seed {seed}");
            }
        }
    }
}

#[test]
fn a_quota_is_handed_on_in_every_order_of_events() {
    for how in [Consumer::OneAfterTheOther, Consumer::InTurns] {
        for seed in 0..300 {
            let rows = explore(seed, how, Some(seed % 60));
            assert!(rows.is_some(), "{how:?} hangs with seed {seed}");
        }
    }
}
