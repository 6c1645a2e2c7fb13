//! How politely each HTTP host is asked: so many requests at once, so many per second, none while it wants a pause; and how long it is
//! asked at all: a host that has only failed for a while is given up, tried now and then by one image, and asked again once that
//! succeeds ([`super::breaker`]).
//!
//! A fetch waits here before it takes one of the fetcher's slots, so a busy host keeps nobody else waiting. A waiting
//! fetch holds its reference and nothing else; there are as many as callers have started.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use super::breaker::Breaker;

/// Hosts remembered at once, besides those in use: a table of links may name any number.
const REMEMBERED: usize = 1024;

/// The hosts that were asked lately.
#[derive(Debug)]
pub(super) struct Hosts {
    table: Mutex<HashMap<String, Arc<Host>>>,
    at_once: usize,
    per_second: Option<NonZeroU32>,
    /// How long an image may take.
    patience: Duration,
}

/// What one host may be asked.
pub(super) struct Host {
    slots: Arc<Semaphore>,
    rate: Option<DefaultDirectRateLimiter>,
    times: Mutex<Times>,
    /// Whether it is given up.
    pub(super) breaker: Breaker,
}

struct Times {
    last_used: Instant,
    /// The host wants no request before.
    resume: Instant,
}

impl Hosts {
    pub(super) fn new(at_once: usize, per_second: Option<NonZeroU32>, patience: Duration) -> Self {
        Hosts {
            patience,
            table: Mutex::default(),
            at_once: at_once.clamp(1, Semaphore::MAX_PERMITS),
            per_second,
        }
    }

    /// The host called `name`, new if it is not remembered.
    pub(super) fn get(&self, name: &str) -> Arc<Host> {
        let mut table = lock(&self.table);
        if let Some(host) = table.get(name) {
            lock(&host.times).last_used = Instant::now();
            return Arc::clone(host);
        }
        if table.len() >= REMEMBERED {
            // A host in use keeps its entry, or its limits would be forgotten.
            let oldest = table
                .iter()
                .filter(|(_, host)| Arc::strong_count(host) == 1)
                .min_by_key(|(_, host)| lock(&host.times).last_used)
                .map(|(name, _)| name.clone());
            if let Some(oldest) = oldest {
                table.remove(&oldest);
            }
        }
        let host = Arc::new(Host::new(self.at_once, self.per_second, self.patience));
        table.insert(name.to_owned(), Arc::clone(&host));
        host
    }
}

impl Host {
    fn new(at_once: usize, per_second: Option<NonZeroU32>, patience: Duration) -> Self {
        // Evenly spaced: a burst at the start would be what the bound is to prevent.
        let rate = per_second
            .map(|rate| RateLimiter::direct(Quota::per_second(rate).allow_burst(NonZeroU32::MIN)));
        let now = Instant::now();
        Host {
            slots: Arc::new(Semaphore::new(at_once)),
            rate,
            times: Mutex::new(Times {
                last_used: now,
                resume: now,
            }),
            breaker: Breaker::new(patience),
        }
    }

    /// Waits for the right to send one request; the permit is kept until its answer is read. The pause that the host wants is over then,
    /// and taken from what is `left` of the image's time; `None` where that is not enough.
    pub(super) async fn enter(
        &self,
        left: &mut Duration,
    ) -> Result<Option<OwnedSemaphorePermit>, AcquireError> {
        let permit = Arc::clone(&self.slots).acquire_owned().await?;
        loop {
            let resume = lock(&self.times).resume;
            let pause = resume.saturating_duration_since(Instant::now());
            if !pause.is_zero() {
                if pause >= *left {
                    return Ok(None);
                }
                *left -= pause;
                tokio::time::sleep(pause).await;
                continue;
            }
            let Some(Err(early)) = self.rate.as_ref().map(RateLimiter::check) else {
                return Ok(Some(permit));
            };
            tokio::time::sleep(early.wait_time_from(DefaultClock::default().now())).await;
        }
    }

    /// No request goes to this host before `pause` is over.
    pub(super) fn pause(&self, pause: Duration) {
        let mut times = lock(&self.times);
        times.resume = times.resume.max(Instant::now() + pause);
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is locked here is whole at every point where a panic could leave the lock.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_hosts_is_bounded_and_keeps_those_in_use() {
        let hosts = Hosts::new(1, None, Duration::from_secs(1));
        let first = hosts.get("first");
        for i in 0..3 * REMEMBERED {
            hosts.get(&i.to_string());
        }
        assert!(lock(&hosts.table).len() <= REMEMBERED);
        assert!(Arc::ptr_eq(&first, &hosts.get("first")));
    }
}
