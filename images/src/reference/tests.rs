//! References of every kind, and what becomes of them.

use super::*;

fn at(reference: &str, base: &str) -> String {
    resolve(reference, Some(&Url::parse(base).unwrap()))
        .unwrap()
        .into()
}

#[test]
fn what_urls_drop_does_not_climb_out_of_a_bucket() {
    for base in ["s3://bucket/a/table", "gs://bucket/", "az://container/a/"] {
        let base = Url::parse(base).unwrap();
        for reference in [
            "..\n/x.jpg",
            "a/../.\t.\n/..\r/x.jpg",
            "a/../..\n",
            "\t../x.jpg",
        ] {
            let error = resolve(reference, Some(&base)).unwrap_err();
            assert_eq!(error.kind(), "bad_reference", "{reference:?}");
        }
    }
}

#[test]
fn names_are_literal_below_a_folder_or_bucket() {
    assert_eq!(at("a b.jpg", "file:///data/t/"), "file:///data/t/a%20b.jpg");
    assert_eq!(
        at("100%25#?.jpg", "file:///data/t"),
        "file:///data/t/100%2525%23%3F.jpg"
    );
    assert_eq!(at("a:b.jpg", "file:///data/t"), "file:///data/t/a:b.jpg");
    assert_eq!(
        at("x/100%#?.jpg", "gs://b/t/"),
        "gs://b/t/x/100%25%23%3F.jpg"
    );
    assert_eq!(at("d/../x.jpg", "az://c/a/b/"), "az://c/a/b/x.jpg");
    assert_eq!(at("./x.jpg", "s3://b"), "s3://b/x.jpg");
}

#[test]
fn local_names_come_back_unchanged() {
    let base = Url::parse("file:///data/my%20table/").unwrap();
    for name in [
        "a b%20c#d?e.jpg",
        "ü&=+;.png",
        "sub/[x]{y}.jpg",
        "back\\slash.jpg",
        "~tilde.jpg",
    ] {
        let url = resolve(name, Some(&base)).unwrap();
        assert_eq!(
            local_path(&url).unwrap(),
            Path::new("/data/my table").join(name)
        );
        let again = Url::parse(url.as_str()).unwrap();
        assert_eq!(
            local_path(&again).unwrap(),
            Path::new("/data/my table").join(name)
        );
    }
}

#[test]
fn full_and_relative_references_name_the_same_key() {
    for scheme in ["s3", "s3a", "gs", "az", "abfs", "abfss"] {
        let base = Url::parse(&format!("{scheme}://b/t/")).unwrap();
        for key in [
            "a b.jpg",
            "a%20b.jpg",
            "%41.jpg",
            "A.jpg",
            "a.jpg ",
            " a.jpg",
            "a+b.jpg",
            "ü.jpg",
            "50%.jpg",
            "a?b#c.jpg",
            "x/y z/[1]{2}.jpg",
            "a\\b.jpg",
            "...jpg",
            "a:b.jpg",
            "%2e%2e.jpg",
            "a/%2F/b.jpg",
        ] {
            let relative = resolve(key, Some(&base)).unwrap();
            let full = resolve(&format!("{scheme}://b/t/{key}"), None).unwrap();
            assert_eq!(full, relative, "{key}");
            let asked = object_store::path::Path::from_url_path(full.path()).unwrap();
            assert_eq!(asked.as_ref(), format!("t/{key}"), "{key}");
            // As it is kept and read again.
            assert_eq!(Url::parse(full.as_str()).unwrap(), full, "{key}");
        }
        for key in ["a//b.jpg", "a\tb.jpg", "b\n.jpg"] {
            for error in [
                resolve(key, Some(&base)).unwrap_err(),
                resolve(&format!("{scheme}://b/t/{key}"), None).unwrap_err(),
            ] {
                assert_eq!(error.kind(), "bad_reference", "{key}");
            }
        }
    }
    for key in ["./a.jpg", "x/../a.jpg", "x/..", "/a.jpg"] {
        let error = resolve(&format!("s3://b/{key}"), None).unwrap_err();
        assert_eq!(error.kind(), "bad_reference", "{key}");
    }
    let folder = |text: &str| String::from(resolve(text, None).unwrap());
    assert_eq!(folder("s3://b"), "s3://b/");
    assert_eq!(folder("s3://b/"), "s3://b/");
    assert_eq!(folder("s3://b/t 1/"), "s3://b/t%201/");
    assert_eq!(
        folder("abfss://container@account.dfs.core.windows.net/t/a.jpg"),
        "abfss://container@account.dfs.core.windows.net/t/a.jpg"
    );
}

#[test]
fn what_nobody_means_has_its_own_sentence() {
    let base = Url::parse("file:///data/t/").unwrap();
    for (reference, reason) in [
        (" https://h/a.jpg", "a blank or line break comes before it"),
        ("\ns3://b/a.jpg", "a blank or line break comes before it"),
        (" /data/a.jpg", "a blank or line break comes before it"),
        ("\u{feff}https://h/a.jpg", "byte-order mark"),
        ("\u{feff}a.jpg", "byte-order mark"),
        ("//h/a.jpg", "a host and no scheme"),
        ("\\\\server\\share\\a.jpg", "a Windows network"),
        ("C:\\pictures\\a.jpg", "a Windows drive"),
        ("c:/pictures/a.jpg", "a Windows drive"),
    ] {
        for base in [None, Some(&base)] {
            let error = resolve(reference, base).unwrap_err();
            assert_eq!(error.kind(), "bad_reference", "{reference}");
            assert!(error.to_string().contains(reason), "{error}");
        }
    }
    // Names of files may be so.
    for name in [" a.jpg", "a\\b.jpg", "a:b.jpg"] {
        assert!(resolve(name, Some(&base)).is_ok(), "{name}");
    }
}

#[test]
fn http_follows_the_url_syntax() {
    assert_eq!(
        at("i/a%20b.jpg?sig=1", "https://h/t?x=1"),
        "https://h/t/i/a%20b.jpg?sig=1"
    );
    assert_eq!(
        at("https://h/a.jpg?s=%2B&t=/", "file:///"),
        "https://h/a.jpg?s=%2B&t=/"
    );
}

#[test]
fn absolute_references_ignore_the_base() {
    assert_eq!(at("/data/a b.jpg", "s3://b/t/"), "file:///data/a%20b.jpg");
    assert_eq!(at("s3://c/k#1?.jpg", "s3://b/t/"), "s3://c/k%231%3F.jpg");
    assert_eq!(at("FILE:///x.jpg", "s3://b/t/"), "file:///x.jpg");
    let here = resolve("x.jpg", None).unwrap();
    assert_eq!(
        local_path(&here).unwrap(),
        std::env::current_dir().unwrap().join("x.jpg")
    );
}

#[test]
fn refuses_what_names_nothing() {
    let base = Url::parse("s3://b/t/").unwrap();
    for (reference, reason) in [
        ("", "it is empty"),
        ("  ", "it is empty"),
        ("a\0b", "zero byte"),
        ("../x.jpg", "leads out of its table at 's3://b/t/'"),
        ("a/../../x.jpg", "leads out of its table"),
        ("ftp://h/x.jpg", "unsupported scheme 'ftp'"),
        ("data:image/png;base64,AAAA", "unsupported scheme 'data'"),
        ("http://", "empty host"),
    ] {
        let error = resolve(reference, Some(&base)).unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert_eq!(error.stage(), crate::error::Stage::Fetch);
    }
}

#[test]
fn nothing_relative_leaves_an_http_folder() {
    let base = Url::parse("http://h:81/t").unwrap();
    for reference in [
        "../x.jpg",
        "a/../../x.jpg",
        "%2e%2e/x.jpg",
        "..%2fx.jpg",
        "..%5Cx.jpg",
        "..%252f..%252fx.jpg",
        "a/%2E%2E%2F%2e%2e/x.jpg",
        "..\\x.jpg",
        "\\\\evil.test\\x.jpg",
        "\\x.jpg",
        "http:/x.jpg",
        "https:/evil.test/x.jpg",
        "\t//evil.test/x.jpg",
    ] {
        let error = resolve(reference, Some(&base)).unwrap_err();
        assert_eq!(error.kind(), "outside_root", "{reference}");
    }
    for inside in [
        "....//x.jpg",
        "a/../x.jpg",
        "..a.jpg",
        "a%2Fb.jpg",
        "x?next=/../",
    ] {
        assert!(at(inside, base.as_str()).starts_with("http://h:81/t/"));
    }
}

#[test]
fn messages_hide_queries_and_passwords() {
    assert_eq!(
        shown("https://me:secret@h/a.jpg?sig=secret#x"),
        "https://h/a.jpg?..."
    );
    assert_eq!(shown("file:///a%20b.jpg"), "/a b.jpg");
    for long in ["x", "\u{1e}", "\u{202e}"] {
        assert!(shown(&long.repeat(1000)).len() < 310, "{long:?}");
    }
    // Neither a terminal nor a browser obeys a name.
    assert_eq!(
        shown("\u{1b}[2J\u{202e}gpj.exe\n"),
        "\\u{1b}[2J\\u{202e}gpj.exe\\u{a}"
    );
    assert!(may_hold_credential("https://h/a.jpg?sig=secret"));
    assert!(may_hold_credential("https://me:secret@h/a.jpg"));
    assert!(!may_hold_credential("https://h/a.jpg") && !may_hold_credential("what?.jpg"));
}

#[test]
fn messages_name_what_lies_below_a_table_as_it_does() {
    let folder = Url::parse("file:///home/ann/t/").unwrap();
    for (message, expected) in [
        (
            "'/home/ann/t/a b.jpg' does not exist",
            "'a b.jpg' does not exist",
        ),
        (
            "'/etc/passwd' leads out of its table's folder '/home/ann/t/'; no",
            "'/etc/passwd' leads out of its table's folder; no",
        ),
        (
            "'/home/ann/tea/a.jpg' is another",
            "'/home/ann/tea/a.jpg' is another",
        ),
    ] {
        assert_eq!(beside(message, &folder), expected);
    }
    let bucket = Url::parse("s3://b/t").unwrap();
    assert_eq!(
        beside("'s3://b/t/x.jpg' is empty", &bucket),
        "'x.jpg' is empty"
    );
    let root = Url::parse("file:///").unwrap();
    assert_eq!(beside("'/a.jpg' is empty", &root), "'/a.jpg' is empty");
}
