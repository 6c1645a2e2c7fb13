//! HTTP with its redirects, retries and waiting.
//!
//! Every request, also each of a chain of redirects, waits first for its host and then for one of the fetcher's slots,
//! and gives both back when its answer is read. So nobody holds a slot while waiting for a busy host or through a
//! pause, and nobody waits for a host while holding another one.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use url::Url;

use super::hosts::Host;
use super::web::{Answer, Failure};
use super::{Fetch, Inner, Server, timed_out, unreadable};
use crate::error::ImageError;
use crate::reference::{is_below, shown};
use crate::version::Version;

/// Redirects that are followed, as HTTP libraries commonly do.
const REDIRECTS: usize = 10;

/// Pauses between the attempts: 0.2, 0.4, 0.8, 1.6 and 3.2 s, each lengthened at random by up to as much again, so that
/// many images that failed together do not come back together.
fn pauses() -> ExponentialBackoff {
    ExponentialBuilder::new()
        .with_min_delay(Duration::from_millis(200))
        .with_factor(2.0)
        .with_max_times(5)
        .with_jitter()
        .build()
}

/// The time that one image has left.
struct Budget {
    limit: Duration,
    left: Duration,
}

impl Budget {
    /// Runs `work`, for as long as there is time.
    async fn spend<T>(
        &mut self,
        url: &Url,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        let begun = Instant::now();
        let result = tokio::time::timeout(self.left, work).await;
        self.left = self.left.saturating_sub(begun.elapsed());
        result.unwrap_or_else(|_| Err(timed_out(url, self.limit).into()))
    }
}

impl Inner {
    /// Reads `url`, which may be one of `server`.
    pub(super) async fn http(
        &self,
        url: &Url,
        server: Option<&Server<'_>>,
        known: Option<&Version>,
    ) -> Result<Fetch, ImageError> {
        let limit = self.limits.timeout;
        let mut budget = Budget { limit, left: limit };
        let mut pauses = pauses();
        loop {
            let Failure { error, pause } = match self.attempt(url, server, known, &mut budget).await
            {
                Ok(fetch) => return Ok(fetch),
                Err(failure) => failure,
            };
            if !error.can_pass() || matches!(error, ImageError::GivenUp { .. }) {
                return Err(error);
            }
            let wait = match pauses.next() {
                Some(own) => own.max(pause.unwrap_or_default()),
                None => return Err(error),
            };
            if wait >= budget.left {
                return Err(error);
            }
            budget.left -= wait;
            tracing::debug!(
                host = url.host_str(),
                kind = error.kind(),
                seconds = wait.as_secs_f64(),
                "fetch failed, trying again"
            );
            tokio::time::sleep(wait).await;
        }
    }

    /// Follows `url` once through its redirects.
    async fn attempt(
        &self,
        start: &Url,
        server: Option<&Server<'_>>,
        known: Option<&Version>,
        budget: &mut Budget,
    ) -> Result<Fetch, Failure> {
        let mut url = start.clone();
        for _ in 0..=REDIRECTS {
            let server = server.filter(|server| is_below(&server.folder, &url));
            let client = self.web.client(&url, server.is_some()).await?;
            let host = self.hosts.get(url.host_str().unwrap_or_default());
            let closed = |_| unreadable(&url, "the fetcher is closed".to_owned(), None);
            let turn = host.enter(&mut budget.left).await.map_err(closed)?;
            let Some(_turn) = turn else {
                host.breaker.note_failure();
                return Err(timed_out(start, budget.limit).into());
            };
            // Asked behind the wait, in which the host may have been given up.
            if let Err(failing) = host.breaker.admit().await {
                return Err(given_up(start, &url, failing).into());
            }
            let _slot = self.slot(&url).await?;
            let token = server.and_then(|server| server.token);
            let request = self.request(client, &url, token, known, budget.limit / 2);
            let answer = budget.spend(start, request).await;
            match &answer {
                Err(failure) if failure.error.can_pass() => host.breaker.note_failure(),
                _ => host.breaker.note_answer(),
            }
            match answer {
                Ok(Answer::Content(fetched)) => return Ok(Fetch::Changed(fetched)),
                Ok(Answer::Unchanged) => return Ok(Fetch::Unchanged),
                Ok(Answer::Moved(target)) => {
                    self.check_scheme(&target)?;
                    url = target;
                }
                Err(failure) => {
                    self.heed(&host, &failure);
                    return Err(failure);
                }
            }
        }
        Err(Failure::from(ImageError::TooManyRedirects {
            reference: shown(start.as_str()),
            limit: REDIRECTS,
        }))
    }

    /// A pause that a server asks for holds for all images on it, unless none of them could wait so long.
    fn heed(&self, host: &Host, failure: &Failure) {
        if let Some(pause) = failure.pause
            && failure.error.can_pass()
            && pause <= self.limits.timeout
        {
            host.pause(pause);
        }
    }
}

/// The failure of an image on a host that is not asked.
fn given_up(start: &Url, url: &Url, failing: Duration) -> ImageError {
    ImageError::GivenUp {
        reference: shown(start.as_str()),
        host: url.host_str().unwrap_or_default().to_owned(),
        seconds: failing.as_secs(),
    }
}
