//! Jobs of a cluster in S3: a record that comes late, and keys that may not write.

use std::process::Stdio;

use super::{Machines, known, wait_until};
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
fn keys_that_may_not_write_fail_the_units_of_their_executor_and_not_the_job() {
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
    let _whole = known(server.command(&machines.words(&[]), cache.path()));
    let done = server.run(&far);
    assert!(stdout(&done).starts_with("40 rows"), "{}", stderr(&done));
    assert_eq!(server.ids("s3://bucket/out"), (0..40).collect::<Vec<_>>());
    drop(denied);
}
