//! Nobody who writes a reference reaches a server that only this machine or its network reaches.
//!
//! The notations are those of the published lists for server-side request forgery: of the loopback address and of
//! the clouds' metadata services.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt;
use picsift_images::{FetchOptions, FetchPolicy, Fetcher, Limits, Lookup, Stores};
use url::Url;

use crate::site::{Answer, Site, answer, ok, path, redirect};

/// A fetcher with these hosts allowed, and a resolver that gives `addresses`, one after the other; the last one stays.
fn fetcher(allowed: &[&str], addresses: &[&'static str]) -> Fetcher {
    let addresses: Vec<Vec<IpAddr>> = addresses
        .iter()
        .map(|list| list.split(' ').map(|a| a.parse().unwrap()).collect())
        .collect();
    let asked = Arc::new(AtomicUsize::new(0));
    let lookup: Lookup = Arc::new(move |_host| {
        let turn = asked.fetch_add(1, Ordering::SeqCst);
        let answer = addresses[turn.min(addresses.len() - 1)].clone();
        async move { Ok(answer) }.boxed()
    });
    let options = FetchOptions {
        limits: Limits {
            timeout: Duration::from_secs(3),
            ..Limits::default()
        },
        policy: FetchPolicy {
            hosts: allowed.iter().map(|host| host.parse().unwrap()).collect(),
            ..FetchPolicy::default()
        },
        ..FetchOptions::default()
    };
    Fetcher::with_lookup(Arc::new(Stores::new()), options, lookup)
}

async fn secret() -> Site {
    Site::start(|_, _| ok("", "secret")).await
}

#[tokio::test]
async fn no_notation_of_a_private_address_passes() {
    let secret = secret().await;
    let port = secret.address().port();
    let fetcher = fetcher(&[], &["127.0.0.1"]);
    let base = Url::parse("file:///data/").unwrap();
    for host in [
        // Loopback: plain, decimal, octal, hexadecimal, short, padded, overlong, with a trailing dot.
        "127.0.0.1",
        "2130706433",
        "017700000001",
        "0x7f000001",
        "0x7F.0.0.1",
        "0177.0.0.1",
        "0177.0.0.01",
        "0x7f.1",
        "127.1",
        "127.0.1",
        "127.0.0.1.",
        "127.0.0.01",
        "127.127.127.127",
        "127.000.000.001",
        "0x0000000000000000007f000001",
        // The same in letters that normalise to it.
        "１２７.０.０.１",
        "①②⑦.⓪.⓪.①",
        "127。0。0。1",
        "%31%32%37.0.0.1",
        // This host.
        "0",
        "0.0.0.0",
        "0x0",
        "00",
        // Around IPv6.
        "[::1]",
        "[0:0:0:0:0:0:0:1]",
        "[::]",
        "[0000::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[0:0:0:0:0:ffff:127.0.0.1]",
        "[::127.0.0.1]",
        "[::7f00:1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b:1::127.0.0.1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[fe80::1]",
        "[fec0::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "[100::1]",
        "[2001:db8::1]",
        "[3fff::1]",
        // Metadata services, and what else is not public.
        "169.254.169.254",
        "2852039166",
        "0xa9fea9fe",
        "025177524776",
        "0251.0376.0251.0376",
        "0xA9.0xFE.0xA9.0xFE",
        "169.254.43518",
        "169.16689662",
        "[::ffff:169.254.169.254]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]",
        "169.254.170.2",
        "100.100.100.200",
        "192.0.0.192",
        "10.0.0.1",
        "172.16.0.1",
        "172.31.255.255",
        "192.168.1.1",
        "198.18.0.1",
        "192.0.2.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        // Names, by what the resolver says.
        "localhost",
        "LOCALHOST",
        "localhost.",
        "localhost.localdomain",
        "localtest.me",
        "127.0.0.1.nip.io",
        "spoofed.burpcollaborator.net",
        "metadata.google.internal",
        "me:secret@localhost",
        "public.test@localhost",
        "public.test%40x@127.0.0.1",
    ] {
        for reference in [
            format!("http://{host}:{port}/x.jpg"),
            format!("HTTP://{host}:{port}/x.jpg"),
            format!("https://{host}:{port}/x.jpg"),
        ] {
            let error = fetcher.fetch(&reference, Some(&base)).await.unwrap_err();
            assert_eq!(error.kind(), "refused_address", "{reference}: {error}");
            let text = error.to_string();
            assert!(
                text.contains("--allow-host") && !text.contains("secret"),
                "{text}"
            );
        }
    }
    for (reference, kind) in [
        ("http://[fe80::1%25eth0]/", "bad_reference"),
        ("http://[::1%lo]/", "bad_reference"),
        ("http://127.0.0.1.1.1/", "bad_reference"),
        ("http://256.256.256.256/", "bad_reference"),
        ("http://0x100000000/", "bad_reference"),
        ("http://a b/", "bad_reference"),
        ("http://127.0.0.1\t:99999/", "bad_reference"),
        ("gopher://127.0.0.1/", "unsupported_scheme"),
        ("dict://127.0.0.1/", "unsupported_scheme"),
        ("ftp://127.0.0.1/", "unsupported_scheme"),
        ("ldap://127.0.0.1/", "unsupported_scheme"),
        ("jar:http://127.0.0.1!/", "not_found"),
        ("http:127.0.0.1/", "not_found"),
        ("//127.0.0.1/x.jpg", "bad_reference"),
        ("\\\\127.0.0.1\\x.jpg", "bad_reference"),
        ("http://\\127.0.0.1/", "refused_address"),
        ("http:///127.0.0.1/", "refused_address"),
        ("http://public.test#@127.0.0.1/", "refused_address"),
        ("http://127.0.0.1#@public.test/", "refused_address"),
        ("http://127.0.0.1\\@public.test/", "refused_address"),
        ("http://public.test\\@127.0.0.1/", "refused_address"),
    ] {
        let error = fetcher.fetch(reference, Some(&base)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{reference}: {error}");
    }
    assert_eq!(secret.requests(), 0);
}

#[tokio::test]
async fn an_allowed_host_is_reached_and_says_how_to_allow_it() {
    let site = secret().await;
    let port = site.address().port();
    let error = fetcher(&[], &["127.0.0.1"])
        .fetch(&format!("http://images.test:{port}/x.jpg"), None)
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "'http://images.test:{port}/x.jpg' leads to images.test (127.0.0.1), which is not a public address; \
             if it may be read, allow it with --allow-host images.test"
        )
    );
    for (allowed, host) in [
        ("images.test", "images.test"),
        ("127.0.0.1", "images.test"),
        ("127.0.0.0/8", "127.0.0.1"),
        ("127.0.0.1", "2130706433"),
    ] {
        let reference = format!("http://{host}:{port}/x.jpg");
        let fetched = fetcher(&[allowed], &["127.0.0.1"])
            .fetch(&reference, None)
            .await
            .unwrap();
        assert_eq!(fetched.bytes, "secret");
    }
    let allowed = format!("images.test:{}", port ^ 1);
    let error = fetcher(&[&allowed], &["127.0.0.1"])
        .fetch(&format!("http://images.test:{port}/x.jpg"), None)
        .await
        .unwrap_err();
    assert_eq!(error.kind(), "refused_address");
}

/// A secret server at 127.0.0.1, and one with the same port at 127.0.0.2, which stands for the public internet.
async fn pair(outside: impl Fn(&str, usize) -> Answer + Send + Sync + 'static) -> (Site, Site) {
    let secret = secret().await;
    let port = secret.address().port();
    let public = Site::at(&format!("127.0.0.2:{port}"), outside).await;
    (secret, public)
}

#[tokio::test]
async fn what_was_checked_is_what_is_connected_to() {
    // The first answer of the name server is harmless, the second is not.
    let (secret, public) = pair(|_, _| Answer::Send(answer("500 Oh", "", b""))).await;
    let reference = format!("http://rebind.test:{}/x.jpg", public.address().port());
    let rebinding = fetcher(&["127.0.0.2"], &["127.0.0.2", "127.0.0.1"]);
    let error = rebinding.fetch(&reference, None).await.unwrap_err();
    assert_eq!(error.kind(), "refused_address", "{error}");
    assert_eq!((public.requests(), secret.requests()), (1, 0));

    let (secret, public) = pair(|head, _| {
        let host = head.split("host: ").nth(1).unwrap_or_default();
        redirect(&format!("http://{}/y.jpg", host.lines().next().unwrap()))
    })
    .await;
    let reference = format!("http://rebind.test:{}/x.jpg", public.address().port());
    let rebinding = fetcher(&["127.0.0.2"], &["127.0.0.2", "127.0.0.1"]);
    let error = rebinding.fetch(&reference, None).await.unwrap_err();
    assert_eq!(error.kind(), "refused_address", "{error}");
    assert_eq!((public.requests(), secret.requests()), (1, 0));

    // Both in one answer: only the harmless address is used, though it comes last and does not answer the port.
    let secret = self::secret().await;
    let mixed = fetcher(&["127.0.0.3"], &["127.0.0.1 ::1 127.0.0.3"]);
    let reference = format!("http://rebind.test:{}/x.jpg", secret.address().port());
    let error = mixed.fetch(&reference, None).await.unwrap_err();
    assert_eq!(error.kind(), "unreachable", "{error}");
    assert_eq!(secret.requests(), 0);
}

#[tokio::test]
async fn redirects_are_checked_like_references() {
    let (secret, public) = pair(|head, _| {
        let query = path(head).split_once("?to=").unwrap_or_default().1;
        redirect(query)
    })
    .await;
    let port = secret.address().port();
    let fetcher = fetcher(&["127.0.0.2"], &["127.0.0.1"]);
    let hops = [
        (
            "http://169.254.169.254/latest/meta-data/".to_owned(),
            "refused_address",
        ),
        (format!("http://127.0.0.1:{port}/"), "refused_address"),
        (format!("http://2130706433:{port}/"), "refused_address"),
        (format!("//127.1:{port}/"), "refused_address"),
        (format!("http:\\\\127.0.0.1:{port}/"), "refused_address"),
        (
            format!("http://[::ffff:127.0.0.1]:{port}/"),
            "refused_address",
        ),
        (format!("https://127.0.0.1:{port}/"), "refused_address"),
        (format!("http://localtest.me:{port}/"), "refused_address"),
        (
            format!("http://127.0.0.2:{port}/?to=http://127.0.0.1:{port}/"),
            "refused_address",
        ),
        ("file:///etc/passwd".to_owned(), "refused_redirect"),
        ("s3://bucket/key".to_owned(), "refused_redirect"),
        ("gopher://127.0.0.1/".to_owned(), "refused_redirect"),
        ("data:image/png;base64,AAAA".to_owned(), "refused_redirect"),
        ("http://[".to_owned(), "http_status"),
    ];
    for (target, kind) in hops {
        let reference = format!("http://127.0.0.2:{port}/?to={target}");
        let error = fetcher.fetch(&reference, None).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{target}: {error}");
    }
    // Nor from a server whose own private address a person typed.
    let reference = format!("?to=http://127.0.0.1:{port}/");
    let typed = format!("{}{reference}", public.url);
    for result in [
        fetcher.fetch(&reference, Some(&public.url)).await,
        fetcher.fetch_typed(&typed).await,
    ] {
        assert_eq!(result.unwrap_err().kind(), "refused_address");
    }
    assert_eq!(secret.requests(), 0);
}

#[tokio::test]
async fn a_table_on_a_private_server_reads_below_its_own_folder() {
    let site = Site::start(|head, _| match path(head) {
        "/t/moved.jpg" => redirect("/t/a.jpg"),
        "/t/out.jpg" => redirect("/secret.jpg"),
        _ => ok("", "bytes"),
    })
    .await;
    let base = site.url.join("t").unwrap();
    let fetcher = fetcher(&[], &["127.0.0.1"]);
    for reference in ["a.jpg", "b/../a.jpg", "a.jpg?sig=1", "moved.jpg"] {
        let fetched = fetcher.fetch(reference, Some(&base)).await.unwrap();
        assert_eq!(fetched.bytes, "bytes", "{reference}");
    }
    let before = site.requests();
    let absolute = format!("{}t/a.jpg", site.url);
    for (reference, kind) in [
        ("../secret.jpg", "outside_root"),
        ("..%2fsecret.jpg", "outside_root"),
        ("/etc/passwd", "outside_root"),
        ("file:///etc/passwd", "outside_root"),
        (absolute.as_str(), "refused_address"),
    ] {
        let error = fetcher.fetch(reference, Some(&base)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{reference}: {error}");
    }
    assert_eq!(site.requests(), before);
    let error = fetcher.fetch("out.jpg", Some(&base)).await.unwrap_err();
    assert_eq!(error.kind(), "refused_address");
    // A person may name any server.
    assert_eq!(fetcher.fetch_typed(&absolute).await.unwrap().bytes, "bytes");
}

#[tokio::test]
async fn credentials_stay_with_their_host() {
    let other = Site::at("127.0.0.3:0", |_, _| ok("", "bytes")).await;
    let target = other.url.join("y.jpg").unwrap();
    let first = Site::start(move |head, _| match path(head) {
        "/x.jpg" => redirect("/here.jpg"),
        _ => redirect(target.as_str()),
    })
    .await;
    let reference = format!("http://me:secret@{}/x.jpg", first.address());
    let fetched = fetcher(&["127.0.0.0/8"], &["127.0.0.1"])
        .fetch(&reference, None)
        .await
        .unwrap();
    assert_eq!(fetched.bytes, "bytes");
    let sent = |site: &Site| {
        let heads = site.heads().concat().to_ascii_lowercase();
        (
            heads.matches("authorization: basic").count(),
            heads.contains("referer"),
        )
    };
    assert_eq!(sent(&first), (2, false));
    assert_eq!(sent(&other), (0, false));
    let agent = concat!("user-agent: picsift/", env!("CARGO_PKG_VERSION"));
    assert!(other.heads()[0].contains(agent));
}

#[tokio::test]
async fn schemes_are_a_setting() {
    let site = secret().await;
    let options = FetchOptions {
        policy: FetchPolicy {
            schemes: vec!["https".to_owned(), "s3".to_owned()],
            ..FetchPolicy::default()
        },
        ..FetchOptions::default()
    };
    let fetcher = Fetcher::new(Arc::new(Stores::new()), options);
    for (reference, scheme) in [
        (site.url.as_str(), "http"),
        ("/etc/passwd", "file"),
        ("x.jpg", "file"),
        ("gs://bucket/x.jpg", "gs"),
    ] {
        let error = fetcher.fetch(reference, None).await.unwrap_err();
        assert_eq!(error.kind(), "scheme_not_allowed");
        let wanted = format!(
            "has the scheme '{scheme}', which the settings do not allow; allowed are: https, s3"
        );
        assert!(error.to_string().contains(&wanted), "{error}");
    }
    assert_eq!(site.requests(), 0);
}
