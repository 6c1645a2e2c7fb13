//! Several programs that label one output in S3.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::s3::{Server, references};
use crate::support::*;

const LABEL: [&str; 10] = [
    "label",
    "s3://bucket/in/",
    "--output",
    "s3://bucket/out",
    "--categories",
    "fish",
    "--shard-rows",
    "10",
    "--no-cache",
    "--lease",
];

fn start(server: &Server, more: &[&str]) -> Child {
    let cache = tempfile::tempdir().unwrap();
    let mut command = server.command(&[&LABEL[..], more].concat(), cache.path());
    let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command.spawn().unwrap()
}

fn wait_until(what: &str, child: &mut Child, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(
            child.try_wait().unwrap().is_none(),
            "it ended before {what}"
        );
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The record of unit 2 is held by the server while its writer is killed, or stopped until all is over; then it comes.
#[test]
fn one_that_ends_between_its_files_and_its_record_has_done_nothing() {
    for sleeps in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        references(folder.path(), 60);
        let Some(server) = Server::start(folder.path()) else {
            return;
        };
        server.ask("/hold/units%2F000002");
        let mut first = start(&server, &["1", "--shard", "3/3"]);
        wait_until("its record is held", &mut first, || {
            server.count("held") == 1
        });
        let keys = server.keys("out/");
        assert!(
            keys.iter()
                .any(|key| key.contains("part-00002") && key.ends_with(".waiting")),
            "its files are there: {keys:?}"
        );
        assert!(
            keys.iter().all(|key| key.starts_with("out/_picsift_work/")),
            "nothing is readable yet: {keys:?}"
        );
        match sleeps {
            true => crate::resume::signal(&first, "STOP"),
            false => {
                first.kill().unwrap();
                first.wait().unwrap();
            }
        }
        let second = start(&server, &["1", "--workers-share"])
            .wait_with_output()
            .unwrap();
        assert!(
            stdout(&second).starts_with("60 rows"),
            "{}",
            stderr(&second)
        );
        server.ask("/release");
        if sleeps {
            crate::resume::signal(&first, "CONT");
            let first = first.wait_with_output().unwrap();
            assert!(stdout(&first).starts_with("60 rows"), "{}", stderr(&first));
        }
        assert_eq!(server.ids("s3://bucket/out"), (0..60).collect::<Vec<_>>());
        let keys = server.keys("out/");
        let tables = keys.iter().filter(|key| key.ends_with(".parquet")).count();
        assert_eq!(tables, 6, "nothing stands there twice: {keys:?}");
        let strange = |key: &&String| {
            let record = key.contains("/units/000002.json");
            key.contains("_picsift_work") && !record
        };
        assert_eq!(keys.iter().find(strange), None, "the work is cleared away");
        let again = start(&server, &["1", "--workers-share"])
            .wait_with_output()
            .unwrap();
        assert!(stdout(&again).contains("nothing to do"));
        let keys = server.keys("out/");
        assert!(
            keys.iter().all(|key| !key.contains("_picsift_work")),
            "and what came late with the next look: {keys:?}"
        );
    }
}

#[test]
fn a_key_that_may_not_write_files_fails_its_units_and_not_the_job() {
    let folder = tempfile::tempdir().unwrap();
    references(folder.path(), 40);
    let Some(server) = Server::start(folder.path()) else {
        return;
    };
    let cache = tempfile::tempdir().unwrap();
    let mut denied = server.command(
        &[&LABEL[..], &["1", "--workers-share"]].concat(),
        cache.path(),
    );
    denied.env("AWS_ACCESS_KEY_ID", "no-attempts");
    let denied = denied.output().unwrap();
    let said = stderr(&denied);
    assert_eq!(denied.status.code(), Some(1), "{said}");
    assert!(
        said.contains("AccessDenied") && said.contains("0 of 4 units are done"),
        "{said}"
    );
    let status = stdout(&server.run(&["status", "s3://bucket/out"]));
    assert!(
        status.contains("3 failed") && status.contains("AccessDenied"),
        "{status}"
    );
    let parts = ["1/2", "2/2"].map(|part| start(&server, &["60", "--shard", part]));
    let parts = parts.map(|part| stdout(&part.wait_with_output().unwrap()));
    assert!(
        parts.iter().any(|said| said.starts_with("40 rows")),
        "{parts:?}"
    );
    assert_eq!(server.ids("s3://bucket/out"), (0..40).collect::<Vec<_>>());
    let published = stdout(&server.run(&["publish", "s3://bucket/out"]));
    assert!(published.starts_with("40 rows"), "{published}");
}
