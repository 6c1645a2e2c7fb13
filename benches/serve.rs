//! A server under load: 200 clients by Flight and by JSON, some of whose pictures nobody has asked about before.
//!
//! `cargo bench --bench serve` prints how long each kind of request took, what failed, and the server's memory over time; it fails where a
//! request did. `PICSIFT_SERVE_SECONDS` is how long it goes on (60). All of it is on 127.0.0.1.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow_flight::sql::client::FlightSqlServiceClient;
use base64::Engine as _;
use futures::TryStreamExt;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::Endpoint;

/// Clients that ask by SQL and JSON about pictures whose answers are known.
const BY_JSON: usize = 100;
/// The same by Flight.
const BY_FLIGHT: usize = 80;
/// Clients that bring pictures that nobody has seen.
const NEW_PICTURES: usize = 20;
/// How long a client of the first two kinds thinks between two questions.
const THINKS: Duration = Duration::from_secs(4);

const KNOWN: &str = "SELECT file, classify(image, 'dog') AS dog, classify(image, 'building') AS building \
                     FROM demo.references WHERE collection = 'music'";

struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start() -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_picsift"))
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--metrics",
                "127.0.0.1:0",
                "--no-cache",
            ])
            .args([
                "--allow-folder",
                "demo=datasets/photos",
                "--max-statements",
                "1000",
            ])
            .args(["--log-level", "error"])
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
        Self { child, port }
    }

    /// Bytes of memory that the server has of its own, the processes that decode for it left out.
    fn memory(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        line.unwrap()
            .trim()
            .trim_end_matches(" kB")
            .parse::<u64>()
            .unwrap()
            * 1024
    }
}

/// How long requests of a kind took, in milliseconds.
#[derive(Default)]
struct Times(Mutex<Vec<f64>>);

impl Times {
    fn add(&self, time: Duration) {
        self.0.lock().unwrap().push(time.as_secs_f64() * 1e3);
    }

    fn say(&self, kind: &str) {
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
    }
}

#[derive(Default)]
struct Load {
    json: Times,
    flight: Times,
    pictures: Times,
    failed: AtomicUsize,
}

/// The status and body of an answer on a connection that is kept.
async fn posted(stream: &mut TcpStream, path: &str, body: &str) -> std::io::Result<(u16, String)> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
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

async fn by_json(port: u16, load: Arc<Load>, number: usize, end: Instant) {
    tokio::time::sleep(THINKS * number as u32 / BY_JSON as u32).await;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let body = json!({"sql": KNOWN}).to_string();
    while Instant::now() < end {
        let started = Instant::now();
        match posted(&mut stream, "/v1/sql", &body).await {
            Ok((200, text)) if text.matches("\"dog\"").count() > 5 => {
                load.json.add(started.elapsed())
            }
            other => {
                load.failed.fetch_add(1, Ordering::Relaxed);
                eprintln!("json: {other:?}");
                return;
            }
        }
        tokio::time::sleep(THINKS).await;
    }
}

async fn by_flight(port: u16, load: Arc<Load>, number: usize, end: Instant) {
    tokio::time::sleep(THINKS * number as u32 / BY_FLIGHT as u32).await;
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}")).unwrap();
    let mut client = FlightSqlServiceClient::new(endpoint.connect().await.unwrap());
    while Instant::now() < end {
        let started = Instant::now();
        let asked = async {
            let info = client.execute(KNOWN.to_string(), None).await?;
            let ticket = info.endpoint[0].ticket.clone().unwrap();
            let batches: Vec<_> = client.do_get(ticket).await?.try_collect().await?;
            let rows = batches.iter().map(|batch| batch.num_rows()).sum::<usize>();
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(rows)
        };
        match asked.await {
            Ok(rows) if rows > 5 => load.flight.add(started.elapsed()),
            other => {
                load.failed.fetch_add(1, Ordering::Relaxed);
                eprintln!("flight: {other:?}");
                return;
            }
        }
        tokio::time::sleep(THINKS).await;
    }
}

async fn new_pictures(
    port: u16,
    load: Arc<Load>,
    number: usize,
    end: Instant,
    photo: Arc<Vec<u8>>,
) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    for turn in 0_u64.. {
        if Instant::now() >= end {
            return;
        }
        // What stands after its end is no part of a JPEG, and makes it another picture.
        let mut bytes = photo.to_vec();
        bytes.extend_from_slice(&(number as u64).to_le_bytes());
        bytes.extend_from_slice(&turn.to_le_bytes());
        let data = base64::engine::general_purpose::STANDARD.encode(bytes);
        let body =
            json!({"images": [{"file": "x", "data": data}], "categories": ["dog"]}).to_string();
        let started = Instant::now();
        match posted(&mut stream, "/v1/label", &body).await {
            Ok((200, text)) if text.contains("\"error\":null") => {
                load.pictures.add(started.elapsed())
            }
            other => {
                load.failed.fetch_add(1, Ordering::Relaxed);
                eprintln!("pictures: {other:?}");
                return;
            }
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
    let port = server.port;
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
    // Known from here on.
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let (status, _) = posted(&mut stream, "/v1/sql", &json!({"sql": KNOWN}).to_string())
        .await
        .unwrap();
    assert_eq!(status, 200);
    let load = Arc::new(Load::default());
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..BY_JSON {
        clients.spawn(by_json(port, Arc::clone(&load), number, end));
    }
    for number in 0..BY_FLIGHT {
        clients.spawn(by_flight(port, Arc::clone(&load), number, end));
    }
    for number in 0..NEW_PICTURES {
        clients.spawn(new_pictures(
            port,
            Arc::clone(&load),
            number,
            end,
            Arc::clone(&photo),
        ));
    }
    let mut memory = Vec::new();
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_secs(seconds) / 10).await;
        memory.push(server.memory() >> 20);
    }
    clients.join_all().await;
    load.json.say("known, by JSON");
    load.flight.say("known, by Flight");
    load.pictures.say("new pictures, by JSON");
    println!("memory of the server, MB, each tenth of the time: {memory:?}");
    let failed = load.failed.load(Ordering::Relaxed);
    println!("{failed} requests failed");
    assert_eq!(failed, 0);
}
