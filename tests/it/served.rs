//! `picsift gallery --serve`: who may read and correct, and what becomes of corrections.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::tempdir;

use crate::gallery::{browse, data, judged, labelled, shots};
use crate::resume::signal;
use crate::support::*;

/// A gallery that is served, until it is dropped.
struct Served {
    child: Child,
    port: u16,
    /// The address that lets in.
    link: String,
    /// What it gives, as a header.
    cookie: String,
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
        let link = line.split(' ').find(|word| word.starts_with("http://"));
        let link = link.unwrap().to_string();
        let (_, rest) = link.split_once("127.0.0.1:").unwrap();
        let (port, key) = rest.split_once("/?").unwrap();
        let mut served = Self {
            child,
            port: port.parse().unwrap(),
            link: link.clone(),
            cookie: String::new(),
        };
        let (status, answer) = served.ask(&format!("GET /?{key}"), &[&served.host()], "");
        assert_eq!(status, 200, "{answer}");
        let cookie = answer
            .lines()
            .find_map(|line| line.strip_prefix("set-cookie: "));
        let (cookie, rest) = cookie.unwrap().split_once("; ").unwrap();
        assert_eq!(rest, "Path=/; HttpOnly; SameSite=Strict");
        served.cookie = format!("Cookie: {cookie}");
        served
    }

    fn host(&self) -> String {
        format!("Host: 127.0.0.1:{}", self.port)
    }

    /// Sends this signal; how long the program took to end, and its exit code.
    fn stop(&mut self, name: &str) -> (Duration, Option<i32>) {
        let started = Instant::now();
        signal(&self.child, name);
        while started.elapsed() < Duration::from_secs(20) {
            if let Some(status) = self.child.try_wait().unwrap() {
                return (started.elapsed(), status.code());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("SIG{name} did not end it");
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
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer).into_owned();
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
    let (host, cookie) = (served.host(), served.cookie.as_str());
    let (status, page) = served.ask("GET /", &[&host, cookie], "");
    assert_eq!(status, 200);
    assert!(
        page.contains("content-security-policy: default-src 'none'"),
        "{page}"
    );
    let (_, meta) = served.ask("GET /data/meta.js", &[&host, cookie], "");
    let (_, rest) = meta.split_once("\"serve\":{\"token\":\"").unwrap();
    let token = format!("X-Picsift-Token: {}", rest.split('"').next().unwrap());
    // On the disk there is no token.
    assert!(data(&gallery, "meta.js")["serve"].is_null());

    let kind = "Content-Type: application/x-ndjson";
    let key = data(&gallery, "rows-0.js")[3]["key"].clone();
    let line = |row: u64, category: &str, is: bool| {
        serde_json::json!({"key": key, "row": row, "category": category, "was": null, "is": is, "who": "ada", "when": "2026-01-01T00:00:00Z"})
            .to_string()
            + "\n"
    };
    let good = line(3, "fish", true);
    let rebound = format!("Host: evil.example:{}", served.port);
    let other = "Origin: http://evil.example";
    let own = format!("Origin: http://localhost:{}", served.port);
    let post = "POST /corrections";
    let all = [host.as_str(), cookie, &token, kind];
    let wrong = cookie.replace(|c: char| c == cookie.chars().last().unwrap(), "z");
    for (request, headers, body, status) in [
        ("GET /", vec![rebound.as_str(), cookie], "", 403),
        ("GET /data/rows-0.js", vec![&rebound, cookie], "", 403),
        ("GET /data/meta.js", vec![&host, cookie, other], "", 403),
        // Another user of the machine gets nothing.
        ("GET /", vec![&host], "", 403),
        ("GET /index.html", vec![&host, &wrong], "", 403),
        ("GET /data/meta.js", vec![&host], "", 403),
        ("GET /thumbs/000/000000.jpg", vec![&host], "", 403),
        ("GET /?key=", vec![&host], "", 403),
        ("GET /nothing", vec![&host], "", 403),
        (post, vec![&host, &token, kind], &good, 403),
        (post, vec![&rebound, cookie, &token, kind], &good, 403),
        (post, vec![&host, cookie, other, &token, kind], &good, 403),
        (
            post,
            vec![&host, cookie, "Origin: null", &token, kind],
            &good,
            403,
        ),
        (post, vec![&host, cookie, kind], &good, 403),
        (
            post,
            vec![&host, cookie, "X-Picsift-Token: guess", kind],
            &good,
            403,
        ),
        (
            post,
            vec![&host, cookie, &token, "Content-Type: text/plain"],
            &good,
            415,
        ),
        (post, all.to_vec(), "no json\n", 400),
        (post, all.to_vec(), &line(9999, "fish", true), 400),
        (post, all.to_vec(), &line(3, "cow", true), 400),
        // Another image than the row's, one of no row, a time that is none, a name that is no name.
        (post, all.to_vec(), &line(4, "fish", true), 400),
        (
            post,
            all.to_vec(),
            &good.replace(key.as_str().unwrap(), "images/x.jpg"),
            400,
        ),
        (
            post,
            all.to_vec(),
            &good.replace("2026-01-01T00:00:00Z", "yesterday"),
            400,
        ),
        (
            post,
            all.to_vec(),
            &good.replace("ada", "a\\u001b[2Jda"),
            400,
        ),
        (
            post,
            all.to_vec(),
            &good.replace("ada", &"a".repeat(201)),
            400,
        ),
        ("PUT /index.html", vec![&host, cookie], "", 405),
        (
            "GET /../labelled/_picsift.json",
            vec![&host, cookie],
            "",
            404,
        ),
        (
            "GET /%2e%2e/labelled/_picsift.json",
            vec![&host, cookie],
            "",
            404,
        ),
        ("GET /.corrections.lock", vec![&host, cookie], "", 404),
        ("GET /data", vec![&host, cookie], "", 404),
        ("GET /thumbs/000/000000.jpg", vec![&host, cookie], "", 200),
    ] {
        let (found, text) = served.ask(request, &headers, body);
        assert_eq!(found, status, "{request} {headers:?} {body}: {text}");
        // What is refused for its head comes without a word of the gallery, and ends the connection.
        if status == 403 && !headers.contains(&cookie) {
            assert!(!text.contains("picsift.") && text.len() < 1200, "{text}");
            assert!(text.contains("connection: close"), "{text}");
        }
    }
    let kept = gallery.join("corrections.jsonl");
    assert!(!kept.exists());
    let (status, text) = served.ask(post, &[&host, cookie, &own, &token, kind], &good);
    assert_eq!(status, 200, "{text}");
    // The last word about an image and a category stays.
    let more = line(3, "fish", false) + &line(3, "animal", true);
    served.ask(post, &all, &more);
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
    let (status, text) = served.ask(post, &all, &back);
    assert_eq!(status, 200, "{text}");
    assert_eq!(fs::read_to_string(&kept).unwrap().lines().count(), 1);

    fs::remove_file(&kept).unwrap();
    if let Some(found) = browse(&gallery, &shots("served"), Some(&served.link)) {
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
    let place = gallery.to_str().unwrap();
    let make = ["gallery", &table, "-o", place, "--base", REFERENCES];
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
    let (_, meta) = served.ask("GET /data/meta.js", &[&served.host(), &served.cookie], "");
    assert!(meta.contains("\"corrections\":[{"), "{meta}");
    fs::write(&kept, "no correction\n").unwrap();
    let said = refused(&make(&["--overwrite"]));
    assert!(said.contains("line 1 of"), "{said}");
    assert_eq!(fs::read_to_string(&kept).unwrap(), "no correction\n");
}

/// Somebody else on the machine, who has no link, holds connections and sends what is never read; the owner is served meanwhile, and
/// both signals end the program whatever is open.
#[cfg(target_os = "linux")]
#[test]
fn nobody_keeps_the_owner_out_or_the_program_going() {
    let out = tempdir().unwrap();
    let gallery = small(out.path());
    for name in ["INT", "TERM"] {
        let mut served = Served::start(&gallery);
        let memory = || {
            let status = fs::read_to_string(format!("/proc/{}/status", served.child.id())).unwrap();
            let line = status
                .lines()
                .find(|line| line.starts_with("VmRSS"))
                .unwrap();
            let kilobytes = line.split_whitespace().nth(1).unwrap();
            kilobytes.parse::<u64>().unwrap() >> 10
        };
        let before = memory();
        let connect = || TcpStream::connect(("127.0.0.1", served.port)).unwrap();
        let host = served.host();
        // Bodies without a token: refused by their heads.
        for _ in 0..20 {
            let mut stream = connect();
            write!(
                stream,
                "POST /corrections HTTP/1.1\r\n{host}\r\nContent-Length: 33554432\r\n\r\n"
            )
            .unwrap();
            let part = vec![b'x'; 1 << 20];
            // It is closed in the midst of them.
            let sent = (0..31)
                .take_while(|_| stream.write_all(&part).is_ok())
                .count();
            assert!(sent < 31, "all of a stranger's body was taken");
        }
        // Heads that never end.
        let slow: Vec<_> = (0..300)
            .map(|_| {
                let mut stream = connect();
                let _ = write!(stream, "GET / HTTP/1.1\r\n{host}\r\nX: ");
                stream
            })
            .collect();
        let started = Instant::now();
        let (status, _) = served.ask("GET /", &[&host, &served.cookie], "");
        assert_eq!(status, 200);
        assert!(
            started.elapsed() < Duration::from_secs(10),
            "{:?}",
            started.elapsed()
        );
        assert!(memory() < before + 64, "{before} MB became {} MB", memory());
        // One of the owner's, open and idle.
        let mut own = connect();
        write!(own, "GET / HTTP/1.1\r\n{host}\r\n{}\r\n\r\n", served.cookie).unwrap();
        let mut some = [0; 100];
        own.read_exact(&mut some).unwrap();
        let (took, code) = served.stop(name);
        assert!(took < Duration::from_secs(15), "SIG{name} took {took:?}");
        assert_eq!(code, Some(0));
        drop((slow, own));
    }
}

#[test]
fn a_head_is_short_and_comes_soon() {
    let out = tempdir().unwrap();
    let served = Served::start(&small(out.path()));
    let long = format!("X: {}", "x".repeat(20 << 10));
    let mut stream = TcpStream::connect(("127.0.0.1", served.port)).unwrap();
    let (host, cookie) = (served.host(), &served.cookie);
    let _ = write!(
        stream,
        "GET / HTTP/1.1\r\n{host}\r\n{cookie}\r\n{long}\r\n\r\n"
    );
    let mut answer = Vec::new();
    // The connection may be reset before what was said is read.
    let _ = stream.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.contains(" 431 "), "{answer}");
    let mut stream = TcpStream::connect(("127.0.0.1", served.port)).unwrap();
    write!(stream, "GET / HTTP/1.1\r\n").unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .unwrap();
    let mut rest = Vec::new();
    // The connection is closed; nobody waits for its end.
    stream.read_to_end(&mut rest).unwrap();
}

/// Who can write into the folder does not choose what else of the machine is shown, read or written.
#[cfg(unix)]
#[test]
fn links_in_the_folder_lead_nowhere() {
    use std::os::unix::fs::symlink;
    let out = tempdir().unwrap();
    let gallery = small(out.path());
    let secret = out.path().join("secret.js");
    fs::write(&secret, "picsift.secret").unwrap();
    symlink(&secret, gallery.join("data/category-9.js")).unwrap();
    symlink(out.path(), gallery.join("data/up")).unwrap();
    {
        let served = Served::start(&gallery);
        for name in ["data/category-9.js", "data/up/secret.js"] {
            let headers = [served.host(), served.cookie.clone()];
            let headers = [headers[0].as_str(), &headers[1]];
            let (status, text) = served.ask(&format!("GET /{name}"), &headers, "");
            assert_eq!(status, 404, "{name}: {text}");
            assert!(!text.contains("secret\n"), "{text}");
        }
    }
    symlink(&secret, gallery.join("corrections.jsonl")).unwrap();
    let place = gallery.to_str().unwrap();
    let said = stderr(&picsift(["gallery", "-o", place, "--serve"]));
    assert!(said.contains("links are not followed"), "{said}");
    fs::remove_file(gallery.join("corrections.jsonl")).unwrap();
    // What a gallery's own files must say.
    fs::write(gallery.join("data/rows-0.js"), "picsift.rows(0,[]);\n").unwrap();
    let said = refused(&picsift(["gallery", "-o", place, "--serve"]));
    assert!(
        said.contains("rows-0.js") && said.contains("make the gallery again"),
        "{said}"
    );
    let marker = gallery.join("_picsift_gallery.json");
    fs::write(&marker, r#"{"rows":1000000000000000000,"categories":[]}"#).unwrap();
    let said = refused(&picsift(["gallery", "-o", place, "--serve"]));
    assert!(said.contains("1000000000000000000 rows"), "{said}");
}

/// A gallery of two rows.
fn small(folder: &Path) -> std::path::PathBuf {
    let table = folder.join("table.parquet");
    let images: Vec<_> = ["dam1_055.jpg", "dam1_055.jpg"]
        .into_iter()
        .map(photo)
        .collect();
    let images: Vec<_> = images.iter().map(Vec::as_slice).collect();
    let answers = arrow::array::BooleanArray::from(vec![true, false]);
    write_table(
        &table,
        vec![
            ("image", array(arrow::array::BinaryArray::from(images))),
            ("is_fish", array(answers)),
        ],
    );
    let gallery = folder.join("gallery");
    let place = gallery.to_str().unwrap();
    stdout(&picsift([
        "gallery",
        table.to_str().unwrap(),
        "-o",
        place,
        "--image",
        "image",
    ]));
    gallery
}
