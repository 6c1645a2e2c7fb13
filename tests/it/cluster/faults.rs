//! Programs of a cluster that are killed, asleep, broken or strangers.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{DEADLINE, Machines, Program, assert_as_calm, known, wait_until};
use crate::resume::signal;
use crate::support::*;
use crate::units::{Cluster, ended};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_executor_loses_nothing_and_nothing_is_done_twice() {
    let cluster = Cluster::new(120, Duration::from_millis(40)).await;
    let calm = cluster.calm();
    let machines = Machines::new();
    let mut first = machines.executor(&[]);
    let _second = machines.executor(&[]);
    let job = cluster.start("out", &["--cluster", &machines.address, "--fetches", "2"]);
    cluster.wait_for_unit_under_way("out", 2);
    first.kill();
    assert!(
        !cluster.path("out").exists(),
        "nothing is readable before all is done"
    );
    let done = ended(job);
    assert!(stdout(&done).contains("120 rows"), "{}", stderr(&done));
    assert_as_calm(&cluster, "out", &calm);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_asleep_past_the_time_out_changes_nothing_when_it_wakes() {
    let cluster = Cluster::new(80, Duration::from_millis(40)).await;
    let calm = cluster.calm();
    let machines = Machines::new();
    let sleeper = machines.executor(&["--tasks", "1"]);
    let job = cluster.start("out", &["--cluster", &machines.address, "--fetches", "2"]);
    cluster.wait_for_unit_under_way("out", 1);
    signal(&sleeper.child, "STOP");
    let _other = machines.executor(&[]);
    // It ends while the one is asleep, so the time-out has passed.
    let done = ended(job);
    assert!(stdout(&done).contains("80 rows"), "{}", stderr(&done));
    assert_as_calm(&cluster, "out", &calm);
    signal(&sleeper.child, "CONT");
    // It goes on where it was, finds that the job is over, and does the next.
    let next = cluster.start("next", &["--cluster", &machines.address]);
    assert!(stdout(&ended(next)).contains("80 rows"));
    assert_as_calm(&cluster, "next", &calm);
    assert_as_calm(&cluster, "out", &calm);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_all_executors_are_gone_the_job_ends_and_the_same_command_goes_on() {
    let cluster = Cluster::new(80, Duration::from_millis(40)).await;
    let calm = cluster.calm();
    let machines = Machines::new();
    let mut executor = machines.executor(&[]);
    let far = ["--cluster", machines.address.as_str(), "--fetches", "2"];
    let job = cluster.start("out", &far);
    cluster.wait_for_unit_under_way("out", 2);
    executor.kill();
    let begun = Instant::now();
    let failed = ended(job);
    let said = stderr(&failed);
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(begun.elapsed() < DEADLINE, "{said}");
    assert!(
        said.contains("units are done; the same command goes on"),
        "{said}"
    );
    let before = cluster.units("out", "units").len();
    assert!((2..8).contains(&before), "{before}");
    cluster.asked();
    let _executor = machines.executor(&[]);
    stdout(&cluster.label("out", &far));
    assert_as_calm(&cluster, "out", &calm);
    let asked = cluster.asked();
    let left = 80 - 10 * before as u64;
    assert!(
        (left..left + 20).contains(&asked),
        "what was recorded is not asked again: {asked} of {left}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_scheduler_or_its_client_a_job_is_finished_by_others() {
    let cluster = Cluster::new(120, Duration::from_millis(40)).await;
    let calm = cluster.calm();
    let mut machines = Machines::new();
    let mut executor = machines.executor(&[]);
    let far = [
        "--cluster".to_string(),
        machines.address.clone(),
        "--fetches".to_string(),
        "2".to_string(),
    ];
    let far: Vec<&str> = far.iter().map(String::as_str).collect();

    let job = cluster.start("out", &far);
    cluster.wait_for_unit_under_way("out", 2);
    machines.scheduler.kill();
    let lost = ended(job);
    let said = stderr(&lost);
    assert_eq!(lost.status.code(), Some(1), "{said}");
    assert!(said.contains("does not answer any more"), "{said}");
    assert!(
        said.contains("units are done; the same command goes on"),
        "{said}"
    );
    executor.wait_for("does not answer");
    machines.start_again();
    executor.wait_for("answers again");

    let mut job = cluster.start("out", &far);
    let done = cluster.units("out", "units").len();
    cluster.wait_for_unit_under_way("out", done + 2);
    job.kill().unwrap();
    job.wait().unwrap();
    // A program without a cluster takes what is left.
    stdout(&cluster.label("out", &["--workers-share", "--lease", "2"]));
    assert_as_calm(&cluster, "out", &calm);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_is_asked_to_end_says_how_far_it_is() {
    let cluster = Cluster::new(80, Duration::from_millis(40)).await;
    let calm = cluster.calm();
    let machines = Machines::new();
    let _executor = machines.executor(&[]);
    let far = ["--cluster", machines.address.as_str(), "--fetches", "2"];
    let job = cluster.start("out", &far);
    cluster.wait_for_unit_under_way("out", 1);
    signal(&job, "TERM");
    let ended = ended(job);
    let said = stderr(&ended);
    assert_eq!(ended.status.code(), Some(143), "{said}");
    assert!(
        said.contains("units are done; the same command goes on"),
        "{said}"
    );
    stdout(&cluster.label("out", &far));
    assert_as_calm(&cluster, "out", &calm);
}

/// An executor that can write no larger files than of 10 KB, which stands for a full disk.
fn narrow(machines: &Machines, cache: &Path, more: &[&str]) -> Program {
    let own = command(machines.words(more), cache);
    let mut narrow = Command::new("bash");
    narrow
        .args(["-c", "trap '' XFSZ; ulimit -f 10; exec \"$0\" \"$@\""])
        .arg(own.get_program())
        .args(own.get_args())
        .current_dir(root());
    known(narrow)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_cannot_write_says_so_and_another_goes_on() {
    let cluster = Cluster::new(20, Duration::ZERO).await;
    let calm = cluster.calm();
    let machines = Machines::new();
    let cache = tempfile::tempdir().unwrap();
    let broken = narrow(&machines, cache.path(), &[]);
    let far = ["--cluster", machines.address.as_str()];
    let failed = cluster.label("out", &far);
    let said = stderr(&failed);
    assert_eq!(failed.status.code(), Some(1), "{said}");
    assert!(
        said.contains("none of 3 units could be done") && said.contains("File too large"),
        "{said}"
    );
    let status = cluster.status("out");
    assert_eq!(status["done"], 0, "{status}");
    drop(broken);
    let _whole = machines.executor(&[]);
    let done = cluster.label("out", &far);
    assert!(stdout(&done).contains("20 rows"), "{}", stderr(&done));
    assert_as_calm(&cluster, "out", &calm);
}

/// The whole one sleeps until the broken one has failed at everything.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_broken_executor_cannot_do_a_whole_one_does() {
    let cluster = Cluster::new(40, Duration::ZERO).await;
    let calm = cluster.calm();
    let machines = Machines::new();
    let cache = tempfile::tempdir().unwrap();
    let whole = machines.executor(&["--tasks", "1"]);
    signal(&whole.child, "STOP");
    let broken = narrow(&machines, cache.path(), &["--tasks", "5"]);
    let failed = || {
        broken
            .said()
            .matches("a unit could not be done here")
            .count()
    };
    let job = cluster.start("out", &["--cluster", &machines.address]);
    wait_until("all five units fail", || failed() == 5);
    signal(&whole.child, "CONT");
    let done = ended(job);
    assert!(stdout(&done).contains("40 rows"), "{}", stderr(&done));
    assert_as_calm(&cluster, "out", &calm);
    assert_eq!(
        failed(),
        5,
        "it was not given them again: {}",
        broken.said()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_input_that_changed_ends_the_job_at_once_with_its_name() {
    let cluster = Cluster::new(60, Duration::from_millis(40)).await;
    let machines = Machines::new();
    let _executor = machines.executor(&["--tasks", "1"]);
    let job = cluster.start("out", &["--cluster", &machines.address, "--fetches", "1"]);
    cluster.wait_for_unit_under_way("out", 1);
    let table = cluster.path("input").join("b.parquet");
    write_table(
        &table,
        vec![("id", array(arrow::array::Int64Array::from(vec![1])))],
    );
    let ended = ended(job);
    let said = stderr(&ended);
    assert!(!ended.status.success(), "{said}");
    assert!(
        said.contains("b.parquet") && said.contains("change"),
        "{said}"
    );
    assert!(!cluster.path("out").exists());
}

#[test]
fn strangers_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    std::fs::write(path("token"), "a-token-of-the-tests").unwrap();
    std::fs::write(path("other"), "another-token-of-tests").unwrap();
    let token = path("token");
    let machines =
        Machines::by(|args, cache| command([args, &["--token-file", &token]].concat(), cache));
    let own = machines.executor(&["--token-file", &token]);
    let query = |more: &[&str]| {
        let query = format!("SELECT count(*) AS n FROM '{REFERENCES}'");
        let args = ["sql", "--format", "csv", "--cluster", &machines.address];
        picsift([&args[..], more, &["-c", &query]].concat())
    };
    let there = query(&["--token-file", &token]);
    assert!(stdout(&there).starts_with("n\n"), "{}", stderr(&there));
    let other = path("other");
    for more in [&[][..], &["--token-file", &other]] {
        let said = refused(&query(more));
        assert!(said.contains("refuses: the cluster's token"), "{said}");
        let cache = tempfile::tempdir().unwrap();
        let mut executor = Program::start(command(machines.words(more), cache.path()));
        assert_eq!(executor.ended(), Some(2));
        let said = executor.said();
        assert!(said.contains("refuses: the cluster's token"), "{said}");
    }
    for said in [own.said(), machines.scheduler.said()] {
        assert!(!said.contains("a-token-of-the-tests"), "{said}");
    }
}

#[test]
fn other_machines_are_served_by_a_token_and_a_word_alone() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "a-token-of-the-tests").unwrap();
    let bind = ["cluster", "scheduler", "--bind", "0.0.0.0:0"];
    let said = refused(&picsift(bind));
    assert!(said.contains("--token-file"), "{said}");
    let with_token = [&bind[..], &["--token-file", token.to_str().unwrap()]].concat();
    let said = refused(&picsift(&with_token));
    assert!(
        said.contains("nothing") && said.contains("encrypted"),
        "{said}"
    );
    let cache = tempfile::tempdir().unwrap();
    let private = [&with_token[..], &["--private-network"]].concat();
    Program::start(command(private, cache.path())).wait_for("the scheduler is at 0.0.0.0:");
}

#[test]
fn an_executor_that_is_told_to_end_ends_and_the_scheduler_knows() {
    let machines = Machines::new();
    let mut executor = machines.executor(&[]);
    signal(&executor.child, "TERM");
    assert_eq!(executor.ended(), Some(0), "{}", executor.said());
}
