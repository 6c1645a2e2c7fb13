//! Which units a program does, and when it has none left: claims them, has them labelled, records them.
//!
//! A unit that cannot be done here is left to others: it is this machine's disk or key, not the job, that failed. What labels a unit is not
//! known here, so that the whole way is also run by a simulation.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::Instrument;

use super::claims::{Claims, Held, State};
use super::hand::Done;
use super::records::{JobWork, UnitRecord};
use super::{Part, standing};
use crate::error::AppError;
use crate::label::cancel::Cancel;
use crate::label::chance::token;
use crate::label::journal::Shard;
use crate::label::shard;

/// Units that fail one after another in one program before it takes it that all would.
const FAILURES_IN_A_ROW: u32 = 3;

/// Age of what is known of claims, from which a claim that is refused is a reason to look again.
const FRESH: Duration = Duration::from_secs(5);

/// Units that are asked for one by one; of more, all records are listed.
const FEW: usize = 64;

/// What labels a unit.
pub(super) trait Labels {
    /// Labels a unit into files of a try. Once `lost` is true, rows may be missing.
    async fn label(
        &mut self,
        unit: u32,
        attempt: &str,
        lost: watch::Receiver<bool>,
    ) -> Result<Shard, AppError>;

    /// Whether an error says that other units would fail too, here and elsewhere.
    fn ends_the_program(&self, error: &AppError) -> bool;
}

/// What does one unit after another.
pub(super) struct UnitTaker<'a, L> {
    /// The work on the job.
    pub(super) work: JobWork,
    /// Units of the job.
    pub(super) units: u32,
    /// What labels them.
    pub(super) labels: L,
    claims: Claims,
    cancel: &'a Cancel,
    /// Units that could not be done here, and why.
    failed: HashMap<u32, String>,
    in_a_row: u32,
}

/// The numbers of the units that a program may do of so many, in the order in which it tries them.
pub(super) fn mine(part: Part, units: u32) -> Vec<u32> {
    match part {
        Part::Shard { number, of } => (number - 1..units).step_by(of.max(1) as usize).collect(),
        Part::Free => {
            // Each begins elsewhere, so that they seldom want the same.
            let chance = u32::from_str_radix(&token(7), 16).unwrap_or_default();
            let first = chance.checked_rem(units).unwrap_or_default();
            (first..units).chain(0..first).collect()
        }
    }
}

impl<'a, L: Labels> UnitTaker<'a, L> {
    /// Takes units of a job of so many by these claims, until it is done or `cancel` asks.
    pub(super) fn new(
        work: JobWork,
        units: u32,
        claims: Claims,
        labels: L,
        cancel: &'a Cancel,
    ) -> Self {
        Self {
            work,
            units,
            labels,
            claims,
            cancel,
            failed: HashMap::new(),
            in_a_row: 0,
        }
    }

    /// Does units until none of `mine` is left; how many of the job are done then, `None` where the job is over.
    pub(super) async fn run(&mut self, mine: &[u32]) -> Result<Option<usize>, AppError> {
        let (first, longest) = self.claims.pauses();
        let (mut left, mut pause) = (mine.to_vec(), first);
        loop {
            if !self.work.is_open().await? {
                return Ok(None);
            }
            left = self.not_done(left).await?;
            if left.is_empty() {
                return Ok(Some(self.work.done().await?.len()));
            }
            let mut claimed = self.claims.survey().await?;
            let took = self.take_free(&left, &mut claimed).await?;
            if took || self.take_over(&left, &claimed).await? {
                pause = first;
                continue;
            }
            if let Some((unit, why)) = self.hopeless(&left, &claimed).await? {
                return Err(AppError::Run(datafusion::common::exec_datafusion_err!(
                    "unit {unit} could not be done here: {why}"
                )));
            }
            self.wait(pause).await?;
            pause = (pause * 2).min(longest).max(first);
        }
    }

    async fn not_done(&self, left: Vec<u32>) -> Result<Vec<u32>, AppError> {
        let done: HashSet<u32> = match left.len() <= FEW {
            false => self.work.done().await?,
            true => {
                let mut done = HashSet::new();
                for &unit in &left {
                    if self.work.is_done(unit).await? {
                        done.insert(unit);
                    }
                }
                done
            }
        };
        Ok(left
            .into_iter()
            .filter(|unit| !done.contains(unit))
            .collect())
    }

    /// Does what nobody has ever claimed; whether there was any.
    async fn take_free(
        &mut self,
        left: &[u32],
        claimed: &mut HashMap<u32, u32>,
    ) -> Result<bool, AppError> {
        let mut seen = Instant::now();
        let mut took = false;
        for &unit in left {
            if claimed.contains_key(&unit) {
                continue;
            }
            self.stop_if_asked().await?;
            match self.claims.take(unit, 0).await? {
                Some(held) => {
                    took = true;
                    if !self.unit(held).await? {
                        break;
                    }
                }
                None if seen.elapsed() > FRESH => {
                    (*claimed, seen) = (self.claims.survey().await?, Instant::now());
                }
                None => {}
            }
        }
        Ok(took)
    }

    /// Does one unit of those whose claims bind nobody any more; whether there was one.
    async fn take_over(
        &mut self,
        left: &[u32],
        claimed: &HashMap<u32, u32>,
    ) -> Result<bool, AppError> {
        for unit in left {
            let Some(&number) = claimed.get(unit) else {
                continue;
            };
            self.stop_if_asked().await?;
            if !self.failed.contains_key(unit)
                && self.claims.is_free(*unit, number).await?
                && !self.work.is_done(*unit).await?
                && let Some(held) = self.claims.take(*unit, number + 1).await?
            {
                tracing::info!(unit, "taken over");
                self.unit(held).await?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The first of these units and why it failed, where all have failed here and nobody else is at one of them.
    async fn hopeless(
        &mut self,
        left: &[u32],
        claimed: &HashMap<u32, u32>,
    ) -> Result<Option<(u32, String)>, AppError> {
        if left.iter().any(|unit| !self.failed.contains_key(unit)) {
            return Ok(None);
        }
        for unit in left {
            if let Some(&number) = claimed.get(unit)
                && !self.claims.is_free(*unit, number).await?
            {
                return Ok(None);
            }
        }
        let first = left.iter().min();
        Ok(first.and_then(|unit| Some((*unit, self.failed.get(unit)?.clone()))))
    }

    async fn stop_if_asked(&self) -> Result<(), AppError> {
        match self.cancel.is_asked() {
            true => Err(self.cancelled().await),
            false => Ok(()),
        }
    }

    async fn cancelled(&self) -> AppError {
        let done = self.work.done().await.map_or(0, |done| done.len());
        AppError::Cancelled {
            state: standing(done, self.units as usize),
        }
    }

    /// Waits until others may have done or given up something.
    async fn wait(&self, pause: Duration) -> Result<(), AppError> {
        let mut asked = self.cancel.finishing();
        // The sender lives as long as the job.
        let asked = async { drop(asked.wait_for(|asked| *asked).await) };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = asked => {}
        }
        self.stop_if_asked().await
    }

    /// Does this unit, whoever was at it before; why it could not be done here, unless that says that others would fail too.
    pub(super) async fn given(&mut self, unit: u32) -> Result<Done, AppError> {
        if !self.work.is_open().await? || self.work.is_done(unit).await? {
            return Ok(Done::Recorded);
        }
        let mut number = 0;
        let held = loop {
            match self.claims.take(unit, number).await? {
                Some(held) => break held,
                None => number += 1,
            }
        };
        self.unit(held).await?;
        Ok(match self.failed.remove(&unit) {
            Some(why) => Done::Failed(why),
            None => Done::Recorded,
        })
    }

    /// Labels a unit and records it; whether the job is still there.
    async fn unit(&mut self, mut held: Held) -> Result<bool, AppError> {
        let (unit, attempt) = (held.unit, token(8));
        let span = tracing::info_span!("unit", number = unit);
        let cancel = self.cancel;
        let labelled = tokio::select! {
            labelled = self.labels.label(unit, &attempt, held.lost.clone()).instrument(span.clone()) => labelled,
            () = cancel.stopped() => {
                held.end(State::Dropped).await;
                self.forget(&attempt).await;
                return Err(self.cancelled().await);
            }
        };
        if !self.work.is_open().await? {
            held.close().await;
            self.forget(&attempt).await;
            return Ok(false);
        }
        // Rows may be missing from then on.
        let is_lost = *held.lost.borrow();
        match labelled {
            Ok(shard) if !is_lost => {
                let worker = self.claims.worker.clone();
                let record = UnitRecord::new(unit, &attempt, worker, shard);
                match self.work.put(&record).await? {
                    true => span.in_scope(|| shard::log(&record.shard)),
                    false => self.forget(&record.attempt).await,
                }
                held.close().await;
                self.in_a_row = 0;
            }
            // Another does it.
            Ok(_) => self.forget(&attempt).await,
            Err(_) if is_lost => self.forget(&attempt).await,
            Err(error) => {
                self.forget(&attempt).await;
                let why = error.to_string();
                held.end(State::Failed { why: why.clone() }).await;
                tracing::warn!(unit, %error, "a unit failed");
                self.in_a_row += 1;
                if self.labels.ends_the_program(&error) || self.in_a_row >= FAILURES_IN_A_ROW {
                    return Err(error);
                }
                self.failed.insert(unit, why);
            }
        }
        Ok(true)
    }

    /// What is not removed now goes when the job is published.
    async fn forget(&self, attempt: &str) {
        if let Err(error) = self.work.forget(attempt).await {
            tracing::warn!(%error, "files of a try that does not count could not be removed");
        }
    }
}
