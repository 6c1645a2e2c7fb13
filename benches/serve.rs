//! A server under load: 200 clients by Flight and by JSON, of whom some bring pictures that nobody has asked about before and some join and
//! group rows, and strangers who send 1,000 hostile requests meanwhile.
//!
//! `cargo bench --bench serve` prints how long each kind of request took, what failed, and the server's memory over time; it fails where a
//! request did, where a stranger came in, and where one of a hundred questions whose answers are known takes [`KNOWN_WITHIN`]. `PICSIFT_SERVE_SECONDS`
//! is how long it goes on (60). All of it is on 127.0.0.1, clients and server on the same cores.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow_flight::sql::client::FlightSqlServiceClient;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use futures::TryStreamExt;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::Endpoint;

/// Clients that ask by SQL and JSON about pictures whose answers are known.
const BY_JSON: usize = 90;
/// The same by Flight.
const BY_FLIGHT: usize = 80;
/// Clients that bring pictures that nobody has seen.
const NEW_PICTURES: usize = 20;
/// Clients that join, group and sort rows.
const ROWS: usize = 10;
/// Hostile requests.
const HOSTILE: usize = 1000;
/// How long a client of known answers, or of rows, thinks between two questions.
const THINKS: Duration = Duration::from_secs(4);
/// How soon 99 of 100 known answers have to be there.
const KNOWN_WITHIN: Duration = Duration::from_millis(50);

const KNOWN: &str = "SELECT file, classify(image, 'dog') AS dog, classify(image, 'building') AS building \
                     FROM demo.references WHERE collection = 'music'";

const GROUPED: &str = "SELECT collection, count(*) AS dog, max(file || value::text) AS most FROM demo.references, generate_series(1, 200) \
                       GROUP BY collection ORDER BY dog DESC";

struct Server {
    child: Child,
    port: u16,
    token: String,
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
        let program = || Command::new(env!("CARGO_BIN_EXE_picsift"));
        let made = program()
            .args(["token", "anna", "--tokens", &path("tokens.toml")])
            .output()
            .unwrap();
        let token = String::from_utf8(made.stdout).unwrap().trim().to_string();
        let mut child = program()
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--metrics",
                "127.0.0.1:0",
            ])
            .args(["--allow-folder", "demo=datasets/photos"])
            .args([
                "--tokens",
                &path("tokens.toml"),
                "--cache-dir",
                &path("answers"),
            ])
            .args(["--max-statements", "1000", "--log-level", "error"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let (_, rest) = line.split_once("JSON at http://127.0.0.1:").unwrap();
        let port = rest.split(',').next().unwrap().parse().unwrap();
        Self {
            child,
            port,
            token,
            _folder: folder,
        }
    }

    /// Bytes of memory that the server has of its own, the processes that decode for it left out.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
        kilobytes.parse::<u64>().unwrap() * 1024
    }
}

/// How long requests of a kind took, in milliseconds.
#[derive(Default)]
struct Times(Mutex<Vec<f64>>);

impl Times {
    fn add(&self, time: Duration) {
        self.0.lock().unwrap().push(time.as_secs_f64() * 1e3);
    }

    /// Says them, and gives what 99 of 100 took at most.
    fn say(&self, kind: &str) -> f64 {
        let mut times = self.0.lock().unwrap().clone();
        times.sort_by(f64::total_cmp);
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        println!(
            "{kind:<24} {:>7} requests  p50 {:>7.1} ms  p90 {:>7.1} ms  p99 {:>7.1} ms  most {:>7.1} ms",
            times.len(),
            at(0.5),
            at(0.9),
            at(0.99),
            at(1.0),
        );
        at(0.99)
    }
}

/// What all clients share.
struct Load {
    port: u16,
    token: String,
    end: Instant,
    json: Times,
    flight: Times,
    pictures: Times,
    rows: Times,
    failed: AtomicUsize,
}

/// The status and body of an answer on a connection that is kept.
async fn posted(
    stream: &mut TcpStream,
    token: &str,
    path: &str,
    body: &Value,
) -> std::io::Result<(u16, String)> {
    let body = body.to_string();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut part = [0; 16 << 10];
    loop {
        let read = stream.read(&mut part).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&part[..read]);
        let status = || String::from_utf8_lossy(&answer[9..12]).parse().unwrap_or(0);
        if answer.ends_with(b"\r\n0\r\n\r\n") || (answer.len() > 12 && status() != 200) {
            return Ok((status(), String::from_utf8_lossy(&answer).into_owned()));
        }
    }
}

impl Load {
    fn is_over(&self) -> bool {
        Instant::now() >= self.end
    }

    fn lost(&self, what: &str, answer: &dyn std::fmt::Debug) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        eprintln!("{what}: {answer:?}");
    }

    async fn connected(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    /// A client of those `of` that asks for the rows of a statement again and again, and thinks between.
    async fn by_json(&self, number: usize, of: usize, sql: &str, times: &Times) {
        tokio::time::sleep(THINKS * number as u32 / of as u32).await;
        let mut stream = self.connected().await;
        let body = json!({"sql": sql});
        while !self.is_over() {
            let started = Instant::now();
            match posted(&mut stream, &self.token, "/v1/sql", &body).await {
                Ok((200, text)) if text.matches("\"dog\"").count() > 5 => {
                    times.add(started.elapsed())
                }
                other => return self.lost("json", &other),
            }
            tokio::time::sleep(THINKS).await;
        }
    }

    async fn by_flight(&self, number: usize) {
        tokio::time::sleep(THINKS * number as u32 / BY_FLIGHT as u32).await;
        let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{}", self.port)).unwrap();
        let mut client = FlightSqlServiceClient::new(endpoint.connect().await.unwrap());
        client.set_token(self.token.clone());
        while !self.is_over() {
            let started = Instant::now();
            let asked = async {
                let info = client.execute(KNOWN.to_string(), None).await?;
                let ticket = info.endpoint[0].ticket.clone().unwrap();
                let batches: Vec<_> = client.do_get(ticket).await?.try_collect().await?;
                let rows = batches.iter().map(|batch| batch.num_rows()).sum::<usize>();
                Ok::<_, Box<dyn std::error::Error + Send + Sync>>(rows)
            };
            match asked.await {
                Ok(rows) if rows > 5 => self.flight.add(started.elapsed()),
                other => return self.lost("flight", &other),
            }
            tokio::time::sleep(THINKS).await;
        }
    }

    async fn new_pictures(&self, number: usize, photo: &[u8]) {
        let mut stream = self.connected().await;
        for turn in 0_u64.. {
            if self.is_over() {
                return;
            }
            // What stands after its end is no part of a JPEG, and makes it another picture.
            let mut bytes = photo.to_vec();
            bytes.extend_from_slice(&(number as u64).to_le_bytes());
            bytes.extend_from_slice(&turn.to_le_bytes());
            let images = json!([{"file": "x", "data": STANDARD.encode(bytes)}]);
            let body = json!({"images": images, "categories": ["dog"]});
            let started = Instant::now();
            match posted(&mut stream, &self.token, "/v1/label", &body).await {
                Ok((200, text)) if text.contains("\"error\":null") => {
                    self.pictures.add(started.elapsed());
                }
                other => return self.lost("pictures", &other),
            }
        }
    }

    /// Strangers: wrong tokens, endless heads, messages that are too large, paths that lead elsewhere, and connections that say nothing more.
    async fn hostile(&self) {
        let pause = self.end.saturating_duration_since(Instant::now()) / (HOSTILE as u32 + 100);
        let mut held = std::collections::VecDeque::new();
        for number in 0..HOSTILE {
            let mut stream = self.connected().await;
            let token = match number % 2 {
                0 => "picsift_0",
                _ => &self.token,
            };
            let head = |path: &str, more: &str| {
                format!(
                    "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{more}"
                )
            };
            let shown = |token: &str| format!("Authorization: Bearer {token}\r\n");
            let elsewhere = json!({"sql": "SELECT * FROM demo.\"../../Cargo.toml\""}).to_string();
            let request = match number % 6 {
                0 => head(
                    "/v1/sql",
                    &(shown("picsift_0") + "Content-Length: 14\r\n\r\n{\"sql\": \"1\"}"),
                ),
                1 => head(
                    "/v1/sql",
                    &(shown(token) + "Content-Length: 99999999999\r\n\r\n"),
                ),
                2 => head("/v1/../../etc/passwd", "Content-Length: 0\r\n\r\n"),
                3 => head(
                    "/v1/sql",
                    &(shown(token)
                        + &format!("Content-Length: {}\r\n\r\n{elsewhere}", elsewhere.len())),
                ),
                4 => head("/v1/sql", &format!("X: {}\r\n", "x".repeat(1 << 20))),
                _ => head("/v1/sql", "X: "),
            };
            // Who is refused by what came first may find the connection closed.
            let _ = stream.write_all(request.as_bytes()).await;
            if number % 6 == 5 {
                held.push_back(stream);
                if held.len() > 100 {
                    held.pop_front();
                }
            } else {
                let mut said = [0; 12];
                let read =
                    tokio::time::timeout(Duration::from_secs(30), stream.read_exact(&mut said));
                match read.await {
                    Ok(Ok(_)) if said.starts_with(b"HTTP/1.1 4") => {}
                    // The connection was closed without a word.
                    Ok(Err(_)) => {}
                    other => return self.lost(&format!("hostile {}", number % 6), &(other, said)),
                }
            }
            tokio::time::sleep(pause).await;
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let seconds = std::env::var("PICSIFT_SERVE_SECONDS").ok();
    let seconds = seconds
        .and_then(|seconds| seconds.parse().ok())
        .unwrap_or(60);
    let server = Server::start();
    let photos =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("datasets/photos/references/images");
    let photo = walkdir::WalkDir::new(photos)
        .sort_by_file_name()
        .into_iter()
        .flatten();
    let photo = photo
        .map(|entry| entry.into_path())
        .find(|path| path.extension().is_some_and(|end| end == "jpg"));
    let photo = Arc::new(std::fs::read(photo.unwrap()).unwrap());
    let load = Arc::new(Load {
        port: server.port,
        token: server.token.clone(),
        end: Instant::now() + Duration::from_secs(seconds),
        json: Times::default(),
        flight: Times::default(),
        pictures: Times::default(),
        rows: Times::default(),
        failed: AtomicUsize::new(0),
    });
    // Known from here on.
    let mut stream = load.connected().await;
    let known = posted(&mut stream, &load.token, "/v1/sql", &json!({"sql": KNOWN})).await;
    assert_eq!(known.unwrap().0, 200);
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..BY_JSON {
        let load = Arc::clone(&load);
        clients.spawn(async move { load.by_json(number, BY_JSON, KNOWN, &load.json).await });
    }
    for number in 0..BY_FLIGHT {
        let load = Arc::clone(&load);
        clients.spawn(async move { load.by_flight(number).await });
    }
    for number in 0..NEW_PICTURES {
        let (load, photo) = (Arc::clone(&load), Arc::clone(&photo));
        clients.spawn(async move { load.new_pictures(number, &photo).await });
    }
    for number in 0..ROWS {
        let load = Arc::clone(&load);
        clients.spawn(async move { load.by_json(number, ROWS, GROUPED, &load.rows).await });
    }
    let stranger = Arc::clone(&load);
    clients.spawn(async move { stranger.hostile().await });
    let mut memory = Vec::new();
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(seconds) / 10).await;
        memory.push(server.memory() >> 20);
    }
    clients.join_all().await;
    let by_json = load.json.say("known, by JSON");
    let by_flight = load.flight.say("known, by Flight");
    load.pictures.say("new pictures, by JSON");
    load.rows.say("joins and groups, by JSON");
    println!("memory of the server, MB, each tenth of the time: {memory:?}");
    let failed = load.failed.load(Ordering::Relaxed);
    println!("{failed} requests failed, {HOSTILE} were hostile");
    assert_eq!(failed, 0);
    let most = KNOWN_WITHIN.as_secs_f64() * 1e3;
    assert!(
        by_json.max(by_flight) <= most,
        "known answers take longer than {most} ms"
    );
}
