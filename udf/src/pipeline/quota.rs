//! How much a query or a job may infer: a number of images, a time.
//!
//! One [`InferenceQuota`] is shared by all of a query's operators. It hands out the right to ask, in the order in which it is asked
//! for, and says when it is used up; what then happens to rows is the operator's business, and whether that is an error follows
//! from [`AtEnd`].

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{Semaphore, SemaphorePermit};

/// What becomes of a run whose quota is used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum AtEnd {
    /// An error: a query's result must not look complete.
    #[default]
    Fail,
    /// The rows that are done stand, and no more come.
    Stop,
}

/// The quota of one run.
#[derive(Debug, Default)]
pub struct InferenceQuota {
    /// Longest time from the first image on.
    pub max_time: Option<Duration>,
    /// What happens at the end.
    pub at_end: AtEnd,
    images: Option<Images>,
    started: OnceLock<Instant>,
    exhausted: OnceLock<Exhausted>,
}

/// A bound on images.
#[derive(Debug)]
struct Images {
    limit: u64,
    /// One permit for each image that may still be asked; closed when all of them have been.
    left: Semaphore,
    asked: AtomicU64,
}

/// A quota is used up; the text says which and how to raise it.
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

/// What an image holds of the quota until it is known whether it must be asked. Dropped, it is another image's.
#[derive(Debug)]
pub(crate) struct QuotaPermit<'a> {
    quota: &'a InferenceQuota,
    /// `None` where there is no bound, nothing was left or nothing is needed.
    permit: Option<SemaphorePermit<'a>>,
}

impl InferenceQuota {
    /// A quota of so many images and so much time; `None` is no bound.
    pub fn new(max_images: Option<u64>, max_time: Option<Duration>, at_end: AtEnd) -> Self {
        Self {
            max_time,
            at_end,
            images: max_images.map(Images::new),
            ..Self::default()
        }
    }

    /// Most images that the model may be asked about.
    pub fn max_images(&self) -> Option<u64> {
        self.images.as_ref().map(|images| images.limit)
    }

    /// Takes so many images off what is left: they have been asked about elsewhere.
    pub fn spend(&self, images: u64) {
        let Some(bound) = &self.images else { return };
        let left = bound.limit - bound.asked.load(Ordering::Relaxed).min(bound.limit);
        let spent = images.min(left);
        bound.left.forget_permits(spent as usize);
        if bound.asked.fetch_add(spent, Ordering::Relaxed) + spent >= bound.limit {
            bound.left.close();
        }
    }

    /// Why it ended, once it has.
    pub fn exhausted(&self) -> Option<Exhausted> {
        self.exhausted.get().copied()
    }

    /// Waits until one of the images that are left is this one's, or none is left; `asks` says whether it may need any.
    ///
    /// First come, first served: a caller that reserves in the order of rows has the first rows asked, whichever image is ready first.
    /// An image for which nothing was left may turn out to be known and then needs nothing.
    pub(crate) async fn reserve(&self, asks: bool) -> QuotaPermit<'_> {
        let permit = match &self.images {
            // Closed when the last image was asked.
            Some(images) if asks => images.left.acquire().await.ok(),
            _ => None,
        };
        QuotaPermit {
            quota: self,
            permit,
        }
    }

    /// Whether time is left.
    fn check_time(&self) -> Result<(), Exhausted> {
        let Some(limit) = self.max_time else {
            return Ok(());
        };
        if self.started.get_or_init(Instant::now).elapsed() < limit {
            return Ok(());
        }
        Err(self.end(Exhausted::Time(limit)))
    }

    fn end(&self, reason: Exhausted) -> Exhausted {
        *self.exhausted.get_or_init(|| reason)
    }
}

impl Images {
    fn new(limit: u64) -> Self {
        let permits = usize::try_from(limit).unwrap_or(Semaphore::MAX_PERMITS);
        let images = Self {
            limit,
            left: Semaphore::new(permits.min(Semaphore::MAX_PERMITS)),
            asked: AtomicU64::new(0),
        };
        if limit == 0 {
            images.left.close();
        }
        images
    }
}

impl QuotaPermit<'_> {
    /// The image is about to be shown to the model.
    ///
    /// # Errors
    /// [`Exhausted`] when it may not.
    pub(crate) fn take(self) -> Result<(), Exhausted> {
        self.quota.check_time()?;
        let Some(images) = &self.quota.images else {
            return Ok(());
        };
        let Some(permit) = self.permit else {
            return Err(self.quota.end(Exhausted::Images(images.limit)));
        };
        permit.forget();
        if images.asked.fetch_add(1, Ordering::Relaxed) + 1 >= images.limit {
            images.left.close();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, poll};

    use super::*;

    #[tokio::test]
    async fn images_end_at_their_number() {
        let quota = InferenceQuota::new(Some(2), None, AtEnd::Fail);
        for _ in 0..2 {
            assert!(quota.reserve(true).await.take().is_ok());
        }
        let over = quota.reserve(true).await;
        assert_eq!(quota.exhausted(), None, "it may be known");
        assert_eq!(over.take(), Err(Exhausted::Images(2)));
        assert_eq!(quota.exhausted(), Some(Exhausted::Images(2)));
        let nothing = InferenceQuota::new(Some(0), None, AtEnd::Fail);
        assert!(nothing.reserve(true).await.take().is_err());
    }

    #[tokio::test]
    async fn what_is_left_goes_to_the_first_that_wanted_it() {
        let quota = InferenceQuota::new(Some(1), None, AtEnd::Stop);
        let first = quota.reserve(true).await;
        let (mut second, mut third) =
            (Box::pin(quota.reserve(true)), Box::pin(quota.reserve(true)));
        assert!(poll!(&mut second).is_pending() && poll!(&mut third).is_pending());
        // It was known already.
        drop(first);
        assert!(poll!(&mut third).is_pending());
        assert!(second.await.take().is_ok());
        // Nothing is left to wait for.
        let third = third.now_or_never().map(QuotaPermit::take);
        assert_eq!(third, Some(Err(Exhausted::Images(1))));
    }

    #[tokio::test]
    async fn what_was_asked_elsewhere_counts() {
        let quota = InferenceQuota::new(Some(5), None, AtEnd::Stop);
        quota.spend(4);
        assert!(quota.reserve(true).await.take().is_ok());
        assert!(quota.reserve(true).await.take().is_err());
        let all = InferenceQuota::new(Some(5), None, AtEnd::Stop);
        all.spend(9);
        assert_eq!(all.reserve(true).await.take(), Err(Exhausted::Images(5)));
        InferenceQuota::default().spend(9);
    }

    #[tokio::test]
    async fn time_ends_and_says_how_much_it_was() {
        let quota = InferenceQuota::new(None, Some(Duration::ZERO), AtEnd::Stop);
        let reason = quota.reserve(true).await.take().unwrap_err();
        assert!(reason.to_string().starts_with("0 seconds"), "{reason}");
    }
}
