//! `picsift gallery --serve`: who may read and correct, and what becomes of corrections.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::tempdir;

use crate::gallery::{browse, data, judged, labelled, shots};
use crate::support::*;

/// A gallery that is served, until it is dropped.
struct Served {
    child: Child,
    port: u16,
}

impl Served {
    fn start(gallery: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_picsift"))
            .args(["gallery", "-o", gallery.to_str().unwrap(), "--serve"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(child.stdout.take().unwrap());
        said.read_line(&mut line).unwrap();
        let (_, rest) = line.split_once("127.0.0.1:").unwrap();
        let port = rest.split('/').next().unwrap().parse().unwrap();
        Self { child, port }
    }

    /// Status and text of the answer to a request with these headers.
    fn ask(&self, request: &str, headers: &[&str], body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let headers: String = headers
            .iter()
            .map(|header| format!("{header}\r\n"))
            .collect();
        write!(
            stream,
            "{request} HTTP/1.1\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn only_its_own_page_may_correct() {
    let out = tempdir().unwrap();
    let gallery = judged(out.path());
    let served = Served::start(&gallery);
    let host = format!("Host: 127.0.0.1:{}", served.port);
    let (status, page) = served.ask("GET /", &[&host], "");
    assert_eq!(status, 200);
    assert!(
        page.contains("content-security-policy: default-src 'none'"),
        "{page}"
    );
    let (_, meta) = served.ask("GET /data/meta.js", &[&host], "");
    let (_, rest) = meta.split_once("\"serve\":{\"token\":\"").unwrap();
    let token = format!("X-Picsift-Token: {}", rest.split('"').next().unwrap());
    // On the disk there is no token.
    assert!(data(&gallery, "meta.js")["serve"].is_null());

    let kind = "Content-Type: application/x-ndjson";
    let line = |row: u64, category: &str, is: bool| {
        serde_json::json!({"key": "images/x.jpg", "row": row, "category": category, "was": null, "is": is, "who": "ada", "when": "2026-01-01T00:00:00Z"})
            .to_string()
            + "\n"
    };
    let good = line(3, "fish", true);
    let rebound = format!("Host: evil.example:{}", served.port);
    let other = "Origin: http://evil.example";
    let own = format!("Origin: http://localhost:{}", served.port);
    for (request, headers, body, status) in [
        ("GET /", vec![rebound.as_str()], "", 403),
        ("GET /data/rows-0.js", vec![&rebound], "", 403),
        ("GET /data/meta.js", vec![&host, other], "", 403),
        (
            "POST /corrections",
            vec![&rebound, &token, kind],
            &good,
            403,
        ),
        (
            "POST /corrections",
            vec![&host, other, &token, kind],
            &good,
            403,
        ),
        (
            "POST /corrections",
            vec![&host, "Origin: null", &token, kind],
            &good,
            403,
        ),
        ("POST /corrections", vec![&host, kind], &good, 403),
        (
            "POST /corrections",
            vec![&host, "X-Picsift-Token: guess", kind],
            &good,
            403,
        ),
        (
            "POST /corrections",
            vec![&host, &token, "Content-Type: text/plain"],
            &good,
            415,
        ),
        (
            "POST /corrections",
            vec![&host, &token, kind],
            "no json\n",
            400,
        ),
        (
            "POST /corrections",
            vec![&host, &token, kind],
            &line(9999, "fish", true),
            400,
        ),
        (
            "POST /corrections",
            vec![&host, &token, kind],
            &line(3, "cow", true),
            400,
        ),
        ("GET /../labelled/_picsift.json", vec![&host], "", 404),
        ("GET /%2e%2e/labelled/_picsift.json", vec![&host], "", 404),
    ] {
        let (found, text) = served.ask(request, &headers, body);
        assert_eq!(found, status, "{request} {headers:?} {body}: {text}");
    }
    let kept = gallery.join("corrections.jsonl");
    assert!(!kept.exists());
    let (status, text) = served.ask("POST /corrections", &[&host, &own, &token, kind], &good);
    assert_eq!(status, 200, "{text}");
    // The last word about an image and a category stays.
    let more = line(3, "fish", false) + &line(3, "animal", true);
    served.ask("POST /corrections", &[&host, &token, kind], &more);
    let lines: Vec<Value> = fs::read_to_string(&kept)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!(
        (&lines[0]["category"], &lines[0]["is"]),
        (&Value::from("fish"), &Value::from(false))
    );

    // What is taken back leaves the file.
    let back = line(3, "animal", true).replace("\"is\":true", "\"is\":null");
    let (status, text) = served.ask("POST /corrections", &[&host, &token, kind], &back);
    assert_eq!(status, 200, "{text}");
    assert_eq!(fs::read_to_string(&kept).unwrap().lines().count(), 1);

    fs::remove_file(&kept).unwrap();
    let url = format!("http://127.0.0.1:{}/index.html", served.port);
    if let Some(found) = browse(&gallery, &shots("served"), Some(&url)) {
        assert_eq!(
            fs::read_to_string(&kept).unwrap().lines().count(),
            3,
            "{found}"
        );
    }
}

/// A new gallery in the same place shows what was corrected in the old one, where its images now are.
#[test]
fn corrections_outlive_their_gallery() {
    let out = tempdir().unwrap();
    let table = labelled(out.path(), REFERENCES);
    let gallery = out.path().join("gallery");
    let make = ["gallery", &table, "-o", gallery.to_str().unwrap()];
    let make = |more: &[&str]| picsift([&make[..], more].concat());
    stdout(&make(&["--no-pictures"]));
    let key = |row: usize| data(&gallery, "rows-0.js")[row]["key"].clone();
    let line = |key: &Value, row: usize| serde_json::json!({"key": key, "row": row, "category": "fish", "was": false, "is": true, "who": "ada", "when": "2026-01-01T00:00:00Z"});
    let (near, far) = (key(2), key(9));
    let kept = gallery.join("corrections.jsonl");
    // The rows are others than they were.
    fs::write(&kept, format!("{}\n{}\n", line(&near, 1), line(&far, 3))).unwrap();
    let said = stdout(&make(&["--overwrite", "--no-pictures", "--limit", "5"]));
    assert!(said.contains("2 corrections"), "{said}");
    let lines: Vec<Value> = fs::read_to_string(&kept)
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    // One image is not shown any more; what was said of it stays.
    let mut away = line(&far, 3);
    away["row"] = Value::Null;
    assert_eq!(lines, [line(&near, 2), away]);

    // The page hears of both, and a file that says nothing is not passed over.
    let served = Served::start(&gallery);
    let host = format!("Host: 127.0.0.1:{}", served.port);
    let (_, meta) = served.ask("GET /data/meta.js", &[&host], "");
    assert!(meta.contains("\"corrections\":[{"), "{meta}");
    fs::write(&kept, "no correction\n").unwrap();
    let said = refused(&make(&["--overwrite"]));
    assert!(said.contains("line 1 of"), "{said}");
    assert_eq!(fs::read_to_string(&kept).unwrap(), "no correction\n");
}
