//! Sixty-four programs over one job, of which some die, some sleep past their lease, and whose store fails now and then. Time runs some 800
//! times as fast as in life: a unit of three minutes takes a quarter of a second, a program dies every two hours.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result as StoreResult,
};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Part;
use super::claims::Claims;
use super::plan::PLAN;
use super::records::JobWork;
use super::taker::{Labels, UnitTaker, mine};
use super::worker::Worker;
use crate::dataset::publish::Output;
use crate::dataset::store::RemotePrefix;
use crate::error::AppError;
use crate::label::cancel::Cancel;
use crate::label::journal::Shard;

const PROGRAMS: usize = 64;
/// Units of the job; `PICSIFT_UNITS` says how many in a longer one, of which the end is a smaller part.
static UNITS: LazyLock<u32> = LazyLock::new(|| match std::env::var("PICSIFT_UNITS") {
    Ok(units) => units.parse().unwrap(),
    Err(_) => 768,
});
const UNIT: Duration = Duration::from_millis(250);
const LEASE: Duration = Duration::from_millis(400);
/// Mean life of a program, what of its ends are naps, how long until its scheduler starts it anew, and how long a nap is.
const LIFE: Duration = Duration::from_secs(9);
const NAPS: f64 = 0.2;
const RESTART: Duration = Duration::from_millis(150);
const NAP: Duration = Duration::from_millis(1200);
/// Requests that fail for good.
const FAILING: f64 = 2e-4;

/// The store as one program has it.
#[derive(Debug)]
struct Faulty {
    store: Arc<InMemory>,
    shared: Arc<Counters>,
    /// Whether the program sleeps: its requests wait.
    asleep: watch::Receiver<bool>,
}

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    failed: AtomicU64,
    /// Microseconds of labelling.
    worked: AtomicU64,
}

impl Faulty {
    async fn request(&self) -> StoreResult<()> {
        let mut asleep = self.asleep.clone();
        let _ = asleep.wait_for(|asleep| !asleep).await;
        let number = self.shared.requests.fetch_add(1, Ordering::Relaxed);
        let chance = StdRng::seed_from_u64(number).random::<f64>();
        match chance < FAILING {
            false => Ok(()),
            true => {
                self.shared.failed.fetch_add(1, Ordering::Relaxed);
                Err(Error::Generic {
                    store: "faulty",
                    source: "as the simulation wants".into(),
                })
            }
        }
    }
}

impl fmt::Display for Faulty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("faulty")
    }
}

#[async_trait]
impl ObjectStore for Faulty {
    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> StoreResult<PutResult> {
        self.request().await?;
        self.store.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> StoreResult<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> StoreResult<GetResult> {
        self.request().await?;
        self.store.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, StoreResult<Path>>,
    ) -> BoxStream<'static, StoreResult<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, StoreResult<ObjectMeta>> {
        self.shared.requests.fetch_add(1, Ordering::Relaxed);
        self.store.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> StoreResult<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> StoreResult<()> {
        self.store.copy_opts(from, to, options).await
    }
}

/// Takes as long as a unit takes, and a nap now and then.
struct Slow {
    chance: StdRng,
    shared: Arc<Counters>,
    sleep: watch::Sender<bool>,
}

impl Labels for Slow {
    async fn label(
        &mut self,
        unit: u32,
        _: &str,
        lost: watch::Receiver<bool>,
    ) -> Result<Shard, AppError> {
        // The same whoever does it.
        let share = StdRng::seed_from_u64(unit.into()).random_range(0.5..1.5);
        let mut left = UNIT.mul_f64(share);
        let naps = self.chance.random::<f64>() < NAPS * UNIT.as_secs_f64() / LIFE.as_secs_f64();
        if naps {
            self.sleep.send_replace(true);
            tokio::time::sleep(NAP).await;
            self.sleep.send_replace(false);
        }
        let mut shard = Shard {
            held: vec![u64::from(unit)],
            ..Shard::default()
        };
        while !left.is_zero() && !*lost.borrow() {
            let tick = left.min(UNIT / 8);
            tokio::time::sleep(tick).await;
            left -= tick;
            // What it should have taken: that a busy machine wakes nobody in time is not the protocol's.
            let worked = tick.as_micros() as u64;
            self.shared.worked.fetch_add(worked, Ordering::Relaxed);
        }
        shard.counts.rows = u64::from(!*lost.borrow());
        Ok(shard)
    }

    fn ends_the_program(&self, _: &AppError) -> bool {
        false
    }
}

fn output(store: Arc<dyn ObjectStore>) -> Output {
    Output::remote(RemotePrefix {
        store,
        path: "out".into(),
        shown: "s3://b/out".to_string(),
    })
    .unwrap()
}

/// One place of a scheduler: a program, and when it dies another.
async fn place(number: u64, store: Arc<InMemory>, shared: Arc<Counters>) -> u64 {
    let mut chance = StdRng::seed_from_u64(number);
    let mut deaths = 0;
    loop {
        let (sleep, asleep) = watch::channel(false);
        let own = Arc::new(Faulty {
            store: Arc::clone(&store),
            shared: Arc::clone(&shared),
            asleep,
        });
        let work = JobWork::new(&output(own), "ab");
        let labels = Slow {
            chance: StdRng::seed_from_u64(chance.random()),
            shared: Arc::clone(&shared),
            sleep,
        };
        let cancel = Cancel::default();
        let claims = Claims::new(&work, Worker::this(), LEASE);
        let mut taker = UnitTaker::new(work, *UNITS, claims, labels, &cancel);
        let life = LIFE.mul_f64(-chance.random_range(1e-6..1.0_f64).ln() / (1.0 - NAPS));
        let units = mine(Part::Free, *UNITS);
        match tokio::time::timeout(life, taker.run(&units)).await {
            Ok(Ok(done)) => {
                assert_eq!(done, Some(*UNITS as usize));
                return deaths;
            }
            // It was killed, or a request failed that ends it.
            _ => deaths += 1,
        }
        tokio::time::sleep(RESTART).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sixty_four_programs_that_die_and_sleep_lose_nothing_and_little_time() {
    let (store, shared) = (Arc::new(InMemory::new()), Arc::new(Counters::default()));
    let calm = output(Arc::clone(&store) as _);
    calm.work.replace(PLAN, "{}").await.unwrap();
    let begun = Instant::now();
    let places = (0..PROGRAMS as u64)
        .map(|number| tokio::spawn(place(number, Arc::clone(&store), Arc::clone(&shared))));
    let deaths = futures::future::join_all(places).await;
    let took = begun.elapsed();
    let deaths: u64 = deaths.into_iter().map(Result::unwrap).sum();
    let records = JobWork::new(&calm, "ab").read(0..*UNITS).await.unwrap();
    let whole =
        |unit: u32, shard: &Shard| shard.held == [u64::from(unit)] && shard.counts.rows == 1;
    assert!(
        records
            .iter()
            .all(|record| whole(record.unit, &record.shard)),
        "a unit that was lost in the middle is not recorded"
    );
    let useful = (0..*UNITS)
        .map(|unit| UNIT.mul_f64(StdRng::seed_from_u64(unit.into()).random_range(0.5..1.5)))
        .sum::<Duration>()
        .as_secs_f64();
    let worked = shared.worked.load(Ordering::Relaxed) as f64 / 1e6;
    let requests = shared.requests.load(Ordering::Relaxed);
    println!(
        "{} units, {PROGRAMS} programs, {deaths} deaths, {} failed requests: {:.1} % of the work done again, {:.2} of the \
         shortest time, {:.0} requests a unit",
        *UNITS,
        shared.failed.load(Ordering::Relaxed),
        (worked / useful - 1.0) * 100.0,
        took.as_secs_f64() * PROGRAMS as f64 / useful,
        requests as f64 / f64::from(*UNITS)
    );
    assert!(deaths > 0);
    assert!(worked / useful < 1.05, "{worked} s of work for {useful} s");
}
