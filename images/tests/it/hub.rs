//! Files of the hub's data sets: which address is asked, and who gets the token.

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::{ObjectMeta, ObjectStoreExt};
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
        let own = "hf://datasets/o/n/".parse().unwrap();
        let fetched = fetcher.fetch(reference, Some(&own)).await.unwrap();
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

/// A stranger's table must not have another's private data set read, say into a gallery that is published.
#[tokio::test]
async fn references_reach_private_files_of_their_own_data_set_alone() {
    let hub = Site::start(|head, _| match (path(head), token(head)) {
        (public, _) if public.contains("/public/") => ok("", "public"),
        (private, Some("hf_secret")) => ok("", private),
        _ => crate::site::Answer::Send(answer("401 Unauthorized", "", b"")),
    })
    .await;
    let own = "hf://datasets/o/n@v1/data/".parse().unwrap();
    let allowing = |bucket: &str| FetchPolicy {
        buckets: vec![bucket.parse().unwrap()],
        ..FetchPolicy::default()
    };
    let strict = fetcher(&hub, Some("hf_secret"), FetchPolicy::default());
    for (reference, base) in [
        ("a.jpg", &own),
        ("hf://datasets/o/n/other.jpg", &own),
        ("hf://datasets/o/public/x.jpg", &own),
        (
            "hf://datasets/o/public/x.jpg",
            &"file:///table/".parse().unwrap(),
        ),
    ] {
        let fetched = strict.fetch(reference, Some(base)).await;
        assert!(fetched.is_ok(), "{reference}: {:?}", fetched.err());
    }
    let public = |head: &&String| path(head).contains("/public/");
    assert!(
        hub.heads()
            .iter()
            .filter(public)
            .all(|head| token(head).is_none())
    );
    let asked = hub.requests();
    for base in [Some(&own), None] {
        let refused = strict
            .fetch("hf://datasets/victim/private/x.jpg", base)
            .await;
        let refused = refused.unwrap_err();
        assert_eq!(refused.kind(), "refused_bucket");
        let said = refused.to_string();
        assert!(
            said.contains("--allow-bucket hf://datasets/victim/private"),
            "{said}"
        );
    }
    let heads = hub.heads();
    assert!(heads[asked..].iter().all(|head| token(head).is_none()));
    let open = fetcher(
        &hub,
        Some("hf_secret"),
        allowing("hf://datasets/victim/private"),
    );
    let reference = "hf://datasets/victim/private@main/x.jpg";
    open.fetch(reference, Some(&own)).await.unwrap();
    // Who names a file means it.
    strict.fetch_typed(reference).await.unwrap();
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

/// A part of `body` that a request asks for, as any server of files gives it.
fn file(head: &str, body: &str) -> crate::site::Answer {
    let asked = head
        .lines()
        .find_map(|line| line.strip_prefix("range: bytes="));
    let range = asked.and_then(|range| {
        let (from, to) = range.split_once('-')?;
        Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()?))
    });
    let mut sent = match range {
        None => answer("200 OK", "ETag: \"1\"\r\n", body.as_bytes()),
        Some((from, to)) => {
            let to = to.min(body.len() - 1);
            let headers = format!("Content-Range: bytes {from}-{to}/{}\r\n", body.len());
            answer("206 Partial Content", &headers, &body.as_bytes()[from..=to])
        }
    };
    if head.starts_with("HEAD ") {
        sent.truncate(sent.len() - body.len());
    }
    crate::site::Answer::Send(sent)
}

#[tokio::test]
async fn a_table_of_the_hub_is_an_object_of_a_store() {
    const TABLE: &str = "image,label\na.jpg,cat\n";
    let storage = Site::at("127.0.0.2:0", |head, _| file(head, TABLE)).await;
    let elsewhere = storage.url.join("blob").unwrap();
    let hub = Site::start(move |head, _| match path(head) {
        "/datasets/o/n/resolve/main/data/t.csv" => redirect(elsewhere.as_str()),
        "/datasets/o/n/resolve/refs%2Fconvert%2Fparquet/t%20%25.csv" => file(head, TABLE),
        "/datasets/o/n/resolve/main/locked.csv" => {
            crate::site::Answer::Send(answer("401 Unauthorized", "", b""))
        }
        _ => crate::site::Answer::Send(answer("404 Not Found", "", b"")),
    })
    .await;
    let policy = FetchPolicy {
        hosts: vec!["127.0.0.2".parse().unwrap()],
        ..FetchPolicy::default()
    };
    let stores = Stores::within(policy, &Hub::new(hub.url.as_str(), Some("hf_secret")));
    let url = |text: &str| picsift_images::resolve(text, None).unwrap();
    for text in [
        "hf://datasets/o/n/data/t.csv",
        "hf://datasets/o/n@refs/convert/parquet/t %.csv",
    ] {
        let (store, location) = stores.get(&url(text)).unwrap();
        let meta = store.head(&location).await.unwrap();
        assert_eq!(meta.location, location);
        assert_eq!(meta.size, TABLE.len() as u64);
        assert_eq!(meta.e_tag.as_deref(), Some("\"1\""), "{text}");
        let all = store.get(&location).await.unwrap().bytes().await.unwrap();
        assert_eq!(all, TABLE);
        let part = store.get_range(&location, 6..11).await.unwrap();
        assert_eq!(part, "label");
    }
    assert!(
        hub.heads()
            .iter()
            .all(|head| token(head) == Some("hf_secret"))
    );
    assert!(storage.requests() >= 3);
    assert!(storage.heads().iter().all(|head| token(head).is_none()));
    let missing = |text: &str| {
        let (store, location) = stores.get(&url(text)).unwrap();
        async move { store.head(&location).await.unwrap_err() }
    };
    assert!(matches!(
        missing("hf://datasets/o/n/none.csv").await,
        object_store::Error::NotFound { .. }
    ));
    assert!(matches!(
        missing("hf://datasets/o/n/locked.csv").await,
        object_store::Error::Unauthenticated { .. }
    ));
    assert!(!format!("{:?}", stores.get(&url("hf://datasets/o/n/t.csv"))).contains("secret"));
}

#[tokio::test]
async fn a_folder_of_the_hub_is_listed_page_by_page() {
    let hub = Site::start(|head, before| match path(head) {
        // A server that has too much to do is asked again.
        _ if before == 0 => crate::site::Answer::Send(answer("503 Busy", "", b"")),
        "/api/datasets/o/n/tree/v1/data?recursive=true" => {
            // Where another server's page follows, the listing ends: the token is not for it.
            let next = "Link: </api/datasets/o/n/tree/v1/data?recursive=true&cursor=x>; rel=\"next\"\r\n";
            let page = br#"[{"type":"directory","oid":"0","size":0,"path":"data/b"},
                {"type":"file","oid":"a1","size":5,"path":"data/a.parquet"}]"#;
            crate::site::Answer::Send(answer("200 OK", next, page))
        }
        "/api/datasets/o/n/tree/v1/data?recursive=true&cursor=x" => ok(
            "Link: <http://127.0.0.2:9/more>; rel=\"next\"\r\n",
            r#"[{"type":"file","oid":"b1","size":7,"path":"data/b/c.parquet","lfs":{"oid":"big","size":7,"pointerSize":9}}]"#,
        ),
        "/api/datasets/o/odd/tree/main?recursive=true" => ok("", "<html>"),
        _ => crate::site::Answer::Send(answer("404 Not Found", "", b"")),
    })
    .await;
    let stores = Stores::within(
        FetchPolicy::default(),
        &Hub::new(hub.url.as_str(), Some("hf_secret")),
    );
    let listed = async |text: &str| {
        let url = picsift_images::resolve(text, None).unwrap();
        let (store, folder) = stores.get(&url).unwrap();
        let files: Result<Vec<ObjectMeta>, _> = store.list(Some(&folder)).try_collect().await;
        files
    };
    let files = listed("hf://datasets/o/n@v1/data").await.unwrap();
    let files: Vec<(&str, u64, Option<&str>)> = files
        .iter()
        .map(|file| (file.location.as_ref(), file.size, file.e_tag.as_deref()))
        .collect();
    assert_eq!(
        files,
        [
            ("o/n@v1/data/a.parquet", 5, Some("a1")),
            ("o/n@v1/data/b/c.parquet", 7, Some("big")),
        ]
    );
    assert!(
        hub.heads()
            .iter()
            .all(|head| token(head) == Some("hf_secret"))
    );
    let said = listed("hf://datasets/o/odd").await.unwrap_err().to_string();
    assert!(said.contains("listing is not understood"), "{said}");
    assert!(matches!(
        listed("hf://datasets/o/none").await.unwrap_err(),
        object_store::Error::NotFound { .. }
    ));
}
