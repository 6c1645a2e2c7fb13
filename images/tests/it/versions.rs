//! An image that is still what it was is not read again.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use picsift_images::{Fetch, FetchOptions, Fetcher, Limits, Stores, Version};
use url::Url;

use crate::site::{Answer, Site, ok, path, redirect};
use crate::support::local_hosts;

fn fetcher() -> Fetcher {
    let options = FetchOptions {
        policy: local_hosts(),
        ..FetchOptions::default()
    };
    Fetcher::new(Arc::new(Stores::new()), options)
}

/// Fetches with the version of a store, as text.
async fn again(reference: &str, base: &Url, known: &Version) -> Fetch {
    let stored: Version = known.to_string().parse().unwrap();
    fetcher()
        .fetch_if_changed(reference, Some(base), Some(&stored))
        .await
        .unwrap()
}

fn changed(fetch: Fetch) -> (String, Option<Version>) {
    match fetch {
        Fetch::Changed(fetched) => (
            String::from_utf8(fetched.bytes.into()).unwrap(),
            fetched.version,
        ),
        Fetch::Unchanged => panic!("it did change"),
    }
}

#[tokio::test]
async fn many_files_are_compared_at_once_and_none_outside_of_the_folder() {
    let outer = tempfile::tempdir().unwrap();
    let table = outer.path().join("table");
    std::fs::create_dir_all(table.join("deep")).unwrap();
    for name in [
        "table/a.jpg",
        "table/deep/b.jpg",
        "table/new.jpg",
        "outside.jpg",
    ] {
        std::fs::write(outer.path().join(name), name).unwrap();
    }
    std::os::unix::fs::symlink("../outside.jpg", table.join("link.jpg")).unwrap();
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let base = Url::from_directory_path(&table).unwrap();
    let version = async |name: &str, base: &Url| {
        let fetched = fetcher().fetch(name, Some(base)).await.unwrap();
        fetched.version.unwrap()
    };
    let [a, b, new] = [
        version("a.jpg", &base).await,
        version("deep/b.jpg", &base).await,
        version("new.jpg", &base).await,
    ];
    let around = Url::from_directory_path(outer.path()).unwrap();
    let outside = version("outside.jpg", &around).await;
    std::fs::write(table.join("new.jpg"), "other").unwrap();
    let asked = [
        ("a.jpg", &a),
        ("deep/b.jpg", &b),
        ("deep/b.jpg", &a),
        ("new.jpg", &new),
        ("gone.jpg", &a),
        ("link.jpg", &outside),
        ("../outside.jpg", &outside),
        ("deep", &a),
        ("http://localhost/a.jpg", &a),
        ("", &a),
    ];
    let found = fetcher().unchanged_files(&asked, Some(&base));
    assert_eq!(found[..2], [true, true]);
    assert_eq!(found[2..], [false; 8]);
    // Of the whole folder's parent they are allowed.
    assert_eq!(
        fetcher().unchanged_files(&[("table/link.jpg", &outside)], Some(&around)),
        [true]
    );
    // Where files may not be read at all, nothing is said of them.
    let mut options = FetchOptions::default();
    options.policy.schemes.retain(|scheme| scheme != "file");
    let refusing = Fetcher::new(Arc::new(Stores::new()), options);
    assert_eq!(refusing.unchanged_files(&asked[..1], Some(&base)), [false]);
}

#[tokio::test]
async fn a_file_is_not_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let base = Url::from_directory_path(dir.path()).unwrap();
    let path = dir.path().join("x.jpg");
    std::fs::write(&path, "first").unwrap();
    let old = SystemTime::now() - Duration::from_secs(1000);
    let set_time = |time| {
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(time).unwrap();
    };
    set_time(old);
    let fetched = fetcher().fetch("x.jpg", Some(&base)).await.unwrap();
    assert_eq!(fetched.version, None, "it was changed a moment ago");
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let fetched = fetcher().fetch("x.jpg", Some(&base)).await.unwrap();
    let version = fetched.version.unwrap();
    assert_eq!(again("x.jpg", &base, &version).await, Fetch::Unchanged);
    // It would be refused if its bytes were wanted.
    let options = FetchOptions {
        limits: Limits {
            max_bytes: 1,
            ..Limits::default()
        },
        ..FetchOptions::default()
    };
    let narrow = Fetcher::new(Arc::new(Stores::new()), options)
        .fetch_if_changed("x.jpg", Some(&base), Some(&version))
        .await;
    assert_eq!(narrow.unwrap(), Fetch::Unchanged);

    // The same size and the same time of the content, as `cp -p` makes it.
    std::fs::write(&path, "other").unwrap();
    set_time(old);
    let (text, none) = changed(again("x.jpg", &base, &version).await);
    assert_eq!((text.as_str(), none), ("other", None));
    std::fs::remove_file(&path).unwrap();
    let gone = fetcher()
        .fetch_if_changed("x.jpg", Some(&base), Some(&version))
        .await;
    assert_eq!(gone.unwrap_err().kind(), "not_found");
}

#[tokio::test]
async fn a_server_is_asked_with_its_own_validator() {
    const DATE: &str = "Date: Sun, 06 Nov 1994 08:50:00 GMT\r\n";
    const MODIFIED: &str = "Last-Modified: Sun, 06 Nov 1994 08:49:37 GMT\r\n";
    let site = Site::start(|head, count| {
        let tag = |tag: &str| format!("ETag: {tag}\r\n");
        let same = |condition: &str, headers: &str, body: &str| {
            if head.to_ascii_lowercase().contains(condition) {
                Answer::Send(b"HTTP/1.1 304 Same\r\nConnection: close\r\n\r\n".to_vec())
            } else {
                ok(headers, body)
            }
        };
        match path(head) {
            "/tag" => same("if-none-match: \"a\"\r\n", &tag("\"a\""), "tagged"),
            "/date" => same(
                "if-modified-since: sun, 06 nov 1994 08:49:37 gmt\r\n",
                &format!("{DATE}{MODIFIED}"),
                "dated",
            ),
            "/unconditional" => ok(&tag("\"a\""), "always sent"),
            "/new" => ok(&tag(&format!("\"{count}\"")), "always new"),
            "/weak" => ok(&tag("W/\"a\""), "weak"),
            "/moved" => redirect("/tag"),
            _ => ok(&tag("\"a\""), "open"),
        }
    })
    .await;
    for (name, text) in [
        ("tag", "tagged"),
        ("date", "dated"),
        ("moved", "tagged"),
        ("unconditional", "always sent"),
    ] {
        let fetched = fetcher().fetch(name, Some(&site.url)).await.unwrap();
        assert_eq!(fetched.bytes, text);
        let version = fetched.version.unwrap();
        assert_eq!(
            again(name, &site.url, &version).await,
            Fetch::Unchanged,
            "{name}"
        );
    }
    let fetched = fetcher().fetch("new", Some(&site.url)).await.unwrap();
    let version = fetched.version.unwrap();
    let (text, now) = changed(again("new", &site.url, &version).await);
    assert_eq!(text, "always new");
    assert!(now.is_some() && now != Some(version.clone()));
    let fetched = fetcher().fetch("weak", Some(&site.url)).await.unwrap();
    assert_eq!(fetched.version, None);

    // Another URL's validator is not sent, even where it is the same text.
    let before = site.requests();
    let tag = fetcher().fetch("tag", Some(&site.url)).await.unwrap();
    let (text, _) = changed(again("unconditional", &site.url, &tag.version.unwrap()).await);
    assert_eq!(text, "always sent");
    assert!(!site.heads()[before + 1].contains("if-none-match"));
}

#[tokio::test]
async fn what_robots_may_not_have_any_more_is_refused() {
    let site = Site::start(|_, count| match count {
        0 => ok("ETag: \"a\"\r\n", "open"),
        _ => Answer::Send(
            b"HTTP/1.1 304 Same\r\nX-Robots-Tag: noai\r\nConnection: close\r\n\r\n".to_vec(),
        ),
    })
    .await;
    let fetched = fetcher().fetch("x", Some(&site.url)).await.unwrap();
    let error = fetcher()
        .fetch_if_changed("x", Some(&site.url), fetched.version.as_ref())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), "robots");
}
