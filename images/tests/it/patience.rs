//! Servers that fail in passing, for good, or by lying: each fetch ends, and is right.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use picsift_images::{FetchOptions, Fetcher, Limits, Stores};
use tokio::net::TcpListener;

use crate::site::{Answer, Site, answer, ok, path, redirect};
use crate::support::local_hosts;

fn fetcher(timeout: Duration) -> Fetcher {
    let options = FetchOptions {
        limits: Limits {
            max_bytes: 100_000,
            timeout,
            ..Limits::default()
        },
        policy: local_hosts(),
        ..FetchOptions::default()
    };
    Fetcher::new(Arc::new(Stores::new()), options)
}

const LONG: Duration = Duration::from_secs(20);

fn failing(status: &str, headers: &str) -> Answer {
    Answer::Send(answer(status, headers, b"an error page"))
}

#[tokio::test]
async fn what_passes_is_tried_until_it_has_passed() {
    let cut = || {
        let mut whole = answer("200 OK", "", b"0123456789");
        whole.truncate(whole.len() - 5);
        whole
    };
    let chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n".to_vec();
    // The first two answers fail, each in another way; the third is right.
    let site = Site::start(move |head, count| match (path(head), count % 3) {
        (_, 2) => ok("", "0123456789"),
        ("/500", _) => failing("500 Oh", ""),
        ("/408", _) => failing("408 Late", ""),
        ("/429", _) => failing("429 Slow", ""),
        ("/reset", _) => Answer::Reset,
        ("/silent", _) => Answer::Send(Vec::new()),
        ("/cut", _) => Answer::Send(cut()),
        ("/chunked", _) => Answer::Send(chunked.clone()),
        ("/half-head", _) => Answer::Send(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()),
        _ => Answer::Send(answer("404 No", "", b"")),
    })
    .await;
    for name in [
        "500",
        "408",
        "429",
        "reset",
        "silent",
        "cut",
        "chunked",
        "half-head",
    ] {
        let before = site.requests();
        let fetched = fetcher(LONG).fetch(name, Some(&site.url)).await;
        assert_eq!(fetched.unwrap().bytes, "0123456789", "{name}");
        assert_eq!(site.requests() - before, 3, "{name}");
    }
}

#[tokio::test]
async fn what_does_not_pass_is_asked_once() {
    let site = Site::start(|head, _| match path(head) {
        "/404" => failing("404 No", "Retry-After: 1\r\n"),
        "/410" => failing("410 Gone", ""),
        "/401" => failing("401 No", ""),
        "/403" => failing("403 No", ""),
        "/400" => failing("400 Bad", ""),
        "/501" => failing("501 Unknown", ""),
        "/505" => failing("505 Old", ""),
        "/204" => Answer::Send(answer("204 Nothing", "", b"")),
        "/304" => Answer::Send(b"HTTP/1.1 304 Same\r\n\r\n".to_vec()),
        "/302" => Answer::Send(answer("302 Somewhere", "", b"")),
        _ => Answer::Send(answer(
            "200 OK",
            "Content-Encoding: gzip\r\n",
            &[0x1F, 0x8B, 8, 0],
        )),
    })
    .await;
    for (name, kind) in [
        ("404", "not_found"),
        ("410", "not_found"),
        ("401", "denied"),
        ("403", "denied"),
        ("400", "http_status"),
        ("501", "http_status"),
        ("505", "http_status"),
        ("204", "http_status"),
        ("304", "http_status"),
        ("302", "http_status"),
        ("bomb.gz", "compressed"),
    ] {
        let before = site.requests();
        let error = fetcher(LONG).fetch(name, Some(&site.url)).await;
        let error = error.unwrap_err();
        assert_eq!((error.kind(), error.can_pass()), (kind, false), "{name}");
        assert_eq!(site.requests() - before, 1, "{name}");
    }
}

#[tokio::test]
async fn six_attempts_are_the_end() {
    let down = Site::start(|_, _| failing("503 Down", "")).await;
    let begun = Instant::now();
    let error = fetcher(LONG).fetch("x", Some(&down.url)).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the server answered '{}x' with HTTP status 503", down.url)
    );
    assert!(error.can_pass());
    assert_eq!(down.requests(), 6);
    // 0.2 + 0.4 + 0.8 + 1.6 + 3.2 s, and at most twice that.
    let time = begun.elapsed().as_secs_f32();
    assert!((6.2..13.4).contains(&time), "{time}");
}

#[tokio::test]
async fn a_dead_host_says_so() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/x.jpg?sig=secret", listener.local_addr().unwrap());
    drop(listener);
    let error = fetcher(LONG).fetch(&url, None).await.unwrap_err();
    assert_eq!((error.kind(), error.can_pass()), ("unreachable", true));
    let text = error.to_string();
    assert!(
        text.contains("onnection refused") && !text.contains("secret"),
        "{text}"
    );
}

#[tokio::test]
async fn the_server_says_when_to_come_back() {
    let site = Site::start(|head, count| {
        let date =
            |seconds| httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(seconds));
        match (path(head), count) {
            ("/never", _) => failing("429 Slow", "Retry-After: 3600\r\n"),
            (_, 0) => failing("429 Slow", "Retry-After: 1\r\n"),
            (_, 1) => ok("", "bytes"),
            (_, 2) => failing("503 Slow", &format!("Retry-After: {}\r\n", date(2))),
            _ => ok("", "bytes"),
        }
    })
    .await;
    // Seconds; then a date, which is exact to a second.
    for (least, most, requests) in [(1.0, 2.0, 2), (1.0, 3.0, 4)] {
        let begun = Instant::now();
        let fetched = fetcher(LONG).fetch("x", Some(&site.url)).await;
        assert_eq!(fetched.unwrap().bytes, "bytes");
        let time = begun.elapsed().as_secs_f32();
        assert!((least..most).contains(&time), "{time}");
        assert_eq!(site.requests(), requests);
    }
    // Nobody waits for an hour, and asking again before is no use.
    let begun = Instant::now();
    let error = fetcher(LONG).fetch("never", Some(&site.url)).await;
    assert_eq!(error.unwrap_err().kind(), "http_status");
    assert_eq!(site.requests(), 5);
    assert!(begun.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn a_pause_holds_for_all_images_of_a_host() {
    let site = Site::start(|_, count| match count {
        0 => failing("429 Slow", "Retry-After: 1\r\n"),
        _ => ok("", "bytes"),
    })
    .await;
    let fetcher = fetcher(LONG);
    let first = fetcher.fetch("first", Some(&site.url));
    let others = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let others = (0..5).map(|_| fetcher.fetch("other", Some(&site.url)));
        futures::future::join_all(others).await
    };
    let watch = async {
        tokio::time::sleep(Duration::from_millis(800)).await;
        site.requests()
    };
    let (first, others, meanwhile) = futures::join!(first, others, watch);
    assert!(first.is_ok() && others.iter().all(Result::is_ok));
    assert_eq!((meanwhile, site.requests()), (1, 7));
}

#[tokio::test]
async fn silence_and_slowness_end() {
    let site = Site::start(|head, count| match path(head) {
        "/silent" => Answer::Stall(Vec::new()),
        "/half" => Answer::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n01234".to_vec()),
        "/once" if count == 0 => Answer::Stall(Vec::new()),
        _ => ok("", "bytes"),
    })
    .await;
    let short = Duration::from_secs(1);
    for name in ["silent", "half"] {
        let begun = Instant::now();
        let error = fetcher(short).fetch(name, Some(&site.url)).await;
        let error = error.unwrap_err();
        assert!(
            matches!(error.kind(), "stalled" | "timed_out") && error.can_pass(),
            "{error}"
        );
        assert!(begun.elapsed() < Duration::from_millis(1500), "{name}");
    }
    let once = Site::start(|_, count| match count {
        0 => Answer::Stall(Vec::new()),
        _ => ok("", "bytes"),
    })
    .await;
    let fetched = fetcher(2 * short).fetch("x", Some(&once.url)).await;
    assert_eq!(fetched.unwrap().bytes, "bytes");
    assert_eq!(once.requests(), 2);
}

#[tokio::test]
async fn a_lying_length_is_found_out() {
    let site = Site::start(|head, _| {
        let (length, body) = match path(head) {
            "/short" => ("3", "0123456789"),
            "/long" => ("100", "abc"),
            "/huge" => ("10737418240", "abc"),
            "/overflow" => ("99999999999999999999999999", "abc"),
            "/negative" => ("-1", "abc"),
            _ => ("3\r\nContent-Length: 5", "abcde"),
        };
        Answer::Send(format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").into())
    })
    .await;
    let get = |name: &'static str| {
        let url = site.url.clone();
        async move { fetcher(LONG).fetch(name, Some(&url)).await }
    };
    // What is said to belong to it belongs to it.
    assert_eq!(get("short").await.unwrap().bytes, "012");
    assert_eq!(site.requests(), 1);
    let error = get("long").await.unwrap_err();
    assert_eq!((error.kind(), error.can_pass()), ("interrupted", true));
    assert_eq!(site.requests(), 7);
    let error = get("huge").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "'{}huge' is larger than the limit: 10737418240 bytes or more, 100000 allowed",
            site.url
        )
    );
    assert_eq!(site.requests(), 8);
    let nonsense = ["overflow", "negative", "twice"].map(get);
    for result in futures::future::join_all(nonsense).await {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), "interrupted", "{error}");
    }
}

#[tokio::test]
async fn an_endless_body_is_cut_off() {
    let head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n";
    let site =
        Site::start(move |_, _| Answer::Send([&head[..], &vec![7; 3_000_000]].concat())).await;
    let error = fetcher(LONG).fetch("x", Some(&site.url)).await.unwrap_err();
    assert_eq!(error.kind(), "too_large");
    assert_eq!(site.requests(), 1);
    // Without a length and to its end, it is read.
    let site = Site::start(move |_, _| Answer::Send([&head[..], b"bytes"].concat())).await;
    let fetched = fetcher(LONG).fetch("x", Some(&site.url)).await;
    assert_eq!(fetched.unwrap().bytes, "bytes");
}

#[tokio::test]
async fn what_is_no_http_is_an_error() {
    let site = Site::start(|_, _| Answer::Send(b"SSH-2.0-OpenSSH\r\n".to_vec())).await;
    let error = fetcher(LONG).fetch("x", Some(&site.url)).await.unwrap_err();
    assert_eq!(error.kind(), "interrupted", "{error}");
}

#[tokio::test]
async fn ten_redirects_are_followed_and_not_one_more() {
    let site = Site::start(|head, _| {
        let left: usize = path(head)[1..].parse().unwrap();
        match left {
            0 => ok("", "bytes"),
            1000 => redirect("1000"),
            _ => redirect(&format!("{}", left - 1)),
        }
    })
    .await;
    let fetched = fetcher(LONG).fetch("10", Some(&site.url)).await;
    assert_eq!(fetched.unwrap().bytes, "bytes");
    assert_eq!(site.requests(), 11);
    for endless in ["11", "1000"] {
        let before = site.requests();
        let error = fetcher(LONG).fetch(endless, Some(&site.url)).await;
        assert_eq!(
            error.unwrap_err().to_string(),
            format!("'{}{endless}' redirects more than 10 times", site.url)
        );
        assert_eq!(site.requests() - before, 11);
    }
}

#[tokio::test]
async fn a_server_that_fails_every_third_time_loses_nothing() {
    let site = Site::start(|head, count| match count % 3 {
        2 => failing("500 Oh", ""),
        _ => ok("", path(head)),
    })
    .await;
    let fetcher = fetcher(LONG);
    // One after the other, or chance would decide how often an image meets the failing turn.
    for i in 0..20 {
        let name = format!("{i}.jpg");
        let fetched = fetcher.fetch(&name, Some(&site.url)).await;
        assert_eq!(fetched.unwrap().bytes, format!("/{name}"));
    }
    // The requests 3, 6, ... 27 failed.
    assert_eq!(site.requests(), 29);
}

/// Images on a host that drips cost what a few of them cost, and those on another host nothing.
#[tokio::test]
async fn a_host_that_only_fails_is_given_up() {
    let dripping = Site::start(|head, _| match path(head) {
        "/well" => ok("", "bytes"),
        _ => Answer::Stall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0".to_vec()),
    })
    .await;
    let fetcher = fetcher(Duration::from_secs(1));
    let begun = Instant::now();
    let images = (0..400).map(|_| fetcher.fetch("drip", Some(&dripping.url)));
    let found = futures::future::join_all(images).await;
    let kinds: Vec<_> = found
        .iter()
        .map(|found| found.as_ref().unwrap_err().kind())
        .collect();
    let given_up = kinds.iter().filter(|kind| **kind == "given_up").count();
    assert!(given_up > 250, "{given_up} of {kinds:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(12),
        "{:?}",
        begun.elapsed()
    );
    let said = found.last().unwrap().as_ref().unwrap_err();
    assert!(
        said.can_pass() && said.to_string().contains("was not asked for"),
        "{said}"
    );
    // One that is let through ends it.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(fetcher.fetch("well", Some(&dripping.url)).await.is_ok());
    assert!(fetcher.fetch("well", Some(&dripping.url)).await.is_ok());
}

/// The pause that a host wants is of the time of each image that waits for it.
#[tokio::test]
async fn a_pause_is_of_an_images_time() {
    let site = Site::start(|_, _| failing("429 Slow", "Retry-After: 2\r\n")).await;
    let fetcher = fetcher(Duration::from_secs(3));
    let begun = Instant::now();
    let images = (0..20).map(|_| fetcher.fetch("x", Some(&site.url)));
    let found = futures::future::join_all(images).await;
    assert!(found.iter().all(Result::is_err));
    // One after another they would take a minute.
    assert!(
        begun.elapsed() < Duration::from_secs(12),
        "{:?}",
        begun.elapsed()
    );
}
