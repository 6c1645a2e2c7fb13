//! Fetching from a web server with all its ways to fail.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use object_store::ObjectStoreExt;
use picsift_images::{FetchOptions, FetchPolicy, Fetcher, ImageError, Limits, Stage, Stores};

use crate::support::local_hosts;
use tokio::net::TcpListener;
use url::Url;

#[derive(Default)]
struct Seen {
    requests: AtomicUsize,
    now: AtomicUsize,
    most: AtomicUsize,
}

async fn answer(
    State(seen): State<Arc<Seen>>,
    Path(name): Path<String>,
    RawQuery(query): RawQuery,
    uri: Uri,
) -> Response {
    let count = seen.requests.fetch_add(1, Ordering::SeqCst);
    match name.as_str() {
        "ok" => "some bytes".into_response(),
        "echo" => query.unwrap_or_default().into_response(),
        "missing" => StatusCode::NOT_FOUND.into_response(),
        "forbidden" => (StatusCode::FORBIDDEN, "secret reasons").into_response(),
        "unknown" => StatusCode::NOT_IMPLEMENTED.into_response(),
        "broken" => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        "second" if count == 0 => StatusCode::SERVICE_UNAVAILABLE.into_response(),
        "second" => "at last".into_response(),
        "teapot" => StatusCode::IM_A_TEAPOT.into_response(),
        "moved" => Redirect::temporary("/ok").into_response(),
        "slow" => {
            tokio::time::sleep(Duration::from_secs(60)).await;
            "late".into_response()
        }
        "big" => vec![7u8; 5000].into_response(),
        // No Content-Length: the size is known only by reading.
        "endless" => {
            let chunks = futures::stream::repeat_with(|| {
                Ok::<_, std::io::Error>(Bytes::from(vec![0; 1000]))
            });
            Body::from_stream(chunks).into_response()
        }
        "chunked" => {
            let chunks = futures::stream::iter(
                ["one", "two"].map(|c| Ok::<_, std::io::Error>(Bytes::from(c))),
            );
            Body::from_stream(chunks).into_response()
        }
        "busy" => {
            let now = seen.now.fetch_add(1, Ordering::SeqCst) + 1;
            seen.most.fetch_max(now, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(30)).await;
            seen.now.fetch_sub(1, Ordering::SeqCst);
            "done".into_response()
        }
        _ => uri.path().to_owned().into_response(),
    }
}

/// A server on a free port; its root URL and what it has seen.
async fn server() -> (Url, Arc<Seen>) {
    let seen = Arc::new(Seen::default());
    let app = Router::new()
        .route("/{*name}", get(answer))
        .with_state(Arc::clone(&seen));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (url, seen)
}

fn fetcher() -> Fetcher {
    let limits = Limits {
        max_bytes: 4000,
        timeout: Duration::from_secs(3),
        ..Limits::default()
    };
    let options = FetchOptions {
        concurrency: 3,
        limits,
        policy: local_hosts(),
        ..FetchOptions::default()
    };
    Fetcher::new(Arc::new(Stores::new()), options)
}

/// A fetcher whose images have time for all attempts.
fn patient() -> Fetcher {
    let options = FetchOptions {
        policy: local_hosts(),
        ..FetchOptions::default()
    };
    Fetcher::new(Arc::new(Stores::new()), options)
}

async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let begun = Instant::now();
    (work.await, begun.elapsed())
}

#[tokio::test]
async fn reads_what_is_there() {
    let (base, _) = server().await;
    for (reference, want) in [
        ("ok", "some bytes"),
        ("chunked", "onetwo"),
        ("moved", "some bytes"),
        ("a%20b//c%2Fd.jpg", "/a%20b//c%2Fd.jpg"),
        ("echo?X-Sig=a%2Bb%3D&t=1/2#part", "X-Sig=a%2Bb%3D&t=1/2"),
    ] {
        assert_eq!(
            fetcher().fetch(reference, Some(&base)).await.unwrap().bytes,
            want,
            "{reference}"
        );
        let absolute = format!("{base}{reference}");
        assert_eq!(
            fetcher().fetch(&absolute, None).await.unwrap().bytes,
            want,
            "{absolute}"
        );
    }
}

#[tokio::test]
async fn statuses_are_told() {
    let (base, seen) = server().await;
    for (name, text, requests) in [
        (
            "missing?sig=secret",
            format!("'{base}missing?...' does not exist"),
            1,
        ),
        (
            "forbidden",
            format!("no permission to read '{base}forbidden'"),
            1,
        ),
        (
            "broken",
            format!("the server answered '{base}broken' with HTTP status 500"),
            6,
        ),
        (
            "unknown",
            format!("the server answered '{base}unknown' with HTTP status 501"),
            1,
        ),
        (
            "teapot",
            format!("the server answered '{base}teapot' with HTTP status 418"),
            1,
        ),
    ] {
        seen.requests.store(0, Ordering::SeqCst);
        // Longer than all pauses between six attempts.
        let error = patient().fetch(name, Some(&base)).await.unwrap_err();
        assert_eq!((error.to_string(), error.stage()), (text, Stage::Fetch));
        assert_eq!(seen.requests.load(Ordering::SeqCst), requests, "{name}");
    }
}

#[tokio::test]
async fn a_passing_failure_is_tried_again() {
    let (base, seen) = server().await;
    let fetched = fetcher().fetch("second", Some(&base)).await.unwrap();
    assert_eq!(fetched.bytes, "at last");
    assert_eq!(seen.requests.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn size_and_time_are_bounded() {
    let (base, _) = server().await;
    let error = fetcher().fetch("big", Some(&base)).await.unwrap_err();
    assert!(
        matches!(
            error,
            ImageError::TooLarge {
                size: 5000,
                limit: 4000,
                ..
            }
        ),
        "{error}"
    );
    let error = fetcher().fetch("endless", Some(&base)).await.unwrap_err();
    assert!(
        matches!(error, ImageError::TooLarge { limit: 4000, .. }),
        "{error}"
    );
    let (result, time) = timed(fetcher().fetch("slow", Some(&base))).await;
    let error = result.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("'{base}slow' did not arrive within 3s")
    );
    assert!(time < Duration::from_secs(4), "{time:?}");
}

#[tokio::test]
async fn fetches_at_once_are_bounded() {
    let (base, seen) = server().await;
    let fetcher = fetcher();
    let all = (0..12).map(|_| fetcher.fetch("busy", Some(&base)));
    assert!(
        futures::future::join_all(all)
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert_eq!(seen.most.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn requests_at_once_to_one_host_are_bounded() {
    let (base, seen) = server().await;
    let options = FetchOptions {
        policy: FetchPolicy {
            at_once_per_host: 2,
            ..local_hosts()
        },
        ..FetchOptions::default()
    };
    let fetcher = Fetcher::new(Arc::new(Stores::new()), options);
    let all = (0..12).map(|_| fetcher.fetch("busy", Some(&base)));
    assert!(
        futures::future::join_all(all)
            .await
            .iter()
            .all(Result::is_ok)
    );
    assert_eq!(seen.most.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn stores_keep_signed_urls() {
    let (base, _) = server().await;
    let stores = Stores::new();
    for (reference, want) in [
        ("echo?sig=a%2Bb", "sig=a%2Bb"),
        ("x/a%20b.parquet", "/x/a%20b.parquet"),
        ("x//c%2Fd", "/x//c%2Fd"),
    ] {
        let (store, path) = stores.get(&base.join(reference).unwrap()).unwrap();
        let got = store.get(&path).await.unwrap().bytes().await.unwrap();
        assert_eq!(got, want);
    }
}
