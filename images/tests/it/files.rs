//! Fetching local files.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use picsift_images::{FetchOptions, Fetcher, ImageError, Limits, Stage, Stores};
use url::Url;

fn fetcher(max_bytes: u64) -> Fetcher {
    let limits = Limits {
        max_bytes,
        ..Limits::default()
    };
    let options = FetchOptions {
        limits,
        ..FetchOptions::default()
    };
    Fetcher::new(Arc::new(Stores::new()), options)
}

fn folder(path: &Path) -> Url {
    Url::from_directory_path(path).unwrap()
}

#[tokio::test]
async fn names_are_taken_literally() {
    let dir = tempfile::tempdir().unwrap();
    let base = folder(dir.path());
    std::fs::create_dir(dir.path().join("sub dir")).unwrap();
    for name in [
        "plain.jpg",
        "with space.jpg",
        "100%.jpg",
        "a%20b.jpg",
        "a#1",
        "what?.jpg",
        "sub dir/ü.jpg",
        "a:b.jpg",
    ] {
        std::fs::write(dir.path().join(name), name).unwrap();
        let absolute = dir.path().join(name);
        let url = Url::from_file_path(&absolute).unwrap();
        for reference in [name, absolute.to_str().unwrap(), url.as_str()] {
            let fetched = fetcher(100).fetch(reference, Some(&base)).await.unwrap();
            assert_eq!(fetched.bytes, name.as_bytes(), "{reference}");
        }
        for typed in [absolute.to_str().unwrap(), url.as_str()] {
            let fetched = fetcher(100).fetch_typed(typed).await.unwrap();
            assert_eq!(fetched.bytes, name.as_bytes(), "{typed}");
        }
    }
    let fetched = fetcher(100)
        .fetch("sub dir/../plain.jpg", Some(&base))
        .await
        .unwrap();
    assert_eq!(fetched.bytes, "plain.jpg".as_bytes());
}

#[tokio::test]
async fn failures_say_what_and_where() {
    let dir = tempfile::tempdir().unwrap();
    let base = folder(dir.path());
    std::fs::create_dir(dir.path().join("folder")).unwrap();
    std::fs::write(dir.path().join("big.jpg"), [0; 1000]).unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    for (name, text) in [
        ("gone.jpg", format!("'{}' does not exist", path("gone.jpg"))),
        (
            "big.jpg/x.jpg",
            format!("'{}' does not exist", path("big.jpg/x.jpg")),
        ),
        (
            "folder",
            format!("'{}' cannot be read: it is a folder", path("folder")),
        ),
        (
            "big.jpg",
            format!(
                "'{}' is larger than the limit: 1000 bytes or more, 999 allowed",
                path("big.jpg")
            ),
        ),
    ] {
        let error = fetcher(999).fetch(name, Some(&base)).await.unwrap_err();
        assert_eq!(error.to_string(), text);
        assert_eq!(error.stage(), Stage::Fetch);
    }
    let whole = fetcher(1000).fetch("big.jpg", Some(&base)).await.unwrap();
    assert_eq!(whole.bytes.len(), 1000);
    let error = fetcher(999).fetch_typed("/dev/null").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "'/dev/null' cannot be read: it is not a regular file"
    );
}

#[tokio::test]
async fn a_forbidden_file_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret.jpg");
    std::fs::write(&path, "x").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::read(&path).is_ok() {
        println!("skipped: this user (root?) may read every file");
        return;
    }
    let error = fetcher(10)
        .fetch_typed(path.to_str().unwrap())
        .await
        .unwrap_err();
    assert!(
        matches!(error, ImageError::PermissionDenied { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn stores_are_shared_and_serve_local_files() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a b.txt"), "words").unwrap();
    let stores = Stores::new();
    let url = Url::from_file_path(dir.path().join("a b.txt")).unwrap();
    let (store, path) = stores.get(&url).unwrap();
    let read = object_store::ObjectStoreExt::get(&*store, &path)
        .await
        .unwrap()
        .bytes()
        .await
        .unwrap();
    assert_eq!(read, "words");
    let one = stores
        .root(&Url::parse("http://127.0.0.1:1/a").unwrap())
        .unwrap();
    let two = stores
        .root(&Url::parse("http://127.0.0.1:1/b/c").unwrap())
        .unwrap();
    assert!(Arc::ptr_eq(&one, &two));
    let error = stores.get(&Url::parse("ftp://h/x").unwrap()).unwrap_err();
    assert!(matches!(error, ImageError::UnsupportedScheme { .. }));
    assert!(stores.root(&Url::parse("s3://bucket/x").unwrap()).is_ok());
}
