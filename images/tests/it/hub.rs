//! Files of the hub's data sets: which address is asked, and who gets the token.

use std::sync::Arc;

use picsift_images::{FetchOptions, FetchPolicy, Fetcher, Hub, Stores};

use crate::site::{Site, answer, ok, path, redirect};

fn fetcher(hub: &Site, token: Option<&str>, policy: FetchPolicy) -> Fetcher {
    let options = FetchOptions {
        hub: Hub::new(hub.url.as_str(), token),
        policy,
        ..FetchOptions::default()
    };
    Fetcher::new(Arc::new(Stores::new()), options)
}

fn token(head: &str) -> Option<&str> {
    head.lines()
        .find_map(|line| line.strip_prefix("authorization: Bearer "))
}

#[tokio::test]
async fn the_token_is_for_the_hub_and_for_nobody_that_it_leads_to() {
    // Another server, though on the same machine.
    let storage = Site::at("127.0.0.2:0", |_, _| ok("", "pixels")).await;
    let elsewhere = storage.url.join("blob?signature=x").unwrap();
    let hub = Site::start(move |head, _| match path(head) {
        "/datasets/o/n/resolve/main/large.jpg" => redirect(elsewhere.as_str()),
        "/datasets/o/n/resolve/main/old.jpg" => {
            redirect("/datasets/o/renamed/resolve/main/old.jpg")
        }
        other => ok("", other),
    })
    .await;
    let policy = FetchPolicy {
        hosts: vec!["127.0.0.2".parse().unwrap()],
        ..FetchPolicy::default()
    };
    let fetcher = fetcher(&hub, Some("hf_secret"), policy);
    for (reference, body) in [
        ("hf://datasets/o/n/large.jpg", "pixels"),
        (
            "hf://datasets/o/n/old.jpg",
            "/datasets/o/renamed/resolve/main/old.jpg",
        ),
        (
            "hf://datasets/o/n@v2/a b#1.jpg",
            "/datasets/o/n/resolve/v2/a%20b%231.jpg",
        ),
    ] {
        let fetched = fetcher.fetch(reference, None).await.unwrap();
        assert_eq!(fetched.bytes, body, "{reference}");
    }
    assert_eq!(hub.requests(), 4);
    assert!(
        hub.heads()
            .iter()
            .all(|head| token(head) == Some("hf_secret"))
    );
    assert_eq!(storage.requests(), 1);
    assert!(storage.heads().iter().all(|head| token(head).is_none()));
    // Whoever writes the hub's web address gets no token sent with it.
    let plain = hub.url.join("datasets/o/n/resolve/main/a.jpg").unwrap();
    fetcher.fetch_typed(plain.as_str()).await.unwrap();
    assert_eq!(token(hub.heads().last().unwrap()), None);
}

#[tokio::test]
async fn where_the_hub_leads_is_held_to_the_same_rules() {
    let inside = Site::at("127.0.0.2:0", |_, _| ok("", "secrets")).await;
    let target = inside.url.to_string();
    let hub = Site::start(move |head, _| match path(head) {
        "/datasets/o/n/resolve/main/private.jpg" => redirect(&target),
        _ => crate::site::Answer::Send(answer("404 Not Found", "", b"")),
    })
    .await;
    let fetcher = fetcher(&hub, None, FetchPolicy::default());
    let fetch = |reference: &'static str| {
        let fetcher = fetcher.clone();
        async move { fetcher.fetch(reference, None).await.unwrap_err() }
    };
    assert_eq!(
        fetch("hf://datasets/o/n/private.jpg").await.kind(),
        "refused_address"
    );
    assert_eq!(inside.requests(), 0);
    assert_eq!(
        fetch("hf://datasets/o/n/missing.jpg").await.kind(),
        "not_found"
    );
    assert_eq!(fetch("hf://o/model/a.jpg").await.kind(), "bad_reference");
    assert!(hub.heads().iter().all(|head| token(head).is_none()));

    let policy = FetchPolicy {
        schemes: vec!["http".to_owned()],
        ..FetchPolicy::default()
    };
    let strict = self::fetcher(&hub, None, policy);
    let error = strict
        .fetch("hf://datasets/o/n/a.jpg", None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), "scheme_not_allowed");
}
