//! A shared job that this program does not label itself: it says which units are to be done, and publishes what was recorded.
//!
//! Nothing that decides hangs on it. Units are done when they are recorded, by whomever; when this program ends, the same command goes on,
//! and so do programs that take units themselves.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use datafusion::common::exec_datafusion_err;

use super::join::Joined;
use super::publish::publish_units;
use super::records::JobWork;
use super::work::resumable;
use super::{Outcome, standing, work_of};
use crate::error::AppError;
use crate::label::cancel::Cancel;
use crate::label::prepare::PreparedJob;
use crate::label::progress::Progress;
use crate::label::sources::check_unchanged;

/// Units that are given away at once: so that a plan of them is small, and that those that failed are soon tried again.
const WAVE: usize = 1000;

/// How often a unit is given away that fails.
const TRIES: u32 = 3;

/// Units of which all fail that are taken for a sign that others would too.
const FEW: usize = 3;

/// Time between two looks how far it is, at least; it grows with what a look takes.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Those who do the units of a job.
#[async_trait::async_trait]
pub trait Hands: Send + Sync {
    /// Has these units done. Ended well, each was tried; whether it is done its record says. Those that could not be done come back with why,
    /// as far as that is known. Dropped, it gives up what is not begun.
    ///
    /// # Errors
    /// When the job is hopeless, or nobody is there who does it.
    async fn units(&self, units: &[u32]) -> Result<Vec<(u32, String)>, AppError>;
}

/// Has what is left of a job done, and publishes it.
///
/// # Errors
/// [`AppError`]; what is recorded stays.
pub(super) async fn run(
    job: &PreparedJob,
    joined: Joined,
    hands: &dyn Hands,
    progress: Arc<dyn Fn(&Progress) + Send + Sync>,
    cancel: &Cancel,
) -> Result<Outcome, AppError> {
    let work = work_of(&job.output, &joined.plan);
    let units = joined.plan.units.len();
    let mut asked = cancel.finishing();
    let done = tokio::select! {
        done = waves(&work, units, hands) => done,
        looked = look(&work, &joined, &*progress) => looked,
        _ = asked.wait_for(|asked| *asked) => {
            let done = work.done().await.map_or(0, |done| done.len());
            Err(AppError::Cancelled { state: standing(done, units) })
        }
    };
    if let Err(error) = done {
        let done = work.done().await.map_or(0, |done| done.len());
        return Err(resumable(error, done, units));
    }
    check_unchanged(&job.inference.context, &job.tables.sources).await?;
    let most = job.options.max_error_ratio;
    let manifest = publish_units(&job.output, &joined.plan, most).await?;
    Ok(Outcome::Published(Box::new(manifest)))
}

/// Gives units away until all are recorded, or the job is no more.
async fn waves(work: &JobWork, units: usize, hands: &dyn Hands) -> Result<(), AppError> {
    let mut tries: HashMap<u32, u32> = HashMap::new();
    let mut reasons: HashMap<u32, String> = HashMap::new();
    loop {
        if !work.is_open().await? {
            return Ok(());
        }
        let done = work.done().await?;
        let left = (0..units as u32).filter(|unit| !done.contains(unit));
        // What failed comes after what was never tried.
        let mut left: Vec<u32> = left.collect();
        left.sort_by_key(|unit| tries.get(unit).copied().unwrap_or_default());
        let Some(first) = left.first() else {
            return Ok(());
        };
        if tries.get(first).is_some_and(|tries| *tries >= TRIES) {
            let why = reasons
                .get(first)
                .map_or("nobody could say why", String::as_str);
            return Err(AppError::Run(exec_datafusion_err!(
                "unit {first} could not be done in {TRIES} tries, at last {why}"
            )));
        }
        left.truncate(WAVE);
        left.retain(|unit| tries.get(unit).is_none_or(|tries| *tries < TRIES));
        tracing::info!(
            units = left.len(),
            done = done.len(),
            "units are given away"
        );
        reasons.extend(hands.units(&left).await?);
        if left.len() >= FEW && work.is_open().await? {
            let done = work.done().await?;
            let reason = left
                .iter()
                .find_map(|unit| Some((unit, reasons.get(unit)?)));
            if let Some((unit, why)) = reason
                && !left.iter().any(|unit| done.contains(unit))
            {
                let units = left.len();
                return Err(AppError::Run(exec_datafusion_err!(
                    "none of {units} units could be done, unit {unit} {why}"
                )));
            }
        }
        for unit in left {
            *tries.entry(unit).or_default() += 1;
        }
    }
}

/// Says how far it is, until it is dropped.
async fn look(
    work: &JobWork,
    joined: &Joined,
    tell: &(dyn Fn(&Progress) + Send + Sync),
) -> Result<(), AppError> {
    let (begun, mut before) = (Instant::now(), None);
    let plan = &joined.plan;
    loop {
        let look = Instant::now();
        // What cannot be listed now can be the next time; the units are what matters.
        if let Ok(done) = work.done().await {
            let units = done
                .iter()
                .filter_map(|unit| plan.units.get(*unit as usize));
            let rows: u64 = units.map(|unit| unit.rows).sum();
            let before = *before.get_or_insert(rows);
            tell(&Progress {
                rows: rows.saturating_sub(before),
                before,
                total: Some(plan.rows()),
                failures: 0,
                elapsed: begun.elapsed(),
            });
        }
        tokio::time::sleep(LOOK_EVERY.max(look.elapsed() * 10)).await;
    }
}
