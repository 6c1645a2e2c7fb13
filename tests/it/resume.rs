//! Jobs that are stopped, carried on, added to and asked again.

use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use arrow::array::{Int64Array, StringArray};
use tempfile::TempDir;

use crate::support::*;

/// A folder with tables of references to photographs, and the output of a job over them.
pub(crate) struct Work {
    folder: TempDir,
    pub(crate) cache: TempDir,
}

impl Work {
    pub(crate) fn new() -> Self {
        let work = Self {
            folder: tempfile::tempdir().unwrap(),
            cache: tempfile::tempdir().unwrap(),
        };
        std::fs::create_dir(work.path("input")).unwrap();
        work
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A table of the first so many photographs, again and again, numbered from `first`.
    fn table(&self, name: &str, first: i64, rows: usize) {
        let images = images();
        let paths = (0..rows).map(|row| images[row % images.len()].to_str().unwrap().to_string());
        write_table(
            &self.path("input").join(name),
            vec![
                (
                    "id",
                    array((first..first + rows as i64).collect::<Int64Array>()),
                ),
                ("image", array(StringArray::from_iter_values(paths))),
            ],
        );
    }

    fn command(&self, more: &[&str]) -> Command {
        let (input, output) = (self.path("input"), self.path("out"));
        let images = root().join(REFERENCES).join("images");
        let mut all = vec![
            "label",
            input.to_str().unwrap(),
            "--output",
            output.to_str().unwrap(),
        ];
        all.extend([
            "--categories",
            "fish,tool",
            "--allow-folder",
            images.to_str().unwrap(),
        ]);
        all.extend(more);
        command(all, self.cache.path())
    }

    fn label(&self, more: &[&str]) -> Output {
        self.command(more).output().unwrap()
    }

    pub(crate) fn ids(&self) -> Vec<i64> {
        let mut ids = column::<Int64Array>(&read_table(&self.path("out")), "id")
            .values()
            .to_vec();
        ids.sort_unstable();
        ids
    }

    pub(crate) fn manifest(&self) -> serde_json::Value {
        let text = std::fs::read_to_string(self.path("out/_picsift.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// Names in the folder.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Waits until the journal has so many shards of a job under way.
    fn wait_for_shards(&self, count: usize, child: &mut Child) {
        let journal = self.path(".out.picsift/journal");
        let begun = Instant::now();
        loop {
            // Not what is still being written, which has another name.
            let written = |entry: &std::fs::DirEntry| {
                entry.path().extension().is_some_and(|end| end == "json")
            };
            let records = std::fs::read_dir(&journal)
                .map_or(0, |entries| entries.flatten().filter(written).count());
            // The job and the run come first.
            if records >= count + 2 {
                return;
            }
            assert!(child.try_wait().unwrap().is_none(), "it ended too early");
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "no shard in a minute"
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

pub(crate) fn images() -> Vec<PathBuf> {
    let folder = root().join(REFERENCES).join("images");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

pub(crate) fn signal(child: &Child, name: &str) {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn a_finished_job_run_again_does_nothing_and_says_so() {
    let work = Work::new();
    work.table("a.parquet", 0, 30);
    stdout(&work.label(&[]));
    let before = std::fs::metadata(work.path("out/_picsift.json"))
        .unwrap()
        .modified()
        .unwrap();
    let said = stdout(&work.label(&[]));
    assert!(
        said.contains("nothing to do") && said.contains("30 rows"),
        "{said}"
    );
    let after = std::fs::metadata(work.path("out/_picsift.json"))
        .unwrap()
        .modified()
        .unwrap();
    assert_eq!(before, after);
    assert_eq!(work.names(), ["input", "out"], "no trace of the work");
}

#[test]
fn an_output_that_lost_a_file_is_not_taken_for_done() {
    let work = Work::new();
    work.table("a.parquet", 0, 30);
    stdout(&work.label(&[]));
    let files = parquet_files(&work.path("out"));
    std::fs::remove_file(&files[0]).unwrap();
    work.table("b.parquet", 30, 10);
    for more in [&["--incremental"][..], &["--retry-failed"]] {
        let said = refused(&work.label(more));
        let name = files[0].file_name().unwrap().to_str().unwrap();
        assert!(
            said.contains("is not whole") && said.contains(name),
            "{said}"
        );
    }
    stdout(&work.label(&["--overwrite"]));
    assert_eq!(work.ids(), (0..40).collect::<Vec<_>>());
}

#[test]
fn another_job_is_refused_with_what_changed() {
    let work = Work::new();
    work.table("a.parquet", 0, 10);
    stdout(&work.label(&[]));
    for (more, what) in [
        (
            &["--threshold", "0.5"][..],
            "threshold was 0.2 and is 0.5 now",
        ),
        (&["--categories", "bird"], "category bird is new"),
        (&["--where", "id > 3"], "predicate was not given"),
        (&["--limit", "5"], "limit was not given and is 5"),
        (&["--partition-by", "label"], "partition"),
        (&["--image-column", "drop"], "left-out column"),
    ] {
        let said = refused(&work.label(more));
        assert!(
            said.contains(what) && said.contains("--overwrite"),
            "{said}"
        );
    }
    work.table("a.parquet", 0, 11);
    let said = refused(&work.label(&[]));
    assert!(said.contains("a.parquet has changed"), "{said}");
    std::fs::remove_file(work.path("input/a.parquet")).unwrap();
    work.table("b.parquet", 0, 10);
    let said = refused(&work.label(&[]));
    assert!(said.contains("a.parquet is not in it any more"), "{said}");
    stdout(&work.label(&["--overwrite"]));
    assert_eq!(work.ids(), (0..10).collect::<Vec<_>>());
}

#[test]
fn another_model_revision_or_prompt_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model");
    std::fs::create_dir(&model).unwrap();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        let from = root().join("vision/data/shapes").join(name);
        std::fs::copy(from, model.join(name)).unwrap();
    }
    let categories = folder.path().join("categories.toml");
    std::fs::write(&categories, "[circle]\n").unwrap();
    let output = folder.path().join("out");
    let label = |model: &str| {
        picsift([
            "label",
            EMBEDDED,
            "--output",
            output.to_str().unwrap(),
            "--limit",
            "2",
            "--model",
            model,
            "--categories-file",
            categories.to_str().unwrap(),
        ])
    };
    let folder = model.to_str().unwrap();
    stdout(&label(folder));
    let said = refused(&label("efficientnet-lite0"));
    assert!(said.contains("model was \""), "{said}");

    let prompt = "[circle]\nprompt = \"do you see a circle?\"\n";
    std::fs::write(&categories, prompt).unwrap();
    let said = refused(&label(folder));
    assert!(said.contains("category circle prompt was"), "{said}");
    std::fs::write(&categories, "[circle]\n").unwrap();

    assert!(stdout(&label(folder)).contains("nothing to do"));
    let config = model.join("config.json");
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, text + "\n").unwrap();
    let said = refused(&label(folder));
    assert!(said.contains("revision was \"tree-sha256:"), "{said}");
}

#[test]
fn files_that_come_later_are_labelled_alone() {
    let work = Work::new();
    work.table("b.parquet", 0, 20);
    stdout(&work.label(&["--partition-by", "label"]));
    let first: Vec<_> = parquet_files(&work.path("out"));
    // One sorts before the file that was there, one behind.
    work.table("a.parquet", 100, 20);
    work.table("c.parquet", 200, 20);
    let said = refused(&work.label(&["--partition-by", "label"]));
    assert!(
        said.contains("2 new files") && said.contains("--incremental"),
        "{said}"
    );
    let said = stdout(&work.label(&["--partition-by", "label", "--incremental"]));
    assert!(said.starts_with("60 rows"), "{said}");
    let expected: Vec<i64> = (0..20).chain(100..120).chain(200..220).collect();
    assert_eq!(work.ids(), expected);
    assert!(
        first.iter().all(|path| path.exists()),
        "what was there is not written again"
    );
    assert_eq!(work.manifest()["counts"]["rows"], 60);
    let said = stdout(&work.label(&["--partition-by", "label", "--incremental"]));
    assert!(said.contains("nothing to do"), "{said}");
    work.table("d.parquet", 300, 5);
    stdout(&work.label(&["--partition-by", "label", "--incremental"]));
    assert_eq!(work.ids().len(), 65);
}

#[test]
fn a_polite_stop_keeps_what_is_done_and_the_same_command_goes_on() {
    for (name, code) in [("INT", 130), ("TERM", 143)] {
        let work = Work::new();
        work.table("a.parquet", 0, 600);
        let more = ["--shard-rows", "50", "--no-cache"];
        let mut child = work
            .command(&more)
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        work.wait_for_shards(1, &mut child);
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(
            said.contains("the same command goes on from there"),
            "{said}"
        );
        assert!(
            !work.path("out").exists(),
            "nothing is published before it is whole"
        );
        let kept: usize = said
            .lines()
            .last()
            .and_then(|line| {
                line.split(';')
                    .nth(1)?
                    .split_whitespace()
                    .next()?
                    .replace(',', "")
                    .parse()
                    .ok()
            })
            .unwrap();
        assert!((50..600).contains(&kept), "{said}");
        let output = work.label(&more);
        assert!(
            stderr(&output).contains(&format!("{kept} rows are done")),
            "{}",
            stderr(&output)
        );
        assert!(stdout(&output).starts_with("600 rows"));
        assert_eq!(work.ids(), (0..600).collect::<Vec<_>>());
        assert_eq!(work.manifest()["counts"]["images"], 600);
    }
}

#[test]
fn a_second_signal_stops_at_once_and_the_job_can_still_go_on() {
    let work = Work::new();
    work.table("a.parquet", 0, 900);
    let more = ["--shard-rows", "100", "--no-cache"];
    let mut child = work.command(&more).stderr(Stdio::piped()).spawn().unwrap();
    work.wait_for_shards(1, &mut child);
    let begun = Instant::now();
    signal(&child, "INT");
    std::thread::sleep(Duration::from_millis(30));
    signal(&child, "INT");
    let output = child.wait_with_output().unwrap();
    assert!(
        begun.elapsed() < Duration::from_secs(5),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(output.status.code(), Some(130), "{}", stderr(&output));
    stdout(&work.label(&more));
    assert_eq!(work.ids(), (0..900).collect::<Vec<_>>());
}

#[test]
fn an_unfinished_job_is_not_taken_for_another() {
    let work = Work::new();
    work.table("a.parquet", 0, 400);
    let more = ["--shard-rows", "40", "--no-cache"];
    let mut child = work.command(&more).stderr(Stdio::null()).spawn().unwrap();
    work.wait_for_shards(1, &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    let other = ["--threshold", "0.9"];
    let said = refused(&work.label(&other));
    assert!(
        said.contains("not finished") && said.contains("0.9"),
        "{said}"
    );
    stdout(&work.label(&["--threshold", "0.9", "--overwrite"]));
    assert_eq!(work.ids().len(), 400);
    assert_eq!(work.names(), ["input", "out"]);
}

#[test]
fn of_two_that_write_one_output_one_wins_and_the_other_says_so() {
    let work = Work::new();
    work.table("a.parquet", 0, 400);
    let more = ["--shard-rows", "40", "--no-cache"];
    let start = || {
        let mut command = work.command(&more);
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let both = [start(), start()].map(|child| child.wait_with_output().unwrap());
    let won = both.iter().filter(|output| output.status.success()).count();
    assert_eq!(won, 1, "{} {}", stderr(&both[0]), stderr(&both[1]));
    let lost = both.iter().find(|output| !output.status.success()).unwrap();
    assert_eq!(lost.status.code(), Some(1));
    assert!(
        stderr(lost).contains("another picsift (process "),
        "{}",
        stderr(lost)
    );
    assert_eq!(work.ids(), (0..400).collect::<Vec<_>>());
}

#[test]
fn a_full_disk_is_said_and_the_job_goes_on_when_there_is_room() {
    let work = Work::new();
    let disk = work.path("disk");
    std::fs::create_dir(&disk).unwrap();
    let mounted = Command::new("mount")
        .args([
            "-t",
            "tmpfs",
            "-o",
            "size=3m",
            "tmpfs",
            disk.to_str().unwrap(),
        ])
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: a small disk can be mounted by root alone");
        return;
    }
    let label = || {
        let output = disk.join("out");
        let all = ["label", EMBEDDED, "--output", output.to_str().unwrap()];
        let more = ["--categories", "fish", "--shard-rows", "20", "--no-cache"];
        command(all.into_iter().chain(more), work.cache.path())
            .output()
            .unwrap()
    };
    let full = label();
    let room = Command::new("mount")
        .args(["-o", "remount,size=64m", disk.to_str().unwrap()])
        .status();
    let after = label();
    let rows = after
        .status
        .success()
        .then(|| read_table(&disk.join("out")).num_rows());
    let unmounted = Command::new("umount").arg(&disk).status();
    let said = stderr(&full);
    assert_eq!(full.status.code(), Some(1), "{said}");
    assert!(said.contains("No space left on device"), "{said}");
    assert!(said.contains("the same command goes on"), "{said}");
    assert!(room.unwrap().success() && unmounted.unwrap().success());
    assert!(stderr(&after).contains("going on"), "{}", stderr(&after));
    assert_eq!(rows, Some(221), "{}", stderr(&after));
}
