//! Who is at which unit: claims, so that several programs do not do the same, and those of the dead are taken over.
//!
//! A claim is advice. That two programs do one unit costs work and nothing else, for only a record makes a unit done ([`super::records`]).
//! So no clock of another machine is believed: a claim is dead when it has not changed for a lease as the one who waits measures it on its
//! own steady clock, or when its process is gone from this very machine. Claims of a unit are numbered; the next number is put if there is
//! none, so that of several who wait one takes over, and the former owner sees by it that it has lost the unit.

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::records::JobWork;
use super::worker::Worker;
use crate::dataset::store::OutputStore;
use crate::error::AppError;

/// Signs of life in a lease.
const BEATS: u32 = 4;

/// Time between two looks at the units of others, when nothing else is to be done: looks cost requests, and many programs may look.
const FIRST_PAUSE: Duration = Duration::from_secs(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What came of a claim.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum State {
    /// The unit is being labelled.
    Working,
    /// It was given up, for the program was asked to end.
    Dropped,
    /// It could not be done there.
    Failed {
        /// Why, in a sentence.
        why: String,
    },
}

/// Who has a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Claim {
    /// The program.
    pub(super) worker: Worker,
    /// What came of it.
    pub(super) state: State,
    /// Grows with each sign of life.
    beat: u64,
    /// Seconds since 1970 by the program's own clock, for people.
    pub(super) seen: u64,
}

impl Claim {
    fn new(worker: &Worker, beat: u64, state: State) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        Self {
            worker: worker.clone(),
            state,
            beat,
            seen: now.unwrap_or_default().as_secs(),
        }
    }

    fn text(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The claims of a job, as one program sees them.
#[derive(Debug)]
pub(super) struct Claims {
    place: OutputStore,
    work: JobWork,
    /// This program.
    pub(super) worker: Worker,
    lease: Duration,
    /// Claims of others: the number and beat seen last, and since when.
    watched: HashMap<u32, (u32, u64, Instant)>,
}

/// A unit that this program has claimed.
#[derive(Debug)]
pub(super) struct Held {
    /// Its number.
    pub(super) unit: u32,
    /// Becomes true when another has taken it over, or the job is no more.
    pub(super) lost: watch::Receiver<bool>,
    place: OutputStore,
    name: String,
    worker: Worker,
    /// Ends the signs of life when it is dropped.
    stop: Option<oneshot::Sender<()>>,
    life: JoinHandle<()>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.life.abort();
    }
}

impl Held {
    /// Ends the signs of life, the one under way too: it would come when the job is published and its work cleared away.
    pub(super) async fn close(&mut self) {
        drop(self.stop.take());
        // It does not panic, and nobody else aborts it.
        let _ = (&mut self.life).await;
    }

    /// Says what came of it, after which others need not wait; should that not be possible, they wait for a lease.
    pub(super) async fn end(mut self, state: State) {
        self.close().await;
        let claim = Claim::new(&self.worker, u64::MAX, state);
        if !*self.lost.borrow()
            && let Err(error) = self.place.replace(&self.name, claim.text()).await
        {
            tracing::warn!(unit = self.unit, %error, "a claim could not be given back");
        }
    }
}

impl Claims {
    /// Of this program, whose claims hold for `lease` after each sign of life.
    pub(super) fn new(work: &JobWork, worker: Worker, lease: Duration) -> Self {
        Self {
            place: work.claims(),
            work: work.clone(),
            worker,
            lease,
            watched: HashMap::new(),
        }
    }

    /// The number of the last claim of each unit that has one.
    ///
    /// # Errors
    /// When the place cannot be listed.
    pub(super) async fn survey(&self) -> Result<HashMap<u32, u32>, AppError> {
        let mut last: HashMap<u32, u32> = HashMap::new();
        for name in self.place.list().await? {
            if let Some((unit, number)) = numbers_of(&name) {
                let known = last.entry(unit).or_default();
                *known = number.max(*known);
            }
        }
        Ok(last)
    }

    /// A claim; `None` for one that is not there or still being written.
    ///
    /// # Errors
    /// When the place cannot be read.
    pub(super) async fn read(&self, unit: u32, number: u32) -> Result<Option<Claim>, AppError> {
        let text = self.place.read(&claim_name(unit, number)).await?;
        Ok(text.and_then(|text| serde_json::from_slice(&text).ok()))
    }

    /// Whether the last claim of a unit binds nobody any more.
    ///
    /// # Errors
    /// When the place cannot be read.
    pub(super) async fn is_free(&mut self, unit: u32, number: u32) -> Result<bool, AppError> {
        let claim = self.read(unit, number).await?;
        let beat = match &claim {
            Some(claim) if claim.state != State::Working => return Ok(true),
            Some(claim) if claim.worker.is_gone(&self.worker) => return Ok(true),
            Some(claim) => claim.beat,
            None => 0,
        };
        let now = Instant::now();
        let seen = self.watched.entry(unit).or_insert((number, beat, now));
        if (seen.0, seen.1) != (number, beat) {
            *seen = (number, beat, now);
        }
        Ok(now.duration_since(seen.2) >= self.lease)
    }

    /// Claims a unit by this number; `None` when another has that.
    ///
    /// # Errors
    /// When the place cannot be written.
    pub(super) async fn take(&self, unit: u32, number: u32) -> Result<Option<Held>, AppError> {
        let (name, next) = (claim_name(unit, number), claim_name(unit, number + 1));
        let claim = Claim::new(&self.worker, 0, State::Working);
        if !self.place.create(&name, claim.text()).await? {
            return Ok(None);
        }
        let (tell, lost) = watch::channel(false);
        let (stop, mut stopped) = oneshot::channel::<()>();
        let (place, work, worker) = (self.place.clone(), self.work.clone(), self.worker.clone());
        let (every, own) = (self.lease / BEATS, name.clone());
        let life = tokio::spawn(async move {
            for beat in 1_u64.. {
                tokio::select! {
                    () = tokio::time::sleep(every) => {}
                    _ = &mut stopped => return,
                }
                // What cannot be asked or written now can be the next time; without any sign another takes over.
                let is_lost = match place.exists(&next).await {
                    Ok(true) => true,
                    _ => matches!(work.is_open().await, Ok(false)),
                };
                if is_lost {
                    tell.send_replace(true);
                    return;
                }
                let claim = Claim::new(&worker, beat, State::Working);
                let _ = place.replace(&own, claim.text()).await;
            }
        });
        Ok(Some(Held {
            unit,
            lost,
            place: self.place.clone(),
            name,
            worker: self.worker.clone(),
            stop: Some(stop),
            life,
        }))
    }

    /// How long to wait before claims are looked at again: the first time, and at most.
    pub(super) fn pauses(&self) -> (Duration, Duration) {
        let most = (self.lease / 2).min(LONGEST_PAUSE);
        ((self.lease / BEATS).min(FIRST_PAUSE), most)
    }
}

fn claim_name(unit: u32, number: u32) -> String {
    format!("{unit:06}-{number}.json")
}

fn numbers_of(name: &str) -> Option<(u32, u32)> {
    let (unit, number) = name.strip_suffix(".json")?.split_once('-')?;
    Some((unit.parse().ok()?, number.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::dataset::publish::Output;
    use crate::label::shared::plan::PLAN;

    const LEASE: Duration = Duration::from_millis(200);

    async fn open(folder: &Path) -> JobWork {
        let output = Output::local(&folder.join("out")).unwrap();
        output.work.replace(PLAN, "{}").await.unwrap();
        JobWork::new(&output, "ab")
    }

    #[tokio::test]
    async fn a_claim_holds_while_it_changes_and_a_lease_longer() {
        let folder = tempfile::tempdir().unwrap();
        let work = open(folder.path()).await;
        let first = Claims::new(&work, Worker::elsewhere(), LEASE);
        let mut second = Claims::new(&work, Worker::this(), LEASE);
        let held = first.take(7, 0).await.unwrap().unwrap();
        assert!(second.take(7, 0).await.unwrap().is_none());
        assert_eq!(second.survey().await.unwrap(), HashMap::from([(7, 0)]));
        let begun = Instant::now();
        while begun.elapsed() < LEASE * 4 {
            assert!(
                !second.is_free(7, 0).await.unwrap(),
                "it gives signs of life"
            );
            tokio::time::sleep(LEASE / 10).await;
        }
        // As if its machine stood still.
        held.life.abort();
        assert!(!second.is_free(7, 0).await.unwrap());
        tokio::time::sleep(LEASE * 2).await;
        assert!(second.is_free(7, 0).await.unwrap());
        assert!(second.take(7, 1).await.unwrap().is_some());
        assert!(first.take(7, 1).await.unwrap().is_none(), "one takes over");
    }

    #[tokio::test]
    async fn who_has_lost_a_unit_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let work = open(folder.path()).await;
        let claims = Claims::new(&work, Worker::this(), LEASE);
        let mut held = claims.take(1, 0).await.unwrap().unwrap();
        let _taker = claims.take(1, 1).await.unwrap().unwrap();
        let told = held.lost.wait_for(|lost| *lost);
        assert!(tokio::time::timeout(LEASE * 5, told).await.is_ok());
    }

    #[tokio::test]
    async fn the_dead_of_this_machine_and_what_was_given_back_need_no_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let work = open(folder.path()).await;
        let mut claims = Claims::new(&work, Worker::this(), Duration::from_secs(3600));
        let mut dead = Worker::this();
        dead.process = u32::MAX;
        let of_dead = Claims::new(&work, dead, LEASE);
        let held = of_dead.take(2, 0).await.unwrap().unwrap();
        if cfg!(target_os = "linux") {
            assert!(claims.is_free(2, 0).await.unwrap());
        }
        held.end(State::Dropped).await;
        assert!(claims.is_free(2, 0).await.unwrap());
        let own = claims.take(3, 0).await.unwrap().unwrap();
        assert!(!claims.is_free(3, 0).await.unwrap());
        drop(own);
    }
}
