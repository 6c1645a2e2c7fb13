//! A bucket behind an S3 endpoint: throttling, broken transfers, versions.
//!
//! Its address and keys come from the environment, which a test must not change for its neighbours: the fetching part
//! runs in a process of its own.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use picsift_images::{Fetch, FetchOptions, Fetcher, Limits, Stores};
use url::Url;

use crate::site::{Answer, Site, answer, path};

const INSIDE: &str = "PICSIFT_TEST_INSIDE";

#[tokio::test]
async fn a_bucket_is_read_with_patience() {
    if std::env::var_os(INSIDE).is_some() {
        return inside().await;
    }
    let site = Site::start(|head, _| {
        let lower = head.to_ascii_lowercase();
        let headers = "ETag: \"v1\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
        let slow = || {
            let body = b"<Error><Code>SlowDown</Code></Error>";
            Answer::Send(answer("503 Slow Down", "", body))
        };
        match path(head) {
            "/b/t/ok.jpg" if lower.contains("if-none-match: \"v1\"") => {
                Answer::Send(b"HTTP/1.1 304 Same\r\nConnection: close\r\n\r\n".to_vec())
            }
            "/b/t/ok.jpg" => Answer::Send(answer("200 OK", headers, b"0123456789")),
            "/b/t/cut.jpg" if lower.contains("range: bytes=5-9") => {
                let headers = format!("{headers}Content-Range: bytes 5-9/10\r\n");
                Answer::Send(answer("206 Partial", &headers, b"56789"))
            }
            "/b/t/cut.jpg" => {
                let mut whole = answer("200 OK", headers, b"0123456789");
                whole.truncate(whole.len() - 5);
                Answer::Send(whole)
            }
            // Two objects, one named "a b.jpg" and one "a%20b.jpg".
            "/b/t/a%20b.jpg" => Answer::Send(answer("200 OK", headers, b"blank")),
            "/b/t/a%2520b.jpg" => Answer::Send(answer("200 OK", headers, b"code")),
            "/b/t/denied.jpg" => Answer::Send(answer("403 No", "", b"")),
            "/b/t/down.jpg" => slow(),
            "/b/t/big.jpg" => Answer::Stall(
                format!("HTTP/1.1 200 OK\r\n{headers}Content-Length: 10737418240\r\n\r\n").into(),
            ),
            _ => Answer::Send(answer("404 No", "", b"")),
        }
    })
    .await;
    let throttled = Site::start(|_, count| match count {
        0..3 => Answer::Send(answer("503 Slow Down", "", b"<Code>SlowDown</Code>")),
        _ => Answer::Send(answer(
            "200 OK",
            "ETag: \"v1\"\r\nLast-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
            b"0123456789",
        )),
    })
    .await;
    for (endpoint, part) in [(&site.url, "all"), (&throttled.url, "throttled")] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args([
                "--exact",
                "buckets::a_bucket_is_read_with_patience",
                "--nocapture",
            ])
            .env(INSIDE, part)
            .env("AWS_ENDPOINT", endpoint.as_str().trim_end_matches('/'))
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_REGION", "here")
            .env("AWS_ACCESS_KEY_ID", "key")
            .env("AWS_SECRET_ACCESS_KEY", "secret");
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await;
        let output = output.unwrap();
        assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert_eq!(throttled.requests(), 4);
    let asked = |name: &str| {
        let heads = site.heads();
        heads.iter().filter(|head| path(head) == name).count()
    };
    assert_eq!(asked("/b/t/down.jpg"), 7);
    assert_eq!(asked("/b/t/cut.jpg"), 2);
    assert_eq!(asked("/b/t/denied.jpg"), 1);
    assert_eq!(asked("/b/t/gone.jpg"), 1);
}

async fn inside() {
    let options = FetchOptions {
        limits: Limits {
            timeout: Duration::from_secs(40),
            ..Limits::default()
        },
        ..FetchOptions::default()
    };
    let fetcher = Fetcher::new(Arc::new(Stores::new()), options);
    let base = Url::parse("s3://b/t/").unwrap();
    let ok = fetcher.fetch("ok.jpg", Some(&base)).await.unwrap();
    assert_eq!(ok.bytes, "0123456789");
    if std::env::var(INSIDE).unwrap() == "throttled" {
        return;
    }
    let again = fetcher
        .fetch_if_changed("ok.jpg", Some(&base), ok.version.as_ref())
        .await;
    assert_eq!(again.unwrap(), Fetch::Unchanged);
    for (name, content) in [("a b.jpg", "blank"), ("a%20b.jpg", "code")] {
        let full = format!("s3://b/t/{name}");
        for reference in [name, full.as_str()] {
            let object = fetcher.fetch(reference, Some(&base)).await.unwrap();
            assert_eq!(object.bytes, content, "{reference}");
        }
    }
    let cut = fetcher.fetch("cut.jpg", Some(&base)).await.unwrap();
    assert_eq!(cut.bytes, "0123456789");
    for (name, kind, can_pass) in [
        ("gone.jpg", "not_found", false),
        ("denied.jpg", "denied", false),
        ("big.jpg", "too_large", false),
        ("../x.jpg", "outside_root", false),
        ("down.jpg", "http_status", true),
    ] {
        let error = fetcher.fetch(name, Some(&base)).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.can_pass()),
            (kind, can_pass),
            "{error}"
        );
        assert!(!error.to_string().contains("secret"));
    }
}
