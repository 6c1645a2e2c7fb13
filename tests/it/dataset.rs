//! A labelled table is what its manifest says, wherever it lies and whatever lies beside its files; and what people put there
//! is theirs.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::tempdir;

use crate::support::*;

/// Three photographs in `folder` and a table of references to them, labelled into `labelled`, with a threshold and a column that only
/// the manifest knows.
fn labelled_in(folder: &Path) -> String {
    let from = root().join("datasets/photos/references/images");
    let mut text = "house,truth\n".to_string();
    for (kind, name) in [
        ("dog", "dog_008.jpg"),
        ("fish", "fish1"),
        ("tool", "hammer1"),
    ] {
        let mut all = fs::read_dir(&from)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let is_it = |path: &std::path::PathBuf| {
            let file = path.file_name().unwrap().to_str().unwrap();
            file == name || file.starts_with(&format!("{name}_"))
        };
        fs::copy(all.find(is_it).unwrap(), folder.join(format!("{kind}.jpg"))).unwrap();
        text += &format!("{kind}.jpg,{kind}\n");
    }
    let table = folder.join("photos.csv");
    fs::write(&table, text).unwrap();
    let target = folder.join("labelled").to_str().unwrap().to_string();
    stdout(&label(&table, &target, &[]));
    target
}

fn label(table: &Path, target: &str, more: &[&str]) -> std::process::Output {
    let table = table.to_str().unwrap();
    let args = [
        "label",
        table,
        "-o",
        target,
        "--image",
        "house",
        "--categories",
        "dog",
    ];
    picsift([&args[..], &["--threshold", "0.37"], more].concat())
}

fn count(table: &str) -> String {
    let query = format!("SELECT count(*) FROM '{}'", table.replace('\'', "''"));
    let said = picsift(["sql", "--format", "csv", "-c", &query]);
    let text = stdout(&said);
    text.lines().last().unwrap().to_string()
}

#[test]
fn whatever_its_folder_is_called() {
    let out = tempdir().unwrap();
    for name in [
        "é 日", "~a#b", "100%", "a%20b", "a[b]{c}", "x?y*", "a|b^c\"d", "a'b", "k=v", "..a",
    ] {
        let folder = out.path().join(name);
        fs::create_dir(&folder).unwrap();
        let target = labelled_in(&folder);
        let args = ["eval", &target, "--truth", "truth", "--format", "json"];
        let figures: Value = serde_json::from_str(&stdout(&picsift(args))).unwrap();
        let threshold = figures["categories"][0]["threshold"].as_f64().unwrap();
        assert!((threshold - 0.37).abs() < 1e-6, "{name}: {threshold}");
        assert_eq!(count(&target), "3", "{name}");
        // References are found, through the manifest's column and base.
        let export = folder.join("export").to_str().unwrap().to_string();
        let said = picsift(["export", &target, "-o", &export, "--format", "imagefolder"]);
        assert!(
            stdout(&said).contains("1 pictures"),
            "{name}: {}",
            stdout(&said)
        );
        assert!(
            !stderr(&said).contains("failed"),
            "{name}: {}",
            stderr(&said)
        );
    }
}

#[test]
fn what_its_manifest_does_not_list_is_none_of_it() {
    let out = tempdir().unwrap();
    let target = labelled_in(out.path());
    let folder = Path::new(&target);
    let part = parquet_files(folder).remove(0);
    fs::copy(&part, folder.join("sample.parquet")).unwrap();
    fs::create_dir(folder.join("more")).unwrap();
    fs::copy(&part, folder.join("more/part-00007.parquet")).unwrap();
    let query = format!("SELECT count(*) FROM '{target}'");
    let said = picsift(["sql", "--format", "csv", "-c", &query]);
    assert!(stdout(&said).ends_with("3\n"), "{}", stdout(&said));
    let note = stderr(&said);
    assert!(
        note.contains("2 files that its _picsift.json does not list"),
        "{note}"
    );
    let args = ["eval", &target, "--truth", "truth", "--format", "json"];
    let figures: Value = serde_json::from_str(&stdout(&picsift(args))).unwrap();
    assert_eq!(figures["categories"][0]["support"], 1.0);
    let create = format!(
        "CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{target}/'; SELECT count(*) FROM t"
    );
    let said = picsift(["sql", "--format", "csv", "-c", &create]);
    assert!(stdout(&said).ends_with("3\n"), "{}", stdout(&said));

    fs::rename(&part, out.path().join("gone")).unwrap();
    let said = picsift(["sql", "-c", &query]);
    assert!(!said.status.success());
    assert!(
        stderr(&said).contains("is not whole: of the 1 files"),
        "{}",
        stderr(&said)
    );
}

#[test]
fn an_unreadable_manifest_is_named_by_every_command() {
    let out = tempdir().unwrap();
    let target = labelled_in(out.path());
    fs::write(Path::new(&target).join("_picsift.json"), "{").unwrap();
    let query = format!("SELECT count(*) FROM '{target}'");
    let table = out.path().join("photos.csv");
    for said in [
        picsift(["sql", "-c", &query]),
        picsift(["eval", &target, "--truth", "truth"]),
        label(&table, &target, &[]),
        label(&table, &target, &["--overwrite"]),
    ] {
        assert!(!said.status.success());
        let text = stderr(&said);
        assert!(
            text.contains("manifest") && text.contains("labelled"),
            "{text}"
        );
        assert_eq!(text.trim().lines().count(), 1, "{text}");
    }
    assert_eq!(parquet_files(Path::new(&target)).len(), 1);
}

#[test]
fn overwriting_takes_what_was_written_and_nothing_else() {
    let out = tempdir().unwrap();
    let target = labelled_in(out.path());
    let folder = Path::new(&target);
    let mine = [
        "corrections.jsonl",
        "notes/read me.txt",
        ".git/HEAD",
        "own.parquet",
    ];
    for name in mine {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    let table = out.path().join("photos.csv");
    let more = ["--overwrite", "--partition-by", "truth"];
    stdout(&label(&table, &target, &more));
    let all = parquet_files(folder);
    assert!(
        !all.iter()
            .any(|path| path.ends_with("labelled/part-00000.parquet")),
        "{all:?}"
    );
    stdout(&label(&table, &target, &["--overwrite"]));
    for name in mine {
        assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), name);
    }
    assert_eq!(
        parquet_files(folder).len(),
        2,
        "{:?}",
        parquet_files(folder)
    );
    assert_eq!(count(&target), "3");
}

#[test]
fn a_path_may_step_up() {
    let out = tempdir().unwrap();
    labelled_in(out.path());
    let inside = out.path().join("inside");
    fs::create_dir(&inside).unwrap();
    let cache = tempdir().unwrap();
    let run = |args: &[&str]| {
        let mut command = command(args, cache.path());
        stdout(&command.current_dir(&inside).output().unwrap())
    };
    let args = [
        "label",
        "../photos.csv",
        "-o",
        "../again",
        "--image",
        "house",
        "--categories",
        "dog",
    ];
    assert!(run(&args).contains("3 rows"));
    let query = "SELECT count(*) FROM '../again'";
    assert!(run(&["sql", "--format", "csv", "-c", query]).ends_with("3\n"));
    let query = "SELECT count(*) FROM '../inside/../*.csv'";
    assert!(run(&["sql", "--format", "csv", "-c", query]).ends_with("3\n"));
    run(&["eval", "../again", "--truth", "truth"]);
    run(&[
        "sample",
        "../again",
        "--per-category",
        "20",
        "-o",
        "../sample.parquet",
    ]);
}

#[test]
fn a_file_that_is_named_twice_is_read_once() {
    let out = tempdir().unwrap();
    labelled_in(out.path());
    let table = out.path().join("photos.csv");
    fs::copy(&table, out.path().join("more.csv")).unwrap();
    let (all, table) = (
        out.path().join("*.csv"),
        table.to_str().unwrap().to_string(),
    );
    let elsewhere = tempdir().unwrap();
    let target = elsewhere.path().join("once").to_str().unwrap().to_string();
    let all = all.to_str().unwrap();
    let args = [
        "label",
        &table,
        all,
        &table,
        "-o",
        &target,
        "--image",
        "house",
        "--categories",
        "dog",
    ];
    let said = picsift(args);
    assert!(stdout(&said).contains("6 rows"), "{}", stdout(&said));
    let notes = stderr(&said);
    assert!(
        notes.contains("2 files are named more than once"),
        "{notes}"
    );
    assert!(stdout(&picsift(args)).contains("nothing to do"));
}

#[test]
fn a_job_without_one_answer_fails_and_says_so() {
    let out = tempdir().unwrap();
    labelled_in(out.path());
    for name in ["dog", "fish", "tool"] {
        fs::write(out.path().join(format!("{name}.jpg")), "no picture").unwrap();
    }
    let target = out.path().join("failed").to_str().unwrap().to_string();
    let said = label(&out.path().join("photos.csv"), &target, &[]);
    assert_eq!(said.status.code(), Some(1), "{}", stderr(&said));
    assert!(
        stderr(&said).contains("all 3 images failed"),
        "{}",
        stderr(&said)
    );
    assert_eq!(count(&target), "3");
    let file = out.path().join("dog.jpg");
    let said = picsift(["image", file.to_str().unwrap(), "--categories", "dog"]);
    assert_eq!(said.status.code(), Some(1), "{}", stderr(&said));
    assert!(
        stderr(&said).contains("the only image failed"),
        "{}",
        stderr(&said)
    );
}

#[cfg(unix)]
#[test]
fn a_link_to_a_folder_stays_one() {
    let out = tempdir().unwrap();
    labelled_in(out.path());
    let (real, link) = (out.path().join("real"), out.path().join("link"));
    fs::create_dir(&real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let table = out.path().join("photos.csv");
    for target in [
        link.to_str().unwrap().to_string(),
        format!("{}/", link.display()),
    ] {
        stdout(&label(&table, &target, &["--overwrite"]));
        assert!(link.symlink_metadata().unwrap().is_symlink(), "{target}");
        assert_eq!(read_table(&real).num_rows(), 3);
        assert_eq!(count(&target), "3");
    }
}

/// A disk that is mounted where the output is to be cannot be renamed away.
#[test]
fn a_mount_is_written_from_inside() {
    let out = tempdir().unwrap();
    labelled_in(out.path());
    let disk = out.path().join("disk");
    fs::create_dir(&disk).unwrap();
    let mount = |args: &[&str]| {
        let run = std::process::Command::new("mount")
            .args(args)
            .arg(&disk)
            .status();
        run.is_ok_and(|status| status.success())
    };
    if !mount(&["-t", "tmpfs", "-o", "size=16m", "tmpfs"]) {
        eprintln!("skipped: a disk can be mounted by root alone");
        return;
    }
    let table = out.path().join("photos.csv");
    let target = disk.to_str().unwrap();
    let first = label(&table, target, &[]);
    fs::write(disk.join("notes.txt"), "mine").unwrap();
    let second = label(&table, target, &["--overwrite", "--partition-by", "truth"]);
    let found: Vec<String> = walkdir::WalkDir::new(&disk)
        .into_iter()
        .map(|entry| {
            entry
                .unwrap()
                .path()
                .strip_prefix(&disk)
                .unwrap()
                .display()
                .to_string()
        })
        .collect();
    let rows = found
        .iter()
        .any(|path| path.ends_with(".parquet"))
        .then(|| count(target));
    let unmounted = std::process::Command::new("umount").arg(&disk).status();
    assert!(unmounted.unwrap().success());
    stdout(&first);
    stdout(&second);
    assert_eq!(rows.as_deref(), Some("3"), "{found:?}");
    assert!(found.contains(&"notes.txt".to_string()), "{found:?}");
    assert!(
        !found
            .iter()
            .any(|path| path.starts_with(".picsift") || path == "part-00000.parquet"),
        "{found:?}"
    );
    assert_eq!(
        found
            .iter()
            .filter(|path| path.ends_with(".parquet"))
            .count(),
        3,
        "{found:?}"
    );
}

/// What was read of a file that changed meanwhile may be neither its old nor its new state.
#[test]
fn a_file_that_changes_while_it_is_read_is_said() {
    let (out, cache) = (tempdir().unwrap(), tempdir().unwrap());
    let table = out.path().join("table.parquet");
    let source = parquet_files(&root().join(EMBEDDED)).remove(0);
    fs::copy(source, &table).unwrap();
    let target = out.path().join("labelled");
    let args = [
        "label",
        table.to_str().unwrap(),
        "-o",
        target.to_str().unwrap(),
    ];
    let args = [&args[..], &["--categories", "fish,building,tool,bird"]].concat();
    let mut run = command(args, cache.path());
    let run = run.stderr(std::process::Stdio::piped()).spawn().unwrap();
    // The job has begun once it has a journal.
    let journal = out.path().join(".labelled.picsift/journal");
    while !journal.exists() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let file = fs::File::options().append(true).open(&table).unwrap();
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(5);
    file.set_modified(later).unwrap();
    let done = run.wait_with_output().unwrap();
    let said = stderr(&done);
    assert_eq!(done.status.code(), Some(1), "{said}");
    assert!(
        said.contains("table.parquet' changed while it was read"),
        "{said}"
    );
    assert!(!target.exists());
}

/// A work folder that somebody else made: what it leads to or names stays as it is.
#[cfg(unix)]
#[test]
fn a_strangers_work_folder_moves_and_removes_nothing() {
    let folder = tempdir().unwrap();
    let table = folder.path().join("photos.csv");
    let mut text = "house\n".to_string();
    let image = root().join("datasets/photos/references/images/dog_008.jpg");
    fs::copy(image, folder.path().join("a.jpg")).unwrap();
    for _ in 0..12 {
        text += "a.jpg\n";
    }
    text += "none.jpg\n";
    fs::write(&table, text).unwrap();
    let victim = folder.path().join("victim");
    fs::create_dir(&victim).unwrap();
    fs::write(victim.join("thesis.txt"), "years").unwrap();
    let whole = || assert_eq!(fs::read(victim.join("thesis.txt")).unwrap(), b"years");

    let target = folder.path().join("out").to_str().unwrap().to_string();
    let work = folder.path().join(".out.picsift");
    for link in [work.clone(), work.join("data"), work.join("journal")] {
        if link != work {
            fs::create_dir(&work).unwrap();
        }
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        let said = refused(&label(&table, &target, &[]));
        assert!(
            said.contains("the folder of the work on this output"),
            "{said}"
        );
        whole();
        match link == work {
            true => fs::remove_file(&work).unwrap(),
            false => fs::remove_dir_all(&work).unwrap(),
        }
    }

    // A job that stopped after its first shard, with a record that names what picsift never wrote.
    let stop = ["--shard-rows", "6", "--on-error", "fail"];
    assert_eq!(label(&table, &target, &stop).status.code(), Some(1));
    let journal = work.join("journal");
    let records = || {
        let names = fs::read_dir(&journal).unwrap().flatten();
        let mut names: Vec<_> = names.map(|entry| entry.path()).collect();
        names.sort();
        names
    };
    let honest = records();
    let shard = honest
        .iter()
        .map(|path| fs::read_to_string(path).unwrap())
        .find(|text| text.contains("part-00000.parquet"))
        .unwrap();
    for name in [
        "../victim/thesis.txt",
        "/etc/passwd",
        "../../x/part-1.parquet",
    ] {
        let forged = journal.join(format!("{:06}.json", honest.len()));
        fs::write(&forged, shard.replace("part-00000.parquet", name)).unwrap();
        let said = refused(&label(&table, &target, &stop));
        assert!(said.contains("no file of picsift's"), "{said}");
        whole();
        fs::remove_file(forged).unwrap();
    }
}
