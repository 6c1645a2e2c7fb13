//! Nobody who writes a reference reads a local file outside of the table's folder.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use picsift_images::{FetchOptions, FetchPolicy, Fetcher, ImageError, Stores};
use url::Url;

fn fetcher(folders: &[&Path]) -> Fetcher {
    let options = FetchOptions {
        policy: FetchPolicy {
            folders: folders.iter().map(|folder| folder.to_path_buf()).collect(),
            ..FetchPolicy::default()
        },
        ..FetchOptions::default()
    };
    Fetcher::new(Arc::new(Stores::new()), options)
}

struct Scene {
    dir: tempfile::TempDir,
    base: Url,
}

/// `root` is the table's folder; `outside`, `root-2` and `allowed` lie beside it, each with a file.
fn scene() -> Scene {
    let dir = tempfile::tempdir().unwrap();
    for folder in ["root/sub", "outside", "root-2", "allowed"] {
        std::fs::create_dir_all(dir.path().join(folder)).unwrap();
        std::fs::write(dir.path().join(folder).join("x.jpg"), folder).unwrap();
    }
    std::fs::write(dir.path().join("root/x.jpg"), "root").unwrap();
    let base = Url::from_directory_path(dir.path().join("root")).unwrap();
    Scene { dir, base }
}

impl Scene {
    async fn read(&self, fetcher: &Fetcher, reference: &str) -> Result<String, ImageError> {
        let fetched = fetcher.fetch(reference, Some(&self.base)).await?;
        Ok(String::from_utf8(fetched.bytes.into()).unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.dir.path().join(name).display().to_string()
    }

    fn url(&self, name: &str) -> String {
        format!("file://{}/{name}", self.dir.path().display())
    }
}

#[tokio::test]
async fn no_way_of_writing_a_path_leaves_the_folder() {
    let scene = scene();
    let fetcher = fetcher(&[]);
    let refused: Vec<String> = [
        "../outside/x.jpg",
        "sub/../../outside/x.jpg",
        "./../outside/x.jpg",
        ".//..//outside/x.jpg",
        "../root-2/x.jpg",
        "../../../../../../../../etc/passwd",
        "..",
        "/etc/passwd",
        "/proc/self/environ",
        "/proc/self/cwd/Cargo.toml",
        "/dev/stdin",
        "/",
        "file:///etc/passwd",
        "FILE:///etc/passwd",
        "file:/etc/passwd",
        "file://localhost/etc/passwd",
        "file:////etc/passwd",
        "file:///proc/self/environ",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([
        scene.path("outside/x.jpg"),
        scene.path("root-2/x.jpg"),
        scene.path("root/../outside/x.jpg"),
        scene.path("root/sub/../../outside/x.jpg"),
        scene.url("outside/x.jpg"),
        scene.url("root/../outside/x.jpg"),
        scene.url("root/%2e%2e/outside/x.jpg"),
        scene.url("root/.%2e/outside/x.jpg"),
        scene.url("root/%2E%2E%2Foutside%2Fx.jpg"),
        scene.url("root/..%2foutside/x.jpg"),
        scene.url("root\\..\\outside\\x.jpg"),
    ])
    .collect();
    for reference in &refused {
        let error = scene.read(&fetcher, reference).await.unwrap_err();
        assert_eq!(error.kind(), "outside_root", "{reference}: {error}");
    }
    // Names like any other, of files that are not there; or no names at all.
    for (reference, kind) in [
        ("//etc/passwd", "bad_reference"),
        ("....//....//etc/passwd", "not_found"),
        ("..%2foutside%2fx.jpg", "not_found"),
        ("%2e%2e/outside/x.jpg", "not_found"),
        ("%252e%252e%252foutside%252fx.jpg", "not_found"),
        ("..\\outside\\x.jpg", "not_found"),
        ("..;/outside/x.jpg", "not_found"),
        ("..%c0%afoutside/x.jpg", "not_found"),
        ("．．/outside/x.jpg", "not_found"),
        ("~/x.jpg", "not_found"),
        ("x.jpg\0.png", "bad_reference"),
        ("file:///x%00.jpg", "bad_reference"),
        ("file://host/etc/passwd", "bad_reference"),
        ("file://127.0.0.1/etc/passwd", "bad_reference"),
    ] {
        let error = scene.read(&fetcher, reference).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{reference}: {error}");
    }
    let error = scene.read(&fetcher, "../outside/x.jpg").await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "'{}' leads out of its table's folder '{}'; if it may be read, allow its folder with --allow-folder DIR",
            scene.path("outside/x.jpg"),
            scene.path("root/")
        )
    );
}

#[tokio::test]
async fn every_way_of_writing_a_path_below_the_folder_works() {
    let scene = scene();
    let fetcher = fetcher(&[]);
    for reference in [
        "x.jpg".to_owned(),
        "./x.jpg".to_owned(),
        "sub/../x.jpg".to_owned(),
        scene.path("root/x.jpg"),
        scene.path("root/sub/../x.jpg"),
        scene.url("root/x.jpg"),
        scene.url("root/%78.jpg"),
    ] {
        assert_eq!(
            scene.read(&fetcher, &reference).await.unwrap(),
            "root",
            "{reference}"
        );
    }
}

#[tokio::test]
async fn links_lead_only_where_references_may() {
    let scene = scene();
    let root = scene.dir.path().join("root");
    symlink("x.jpg", root.join("in.jpg")).unwrap();
    symlink(root.join("x.jpg"), root.join("in-absolute.jpg")).unwrap();
    symlink("sub", root.join("in-folder")).unwrap();
    symlink("../outside/x.jpg", root.join("out.jpg")).unwrap();
    symlink(scene.path("outside/x.jpg"), root.join("out-absolute.jpg")).unwrap();
    symlink("../outside", root.join("out-folder")).unwrap();
    symlink("out.jpg", root.join("out-twice.jpg")).unwrap();
    symlink("/etc/passwd", root.join("passwd.jpg")).unwrap();
    symlink("/proc/self/environ", root.join("environ.jpg")).unwrap();
    symlink("/proc/self/fd", root.join("fd")).unwrap();
    symlink("loop.jpg", root.join("loop.jpg")).unwrap();
    symlink("../allowed/x.jpg", root.join("allowed.jpg")).unwrap();
    symlink(scene.path("allowed"), root.join("allowed-folder")).unwrap();
    let strict = fetcher(&[]);
    for (reference, want) in [
        ("in.jpg", "root"),
        ("in-absolute.jpg", "root"),
        ("in-folder/x.jpg", "root/sub"),
    ] {
        assert_eq!(
            scene.read(&strict, reference).await.unwrap(),
            want,
            "{reference}"
        );
    }
    for reference in [
        "out.jpg",
        "out-absolute.jpg",
        "out-folder/x.jpg",
        "out-twice.jpg",
        "passwd.jpg",
        "environ.jpg",
        "fd/0",
        "allowed.jpg",
        "allowed-folder/x.jpg",
    ] {
        let error = scene.read(&strict, reference).await.unwrap_err();
        assert_eq!(error.kind(), "outside_root", "{reference}: {error}");
    }
    let error = scene.read(&strict, "loop.jpg").await.unwrap_err();
    assert_eq!(error.kind(), "unreadable", "{error}");

    let allowed = scene.dir.path().join("allowed");
    let open = fetcher(&[&allowed]);
    for reference in ["allowed.jpg", "allowed-folder/x.jpg"] {
        assert_eq!(scene.read(&open, reference).await.unwrap(), "allowed");
    }
    let direct = scene.path("allowed/x.jpg");
    assert_eq!(scene.read(&open, &direct).await.unwrap(), "allowed");
    let error = scene.read(&open, "out.jpg").await.unwrap_err();
    assert_eq!(error.kind(), "outside_root");
}

#[tokio::test]
async fn a_folder_may_be_named_through_a_link() {
    let scene = scene();
    let link = scene.dir.path().join("link");
    symlink(scene.dir.path().join("root"), &link).unwrap();
    let base = Url::from_directory_path(&link).unwrap();
    for reference in [
        "x.jpg".to_owned(),
        scene.path("link/x.jpg"),
        scene.path("root/x.jpg"),
    ] {
        let fetched = fetcher(&[]).fetch(&reference, Some(&base)).await.unwrap();
        assert_eq!(fetched.bytes, "root", "{reference}");
    }
    let error = fetcher(&[]).fetch("../outside/x.jpg", Some(&base)).await;
    assert_eq!(error.unwrap_err().kind(), "outside_root");
}

#[tokio::test]
async fn a_link_that_changes_all_the_time_never_leads_out() {
    let scene = scene();
    let link = scene.dir.path().join("root/flip");
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let flipping = {
        let (link, stop) = (link.clone(), Arc::clone(&stop));
        std::thread::spawn(move || {
            let new = link.with_extension("new");
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for target in ["sub", "../outside"] {
                    symlink(target, &new).unwrap();
                    std::fs::rename(&new, &link).unwrap();
                }
            }
        })
    };
    let fetcher = fetcher(&[]);
    let mut inside = 0;
    for _ in 0..3000 {
        if let Ok(text) = scene.read(&fetcher, "flip/x.jpg").await {
            assert_eq!(text, "root/sub");
            inside += 1;
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    flipping.join().unwrap();
    assert!(inside > 0);
}

#[tokio::test]
async fn tables_elsewhere_read_no_local_files() {
    let scene = scene();
    let allowed = scene.dir.path().join("allowed");
    let here = std::env::current_dir().unwrap().join("Cargo.toml");
    for base in ["s3://bucket/t/", "https://public.test/t/"] {
        let base = Url::parse(base).unwrap();
        for reference in [
            "/etc/passwd",
            "file:///etc/passwd",
            here.to_str().unwrap(),
            &scene.path("root/x.jpg"),
        ] {
            let error = fetcher(&[&allowed])
                .fetch(reference, Some(&base))
                .await
                .unwrap_err();
            assert_eq!(error.kind(), "outside_root", "{reference}: {error}");
        }
        let fetched = fetcher(&[&allowed])
            .fetch(&scene.path("allowed/x.jpg"), Some(&base))
            .await
            .unwrap();
        assert_eq!(fetched.bytes, "allowed");
    }
}

#[tokio::test]
async fn without_a_base_the_current_folder_is_the_root() {
    let scene = scene();
    let fetcher = fetcher(&[]);
    assert!(fetcher.fetch("Cargo.toml", None).await.is_ok());
    for reference in ["/etc/passwd", "../Cargo.toml", &scene.path("root/x.jpg")] {
        let error = fetcher.fetch(reference, None).await.unwrap_err();
        assert_eq!(error.kind(), "outside_root", "{reference}: {error}");
    }
    // What a person typed is read, wherever it is.
    let typed = fetcher.fetch_typed(&scene.path("root/x.jpg")).await;
    assert_eq!(typed.unwrap().bytes, "root");
    let typed = fetcher.fetch_typed("../Cargo.toml").await;
    assert!(typed.is_ok());
}

#[tokio::test]
async fn a_pipe_does_not_hang() {
    let scene = scene();
    let pipe = scene.path("root/pipe.jpg");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    symlink("pipe.jpg", scene.path("root/linked.jpg")).unwrap();
    for reference in ["pipe.jpg", "linked.jpg"] {
        let error = scene.read(&fetcher(&[]), reference).await.unwrap_err();
        assert!(
            error.to_string().contains("it is not a regular file"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_pipe_that_takes_a_files_place_does_not_hang() {
    let scene = scene();
    let (place, file, pipe) = (
        scene.path("root/changing.jpg"),
        scene.path("root/file.jpg"),
        scene.path("root/other.jpg"),
    );
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    assert!(made.unwrap().success());
    std::fs::write(&file, "a file").unwrap();
    std::fs::hard_link(&file, &place).unwrap();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = std::sync::Arc::clone(&stop);
    let changer = std::thread::spawn(move || {
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            // Renamed into place, so that something is there at every moment.
            for from in [&pipe, &file] {
                let next = format!("{place}.next");
                std::fs::hard_link(from, &next).unwrap();
                std::fs::rename(&next, &place).unwrap();
            }
        }
    });
    let fetcher = fetcher(&[]);
    let (mut files, mut pipes) = (0, 0);
    for _ in 0..5_000 {
        let read = scene.read(&fetcher, "changing.jpg");
        let read = tokio::time::timeout(std::time::Duration::from_secs(5), read).await;
        match read.expect("opening a pipe hangs") {
            Ok(_) => files += 1,
            Err(_) => pipes += 1,
        }
    }
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    changer.join().unwrap();
    assert!(files > 0 && pipes > 0, "{files} {pipes}");
}

/// Whoever names a table's folder decides nothing where places are given.
#[tokio::test]
async fn no_base_leads_out_of_the_places_that_are_given() {
    let scene = scene();
    let real = scene.dir.path().canonicalize().unwrap();
    let place = |name: &str| Url::from_directory_path(real.join(name)).unwrap();
    let options = FetchOptions {
        policy: FetchPolicy {
            within: Some(vec![
                place("root"),
                Url::parse("s3://bucket/given/").unwrap(),
            ]),
            ..FetchPolicy::default()
        },
        ..FetchOptions::default()
    };
    let fetcher = Fetcher::new(Arc::new(Stores::new()), options);
    let own = fetcher.fetch("sub/x.jpg", Some(&place("root"))).await;
    assert_eq!(own.unwrap().bytes, "root/sub");
    let up = fetcher.fetch("../x.jpg", Some(&place("root/sub"))).await;
    assert_eq!(up.unwrap().bytes, "root");
    let bucket = Url::parse("s3://bucket/other/").unwrap();
    let server = Url::parse("http://127.0.0.1:1/").unwrap();
    let outside = real.join("outside/x.jpg").display().to_string();
    for (reference, base) in [
        ("x.jpg", Some(place("outside"))),
        ("x.jpg", Some(place("root-2"))),
        ("../outside/x.jpg", Some(place("root"))),
        (outside.as_str(), Some(place("root"))),
        (outside.as_str(), None),
        ("Cargo.toml", None),
        ("x.jpg", Some(bucket.clone())),
        ("s3://bucket/given-not/x.jpg", Some(bucket.clone())),
        ("s3://elsewhere/given/x.jpg", Some(bucket)),
        ("hf://datasets/owner/name/x.jpg", None),
    ] {
        let error = fetcher.fetch(reference, base.as_ref()).await.unwrap_err();
        let kind = error.kind();
        assert_eq!(kind, "outside_root", "{reference} {base:?}: {error}");
    }
    let steps = "s3://bucket/given/../other/x.jpg";
    let error = fetcher.fetch(steps, None).await.unwrap_err();
    assert_eq!(error.kind(), "bad_reference", "{error}");
    // A server that is called a folder is trusted no more than any other.
    let error = fetcher.fetch("x.jpg", Some(&server)).await.unwrap_err();
    assert_eq!(error.kind(), "refused_address", "{error}");
}
