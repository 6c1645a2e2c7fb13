//! What clients may take, and how work ends.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use super::*;
use crate::resume::signal;

#[test]
fn rows_come_before_all_are_found_and_nothing_is_asked_for_who_goes_away() {
    let serving = Serving::start(&[]);
    let many = json!({"sql": "SELECT file, classify(image, 'dog') AS dog FROM demo.embedded CROSS JOIN generate_series(1, 5000)"});
    let (host, body) = (serving.host(), many.to_string());
    let mut stream = TcpStream::connect(("127.0.0.1", serving.port)).unwrap();
    write!(
        stream,
        "POST /v1/sql HTTP/1.1\r\n{host}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        serving.token,
        body.len()
    )
    .unwrap();
    let mut said = String::new();
    let mut lines = BufReader::new(&stream);
    while !said.contains("\"dog\":") {
        assert!(
            lines.read_line(&mut said).unwrap() > 0,
            "{said}\n{}",
            serving.log()
        );
    }
    assert_eq!(serving.metric("picsift_running"), 1.0);
    drop(stream);
    serving.soon("it has ended", || serving.metric("picsift_running") == 0.0);
    let images = serving.metric("picsift_images_total");
    assert!(images > 0.0 && images < 221.0 * 5000.0, "{images}");
    assert_eq!(
        serving.metric(r#"picsift_requests_total{way="http",outcome="cancelled"}"#),
        1.0
    );
    // Long enough for what would still be under way to be counted.
    serving.rows("SELECT classify(image, 'cat') FROM demo.embedded LIMIT 1");
    let more = serving.metric("picsift_images_total") - images;
    assert!(more < 221.0, "{more}");
}

#[test]
fn what_a_statement_may_take_ends_it() {
    let serving = Serving::start(&[
        "--max-images",
        "20",
        "--max-rows",
        "1000",
        "--max-seconds",
        "20",
        "--max-statements",
        "2",
        "--max-bytes",
        "3000000",
    ]);
    let ended = |statement: &str, what: &str| {
        let answer = serving.sql(statement);
        assert!(
            answer.status == 429 || answer.status == 200,
            "{statement}: {} {}",
            answer.status,
            answer.body
        );
        let kept = r#"picsift_requests_total{way="http",outcome="exhausted"}"#;
        serving.soon(what, || serving.metric(kept) > 0.0);
        serving.metric(kept)
    };
    let images = ended(
        "SELECT classify(image, 'dog') FROM demo.embedded",
        "images are bounded",
    );
    let rows = ended("SELECT * FROM generate_series(1, 5000)", "rows are bounded");
    assert_eq!(rows, images + 1.0);
    let bytes = ended(
        "SELECT count(load_image(image)) FROM demo.references",
        "bytes are bounded",
    );
    assert_eq!(bytes, rows + 1.0);
    assert!(serving.metric("picsift_images_asked_total") <= 20.0);
    // A client may ask for less, not for more.
    assert_eq!(serving.sql("SET picsift.max_images = 10").status, 200);
    assert_eq!(serving.sql("SET picsift.max_images = 21").status, 403);
    // Two statements at once, whose readers take nothing, leave no room for a third and end by their time.
    let endless = json!({"sql": "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 1000) c"});
    let body = endless.to_string();
    let open: Vec<TcpStream> = (0..2)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", serving.port)).unwrap();
            let (host, token) = (serving.host(), &serving.token);
            write!(
                stream,
                "POST /v1/sql HTTP/1.1\r\n{host}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
            .unwrap();
            stream
        })
        .collect();
    serving.soon("both run", || serving.metric("picsift_running") == 2.0);
    let third = serving.sql("SELECT 1");
    assert_eq!(third.status, 429, "{}", third.body);
    assert!(
        third.body.contains("2 statements at once"),
        "{}",
        third.body
    );
    serving.soon("both have ended", || {
        serving.metric("picsift_running") == 0.0
    });
    assert_eq!(serving.rows("SELECT 1 AS one"), [json!({"one": 1})]);
    drop(open);
}

#[test]
fn a_server_says_whether_it_is_well_and_ends_when_it_is_asked_to() {
    let mut serving = Serving::start(&[]);
    let host = format!("Host: 127.0.0.1:{}", serving.metrics);
    let health = asked(serving.metrics, "GET /healthz", &[&host], b"");
    assert_eq!((health.status, health.body.as_str()), (200, "ok\n"));
    serving.rows("SELECT classify(image, 'dog') FROM demo.embedded LIMIT 5");
    for name in [
        "picsift_images_total",
        "picsift_images_asked_total",
        "picsift_stage_seconds_total{stage=\"decode\"}",
        "picsift_stage_seconds_total{stage=\"model\"}",
        "picsift_requests_total{way=\"http\",outcome=\"ok\"}",
    ] {
        assert!(serving.metric(name) > 0.0, "{name}");
    }
    let answer = asked(serving.metrics, "GET /metrics", &[&host], b"");
    let batches = answer
        .body
        .lines()
        .find(|line| line.starts_with("picsift_model_batches_total{"));
    assert!(batches.is_some(), "{}", answer.body);
    let log = serving.log();
    assert!(
        log.contains("research/anna") && log.contains("SELECT classify"),
        "{log}"
    );
    assert!(!log.contains(&serving.token), "{log}");
    let started = Instant::now();
    signal(&serving.child, "TERM");
    let status = serving.child.wait().unwrap();
    assert!(status.success(), "{status:?}");
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_token_has_so_much_in_an_hour_and_is_told_when_it_is_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let bob = token(&folder.path().join("tokens.toml"), "research", "bob");
    let serving = Serving::with(folder, true, &["--hourly-images", "30"]);
    let few = json!({"sql": "SELECT classify(image, 'dog') AS dog FROM demo.embedded LIMIT 5"});
    assert_eq!(serving.json(&serving.token, "/v1/sql", &few).status, 200);
    let all = "SELECT count(*) AS n FROM demo.embedded WHERE classify(image, 'cat')";
    let answer = serving.sql(all);
    assert_eq!(answer.status, 429, "{}", answer.body);
    // Looked at ten times a second; until then images are asked about.
    assert!(serving.metric("picsift_images_asked_total") > 30.0);
    for _ in 0..2 {
        let answer = serving.sql("SELECT 1 AS one");
        assert_eq!(answer.status, 429, "{}", answer.body);
        assert!(
            answer.body.contains("the 30 images of its hour") && answer.body.contains("minutes"),
            "{}",
            answer.body
        );
    }
    let picture = json!({"images": [{"file": "a", "data": ""}], "categories": ["dog"]});
    assert_eq!(
        serving.json(&serving.token, "/v1/label", &picture).status,
        429
    );
    // Another token has an hour of its own.
    assert_eq!(serving.json(&bob, "/v1/sql", &few).status, 200);
}

#[test]
fn a_text_that_doubles_ends_and_the_server_goes_on() {
    let serving = Serving::start(&[]);
    let doubled = |step: &str| {
        // Not one within the other: the parser bounds that.
        let first = "WITH t0 AS (SELECT file AS x FROM demo.embedded)".to_string();
        let all = (0..40).fold(first, |sql, at| {
            format!("{sql}, t{} AS (SELECT {step} AS x FROM t{at})", at + 1)
        });
        format!("{all} SELECT max(length(x)) AS n FROM t40")
    };
    let long = "x".repeat(500_000);
    for hostile in [
        doubled("x || x"),
        doubled("concat(x, x)"),
        doubled("replace(x, 'e', x)"),
        format!("SELECT max(length(replace('{long}', 'x', '{long}')))"),
    ] {
        let answer = serving.sql(&hostile);
        assert_eq!(answer.status, 429, "{:.100}: {}", hostile, answer.body);
        assert!(answer.body.contains("needs more memory"), "{}", answer.body);
    }
    // A long constant is no mistake, nor is it beside many rows.
    let beside = format!(
        "SELECT count(*) AS n FROM (SELECT '{long}' AS x, file FROM demo.embedded, generate_series(1, 100)) WHERE x <> file"
    );
    assert_eq!(serving.rows(&beside), [json!({"n": 22_100})]);
    let often =
        json!({"sql": format!("SELECT length($1{})", " || $1".repeat(500)), "parameters": [long]});
    let answer = serving.json(&serving.token, "/v1/sql", &often);
    assert_eq!(answer.status, 400, "{}", answer.body);
    let status = std::fs::read_to_string(format!("/proc/{}/status", serving.child.id())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let peak: u64 = peak
        .unwrap()
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .unwrap();
    assert!(peak < 3 << 20, "{peak} kB at most");
}

/// The niceness of each thread of a process, with its name.
#[cfg(target_os = "linux")]
fn niceness(process: u32) -> Vec<(String, i64)> {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).unwrap();
    let stat = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("stat")).ok();
    let stats = tasks.filter_map(|task| stat(task.unwrap()));
    let read = |stat: String| {
        let (before, after) = stat.rsplit_once(')').unwrap();
        let name = before.split_once('(').unwrap().1.to_string();
        // The 19th field, of which the name was the second.
        (
            name,
            after.split_whitespace().nth(16).unwrap().parse().unwrap(),
        )
    };
    stats.map(read).collect()
}

#[cfg(target_os = "linux")]
#[test]
fn what_decodes_and_computes_lets_what_is_known_go_first() {
    let serving = Serving::start(&[]);
    serving.rows("SELECT classify(image, 'person') AS p FROM demo.embedded LIMIT 20");
    let threads = niceness(serving.child.id());
    let own = threads
        .iter()
        .find(|(name, _)| name == "picsift")
        .unwrap()
        .1;
    for kind in ["picsift-decode", "picsift-model"] {
        let mut of_kind = threads
            .iter()
            .filter(|(name, _)| name.starts_with(kind))
            .peekable();
        assert!(of_kind.peek().is_some(), "{kind}: {threads:?}");
        assert!(of_kind.all(|(_, nice)| *nice > own), "{kind}: {threads:?}");
    }
    let mut speaks = threads
        .iter()
        .filter(|(name, _)| name.starts_with("picsift-query"));
    assert!(speaks.all(|(_, nice)| *nice == own), "{threads:?}");
    let decoders: Vec<_> = std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse::<u32>().ok())
        .filter(|process| parent(*process) == Some(serving.child.id()))
        .collect();
    assert!(!decoders.is_empty());
    for decoder in decoders {
        let threads = niceness(decoder);
        assert!(threads.iter().all(|(_, nice)| *nice > own), "{threads:?}");
    }
}

#[cfg(target_os = "linux")]
fn parent(process: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, after) = stat.rsplit_once(')')?;
    after.split_whitespace().nth(1)?.parse().ok()
}
