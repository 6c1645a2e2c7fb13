//! Images decoded in processes of their own: the same pictures, and nothing that one of them does reaches further than itself.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use picsift_images::{Confinement, DecodePool, Geometry, ImageError, Limits, Sandbox};

use crate::corpus_files;
use crate::support::*;

/// One test at a time: they look for the processes that this one has started.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

const CROP: Geometry = Geometry::CentreCrop {
    short_side: 256,
    size: 224,
};

fn sandboxed(threads: usize, limits: Limits) -> DecodePool {
    let sandbox = Sandbox::new(env!("CARGO_BIN_EXE_picsift"), ["decode-for-picsift"]);
    let (pool, confinement) = DecodePool::sandboxed(threads, limits, sandbox).unwrap();
    if cfg!(target_os = "linux") {
        assert_eq!(confinement, Confinement::SystemCalls);
    }
    pool
}

fn photos() -> Vec<PathBuf> {
    let folder = root().join(REFERENCES).join("images");
    let mut photos: Vec<_> = walkdir::WalkDir::new(folder)
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.is_file())
        .collect();
    photos.sort();
    photos
}

/// Processes that decode for `parent`.
fn children(parent: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").unwrap().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|n| n.parse::<u32>().ok())
        else {
            continue;
        };
        let read =
            |name: &str| std::fs::read_to_string(entry.path().join(name)).unwrap_or_default();
        let status = read("status");
        let of_parent = status.lines().any(|l| l == format!("PPid:\t{parent}"));
        let ended = status.lines().any(|l| l.starts_with("State:\tZ"));
        // One that has only begun has given up nothing yet.
        let ready = !cfg!(target_os = "linux") || status.contains("Seccomp:\t2");
        if of_parent && ready && !ended && read("cmdline").contains("decode-for-picsift") {
            found.push(pid);
        }
    }
    found
}

fn the_child() -> u32 {
    let all = children(std::process::id());
    assert_eq!(all.len(), 1, "{all:?}");
    all[0]
}

fn send(signal: &str, process: u32) {
    let line = format!("kill -{signal} {process}");
    assert!(
        Command::new("sh")
            .args(["-c", &line])
            .status()
            .unwrap()
            .success()
    );
}

fn photo() -> bytes::Bytes {
    crate::support::photo("fish27_149.jpg").into()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[test]
fn pictures_are_the_same_and_so_is_what_is_wrong_with_them() {
    let _alone = alone();
    let limits = Limits {
        max_pixels: 4_000_000,
        ..Limits::default()
    };
    let plain = DecodePool::new(2, limits.clone()).unwrap();
    let other = sandboxed(2, limits);
    let mut files: Vec<(String, Vec<u8>)> = photos()
        .into_iter()
        .step_by(4)
        .map(|path| (path.display().to_string(), std::fs::read(path).unwrap()))
        .collect();
    let cases = corpus_files::cases(1, &root().join(REFERENCES).join("images")).unwrap();
    files.extend(
        cases
            .into_iter()
            .step_by(5)
            .map(|case| (case.file, case.bytes)),
    );
    files.push(("empty".to_owned(), Vec::new()));
    files.push(("page".to_owned(), b"<html>404</html>".to_vec()));
    let said = |error: ImageError| (error.kind(), error.stage().to_string(), error.to_string());
    let (mut right, mut kinds) = (0, BTreeSet::new());
    runtime().block_on(async {
        for (name, file) in files {
            let bytes = bytes::Bytes::from(file);
            for geometry in [CROP, Geometry::Within { side: 300 }, Geometry::Full] {
                let here = plain.prepare(bytes.clone(), geometry).await;
                let there = other.prepare(bytes.clone(), geometry).await;
                right += usize::from(here.is_ok());
                if let Err(error) = &here {
                    kinds.insert(error.kind());
                }
                let here = here.map(|prepared| prepared.value).map_err(said);
                let there = there.map(|prepared| prepared.value).map_err(said);
                assert!(
                    here == there,
                    "{name} as {geometry:?}: {:?} {:?}",
                    here.err(),
                    there.err()
                );
            }
            let here = plain.info(bytes.clone()).await.map_err(said);
            assert_eq!(
                here,
                other.info(bytes.clone()).await.map_err(said),
                "{name}"
            );
            let here = plain
                .display_copies(bytes.clone(), &[400, 100])
                .await
                .map_err(said);
            let there = other.display_copies(bytes, &[400, 100]).await.map_err(said);
            assert!(here == there, "{name}");
        }
    });
    assert!(right > 150 && kinds.len() > 4, "{right} {kinds:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_process_that_decodes_has_nothing_else() {
    let _alone = alone();
    let pool = sandboxed(1, Limits::default());
    runtime().block_on(pool.prepare(photo(), CROP)).unwrap();
    let child = PathBuf::from(format!("/proc/{}", the_child()));
    let read = |name: &str| std::fs::read_to_string(child.join(name)).unwrap();
    assert_eq!(read("environ"), "");
    let status = read("status");
    for line in ["NoNewPrivs:\t1", "Seccomp:\t2", "Threads:\t1"] {
        assert!(status.lines().any(|l| l == line), "{line} of {status}");
    }
    // Ctrl-C in a terminal is for the program alone.
    let stat = read("stat");
    let group = stat.rsplit(") ").next().unwrap().split(' ').nth(2).unwrap();
    assert_eq!(group, child.file_name().unwrap());
    let open: Vec<_> = std::fs::read_dir(child.join("fd"))
        .unwrap()
        .flatten()
        .collect();
    assert!(open.len() <= 4, "{open:?}");
    for entry in &open {
        let to = std::fs::read_link(entry.path()).unwrap();
        let to = to.to_string_lossy();
        assert!(to.starts_with("socket:") || to == "/dev/null", "{to}");
    }
    let limits = read("limits");
    let bound = |name: &str| {
        let line = limits.lines().find(|line| line.starts_with(name)).unwrap();
        let number = line[26..].split_whitespace().next().unwrap();
        number.parse::<u64>().unwrap()
    };
    for name in [
        "Max core file size",
        "Max file size",
        "Max open files",
        "Max processes",
    ] {
        assert_eq!(bound(name), 0, "{name}");
    }
    assert!((1..10_000).contains(&bound("Max cpu time")));
    assert!((1 << 30..8 << 30).contains(&bound("Max address space")));
    drop(pool);
    gone(&[child]);
}

/// Waits until none of these processes is there.
fn gone(processes: &[PathBuf]) {
    let begun = Instant::now();
    let alive = |process: &&PathBuf| {
        let status = std::fs::read_to_string(process.join("status")).unwrap_or_default();
        !status.is_empty() && !status.contains("State:\tZ")
    };
    while let Some(process) = processes.iter().find(alive) {
        let waited = begun.elapsed();
        assert!(
            waited < Duration::from_secs(5),
            "{} lives",
            process.display()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn one_that_ends_between_pictures_costs_none() {
    let _alone = alone();
    let pool = sandboxed(1, Limits::default());
    runtime().block_on(async {
        let first = pool.prepare(photo(), CROP).await.unwrap().value;
        let child = the_child();
        send("KILL", child);
        gone(&[PathBuf::from(format!("/proc/{child}"))]);
        assert!(pool.prepare(photo(), CROP).await.unwrap().value == first);
        assert_ne!(the_child(), child);
    });
}

#[test]
fn one_that_hangs_or_ends_costs_its_picture() {
    let _alone = alone();
    let limits = Limits {
        timeout: Duration::from_secs(1),
        ..Limits::default()
    };
    let pool = sandboxed(1, limits);
    runtime().block_on(async {
        pool.prepare(photo(), CROP).await.unwrap();
        let child = the_child();
        send("STOP", child);
        let begun = Instant::now();
        let error = pool.prepare(photo(), CROP).await.unwrap_err();
        assert!(
            matches!(error, ImageError::DecodeTimedOut { .. }),
            "{error}"
        );
        assert_eq!(error.to_string(), "the image was not decoded within 1s");
        assert!(begun.elapsed() < Duration::from_secs(3));
        pool.prepare(photo(), CROP).await.unwrap();
        let next = the_child();
        assert_ne!(next, child);

        send("STOP", next);
        let waiting = tokio::spawn({
            let pool = pool.clone();
            async move { pool.prepare(photo(), CROP).await }
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        send("KILL", next);
        let error = waiting.await.unwrap().unwrap_err();
        assert_eq!(
            (error.kind(), error.to_string().as_str()),
            (
                "ended",
                "the process that decoded the image was lost: signal 9 ended it"
            )
        );
        pool.prepare(photo(), CROP).await.unwrap();
    });
}

#[cfg(target_os = "linux")]
#[test]
fn memory_beyond_the_bound_is_not_to_be_had() {
    use rustix::process::{Pid, Resource, Rlimit, prlimit};

    let _alone = alone();
    let pool = sandboxed(1, Limits::default());
    runtime().block_on(async {
        pool.prepare(photo(), CROP).await.unwrap();
        let child = the_child();
        let status = std::fs::read_to_string(format!("/proc/{child}/status")).unwrap();
        let size = status
            .lines()
            .find_map(|line| line.strip_prefix("VmSize:"))
            .unwrap();
        let size: u64 = size.trim().trim_end_matches(" kB").parse().unwrap();
        let most = Some((size << 10) + (8 << 20));
        let bound = Rlimit {
            current: most,
            maximum: most,
        };
        prlimit(Pid::from_raw(child as i32), Resource::As, bound).unwrap();
        let mut large = std::io::Cursor::new(Vec::new());
        let picture =
            image::RgbImage::from_fn(5000, 4000, |x, y| image::Rgb([x as u8, y as u8, 7]));
        picture
            .write_to(&mut large, image::ImageFormat::Png)
            .unwrap();
        let large = bytes::Bytes::from(large.into_inner());
        let error = pool
            .prepare(large.clone(), Geometry::Full)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), "ended", "{error}");
        assert!(error.to_string().contains("want of memory"), "{error}");
        // The next process has its own bound.
        let pixels = pool.prepare(large, Geometry::Full).await.unwrap().value;
        assert_eq!((pixels.width, pixels.height), (5000, 4000));
    });
}

#[cfg(target_os = "linux")]
#[test]
fn none_outlives_the_program() {
    let _alone = alone();
    let cache = tempfile::tempdir().unwrap();
    let photos = photos();
    let mut args = vec!["image".to_owned(), "--sandbox".to_owned()];
    args.extend(["--no-cache", "--categories", "fish"].map(str::to_owned));
    for _ in 0..20 {
        args.extend(photos.iter().map(|path| path.display().to_string()));
    }
    let mut program = command(args, cache.path())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while children(program.id()).is_empty() {
        assert!(
            begun.elapsed() < Duration::from_secs(30),
            "no process decodes"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
    // The first is only a trial.
    std::thread::sleep(Duration::from_millis(500));
    let found = children(program.id());
    assert!(!found.is_empty());
    // Not even one that cannot hear that its input has ended.
    for child in &found {
        send("STOP", *child);
    }
    program.kill().unwrap();
    program.wait().unwrap();
    let found: Vec<_> = found
        .iter()
        .map(|pid| PathBuf::from(format!("/proc/{pid}")))
        .collect();
    gone(&found);
}

#[test]
fn a_job_gives_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let label = |out: &str, more: &[&str]| {
        let out = folder.path().join(out);
        let mut all = vec!["label", REFERENCES, "-o", out.to_str().unwrap()];
        all.extend([
            "--categories",
            "fish,building",
            "--limit",
            "60",
            "--no-cache",
        ]);
        all.extend(more);
        stdout(&picsift(all));
        read_table(&out)
    };
    assert_same_rows(&label("here", &[]), &label("there", &["--sandbox"]));
    let table = Path::new(REFERENCES);
    let query = format!(
        "SELECT file, image_info(file) AS info, classify(file, 'fish') AS fish FROM '{}' ORDER BY file LIMIT 20",
        table.display()
    );
    let ask = |more: &[&str]| {
        let mut all = vec!["sql", "--format", "json", "-c", &query, "--no-cache"];
        all.extend(more);
        stdout(&picsift(all))
    };
    assert_eq!(ask(&[]), ask(&["--sandbox"]));
}
