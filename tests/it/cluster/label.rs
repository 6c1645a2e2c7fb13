//! Jobs on a cluster that nothing happens to.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::{Machines, Program, TIMEOUT, known};
use crate::kill::rows;
use crate::models_command::server::Fault;
use crate::siglip::{COMMIT, hub};
use crate::support::*;
use crate::units::Cluster;

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_gives_what_one_program_gives_row_by_row() {
    let cluster = Cluster::new(95, Duration::ZERO).await;
    let machines = Machines::new();
    let executors = [machines.executor(&[]), machines.executor(&["--tasks", "3"])];
    let failures = |output: &str| {
        let list = cluster.path(output).join("_picsift_errors.pq");
        let query = format!("SELECT * FROM '{}'", list.display());
        stdout(&picsift(["sql", "--format", "csv", "-c", &query]))
    };
    let far = ["--cluster", &machines.address];
    for (number, more) in [
        &[][..],
        &["--partition-by", "label"],
        &["--where", "id % 3 = 1"],
        &["--limit", "47"],
    ]
    .into_iter()
    .enumerate()
    {
        let (local, remote) = (format!("local{number}"), format!("remote{number}"));
        stdout(&cluster.label(&local, more));
        let all = [more, &far].concat();
        let said = cluster.label(&remote, &all);
        assert!(stdout(&said).contains(" rows"), "{}", stderr(&said));
        assert!(!stderr(&said).contains("model loaded"));
        let (local_rows, remote_rows) = (
            read_table(&cluster.path(&local)),
            read_table(&cluster.path(&remote)),
        );
        assert_same_rows(&remote_rows, &local_rows);
        assert!(remote_rows.num_rows() > 20, "{more:?}");
        assert_eq!(failures(&remote), failures(&local));
        let manifest = |output: &str| -> Value {
            let text = std::fs::read(cluster.path(output).join("_picsift.json")).unwrap();
            serde_json::from_slice(&text).unwrap()
        };
        let (local_manifest, remote_manifest) = (manifest(&local), manifest(&remote));
        assert_eq!(
            remote_manifest["job"]["identity"],
            local_manifest["job"]["identity"]
        );
        for count in ["rows", "images", "failures"] {
            assert_eq!(
                remote_manifest["counts"][count], local_manifest["counts"][count],
                "{count}"
            );
        }
        let again = cluster.label(&remote, &all);
        assert!(stdout(&again).contains("nothing to do"));
    }
    for executor in executors {
        let said = executor.said();
        assert_eq!(
            said.matches("model loaded").count(),
            1,
            "of four jobs: {said}"
        );
    }
    let said = machines.scheduler.said();
    assert!(!said.contains("model loaded"), "{said}");
}

/// Fetches of a fixed latency, one at a time for each task, stand for a model of a fixed latency on a machine of its own.
#[tokio::test(flavor = "multi_thread")]
async fn two_executors_are_nearly_twice_as_fast_as_one() {
    let cluster = Cluster::new(120, Duration::from_millis(200)).await;
    let machines = Machines::new();
    let one_at_a_time = ["--fetches", "1", "--cluster", &machines.address];
    let timed = |output: &str| {
        let begun = Instant::now();
        stdout(&cluster.label(output, &one_at_a_time));
        assert_eq!(rows(&cluster.path(output)).num_rows(), 120);
        begun.elapsed().as_secs_f64()
    };
    let _first = machines.executor(&["--tasks", "1"]);
    // Its model is loaded by then.
    stdout(&cluster.label("warm", &[&one_at_a_time[..], &["--limit", "10"]].concat()));
    let one = timed("one");
    let _second = machines.executor(&["--tasks", "1"]);
    let both = timed("two");
    println!("one executor {one:.1} s, two {both:.1} s");
    assert!(one / both >= 1.8, "one {one:.1} s, two {both:.1} s");
}

/// The hub keeps silent for longer than the scheduler waits for a sign of life, then hangs up, and gives the weights when asked again.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_that_loads_for_longer_than_the_time_out_loses_nobody() {
    let (cluster, hub) = (Cluster::new(20, Duration::ZERO).await, hub());
    let machines = Machines::new();
    let model = format!("owner/siglip@{COMMIT}");
    let homes = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let of_hub = |mut command: Command, home: &TempDir| {
        command.env("HF_ENDPOINT", hub.endpoint());
        command.env("HF_HOME", home.path());
        command
    };
    let args = ["--categories", "dog", "--model", &model];
    let calm = of_hub(cluster.command("calm", &args), &homes[0]).output();
    stdout(&calm.unwrap());
    hub.requests();
    cluster.asked();
    hub.fault("model.safetensors", 1, Fault::Silent);
    let own = command(machines.words(&["--tasks", "1"]), cluster.cache.path());
    let executor = known(of_hub(own, &homes[1]));
    let begun = Instant::now();
    let args = [&args[..], &["--cluster", &machines.address]].concat();
    let done = of_hub(cluster.command("out", &args), &homes[0]).output();
    let done = done.unwrap();
    assert!(stdout(&done).contains("20 rows"), "{}", stderr(&done));
    let timeout: u64 = TIMEOUT.parse().unwrap();
    assert!(begun.elapsed() > Duration::from_secs(timeout));
    assert_same_rows(&rows(&cluster.path("out")), &rows(&cluster.path("calm")));
    assert_eq!(cluster.asked(), 20, "nothing was given to anybody else");
    let said = executor.said();
    assert_eq!(said.matches("model loaded").count(), 1, "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_cannot_hold_together_is_refused_by_name() {
    let cluster = Cluster::new(20, Duration::ZERO).await;
    let machines = Machines::new();
    let far = ["--cluster", machines.address.as_str()];
    let refuse = |more: &[&str]| refused(&cluster.label("out", &[more, &far].concat()));
    assert!(refuse(&["--max-images", "3"]).contains("--cluster"));
    assert!(refuse(&["--overwrite"]).contains("--cluster"));
    assert!(refuse(&["--workers-share"]).contains("--cluster"));
    let nobody = refused(&cluster.label("out", &["--cluster", "127.0.0.1:1"]));
    assert!(
        nobody.contains("no scheduler answers at 127.0.0.1:1"),
        "{nobody}"
    );
    let no_address = refused(&cluster.label("out", &["--cluster", "somewhere"]));
    assert!(no_address.contains("write HOST:PORT"), "{no_address}");
    assert!(!cluster.path("out").exists());
}

/// The recipe of docs/many-machines.md, line by line, with this test's ports and job in the place of the document's.
#[tokio::test(flavor = "multi_thread")]
async fn the_recipe_runs() {
    let cluster = Cluster::new(40, Duration::ZERO).await;
    let text = std::fs::read_to_string(root().join("docs/many-machines.md")).unwrap();
    let (_, section) = text.split_once("\n## A cluster\n").unwrap();
    let (_, block) = section.split_once("```sh\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let lines: Vec<&str> = block.lines().collect();
    let [scheduler, executor, job] = lines[..] else {
        panic!("three commands, not {lines:?}");
    };
    let (input, output) = (cluster.path("input"), cluster.path("out"));
    let words = |line: &str, address: &str| -> Vec<String> {
        let words = line.split(' ').skip(1);
        let words = words.map(|word| match word {
            "localhost:50050" => address.to_string(),
            "s3://bucket/photos/" => input.display().to_string(),
            "s3://bucket/labelled" => output.display().to_string(),
            "person,car" => "fish,tool".to_string(),
            other => other.to_string(),
        });
        words.collect()
    };
    let cache = tempfile::tempdir().unwrap();
    let mut scheduling = words(scheduler, "");
    scheduling.extend(["--bind".to_string(), "127.0.0.1:0".to_string()]);
    let mut scheduler = Program::start(command(scheduling, cache.path()));
    let line = scheduler.wait_for("the scheduler is at ");
    let address = line.split(' ').nth(4).unwrap().trim_end_matches(',');
    let _executor = known(command(words(executor, address), cache.path()));
    let mut job = words(job, address);
    job.extend(["--allow-host".to_string(), cluster.server.to_string()]);
    let done = command(job, cache.path()).output().unwrap();
    assert!(stdout(&done).contains("40 rows"), "{}", stderr(&done));
}
