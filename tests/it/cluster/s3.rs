//! Jobs and queries of a cluster in S3: a record that comes late, keys that may not write, and errors that pass or last.

use std::process::Stdio;

use tempfile::TempDir;

use super::{Machines, Program, known, wait_until};
use crate::resume::signal;
use crate::s3::{Server, references};
use crate::support::*;

const LABEL: [&str; 9] = [
    "label",
    "s3://bucket/in/",
    "--output",
    "s3://bucket/out",
    "--categories",
    "fish",
    "--shard-rows",
    "10",
    "--no-cache",
];

/// The record of unit 2 is held by the server while its writer is killed, or stopped until all is over; then it comes.
#[test]
fn an_executor_that_ends_between_files_and_record_has_done_nothing() {
    for sleeps in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        references(folder.path(), 60);
        let Some(server) = Server::start(folder.path()) else {
            return;
        };
        let machines = Machines::by(|args, cache| server.command(args, cache));
        let cache = tempfile::tempdir().unwrap();
        let executor = || known(server.command(&machines.words(&[]), cache.path()));
        server.ask("/hold/units%2F000002");
        let mut first = executor();
        let far = [&LABEL[..], &["--cluster", &machines.address]].concat();
        let mut job = server.command(&far, cache.path());
        let job = job.stdout(Stdio::piped()).stderr(Stdio::piped());
        let job = job.spawn().unwrap();
        wait_until("its record is held", || server.count("held") == 1);
        let keys = server.keys("out/");
        assert!(
            keys.iter().all(|key| key.starts_with("out/_picsift_work/")),
            "nothing is readable yet: {keys:?}"
        );
        match sleeps {
            true => signal(&first.child, "STOP"),
            false => first.kill(),
        }
        let _second = executor();
        let done = job.wait_with_output().unwrap();
        assert!(stdout(&done).starts_with("60 rows"), "{}", stderr(&done));
        server.ask("/release");
        if sleeps {
            signal(&first.child, "CONT");
        }
        assert_eq!(server.ids("s3://bucket/out"), (0..60).collect::<Vec<_>>());
        let keys = server.keys("out/");
        let tables = keys.iter().filter(|key| key.ends_with(".parquet")).count();
        assert_eq!(tables, 6, "nothing stands there twice: {keys:?}");
    }
}

#[test]
fn keys_that_may_not_write_are_said_and_another_executor_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    references(folder.path(), 40);
    let Some(server) = Server::start(folder.path()) else {
        return;
    };
    let machines = Machines::by(|args, cache| server.command(args, cache));
    let cache = tempfile::tempdir().unwrap();
    let mut denied = server.command(&machines.words(&["--tasks", "1"]), cache.path());
    denied.env("AWS_ACCESS_KEY_ID", "no-attempts");
    let denied = known(denied);
    let far = [&LABEL[..], &["--cluster", &machines.address]].concat();
    let failed = server.run(&far);
    let said = stderr(&failed);
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(
        said.contains("AccessDenied") && said.contains("0 of 4 units are done"),
        "{said}"
    );
    drop(denied);
    let _whole = known(server.command(&machines.words(&[]), cache.path()));
    let done = server.run(&far);
    assert!(stdout(&done).starts_with("40 rows"), "{}", stderr(&done));
    assert_eq!(server.ids("s3://bucket/out"), (0..40).collect::<Vec<_>>());
}

/// The access key of executors, so that faults are theirs alone.
const EXECUTOR: &str = "executor";

/// A bucket with a table, and a cluster that is to read it.
struct Faulty {
    server: Server,
    machines: Machines,
    cache: TempDir,
}

impl Faulty {
    /// So many rows, of which the pictures of rows 2, 3 and 5 are denied, missing and none; `None` as [`Server::start`].
    fn new(rows: usize) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        references(folder.path(), rows);
        std::fs::write(folder.path().join("in/5.jpg"), "no picture").unwrap();
        let server = Server::start(folder.path())?;
        let machines = Machines::by(|args, cache| server.command(args, cache));
        Some(Self {
            server,
            machines,
            cache: tempfile::tempdir().unwrap(),
        })
    }

    fn executor(&self, more: &[&str]) -> Program {
        let words = self.machines.words(more);
        let mut command = self.server.command(&words, self.cache.path());
        command.env("AWS_ACCESS_KEY_ID", EXECUTOR);
        known(command)
    }

    /// So many requests of executors for a key with these words will fail so.
    fn arm(&self, method: &str, kind: &str, times: u32, words: &str) {
        let server = &self.server;
        server.ask(&format!(
            "/fault/{method}/{kind}/{times}/{words}?by={EXECUTOR}"
        ));
    }

    /// The job into this output, here or on the cluster.
    fn label(&self, output: &str, far: bool) -> std::process::Output {
        let output = format!("s3://bucket/{output}");
        let mut args = LABEL;
        args[3] = &output;
        let far = match far {
            true => &["--cluster", &self.machines.address][..],
            false => &[],
        };
        self.server.run(&[&args[..], far].concat())
    }

    /// A query, here or on the cluster.
    fn query(&self, query: &str, far: bool) -> std::process::Output {
        let far = match far {
            true => &["--cluster", &self.machines.address][..],
            false => &[],
        };
        let args = ["sql", "--format", "csv", "--no-cache", "-c", query];
        self.server.run(&[&args[..], far].concat())
    }

    /// What an output says of each row, and its list of failures.
    fn said(&self, output: &str) -> [String; 2] {
        // Scores differ in their last digits by what else was in a batch.
        let columns = "id, image, is_fish, round(score_fish, 3) AS score, label, picsift_error";
        let rows = format!("SELECT {columns} FROM 's3://bucket/{output}' ORDER BY id");
        let failures =
            format!("SELECT * FROM 's3://bucket/{output}/_picsift_errors.pq' ORDER BY reference");
        [rows, failures].map(|query| stdout(&self.query(&query, false)))
    }
}

#[test]
fn what_passes_in_a_store_is_tried_again_and_each_row_is_there_once() {
    let Some(faulty) = Faulty::new(60) else {
        return;
    };
    let local = faulty.label("local", false);
    assert!(stdout(&local).contains("3 failed"), "{}", stdout(&local));
    let faults = [
        ("GET", "slow", 2, "in/t.parquet"),
        ("GET", "cut", 1, "in/t.parquet"),
        ("GET", "slow", 2, "in/7.jpg"),
        ("GET", "cut", 1, "in/8.jpg"),
        ("PUT", "slow", 2, "/attempts/"),
        ("PUT", "lost", 1, "/attempts/"),
        ("PUT", "slow", 2, "units/000001"),
        ("PUT", "lost", 1, "units/000002"),
    ];
    for (method, kind, times, words) in faults {
        faulty.arm(method, kind, times, words);
    }
    // One thing after another, so that it is one request that meets all that a fault has.
    let _executor = faulty.executor(&["--tasks", "1"]);
    let done = faulty.label("out", true);
    assert!(stdout(&done).starts_with("60 rows"), "{}", stderr(&done));
    for (_, kind, times, words) in faults {
        let met = faulty.server.count(&format!("{kind} {words}"));
        assert_eq!(met, u64::from(times), "{kind} {words}");
    }
    assert_eq!(faulty.said("out"), faulty.said("local"));
    let keys = faulty.server.keys("out/");
    let tables = keys.iter().filter(|key| key.ends_with(".parquet")).count();
    assert_eq!(tables, 6, "nothing stands there twice: {keys:?}");

    // So do parts of queries.
    let query =
        "SELECT id, classify(image, 'fish') AS fish FROM 's3://bucket/in/t.parquet' ORDER BY id";
    let here = stdout(&faulty.query(query, false));
    assert_eq!(here.lines().count(), 61);
    for (kind, times) in [("slow", 2), ("cut", 1)] {
        faulty.arm("GET", kind, times, "t.parquet");
    }
    faulty.arm("GET", "slow", 2, "9.jpg");
    let there = faulty.query(query, true);
    assert_eq!(stdout(&there), here, "{}", stderr(&there));
    for (kind, times) in [
        ("slow t.parquet", 2),
        ("cut t.parquet", 1),
        ("slow 9.jpg", 2),
    ] {
        assert_eq!(faulty.server.count(kind), times, "{kind}");
    }
}

#[test]
fn what_lasts_in_a_store_ends_a_job_and_a_query_with_its_reason() {
    let Some(faulty) = Faulty::new(40) else {
        return;
    };
    let _executor = faulty.executor(&["--tasks", "1"]);
    faulty.arm("GET", "denied", 1000, "in/t.parquet");
    let asked = || faulty.server.count("denied in/t.parquet");
    let assert_said = |failed: &std::process::Output| {
        let said = stderr(failed);
        assert_eq!(failed.status.code(), Some(1), "{said}");
        assert!(
            said.contains("privileges") && said.contains("in/t.parquet"),
            "{said}"
        );
        assert_eq!(said.matches("403 Forbidden").count(), 1, "once: {said}");
    };
    let failed = faulty.label("out", true);
    assert_said(&failed);
    assert!(
        stderr(&failed).contains("none of 4 units could be done"),
        "{}",
        stderr(&failed)
    );
    // Each unit once, and two more times one of them, as another executor might have the key.
    let of_job = asked();
    assert!((1..=6).contains(&of_job), "{of_job} requests");
    let keys = faulty.server.keys("out/");
    assert!(
        keys.iter().all(|key| key.starts_with("out/_picsift_work/")),
        "{keys:?}"
    );
    // One part, so that requests can be counted.
    let query = "SELECT id, classify(image, 'fish') FROM 's3://bucket/in/t.parquet' LIMIT 5";
    assert_said(&faulty.query(query, true));
    // At most by two that read the footer at the same time; no task is tried again.
    let of_query = asked() - of_job;
    assert!((1..=2).contains(&of_query), "{of_query} requests");
}
