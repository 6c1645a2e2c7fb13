//! `picsift serve`: who comes in and reads what, by the real driver and by hand.

mod clients;
mod door;
mod limits;
mod places;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::support::*;

/// What the driver is called in Python, and what makes certificates.
const DRIVER: &str = "adbc_driver_flightsql.dbapi, pyarrow, cryptography";

/// A server, until it is dropped.
struct Serving {
    child: Child,
    port: u16,
    metrics: u16,
    token: String,
    log: Arc<Mutex<String>>,
    folder: TempDir,
}

/// A client's answer.
struct Answer {
    status: u16,
    head: String,
    body: String,
}

impl Serving {
    /// A server of the repository's photographs with a token of the tenant 'research', and these arguments.
    fn start(more: &[&str]) -> Self {
        let folder = tempdir().unwrap();
        Self::with(folder, true, more)
    }

    fn with(folder: TempDir, tokens: bool, more: &[&str]) -> Self {
        let file = folder.path().join("tokens.toml");
        let token = match tokens {
            true => token(&file, "research", "anna"),
            false => String::new(),
        };
        let cache = folder.path().join("answers");
        let mut arguments = vec![
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--metrics",
            "127.0.0.1:0",
        ];
        if !more.contains(&"--allow-folder") {
            arguments.extend(["--allow-folder", "demo=datasets/photos"]);
        }
        if tokens {
            arguments.extend(["--tokens", file.to_str().unwrap()]);
        }
        if !more.contains(&"--no-cache") {
            arguments.extend(["--cache-dir", cache.to_str().unwrap()]);
        }
        arguments.extend(more);
        let mut child = command(&arguments, &cache)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (errors, kept) = (child.stderr.take().unwrap(), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in BufReader::new(errors).lines().map_while(Result::ok) {
                let mut log = kept.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        let mut said = String::new();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        while !said.contains("metrics are at") {
            let before = said.len();
            lines.read_line(&mut said).unwrap();
            if said.len() == before {
                let _ = child.wait();
                std::thread::sleep(Duration::from_millis(100));
                panic!("no server: {said}\n{}", log.lock().unwrap());
            }
        }
        let port = |before: &str| -> u16 {
            let (_, rest) = said.split_once(before).unwrap();
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().unwrap()
        };
        Self {
            port: port("://127.0.0.1:"),
            metrics: port("metrics are at http://127.0.0.1:"),
            child,
            token,
            log,
            folder,
        }
    }

    fn uri(&self) -> String {
        format!("grpc://127.0.0.1:{}", self.port)
    }

    fn ask(&self, request: &str, headers: &[&str], body: &[u8]) -> Answer {
        asked(self.port, request, headers, body)
    }

    fn host(&self) -> String {
        format!("Host: 127.0.0.1:{}", self.port)
    }

    /// The answer to a request of JSON by the holder of a token.
    fn json(&self, token: &str, path: &str, body: &Value) -> Answer {
        let bearer = format!("Authorization: Bearer {token}");
        let headers = [&self.host(), &bearer, "Content-Type: application/json"];
        self.ask(
            &format!("POST {path}"),
            &headers,
            body.to_string().as_bytes(),
        )
    }

    fn sql(&self, statement: &str) -> Answer {
        self.json(&self.token, "/v1/sql", &json!({"sql": statement}))
    }

    /// The rows of a statement that must run.
    fn rows(&self, statement: &str) -> Vec<Value> {
        let answer = self.sql(statement);
        assert_eq!(
            answer.status,
            200,
            "{statement}: {}\n{}",
            answer.body,
            self.log()
        );
        lines(&answer.body)
    }

    fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// A value of the metrics; 0 for one that is not there yet.
    fn metric(&self, name: &str) -> f64 {
        let host = format!("Host: 127.0.0.1:{}", self.metrics);
        let answer = asked(self.metrics, "GET /metrics", &[&host], b"");
        assert_eq!(answer.status, 200, "{}", answer.body);
        let mut lines = answer.body.lines();
        let line = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0.0, |value| value.parse().unwrap())
    }

    /// Waits until something holds, which is a matter of moments.
    fn soon(&self, what: &str, holds: impl Fn() -> bool) {
        let started = Instant::now();
        while !holds() {
            let late = started.elapsed() > Duration::from_secs(60);
            assert!(!late, "this did not come to be: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// What a check of the driver says; `None` where there is no driver here.
    fn driver(&self, check: &str, more: &[&str]) -> Option<String> {
        let mut arguments = vec![check];
        arguments.extend(more);
        driven(&arguments, &self.log)
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn driven(arguments: &[&str], log: &Arc<Mutex<String>>) -> Option<String> {
    let python = match python(DRIVER) {
        Ok(python) => python,
        Err(reason) if std::env::var_os("PICSIFT_REQUIRE_READERS").is_some() => panic!("{reason}"),
        Err(reason) => {
            eprintln!("skipped: {reason}");
            return None;
        }
    };
    let run = Command::new(python)
        .arg("tests/serve/adbc.py")
        .args(arguments)
        .current_dir(root())
        .output()
        .unwrap();
    let said = String::from_utf8(run.stdout.clone()).unwrap();
    let log = log.lock().unwrap();
    assert!(
        run.status.success(),
        "{arguments:?}\n{said}\n{}\n{log}",
        stderr(&run)
    );
    Some(said)
}

/// A new token in a file.
fn token(file: &Path, tenant: &str, name: &str) -> String {
    let made = picsift([
        "token",
        name,
        "--tenant",
        tenant,
        "--tokens",
        file.to_str().unwrap(),
    ]);
    stdout(&made).trim().to_string()
}

fn asked(port: u16, request: &str, headers: &[&str], body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(120)))
        .unwrap();
    let headers: String = headers
        .iter()
        .map(|header| format!("{header}\r\n"))
        .collect();
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    // Who is refused by the head may find the connection closed before the body is gone.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, body) = answer.split_at(end.map_or(answer.len(), |end| end + 4));
    let head = String::from_utf8_lossy(head).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let lower = head.to_ascii_lowercase();
    let body = match lower.contains("transfer-encoding: chunked") {
        true => unchunked(body),
        false => body.to_vec(),
    };
    Answer {
        status: status.unwrap_or(0),
        head,
        body: String::from_utf8_lossy(&body).into_owned(),
    }
}

fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    while let Some(end) = body.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&body[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        let Some(chunk) = body.get(end + 2..end + 2 + size) else {
            break;
        };
        whole.extend_from_slice(chunk);
        body = body.get(end + 4 + size..).unwrap_or_default();
    }
    whole
}

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The rows of a query as the shell prints them.
fn shell(query: &str) -> Vec<Value> {
    lines(&stdout(&picsift(["sql", "--format", "json", query])))
}

/// Asserts that rows are the same but for the last digits of scores, which depend on what an image was asked together with.
fn assert_alike(rows: &[Value], expected: &[Value]) {
    assert_eq!(rows.len(), expected.len());
    for (row, expected) in rows.iter().zip(expected) {
        let (row, expected) = (row.as_object().unwrap(), expected.as_object().unwrap());
        assert!(row.keys().eq(expected.keys()), "{row:?} {expected:?}");
        for (name, value) in row {
            let other = &expected[name];
            let close = match (value.as_f64(), other.as_f64()) {
                (Some(value), Some(other)) => (value - other).abs() < 1e-5,
                _ => value == other,
            };
            assert!(close, "{name}: {row:?} {expected:?}");
        }
    }
}
