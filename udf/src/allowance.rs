//! How much a query or a job may ask: a number of images, a time.
//!
//! One [`Allowance`] is shared by all of a query's operators. It counts and says when it is used up; what then happens to rows
//! is the operator's business, and whether that is an error follows from [`AtEnd`].

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What becomes of a run whose allowance is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AtEnd {
    /// An error: a query's result must not look complete.
    #[default]
    Fail,
    /// The rows that are done stand, and no more come.
    Stop,
}

/// The allowance of one run.
#[derive(Debug, Default)]
pub struct Allowance {
    /// Most images that the model may be asked about.
    pub max_images: Option<u64>,
    /// Longest time from the first image on.
    pub max_time: Option<Duration>,
    /// What happens at the end.
    pub at_end: AtEnd,
    images: AtomicU64,
    started: OnceLock<Instant>,
    exhausted: OnceLock<Exhausted>,
}

/// An allowance is used up; the text says which and how to raise it.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum Exhausted {
    /// The images.
    #[error(
        "{0} images have been asked, which is all that max_images allows; raise it, or ask fewer rows"
    )]
    Images(u64),
    /// The time.
    #[error(
        "{} seconds have passed, which is all that max_seconds allows; raise it, or ask fewer rows", .0.as_secs_f64()
    )]
    Time(Duration),
}

impl Allowance {
    /// An allowance of so many images and so much time; `None` is no bound.
    pub fn new(max_images: Option<u64>, max_time: Option<Duration>, at_end: AtEnd) -> Self {
        Self {
            max_images,
            max_time,
            at_end,
            ..Self::default()
        }
    }

    /// Why it ended, once it has.
    pub fn exhausted(&self) -> Option<Exhausted> {
        self.exhausted.get().copied()
    }

    /// Whether time is left.
    pub(crate) fn check_time(&self) -> Result<(), Exhausted> {
        let Some(limit) = self.max_time else {
            return Ok(());
        };
        if self.started.get_or_init(Instant::now).elapsed() < limit {
            return Ok(());
        }
        Err(self.end(Exhausted::Time(limit)))
    }

    /// One image is about to be shown to the model.
    pub(crate) fn take(&self) -> Result<(), Exhausted> {
        self.check_time()?;
        match self.max_images {
            Some(limit) if self.images.fetch_add(1, Ordering::Relaxed) >= limit => {
                Err(self.end(Exhausted::Images(limit)))
            }
            _ => Ok(()),
        }
    }

    fn end(&self, reason: Exhausted) -> Exhausted {
        *self.exhausted.get_or_init(|| reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_end_at_their_number() {
        let allowance = Allowance::new(Some(2), None, AtEnd::Fail);
        assert!(allowance.take().is_ok() && allowance.take().is_ok());
        assert_eq!(allowance.take(), Err(Exhausted::Images(2)));
        assert_eq!(allowance.exhausted(), Some(Exhausted::Images(2)));
    }

    #[test]
    fn time_ends_and_says_how_much_it_was() {
        let allowance = Allowance::new(None, Some(Duration::ZERO), AtEnd::Stop);
        let reason = allowance.take().unwrap_err();
        assert!(reason.to_string().starts_with("0 seconds"), "{reason}");
    }
}
