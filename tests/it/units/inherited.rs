//! A job that one program begins and several carry on.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Cluster, ended};
use crate::resume::signal;
use crate::s3::{Server, references};
use crate::support::*;

/// Waits until a program by itself has remembered so many shards and is at the next.
fn wait_for_shards(cluster: &Cluster, output: &str, alone: &mut Child, shards: usize) {
    let journal = cluster.path(&format!(".{output}.picsift/journal"));
    // Its first two records are of the job and of the run.
    let last = journal.join(format!("{:06}.json", shards + 1));
    let begun = Instant::now();
    while !last.exists() {
        assert!(alone.try_wait().unwrap().is_none(), "it ended before that");
        assert!(begun.elapsed() < Duration::from_secs(60));
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn kill(mut program: Child) {
    program.kill().unwrap();
    program.wait().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn several_carry_on_what_one_program_has_begun() {
    let cluster = Cluster::new(95, Duration::from_millis(20)).await;
    let calm = cluster.calm();
    for (number, (more, shards)) in [
        (&[][..], 3),
        (&["--partition-by", "label"], 2),
        (&["--where", "id % 3 > 0"], 2),
        (&["--limit", "47"], 1),
    ]
    .into_iter()
    .enumerate()
    {
        let (local, output) = (format!("local{number}"), format!("out{number}"));
        stdout(&cluster.label(&local, more));
        let mut alone = cluster.start(&output, &[more, &["--fetches", "2"]].concat());
        wait_for_shards(&cluster, &output, &mut alone, shards);
        kill(alone);
        cluster.asked();
        let free = [more, &["--workers-share"]].concat();
        let both = [cluster.start(&output, &free), cluster.start(&output, &free)].map(ended);
        assert!(
            both.iter().any(|one| stderr(one).contains("rows are done")),
            "{both:?}"
        );
        let (local_rows, rows) = (
            read_table(&cluster.path(&local)),
            read_table(&cluster.path(&output)),
        );
        assert_same_rows(&rows, &local_rows);
        let manifest = |output: &str| -> Value {
            let text = std::fs::read(cluster.path(output).join("_picsift.json")).unwrap();
            serde_json::from_slice(&text).unwrap()
        };
        let (local, shared) = (manifest(&local), manifest(&output));
        for count in ["rows", "images", "failures"] {
            assert_eq!(shared["counts"][count], local["counts"][count], "{more:?}");
        }
        assert_eq!(shared["job"]["files"], local["job"]["files"]);
        let listed = shared["files"].as_array().unwrap().len();
        let files = parquet_files(&cluster.path(&output));
        assert_eq!(files.len(), listed, "no file is left over");
        if more.is_empty() {
            cluster.assert_as_calm(&output, &calm);
            let asked = cluster.asked();
            assert!(
                asked <= 65,
                "what one program had done is not asked again: {asked}"
            );
        }
        let again = cluster.label(&output, more);
        assert!(stdout(&again).contains("nothing to do"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_carry_it_on_is_refused_and_then_who_was_alone() {
    let cluster = Cluster::new(60, Duration::from_millis(60)).await;
    let calm = cluster.calm();
    let mut alone = cluster.start("out", &["--fetches", "2"]);
    wait_for_shards(&cluster, "out", &mut alone, 2);
    // It does not end while it is looked at.
    signal(&alone, "STOP");
    let status = cluster.status("out");
    assert_eq!(status["state"], "one_program", "{status}");
    assert!(status["rows"].as_u64().unwrap() >= 20, "{status}");
    let said = refused(&cluster.label("out", &["--workers-share"]));
    assert!(
        said.contains("is being made by one program, which is still at work"),
        "{said}"
    );
    let out = cluster.path("out");
    let said = refused(&picsift(["publish", out.to_str().unwrap()]));
    assert!(
        said.contains("run its command again to finish it"),
        "{said}"
    );
    kill(alone);

    let said = refused(&cluster.label("out", &["--workers-share", "--threshold", "0.9"]));
    assert!(
        said.contains("this is another one: category fish threshold was"),
        "{said}"
    );
    assert_eq!(cluster.status("out")["state"], "one_program");

    let one_unit = ["--shard", "4/6"];
    let said = cluster.label("out", &one_unit);
    assert!(stdout(&said).contains("this part is done"), "{said:?}");
    let status = cluster.status("out");
    assert_eq!(status["state"], "shared", "{status}");
    assert!(status["rows_done"].as_u64().unwrap() >= 30, "{status}");
    let said = refused(&cluster.label("out", &[]));
    assert!(
        said.contains("is being labelled by several programs"),
        "{said}"
    );
    // Its plan was never put: whoever was at that was killed.
    let plan = cluster.path(".out.picsift/plan.json");
    std::fs::remove_file(&plan).unwrap();
    let said = refused(&cluster.label("out", &[]));
    assert!(
        said.contains("is being labelled by several programs"),
        "{said}"
    );
    stdout(&cluster.label("out", &["--workers-share"]));
    cluster.assert_as_calm("out", &calm);
}

/// In an object store what one program has finished stands in the output itself.
#[test]
fn in_s3_nothing_is_left_over_either() {
    let folder = tempfile::tempdir().unwrap();
    references(folder.path(), 60);
    let Some(server) = Server::start(folder.path()) else {
        return;
    };
    for gives_up in [false, true] {
        let output = format!("s3://bucket/out-{gives_up}");
        let label = ["label", "s3://bucket/in/", "--output", &output];
        let label = [
            &label[..],
            &["--categories", "fish", "--shard-rows", "10", "--no-cache"],
        ]
        .concat();
        server.ask("/hold/journal%2F000004");
        let held = server.count("held");
        let cache = tempfile::tempdir().unwrap();
        let mut alone = server.command(&label, cache.path());
        let alone = alone
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let begun = Instant::now();
        while server.count("held") == held {
            assert!(begun.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(20));
        }
        // The third shard is written, and its record on its way.
        kill(alone);
        let part = server.run(&[&label[..], &["--shard", "4/6"]].concat());
        assert!(stdout(&part).contains("this part is done"), "{part:?}");
        server.ask("/release");
        let last = match gives_up {
            true => [&label[..], &["--overwrite"]].concat(),
            false => [&label[..], &["--workers-share"]].concat(),
        };
        let done = server.run(&last);
        assert!(stdout(&done).starts_with("60 rows"), "{}", stderr(&done));
        assert_eq!(server.ids(&output), (0..60).collect::<Vec<_>>());
        let keys = server.keys(&format!("out-{gives_up}/"));
        let tables = keys.iter().filter(|key| key.ends_with(".parquet")).count();
        assert_eq!(tables, 6, "nothing stands there twice: {keys:?}");
    }
}
