//! Programs that are killed, stopped, asked to end, or cannot write.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use super::{Cluster, UNIT, ended};
use crate::kill::{Chance, setting};
use crate::resume::signal;
use crate::support::*;

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
