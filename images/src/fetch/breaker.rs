//! When a host is given up, so that a table of its images costs minutes and not days.
//!
//! A host that fails or keeps images waiting costs each of them all its time. After many failures with nothing between them, over
//! longer than two images may take, the next images fail without asking, a bounded number a second, until one that is let through
//! now and then is answered. So an outage costs little more than what would have failed in it.

use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// Failures one after another before a host can be given up: more than are under way at once.
const FAILURES: u32 = 32;

/// Images a second that fail without asking: fast enough for large tables, and an outage that ends soon loses few.
const REFUSED_PER_SECOND: NonZeroU32 = match NonZeroU32::new(500) {
    Some(images) => images,
    None => NonZeroU32::MIN,
};

/// Whether a host is asked.
pub(super) struct Breaker {
    /// How long an image may take.
    patience: Duration,
    state: Mutex<State>,
    refusing: DefaultDirectRateLimiter,
}

#[derive(Default)]
struct State {
    failures: u32,
    /// Since when there was nothing but failures.
    failing: Option<Instant>,
    /// When the next image is let through, if the host is given up.
    again: Option<Instant>,
}

impl Breaker {
    pub(super) fn new(patience: Duration) -> Self {
        let quota = Quota::per_second(REFUSED_PER_SECOND).allow_burst(NonZeroU32::MIN);
        Breaker {
            patience,
            state: Mutex::default(),
            refusing: RateLimiter::direct(quota),
        }
    }

    /// Lets an image through, or says for how long the host has only failed.
    pub(super) async fn admit(&self) -> Result<(), Duration> {
        let failing = {
            let mut state = self.lock();
            let Some(again) = state.again else {
                return Ok(());
            };
            let now = Instant::now();
            if now >= again {
                // The others wait for what comes of this one.
                state.again = Some(now + self.patience);
                return Ok(());
            }
            state.failing.map_or(Duration::ZERO, |since| now - since)
        };
        while let Err(early) = self.refusing.check() {
            tokio::time::sleep(early.wait_time_from(DefaultClock::default().now())).await;
        }
        Err(failing)
    }

    /// The host has answered, whatever the answer.
    pub(super) fn note_answer(&self) {
        let mut state = self.lock();
        if state.failures > 0 {
            *state = State::default();
        }
    }

    /// The host has failed or kept an image waiting for too long.
    pub(super) fn note_failure(&self) {
        let now = Instant::now();
        let mut state = self.lock();
        state.failures = state.failures.saturating_add(1);
        let since = *state.failing.get_or_insert(now);
        if state.failures >= FAILURES && now - since >= 2 * self.patience {
            state.again = Some(now + self.patience / 3);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // What is locked here is whole at every point where a panic could leave the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_host_is_given_up_when_it_only_fails_for_long_and_asked_again_when_it_answers() {
        let patience = Duration::from_millis(30);
        let breaker = Breaker::new(patience);
        for _ in 0..2 * FAILURES {
            breaker.note_failure();
        }
        assert!(breaker.admit().await.is_ok(), "a moment is no outage");
        tokio::time::sleep(2 * patience).await;
        breaker.note_failure();
        assert!(breaker.admit().await.unwrap_err() >= 2 * patience);
        tokio::time::sleep(patience / 2).await;
        assert!(breaker.admit().await.is_ok(), "one is let through");
        assert!(breaker.admit().await.is_err(), "and no second");
        breaker.note_answer();
        assert!(breaker.admit().await.is_ok());
        // What answers now and then is never given up.
        for _ in 0..4 {
            for _ in 0..FAILURES - 1 {
                breaker.note_failure();
            }
            tokio::time::sleep(patience).await;
            breaker.note_answer();
        }
        assert!(breaker.admit().await.is_ok());
    }
}
