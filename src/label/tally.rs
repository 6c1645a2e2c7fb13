//! What a run has counted so far, and how long it took: the share of images that failed, and what each shard adds.
//!
//! Reads the counters that the operator and the model keep; what is done about them is the run's business.

use std::time::Instant;

use arrow::array::{Array, RecordBatch};

use super::prepare::PreparedJob;
use crate::dataset::manifest::{Counts, Seconds};
use crate::error::AppError;

/// Images from which on the share of failures says something.
pub(super) const IMAGES_TO_JUDGE: u64 = 100;

/// Images of the rows that came out, in the table's order: what failed is known sooner than what the model answers, so that
/// images under way would make the share of failures look larger than it is.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// With an outcome.
    pub(super) images: u64,
    /// Failed among them.
    pub(super) failures: u64,
}

impl Tally {
    pub(super) fn add(&mut self, job: &PreparedJob, batch: &RecordBatch) {
        let filled = |name: &str| {
            let column = batch.column_by_name(name);
            column.map_or(0, |column| (column.len() - column.null_count()) as u64)
        };
        let failed = filled(&job.columns.added.error);
        self.failures += failed;
        self.images += failed + job.columns.added.is.first().map_or(0, |is| filled(is));
    }

    /// Stops a job in which too many images fail, once there are `enough` images to say so.
    pub(super) fn check(&self, job: &PreparedJob, enough: u64) -> Result<(), AppError> {
        let Self { images, failures } = *self;
        match job.options.max_error_ratio {
            Some(most) if images >= enough && failures as f64 > most * images as f64 => {
                Err(AppError::TooManyErrors(format!(
                    "{failures} of {images} images failed, more than --max-error-ratio {most} allows{}",
                    match job.inference.stats.last_failure() {
                        Some(last) => format!(" (the last: {last})"),
                        None => String::new(),
                    }
                )))
            }
            _ => Ok(()),
        }
    }
}

/// What the run has counted and timed up to the last shard.
pub(super) struct Clock {
    started: Instant,
    busy: std::time::Duration,
    panics: u64,
    counts: Counts,
    seconds: Seconds,
}

impl Clock {
    pub(super) fn new(job: &PreparedJob, started: Instant) -> Self {
        let model = job.inference.model_stats();
        Self {
            started,
            busy: model.busy,
            panics: model.panics,
            counts: Counts::default(),
            seconds: Seconds::default(),
        }
    }

    /// Counts and times since the last shard, for one that wrote so many rows.
    pub(super) fn lap(&mut self, job: &PreparedJob, rows: u64) -> (Counts, Seconds) {
        let model = job.inference.model_stats();
        let counts = Counts::of(&job.inference.stats, model.panics - self.panics);
        let busy = model.busy - self.busy;
        let seconds = Seconds::of(&job.inference.stats, self.started.elapsed(), busy);
        let lap = (
            Counts {
                rows,
                ..counts.since(&self.counts)
            },
            seconds.since(&self.seconds),
        );
        (self.counts, self.seconds) = (counts, seconds);
        lap
    }
}
