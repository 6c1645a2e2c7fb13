//! Parts that equal one program's job, what is said of them, and who is refused.

use std::process::Child;
use std::time::{Duration, Instant};

use arrow::array::{Int64Array, StringArray};
use serde_json::Value;

use super::{Cluster, ended};
use crate::kill::rows;
use crate::support::*;

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
