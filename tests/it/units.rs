//! Several programs that label one output: each unit once, whoever is killed, stopped or late.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Int64Array, RecordBatch, StringArray};
use serde_json::Value;
use tempfile::TempDir;

use crate::kill::{Chance, Requests, rows, serve, setting};
use crate::resume::signal;
use crate::support::*;

/// Rows of a unit.
const UNIT: usize = 10;

/// A table of addresses, and outputs beside it.
pub(crate) struct Cluster {
    pub(crate) folder: TempDir,
    cache: TempDir,
    server: SocketAddr,
    requests: Requests,
}

impl Cluster {
    /// Two tables with so many rows together, whose images take `delay` to come; every tenth is missing.
    pub(crate) async fn new(row_count: usize, delay: Duration) -> Self {
        let requests = Requests::default();
        let server = serve(Arc::clone(&requests), delay).await;
        let cluster = Self {
            folder: tempfile::tempdir().unwrap(),
            cache: tempfile::tempdir().unwrap(),
            server,
            requests,
        };
        std::fs::create_dir(cluster.path("input")).unwrap();
        let first = row_count * 2 / 3;
        for (name, range) in [("a.parquet", 0..first), ("b.parquet", first..row_count)] {
            let urls = range
                .clone()
                .map(|row| format!("http://{server}/{row}.jpg"));
            // Hardly to be compressed, so that files have some size.
            let mut chance = Chance(0xf11e + first as u64);
            let mut note = || {
                (0..2000)
                    .map(|_| (b'a' + chance.below(26) as u8) as char)
                    .collect()
            };
            let notes: Vec<String> = range.clone().map(|_| note()).collect();
            let ids: Int64Array = range.map(|row| row as i64).collect();
            write_table(
                &cluster.path("input").join(name),
                vec![
                    ("id", array(ids)),
                    ("url", array(StringArray::from_iter_values(urls))),
                    ("note", array(StringArray::from_iter_values(notes))),
                ],
            );
        }
        cluster
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, output: &str, more: &[&str]) -> Command {
        let (input, output) = (self.path("input"), self.path(output));
        let (unit, server) = (UNIT.to_string(), self.server.to_string());
        let mut all = vec![
            "label",
            input.to_str().unwrap(),
            "--output",
            output.to_str().unwrap(),
            "--shard-rows",
            &unit,
            "--allow-host",
            &server,
            "--no-cache",
        ];
        if !more.contains(&"--categories") {
            all.extend(["--categories", "fish,tool"]);
        }
        all.extend(more);
        command(all, self.cache.path())
    }

    fn label(&self, output: &str, more: &[&str]) -> Output {
        self.command(output, more).output().unwrap()
    }

    fn start(&self, output: &str, more: &[&str]) -> Child {
        let mut command = self.command(output, more);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn status(&self, output: &str) -> Value {
        let output = self.path(output);
        let run = picsift(["status", output.to_str().unwrap(), "--format", "json"]);
        serde_json::from_str(&stdout(&run)).unwrap()
    }

    /// The work of the shared job on an output; `None` while no plan stands there.
    fn work(&self, output: &str) -> Option<PathBuf> {
        let work = self.path(&format!(".{output}.picsift"));
        let plan = std::fs::read(work.join("plan.json")).ok()?;
        let plan: Value = serde_json::from_slice(&plan).ok()?;
        Some(work.join(plan["draft"]["job"]["id"].as_str()?))
    }

    /// Numbers of units with a record, or with a claim.
    fn units(&self, output: &str, kind: &str) -> Vec<u32> {
        let Some(work) = self.work(output) else {
            return Vec::new();
        };
        let names = std::fs::read_dir(work.join(kind)).into_iter().flatten();
        let names = names.flatten().map(|entry| entry.file_name());
        names
            .filter_map(|name| {
                let name = name.into_string().unwrap();
                let number = name.strip_suffix(".json")?.split('-').next()?;
                number.parse().ok()
            })
            .collect()
    }

    /// Waits until a program is in the middle of a unit: it has claimed one that is not recorded.
    fn wait_for_unit_under_way(&self, output: &str, recorded: usize) {
        let begun = Instant::now();
        loop {
            let (claimed, done) = (self.units(output, "claims"), self.units(output, "units"));
            if done.len() >= recorded && claimed.iter().any(|unit| !done.contains(unit)) {
                return;
            }
            assert!(begun.elapsed() < Duration::from_secs(60), "no unit begins");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// An undisturbed run's rows.
    fn calm(&self) -> RecordBatch {
        stdout(&self.label("calm", &[]));
        rows(&self.path("calm"))
    }

    fn assert_as_calm(&self, output: &str, calm: &RecordBatch) {
        assert_same_rows(&rows(&self.path(output)), calm);
        let manifest = std::fs::read(self.path(output).join("_picsift.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        assert_eq!(manifest["counts"]["rows"], calm.num_rows() as u64);
        let listed = manifest["files"].as_array().unwrap().len();
        assert_eq!(
            parquet_files(&self.path(output)).len(),
            listed,
            "no file is left over"
        );
        assert!(
            !self.path(&format!(".{output}.picsift")).exists(),
            "the work is cleared away"
        );
    }

    /// Images asked for since the last look.
    fn asked(&self) -> u64 {
        self.requests.lock().unwrap().drain().map(|(_, n)| n).sum()
    }
}

fn ended(child: Child) -> Output {
    child.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_in_any_order_are_the_local_job_row_by_row() {
    let cluster = Cluster::new(95, Duration::ZERO).await;
    let failures = |output: &str| {
        let list = cluster.path(output).join("_picsift_errors.pq");
        let query = format!("SELECT * FROM '{}'", list.display());
        stdout(&picsift(["sql", "--format", "csv", "-c", &query]))
    };
    for (number, more) in [
        &[][..],
        &["--partition-by", "label"],
        &["--where", "id % 3 = 1"],
        &["--limit", "47"],
    ]
    .into_iter()
    .enumerate()
    {
        let (local, shared) = (format!("local{number}"), format!("shared{number}"));
        stdout(&cluster.label(&local, more));
        for part in ["2/3", "3/3", "1/3"] {
            assert!(
                !cluster.path(&shared).exists(),
                "nothing is readable before all is done"
            );
            let said = stdout(&cluster.label(&shared, &[more, &["--shard", part]].concat()));
            assert_eq!(said.contains("this part is done"), part != "1/3", "{said}");
        }
        // In the order of the files, which is the input's.
        let (local_rows, shared_rows) = (
            read_table(&cluster.path(&local)),
            read_table(&cluster.path(&shared)),
        );
        assert_same_rows(&shared_rows, &local_rows);
        assert!(shared_rows.num_rows() > 20, "{more:?}");
        assert_eq!(failures(&shared), failures(&local));
        let manifest = |output: &str| -> Value {
            let text = std::fs::read(cluster.path(output).join("_picsift.json")).unwrap();
            serde_json::from_slice(&text).unwrap()
        };
        let (local_manifest, shared_manifest) = (manifest(&local), manifest(&shared));
        for part in ["model", "categories", "input"] {
            assert_eq!(shared_manifest[part], local_manifest[part]);
        }
        assert_eq!(
            shared_manifest["job"]["identity"],
            local_manifest["job"]["identity"]
        );
        assert_eq!(
            shared_manifest["job"]["files"],
            local_manifest["job"]["files"]
        );
        // It is an output like any other.
        let again = cluster.label(&shared, more);
        assert!(stdout(&again).contains("nothing to do"));
        let again = cluster.label(&shared, &[more, &["--workers-share"]].concat());
        assert!(stdout(&again).contains("nothing to do"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_part_says_how_far_the_others_are_and_so_does_status() {
    let cluster = Cluster::new(60, Duration::from_millis(30)).await;
    let refused_status = picsift(["status", cluster.path("out").to_str().unwrap()]);
    assert!(refused(&refused_status).contains("neither a labelled table nor work"));
    let said = stdout(&cluster.label("out", &["--shard", "1/2"]));
    assert!(said.contains("3 of 6 units"), "{said}");
    let status = cluster.status("out");
    assert_eq!(
        (
            &status["state"],
            &status["units"],
            &status["done"],
            &status["rows_done"]
        ),
        (&"shared".into(), &6.into(), &3.into(), &30.into())
    );
    assert_eq!(
        (&status["images"], &status["failures"]),
        (&30.into(), &3.into())
    );
    let out = cluster.path("out");
    let early = refused(&picsift(["publish", out.to_str().unwrap()]));
    assert!(
        early.contains("3 of its 6 units are not done, first unit 1"),
        "{early}"
    );

    let rest = cluster.start("out", &["--shard", "2/2"]);
    cluster.wait_for_unit_under_way("out", 4);
    let status = cluster.status("out");
    assert_eq!(status["at_work"].as_array().unwrap().len(), 1, "{status}");
    assert!(
        status["images_per_second"].as_f64().unwrap() > 1.0,
        "{status}"
    );
    assert!(status["seconds_left"].as_f64().unwrap() > 0.0, "{status}");
    let text = stdout(&picsift(["status", out.to_str().unwrap()]));
    assert!(
        text.contains("images/s, ") && text.contains("under way: unit "),
        "{text}"
    );
    stdout(&ended(rest));
    let text = stdout(&picsift(["status", out.to_str().unwrap()]));
    assert!(
        text.starts_with("published: 60 rows in 6 files, 6 images failed"),
        "{text}"
    );
    let again = stdout(&picsift(["publish", out.to_str().unwrap()]));
    assert!(again.starts_with("60 rows"), "{again}");
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_random_moments_lose_nothing_and_do_nothing_twice() {
    let most = setting("PICSIFT_KILLS", 10);
    let row_count = most * 90;
    let cluster = Cluster::new(row_count as usize, Duration::from_millis(25)).await;
    let calm = cluster.calm();
    assert_eq!(cluster.asked(), row_count);
    let mut chance = Chance(setting("PICSIFT_SEED", 0x5eed) | 1);
    let share = ["--workers-share", "--lease", "2", "--fetches", "8"];
    let mut workers: Vec<Child> = (0..3).map(|_| cluster.start("out", &share)).collect();
    let (mut kills, begun) = (0_u64, Instant::now());
    while kills < most && !cluster.path("out").exists() {
        tokio::time::sleep(Duration::from_millis(150 + chance.below(250))).await;
        let victim = &mut workers[chance.below(3) as usize];
        if victim.try_wait().unwrap().is_some() {
            break;
        }
        victim.kill().unwrap();
        victim.wait().unwrap();
        kills += 1;
        *victim = cluster.start("out", &share);
        assert!(begun.elapsed() < Duration::from_secs(60 + 10 * most));
    }
    assert!(
        kills >= most / 2,
        "it ended too early to be killed: {kills}"
    );
    for worker in workers {
        let said = stdout(&ended(worker));
        assert!(said.contains(" rows"), "each says what came of it: {said}");
    }
    cluster.assert_as_calm("out", &calm);
    let again = cluster.asked() - row_count;
    println!("{kills} kills, {again} images asked again");
    assert!(
        again <= kills * UNIT as u64,
        "{again} images asked again after {kills} kills"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn all_are_killed_and_the_same_command_goes_on() {
    let cluster = Cluster::new(120, Duration::from_millis(40)).await;
    let calm = cluster.calm();
    let mut workers: Vec<Child> = ["1/2", "2/2"]
        .map(|part| cluster.start("out", &["--shard", part, "--fetches", "4"]))
        .into();
    cluster.wait_for_unit_under_way("out", 3);
    for worker in &mut workers {
        worker.kill().unwrap();
        worker.wait().unwrap();
    }
    let done = cluster.status("out")["done"].as_u64().unwrap();
    assert!((3..12).contains(&done), "{done}");
    assert!(!cluster.path("out").exists());
    cluster.asked();
    // A lease of an hour: on the same machine nobody waits for the dead.
    let begun = Instant::now();
    let workers = ["1/2", "2/2"]
        .map(|part| cluster.start("out", &["--shard", part, "--lease", "3600"]))
        .map(ended);
    let said = workers.map(|worker| stdout(&worker));
    assert!(
        said.iter().any(|said| said.contains("120 rows")),
        "{said:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(60));
    cluster.assert_as_calm("out", &calm);
    assert_eq!(
        cluster.asked(),
        120 - done * UNIT as u64,
        "what was recorded is not asked again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_sleeps_past_its_lease_changes_nothing_when_it_wakes() {
    let cluster = Cluster::new(80, Duration::from_millis(60)).await;
    let calm = cluster.calm();
    let share = ["--workers-share", "--lease", "1", "--fetches", "2"];
    // It wakes while the others are at work, and after they have published.
    for (output, wakes_late) in [("early", false), ("late", true)] {
        let sleeper = cluster.start(output, &share);
        cluster.wait_for_unit_under_way(output, 2);
        signal(&sleeper, "STOP");
        let asleep = cluster.units(output, "claims").len();
        let other = cluster.start(output, &share);
        if wakes_late {
            assert!(stdout(&ended(other)).contains("80 rows"));
            cluster.assert_as_calm(output, &calm);
            signal(&sleeper, "CONT");
            assert!(stdout(&ended(sleeper)).contains("80 rows"));
        } else {
            let begun = Instant::now();
            let taken_over = || {
                let work = cluster.work(output).unwrap().join("claims");
                let names = std::fs::read_dir(work).unwrap().flatten();
                let mut names = names.map(|entry| entry.file_name().into_string().unwrap());
                names.any(|name| name.ends_with("-1.json"))
            };
            while !taken_over() {
                assert!(begun.elapsed() < Duration::from_secs(60));
                std::thread::sleep(Duration::from_millis(5));
            }
            signal(&sleeper, "CONT");
            for worker in [sleeper, other] {
                assert!(stdout(&ended(worker)).contains("80 rows"));
            }
        }
        assert!(asleep >= 3);
        cluster.assert_as_calm(output, &calm);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_would_not_do_the_same_is_refused_by_what_differs() {
    let cluster = Cluster::new(40, Duration::ZERO).await;
    stdout(&cluster.label("out", &["--shard", "1/2"]));
    let second = ["--shard", "2/2"];
    let said = |more: &[&str]| refused(&cluster.label("out", &[&second, more].concat()));
    for (more, what) in [
        (
            &["--model", "coco-ssd", "--categories", "person,car"][..],
            "model was",
        ),
        (
            &["--categories", "fish,bird"],
            "category tool is not asked for any more",
        ),
        (&["--threshold", "0.9"], "threshold was"),
        (&["--where", "id > 3"], "predicate was"),
        (
            &["--max-image-pixels", "1000"],
            "limit on one image of pixels was 100000000 and is 1000",
        ),
    ] {
        let said = said(more);
        assert!(
            said.contains("would not do the same: ") && said.contains(what),
            "{said}"
        );
    }
    let plan = cluster.path(".out.picsift/plan.json");
    let text = std::fs::read_to_string(&plan).unwrap();
    let edited = |path: &str, value: &str| {
        let mut plan_now: Value = serde_json::from_str(&text).unwrap();
        *plan_now.pointer_mut(path).unwrap() = value.into();
        std::fs::write(&plan, plan_now.to_string()).unwrap();
        said(&[])
    };
    let version = edited("/draft/picsift", "0.0.1");
    assert!(
        version.contains("the version of picsift was 0.0.1 and is"),
        "{version}"
    );
    let revision = edited("/draft/job/identity/revision", "of last week");
    assert!(
        revision.contains("revision was \"of last week\""),
        "{revision}"
    );
    std::fs::write(&plan, "{").unwrap();
    let damaged = said(&[]);
    assert!(damaged.contains("plan.json is damaged"), "{damaged}");
    std::fs::write(&plan, &text).unwrap();

    // A job of one program does not take the work away, unless it is told to.
    let alone = refused(&cluster.label("out", &[]));
    assert!(
        alone.contains("is being labelled by several programs"),
        "{alone}"
    );
    assert_eq!(cluster.status("out")["done"], 3);
    for more in [
        &["--overwrite"][..],
        &["--max-images", "3"],
        &["--incremental"],
    ] {
        let run = cluster.label("out", &[&second, more].concat());
        assert_eq!(run.status.code(), Some(2));
        assert!(
            stderr(&run).contains("cannot be used with"),
            "{}",
            stderr(&run)
        );
    }
    let empty = cluster.path("empty.parquet");
    let ids = array(Int64Array::from(Vec::<i64>::new()));
    let urls = array(StringArray::from(Vec::<&str>::new()));
    write_table(&empty, vec![("id", ids), ("url", urls)]);
    let (empty, none) = (empty.to_str().unwrap(), cluster.path("none"));
    let label = [
        "label",
        empty,
        "-o",
        none.to_str().unwrap(),
        "--categories",
        "fish",
    ];
    let run = picsift([&label[..], &["--workers-share"]].concat());
    assert!(refused(&run).contains("has no rows"), "{}", stderr(&run));
    assert!(
        !cluster.path(".none.picsift").exists(),
        "nothing is left of it"
    );

    let both = said(&["--where", "id > 3", "--limit", "2"]);
    assert!(both.contains("--limit leaves of --where"), "{both}");

    let input = cluster.path("input/b.parquet");
    let bytes = std::fs::read(&input).unwrap();
    std::fs::write(&input, &bytes).unwrap();
    let changed = said(&[]);
    assert!(changed.contains("b.parquet has changed since"), "{changed}");
    stdout(&cluster.label("out", &["--overwrite"]));
    assert_eq!(rows(&cluster.path("out")).num_rows(), 40);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_of_one_program_is_not_shared_and_has_a_status_too() {
    let cluster = Cluster::new(60, Duration::from_millis(60)).await;
    let mut alone = cluster.start("out", &["--fetches", "2"]);
    let journal = cluster.path(".out.picsift/journal/000003.json");
    let begun = Instant::now();
    while !journal.exists() {
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
    let status = cluster.status("out");
    assert_eq!(status["state"], "one_program", "{status}");
    assert!(status["rows"].as_u64().unwrap() >= 10, "{status}");
    let said = refused(&cluster.label("out", &["--workers-share"]));
    assert!(said.contains("is being made by one program"), "{said}");
    let out = cluster.path("out");
    let said = refused(&picsift(["publish", out.to_str().unwrap()]));
    assert!(
        said.contains("run its command again to finish it"),
        "{said}"
    );
    assert!(alone.try_wait().unwrap().is_none(), "it is left alone");
    stdout(&ended(alone));
    assert_eq!(cluster.status("out")["state"], "published");
}

/// The limit on a file's size stands for a full disk.
#[tokio::test(flavor = "multi_thread")]
async fn a_unit_that_cannot_be_written_on_one_machine_is_done_by_another() {
    let cluster = Cluster::new(80, Duration::ZERO).await;
    let calm = cluster.calm();
    let command = cluster.command("out", &["--workers-share"]);
    let mut narrow = Command::new("bash");
    narrow
        .args(["-c", "trap '' XFSZ; ulimit -f 10; exec \"$0\" \"$@\""])
        .arg(command.get_program())
        .args(command.get_args())
        .current_dir(root())
        .env("PICSIFT_CACHE", cluster.cache.path());
    let failed = narrow.output().unwrap();
    let said = stderr(&failed);
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(said.contains("File too large"), "{said}");
    assert!(
        said.contains("0 of 9 units are done; the same command goes on"),
        "{said}"
    );
    let status = cluster.status("out");
    assert_eq!(
        status["failed"].as_array().unwrap().len(),
        3,
        "it does not try all: {status}"
    );
    let out = cluster.path("out");
    let text = stdout(&picsift(["status", out.to_str().unwrap()]));
    assert!(
        text.contains("3 failed") && text.contains("File too large"),
        "{text}"
    );
    stdout(&cluster.label("out", &["--workers-share", "--lease", "3600"]));
    cluster.assert_as_calm("out", &calm);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_is_taken_is_published_into_when_it_is_free() {
    let cluster = Cluster::new(30, Duration::ZERO).await;
    let calm = cluster.calm();
    stdout(&cluster.label("out", &["--shard", "1/2"]));
    let out = cluster.path("out");
    std::fs::create_dir(&out).unwrap();
    let blocked = cluster.start("out", &["--shard", "2/2"]);
    std::fs::write(out.join("notes.txt"), "mine").unwrap();
    let blocked = ended(blocked);
    let said = stderr(&blocked);
    assert!(!blocked.status.success(), "{said}");
    let status = cluster.status("out");
    if status["done"] != status["units"] {
        // The notes came before it looked; then it has not begun.
        std::fs::remove_file(out.join("notes.txt")).unwrap();
        stdout(&cluster.label("out", &["--shard", "2/2"]));
    } else {
        assert!(said.contains("cannot move the output to"), "{said}");
        assert_eq!(
            std::fs::read_to_string(out.join("notes.txt")).unwrap(),
            "mine"
        );
        std::fs::remove_file(out.join("notes.txt")).unwrap();
        let said = stdout(&picsift(["publish", out.to_str().unwrap()]));
        assert!(said.starts_with("30 rows"), "{said}");
    }
    cluster.assert_as_calm("out", &calm);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_asked_to_end_finishes_its_unit_and_gives_the_rest_back() {
    let cluster = Cluster::new(80, Duration::from_millis(60)).await;
    let calm = cluster.calm();
    for (times, code) in [(1, 143), (2, 143)] {
        let output = format!("out{times}");
        let worker = cluster.start(&output, &["--workers-share", "--fetches", "2"]);
        cluster.wait_for_unit_under_way(&output, 1);
        let before = cluster.units(&output, "units").len();
        for _ in 0..times {
            signal(&worker, "TERM");
            std::thread::sleep(Duration::from_millis(50));
        }
        let ended = ended(worker);
        let said = stderr(&ended);
        assert_eq!(ended.status.code(), Some(code), "{said}");
        assert!(
            said.contains("units are done; the same command goes on"),
            "{said}"
        );
        let after = cluster.units(&output, "units").len();
        assert_eq!(after, before + usize::from(times == 1), "{said}");
        // Another waits for nobody.
        let claims = cluster.work(&output).unwrap().join("claims");
        let begun = Instant::now();
        stdout(&cluster.label(&output, &["--workers-share", "--lease", "3600"]));
        assert!(begun.elapsed() < Duration::from_secs(60) && !claims.exists());
        cluster.assert_as_calm(&output, &calm);
    }
}

/// Fetches of a fixed latency, one at a time, stand for a model of a fixed latency on a machine of its own.
#[tokio::test(flavor = "multi_thread")]
async fn four_programs_are_nearly_four_times_as_fast() {
    let cluster = Cluster::new(240, Duration::from_millis(100)).await;
    let timed = |output: &str, parts: &[&[&str]]| {
        let begun = Instant::now();
        let one_at_a_time = ["--fetches", "1", "--lease", "2"];
        let workers: Vec<Child> = parts
            .iter()
            .map(|part| cluster.start(output, &[part, &one_at_a_time[..]].concat()))
            .collect();
        for worker in workers {
            stdout(&ended(worker));
        }
        assert_eq!(rows(&cluster.path(output)).num_rows(), 240);
        begun.elapsed().as_secs_f64()
    };
    let one = timed("one", &[&["--shard", "1/1"]]);
    let parts = ["1/4", "2/4", "3/4", "4/4"].map(|part| ["--shard", part]);
    let four = timed("four", &parts.each_ref().map(|part| &part[..]));
    let free = timed("free", &[&["--workers-share"][..]; 4]);
    println!("one {one:.1} s, --shard {four:.1} s, --workers-share {free:.1} s");
    assert!(
        one / four >= 1.8,
        "four parts: {four:.1} s, one: {one:.1} s"
    );
    assert!(
        one / free >= 1.8,
        "four that share: {free:.1} s, one: {one:.1} s"
    );
}

/// The recipes of docs/many-machines.md, each run by something that does what its scheduler does.
mod recipes {
    use super::*;

    /// The block of the document that stands under a heading, in a fence of this language.
    fn block(heading: &str, language: &str) -> String {
        let text = std::fs::read_to_string(root().join("docs/many-machines.md")).unwrap();
        let (_, section) = text.split_once(&format!("\n## {heading}\n")).unwrap();
        let (_, block) = section.split_once(&format!("```{language}\n")).unwrap();
        block.split_once("```").unwrap().0.to_string()
    }

    /// The recipe with this test's job in the place of the document's.
    fn of_this_job(recipe: &str, cluster: &Cluster, output: &str) -> String {
        let (input, out) = (cluster.path("input"), cluster.path(output));
        let more = format!(
            "--output {} --allow-host {} --no-cache --shard-rows {UNIT}",
            out.display(),
            cluster.server
        );
        let changed = recipe
            .replace("s3://bucket/photos/", &input.display().to_string())
            .replace("--output s3://bucket/labelled", &more)
            .replace("s3://bucket/labelled", &out.display().to_string())
            .replace("--categories person,car", "--categories fish,tool")
            .replace("/16", "/3")
            .replace("1-16", "1-3")
            .replace("seq 16", "seq 3");
        assert!(!changed.contains("s3://"), "{changed}");
        changed
    }

    fn bash(script: &str, cluster: &Cluster, set: &[(&str, String)]) -> Output {
        let program = Path::new(env!("CARGO_BIN_EXE_picsift")).parent().unwrap();
        let path = std::env::var("PATH").unwrap();
        Command::new("bash")
            .args(["-euc", script])
            .current_dir(root())
            .env("PATH", format!("{}:{path}", program.display()))
            .env("PICSIFT_CACHE", cluster.cache.path())
            .envs(set.iter().map(|(name, value)| (name, value)))
            .output()
            .unwrap()
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_slurm_array() {
        let cluster = Cluster::new(60, Duration::ZERO).await;
        let script = of_this_job(&block("Slurm", "sh"), &cluster, "out");
        let array = script
            .lines()
            .find_map(|line| line.strip_prefix("#SBATCH --array="));
        let (first, last) = array.unwrap().split_once('-').unwrap();
        let tasks = first.parse::<u32>().unwrap()..=last.parse().unwrap();
        for task in tasks {
            let set = [("SLURM_ARRAY_TASK_ID", task.to_string())];
            stdout(&bash(&script, &cluster, &set));
        }
        cluster.assert_as_calm("out", &cluster.calm());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_kubernetes_indexed_job() {
        let cluster = Cluster::new(60, Duration::ZERO).await;
        let manifest = of_this_job(&block("Kubernetes", "yaml"), &cluster, "out");
        assert!(manifest.contains("completionMode: Indexed"));
        let (_, script) = manifest.split_once("- |\n").unwrap();
        let indent = script.len() - script.trim_start().len();
        let script: Vec<&str> = script
            .lines()
            .take_while(|line| line.len() - line.trim_start().len() >= indent)
            .collect();
        let script = script.join("\n");
        for index in [2, 0, 1] {
            let set = [("JOB_COMPLETION_INDEX", index.to_string())];
            stdout(&bash(&script, &cluster, &set));
        }
        cluster.assert_as_calm("out", &cluster.calm());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn xargs_on_one_machine() {
        let cluster = Cluster::new(60, Duration::ZERO).await;
        let script = of_this_job(&block("One machine", "sh"), &cluster, "out");
        assert!(script.contains("xargs -P"));
        stdout(&bash(&script, &cluster, &[]));
        cluster.assert_as_calm("out", &cluster.calm());
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn any_machines_that_come_and_go() {
        let cluster = Cluster::new(60, Duration::ZERO).await;
        let script = of_this_job(&block("Any machines", "sh"), &cluster, "out");
        let both: Vec<_> = std::thread::scope(|scope| {
            let runs = [(); 2].map(|()| scope.spawn(|| bash(&script, &cluster, &[])));
            runs.map(|run| run.join().unwrap()).into()
        });
        for run in both {
            stdout(&run);
        }
        cluster.assert_as_calm("out", &cluster.calm());
    }
}
