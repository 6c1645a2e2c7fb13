//! Robots headers and limits per host.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use picsift_images::{FetchOptions, FetchPolicy, Fetcher, Stores};

use crate::site::{Answer, Site, answer, ok, path};
use crate::support::local_hosts;

fn fetcher(policy: FetchPolicy) -> Fetcher {
    let options = FetchOptions {
        concurrency: 4,
        policy,
        ..FetchOptions::default()
    };
    Fetcher::new(Arc::new(Stores::new()), options)
}

#[tokio::test]
async fn robots_headers_are_respected_unless_told_otherwise() {
    let site = Site::start(|head, _| match path(head) {
        "/all" => ok("X-Robots-Tag: noindex\r\nX-ROBOTS-TAG: NoAI\r\n", "bytes"),
        "/us" => ok(
            "x-robots-tag: otherbot: nofollow, PicSift: noimageai\r\n",
            "bytes",
        ),
        "/others" => ok("X-Robots-Tag: otherbot: noai\r\n", "bytes"),
        _ => ok("X-Robots-Tag: noindex, max-snippet: 5\r\n", "bytes"),
    })
    .await;
    let polite = fetcher(local_hosts());
    for (name, directive) in [("all", "noai"), ("us", "noimageai")] {
        let error = polite.fetch(name, Some(&site.url)).await.unwrap_err();
        assert_eq!((error.kind(), error.can_pass()), ("robots", false));
        assert_eq!(
            error.to_string(),
            format!(
                "the server of '{}{name}' asks not to use it for machine learning (X-Robots-Tag: {directive}); \
                 --ignore-robots reads it all the same",
                site.url
            )
        );
    }
    for name in ["others", "none"] {
        assert!(polite.fetch(name, Some(&site.url)).await.is_ok(), "{name}");
    }
    assert_eq!(site.requests(), 4);
    let rude = fetcher(FetchPolicy {
        respect_robots: false,
        ..local_hosts()
    });
    assert!(rude.fetch("all", Some(&site.url)).await.is_ok());
}

#[tokio::test]
async fn a_slow_host_keeps_no_other_waiting() {
    let late = || Answer::Late(Duration::from_millis(200), answer("200 OK", "", b"late"));
    let slow = Site::start(move |_, _| late()).await;
    let quick = Site::at("127.0.0.2:0", |_, _| ok("", "quick")).await;
    let fetcher = fetcher(FetchPolicy {
        at_once_per_host: 2,
        ..local_hosts()
    });
    let begun = Instant::now();
    let slow_ones = futures::future::join_all((0..10).map(|_| fetcher.fetch("x", Some(&slow.url))));
    let quick_ones = async {
        // The slow ones were first, and are more than there are slots.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let all = (0..10).map(|_| fetcher.fetch("x", Some(&quick.url)));
        let all = futures::future::join_all(all).await;
        assert!(all.iter().all(Result::is_ok));
        begun.elapsed()
    };
    let (slow_ones, quick_time) = futures::join!(slow_ones, quick_ones);
    assert!(slow_ones.iter().all(Result::is_ok));
    assert!(quick_time < Duration::from_millis(500), "{quick_time:?}");
    assert!(begun.elapsed() >= Duration::from_millis(1000));
}

#[tokio::test]
async fn a_host_is_asked_so_many_times_a_second() {
    let site = Site::start(|_, _| ok("", "bytes")).await;
    let fetcher = fetcher(FetchPolicy {
        per_second_per_host: NonZeroU32::new(10),
        ..local_hosts()
    });
    let begun = Instant::now();
    let all = (0..8).map(|_| fetcher.fetch("x", Some(&site.url)));
    let all = futures::future::join_all(all).await;
    assert!(all.iter().all(Result::is_ok));
    let time = begun.elapsed().as_secs_f32();
    assert!((0.7..1.5).contains(&time), "{time}");
}
