//! What jobs on a cluster say that they have counted, and what its programs say of themselves, against what was really asked.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use super::{Machines, Program};
use crate::support::*;
use crate::units::{Cluster, ended};

const WATCHED: [&str; 2] = ["--metrics", "127.0.0.1:0"];

/// What a program's port of metrics answers.
fn page(program: &Program, path: &str) -> String {
    let said = program.said();
    let (_, rest) = said.split_once("metrics are at http://").unwrap();
    let (address, _) = rest.split_once('/').unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer.split_once("\r\n\r\n").unwrap().1.to_string()
}

/// A number that programs say, summed over them; the name may end within its labels.
fn metric<'a>(programs: impl IntoIterator<Item = &'a Program>, name: &str) -> u64 {
    let of = |program: &Program| -> f64 {
        let text = page(program, "/metrics");
        let lines = text.lines().filter(|line| line.starts_with(name));
        let numbers = lines.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
        numbers.sum()
    };
    programs.into_iter().map(of).sum::<f64>() as u64
}

fn counts(cluster: &Cluster, output: &str) -> Value {
    let text = std::fs::read(cluster.path(output).join("_picsift.json")).unwrap();
    let manifest: Value = serde_json::from_slice(&text).unwrap();
    manifest["counts"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_and_metrics_count_what_was_asked() {
    let cluster = Cluster::new(120, Duration::ZERO).await;
    let machines = Machines::by(|args, cache| command([args, &WATCHED].concat(), cache));
    let server = cluster.server.to_string();
    let words = [&WATCHED[..], &["--allow-host", &server]].concat();
    let executors = [(); 2].map(|()| machines.executor(&words));
    cluster.asked();
    let done = cluster.label("out", &["--cluster", &machines.address]);
    let said = stdout(&done);
    assert!(said.starts_with("120 rows, 120 images ("), "{said}");
    assert!(said.contains(" 12 failed"), "{said}");
    assert_eq!(cluster.asked(), 120);
    let manifest = counts(&cluster, "out");
    for (count, wanted) in [("rows", 120), ("images", 120), ("failures", 12)] {
        assert_eq!(manifest[count], wanted, "{count}");
    }
    let asked = manifest["asked"].as_u64().unwrap();
    assert_eq!(asked, metric(&executors, "picsift_model_images_total{"));
    let known = 120 - 12 - asked;
    assert!(known > 0, "there are two different pictures");
    let known = format!("{known} images were not asked again");
    assert!(said.contains(&known), "{said}");

    for (name, wanted) in [
        ("picsift_images_total ", 120),
        ("picsift_images_fetched_total ", 108),
        ("picsift_images_asked_total ", asked),
        ("picsift_cache_hits_total ", 108 - asked),
        ("picsift_image_failures_total ", 12),
        ("picsift_units_total{outcome=\"done\"}", 12),
        ("picsift_units_total{outcome=\"failed\"}", 0),
        ("picsift_running ", 0),
        ("picsift_scheduler_answers ", 2),
    ] {
        assert_eq!(metric(&executors, name), wanted, "{name}");
    }
    let scheduler = [&machines.scheduler];
    assert_eq!(metric(scheduler, "picsift_executors "), 2);
    assert!(metric(scheduler, "picsift_tasks_total ") >= 12);
    for program in executors.iter().chain(scheduler) {
        assert_eq!(page(program, "/healthz"), "ok\n");
    }

    // Parts of queries count as well.
    let table = cluster.path("input").join("*.parquet");
    let query = format!(
        "SELECT count(*) AS n FROM '{}' WHERE classify(url, 'fish') IS NULL",
        table.display()
    );
    let far = ["sql", "--format", "csv", "--cluster", &machines.address];
    let there = picsift([&far[..], &["-c", &query]].concat());
    assert_eq!(stdout(&there), "n\n12\n", "{}", stderr(&there));
    let requests = cluster.asked();
    assert!((12..=120).contains(&requests), "{requests}");
    for (name, wanted) in [
        ("picsift_images_total ", 240),
        ("picsift_image_failures_total ", 24),
        ("picsift_units_total{outcome=\"done\"}", 12),
        ("picsift_running ", 0),
    ] {
        assert_eq!(metric(&executors, name), wanted, "{name}");
    }
}

/// What the dead one had asked is asked again, and counts once.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_asked_twice_counts_once_where_an_executor_was_killed() {
    let cluster = Cluster::new(120, Duration::from_millis(40)).await;
    let machines = Machines::new();
    let mut first = machines.executor(&[]);
    let _second = machines.executor(&[]);
    cluster.asked();
    // So that the records stay until somebody publishes them.
    let far = ["--cluster", &machines.address, "--fetches", "2"];
    let strict = [&far[..], &["--max-error-ratio", "0.05"]].concat();
    let job = cluster.start("out", &strict);
    cluster.wait_for_unit_under_way("out", 2);
    first.kill();
    let stopped = ended(job);
    assert!(
        stderr(&stopped).contains("all units are done"),
        "{}",
        stderr(&stopped)
    );
    let asked = cluster.asked();
    assert!((120..=140).contains(&asked), "{asked} images of 120");

    // One that the dead one was about to write may lie beside them.
    let units = cluster.units("out", "units");
    let folder = cluster.work("out").unwrap().join("units");
    let record = |unit: &u32| -> Value {
        let text = std::fs::read(folder.join(format!("{unit:06}.json"))).unwrap();
        serde_json::from_slice(&text).unwrap()
    };
    let records: Vec<Value> = units.iter().map(record).collect();
    assert_eq!(records.len(), 12);
    let output = cluster.path("out");
    let published = stdout(&picsift(["publish", output.to_str().unwrap()]));
    assert!(
        published.starts_with("120 rows, 120 images ("),
        "{published}"
    );
    let manifest = counts(&cluster, "out");
    for count in ["rows", "images", "failures", "asked", "panics"] {
        let of_records = records
            .iter()
            .map(|record| &record["shard"]["counts"][count]);
        let sum: u64 = of_records.map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(manifest[count], sum, "{count}");
    }
    assert_eq!(manifest["images"], 120);
    assert_eq!(manifest["failures"], 12);
}
