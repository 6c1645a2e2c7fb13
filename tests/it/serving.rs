//! `picsift serve`: who comes in and reads what, by the real driver and by hand.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::{TempDir, tempdir};

use crate::resume::signal;
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

#[test]
fn the_real_driver_gets_the_rows_of_the_shell() {
    let serving = Serving::start(&[]);
    let query = |table: &str| {
        format!(
            "SELECT file, classify(image, 'dog') AS dog, classify_score(image, 'building') AS building, \
             classify_labels(image, ['fish', 'musical instrument']) AS labels FROM {table} ORDER BY file"
        )
    };
    let expected = shell(&query("'datasets/photos/embedded'"));
    assert!(expected.len() > 100);
    let served = query("demo.embedded");
    assert_alike(&serving.rows(&served), &expected);
    if let Some(rows) = serving.driver("query", &[&serving.uri(), &serving.token, &served]) {
        assert_alike(&lines(&rows), &expected);
    }
    // References are read as those of their table.
    let photos = "SELECT file, classify(image, 'dog') AS dog FROM {} ORDER BY file LIMIT 20";
    assert_eq!(
        serving.rows(&photos.replace("{}", "demo.references")),
        shell(&photos.replace("{}", "'datasets/photos/references'"))
    );
    assert!(serving.metric("picsift_images_asked_total") > 100.0);
    assert!(serving.log().contains("image fetched"), "{}", serving.log());
}

#[test]
fn drivers_find_tables_bind_values_and_set_what_is_theirs() {
    let serving = Serving::start(&[]);
    let (uri, token) = (serving.uri(), serving.token.clone());
    for check in ["people", "prepared", "tables", "sessions", "streams"] {
        if serving.driver(check, &[&uri, &token]).is_none() {
            return;
        }
    }
    serving.soon("nothing runs whose reader is gone", || {
        serving.metric("picsift_running") == 0.0
    });
    let cancelled = r#"picsift_requests_total{way="flight",outcome="cancelled"}"#;
    assert_eq!(serving.metric(cancelled), 1.0);
}

#[test]
fn pictures_are_labelled_as_the_image_command_does() {
    let serving = Serving::start(&[]);
    let folder = root().join(REFERENCES).join("images");
    let names: Vec<PathBuf> = walkdir::WalkDir::new(&folder)
        .sort_by_file_name()
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.is_file())
        .take(5)
        .collect();
    let mut arguments = vec![
        "image".to_string(),
        "--categories".to_string(),
        "dog,building".to_string(),
    ];
    arguments.extend(names.iter().map(|name| name.display().to_string()));
    let mut expected = lines(&stdout(&picsift(&arguments)));
    for (line, name) in expected.iter_mut().zip(&names) {
        line["file"] = json!(name.file_name().unwrap().to_str().unwrap());
    }
    let encoded = |bytes: &[u8]| base64(bytes);
    let images: Vec<Value> = names
        .iter()
        .map(|name| json!({"file": name.file_name().unwrap().to_str().unwrap(), "data": encoded(&fs::read(name).unwrap())}))
        .collect();
    let asked = json!({"images": images, "categories": ["dog", "building"]});
    let answer = serving.json(&serving.token, "/v1/label", &asked);
    assert_eq!(
        (answer.status, lines(&answer.body)),
        (200, expected.clone()),
        "{}",
        serving.log()
    );
    let mut form = Vec::new();
    for name in &names {
        let file = name.file_name().unwrap().to_str().unwrap();
        write!(
            form,
            "--X\r\nContent-Disposition: form-data; name=\"image\"; filename=\"{file}\"\r\n\r\n"
        )
        .unwrap();
        form.extend(fs::read(name).unwrap());
        form.extend(b"\r\n");
    }
    form.extend(b"--X\r\nContent-Disposition: form-data; name=\"categories\"\r\n\r\ndog, building\r\n--X--\r\n");
    let bearer = format!("Authorization: Bearer {}", serving.token);
    let headers = [
        &serving.host(),
        &bearer,
        "Content-Type: multipart/form-data; boundary=X",
    ];
    let answer = serving.ask("POST /v1/label", &headers, &form);
    assert_eq!(
        (answer.status, lines(&answer.body)),
        (200, expected),
        "{}",
        serving.log()
    );
    // What is no picture is its own line's error.
    let mixed = json!({"images": [{"file": "a", "data": encoded(b"no picture")}, images[0]], "categories": ["dog"]});
    let answer = lines(&serving.json(&serving.token, "/v1/label", &mixed).body);
    assert!(
        answer[0]["error"].is_string() && answer[1]["error"].is_null(),
        "{answer:?}"
    );
    for wrong in [
        json!({"images": [], "categories": ["dog"]}),
        json!({"images": images, "categories": []}),
        json!({"images": images, "categories": ["dog"], "model": "/etc"}),
        json!({"images": images, "categories": ["dog"], "heads": "/etc/passwd"}),
        json!({"images": [{"file": "/etc/passwd"}], "categories": ["dog"]}),
        json!({"images": images, "categories": ["dog"], "threshold": 7}),
        json!(7),
    ] {
        let answer = serving.json(&serving.token, "/v1/label", &wrong);
        assert!([400, 403].contains(&answer.status), "{}", answer.body);
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

#[test]
fn rows_come_as_lines_or_as_arrow_with_values_and_settings() {
    let serving = Serving::start(&[]);
    let asked = json!({
        "sql": "SELECT $1 AS a, ? IS NULL AS b", "parameters": []
    });
    assert_eq!(serving.json(&serving.token, "/v1/sql", &asked).status, 400);
    let asked = json!({
        "sql": "SELECT x.a, $2 AS b, y.a, classify(image, $3) AS dog FROM demo.embedded, (SELECT $1 AS a) x, (SELECT $1 AS a) y LIMIT 2",
        "parameters": ["x'y", 2, "dog"],
        "settings": {"threshold": 0}
    });
    let answer = serving.json(&serving.token, "/v1/sql", &asked);
    let row = json!({"a": "x'y", "b": 2, "a_1": "x'y", "dog": true});
    assert_eq!(
        (answer.status, lines(&answer.body)),
        (200, vec![row.clone(), row])
    );
    assert!(
        answer.head.contains("application/x-ndjson"),
        "{}",
        answer.head
    );
    let bearer = format!("Authorization: Bearer {}", serving.token);
    let headers = [
        &serving.host(),
        &bearer,
        "Content-Type: application/json",
        "Accept: application/vnd.apache.arrow.stream",
    ];
    let body = json!({"sql": "SELECT 1 AS one"}).to_string();
    let answer = serving.ask("POST /v1/sql", &headers, body.as_bytes());
    assert!(
        answer.status == 200 && answer.head.contains("vnd.apache.arrow.stream"),
        "{}",
        answer.head
    );
    assert!(answer.body.contains("one"));
    let foreign = json!({"sql": "SELECT 1", "settings": {"heads": "/etc/passwd"}});
    assert_eq!(
        serving.json(&serving.token, "/v1/sql", &foreign).status,
        403
    );
}

#[test]
fn clients_read_what_was_named_and_nothing_else() {
    let folder = tempdir().unwrap();
    let (place, outside) = (folder.path().join("place"), folder.path().join("outside"));
    fs::create_dir_all(place.join("deep/er")).unwrap();
    fs::create_dir_all(&outside).unwrap();
    fs::write(outside.join("secret.csv"), "word\nopensesame\n").unwrap();
    fs::write(outside.join("photo.jpg"), photo(&first_photo())).unwrap();
    fs::write(place.join("deep/er/t.csv"), "a\n1\n").unwrap();
    fs::write(place.join("own.jpg"), photo(&first_photo())).unwrap();
    let up = outside.join("photo.jpg");
    fs::write(
        place.join("refs.csv"),
        format!(
            "image\nown.jpg\n../outside/photo.jpg\n{}\nfile://{}\n",
            up.display(),
            up.display()
        ),
    )
    .unwrap();
    std::os::unix::fs::symlink(&outside, place.join("way")).unwrap();
    std::os::unix::fs::symlink(outside.join("photo.jpg"), place.join("link.jpg")).unwrap();
    let allowed = format!("demo={}", place.display());
    let serving = Serving::start(&["--allow-folder", &allowed]);
    assert_eq!(
        serving.rows("SELECT * FROM demo.\"deep/er/t.csv\""),
        [json!({"a": 1})]
    );
    assert_eq!(
        serving.rows("SELECT * FROM demo.\"deep/er\""),
        [json!({"a": 1})]
    );
    let refs = "SELECT image, classify(image, 'dog') IS NULL AS is_lost FROM demo.refs";
    let found = serving.rows(refs);
    let lost: Vec<bool> = found
        .iter()
        .map(|row| row["is_lost"].as_bool().unwrap())
        .collect();
    assert_eq!(lost, [false, true, true, true], "{found:?}");
    let secret = outside.join("secret.csv");
    let (secret, photo, outside) = (secret.display(), up.display(), outside.display());
    for hostile in [
        format!("SELECT * FROM '{secret}'"),
        format!("SELECT * FROM \"{secret}\""),
        format!("SELECT * FROM 'file://{secret}'"),
        "SELECT * FROM '/etc/passwd'".to_string(),
        "SELECT * FROM 'http://127.0.0.1:1/x.csv'".to_string(),
        "SELECT * FROM 's3://bucket/x.parquet'".to_string(),
        "SELECT * FROM demo.\"../outside/secret.csv\"".to_string(),
        "SELECT * FROM demo.\"deep/../../outside/secret.csv\"".to_string(),
        "SELECT * FROM demo.\"%2e%2e/outside/secret.csv\"".to_string(),
        "SELECT * FROM demo.\"way/secret.csv\"".to_string(),
        "SELECT * FROM demo.way".to_string(),
        format!("SELECT * FROM demo.\"{secret}\""),
        "SELECT * FROM demo.\"./../outside\"".to_string(),
        "SELECT * FROM demo.\"**/*.csv\"".to_string(),
        "SELECT * FROM demo.\"\"".to_string(),
        format!("COPY (SELECT 1) TO '{outside}/written.csv'"),
        format!("CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{secret}'"),
        format!("SELECT load_image('photo.jpg', '{outside}')"),
        format!("SET picsift.base = '{outside}'"),
        "SET picsift.model = '/etc'".to_string(),
        "EXPLAIN SELECT * FROM demo.refs".to_string(),
        "SELECT * FROM read_csv('/etc/passwd')".to_string(),
        "SELECT length(repeat('x', 2000000000))".to_string(),
        "SELECT array_repeat(1, 2000000000)".to_string(),
        "SELECT range(2000000000)".to_string(),
        "SELECT list_repeat(1, 2000000000)".to_string(),
    ] {
        let answer = serving.sql(&hostile);
        assert!(
            [400, 403].contains(&answer.status),
            "{hostile}: {} {}",
            answer.status,
            answer.body
        );
        assert!(
            !answer.body.contains("opensesame"),
            "{hostile}: {}",
            answer.body
        );
    }
    for lost in [
        format!("load_image('{photo}')"),
        format!("load_image('file://{photo}')"),
        "load_image('/etc/passwd')".to_string(),
        "load_image('Cargo.toml')".to_string(),
        "load_image('http://127.0.0.1:1/x.jpg')".to_string(),
        "load_image('http://169.254.169.254/latest')".to_string(),
        "load_image('s3://bucket/x.jpg')".to_string(),
        "load_image('hf://datasets/a/b/x.jpg')".to_string(),
    ] {
        let rows = serving.rows(&format!("SELECT {lost} IS NULL AS lost"));
        assert_eq!(rows, [json!({"lost": true})], "{lost}");
    }
    // Nobody is told where places are.
    let root = folder.path().display().to_string();
    for curious in [
        "SELECT * FROM demo.nothing",
        "SELECT * FROM demo.deep",
        "SELECT * FROM demo.\"way/secret.csv\"",
        "SHOW ALL",
        "SELECT * FROM information_schema.tables",
        "SHOW CREATE TABLE demo.refs",
        "SELECT try_classify(image, 'dog') FROM demo.refs",
    ] {
        let answer = serving.sql(curious);
        assert!(!answer.body.contains(&root), "{curious}: {}", answer.body);
    }
    assert!(!serving.folder.path().join("written.csv").exists());
}

fn first_photo() -> String {
    let folder = root().join(REFERENCES).join("images");
    let mut names: Vec<PathBuf> = walkdir::WalkDir::new(&folder)
        .into_iter()
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.is_file())
        .collect();
    names.sort();
    let name = names[0].strip_prefix(&folder).unwrap();
    name.to_str().unwrap().to_string()
}

#[test]
fn strangers_get_nothing_and_stop_nobody() {
    let serving = Serving::start(&[]);
    let (host, bearer) = (
        serving.host(),
        format!("Authorization: Bearer {}", serving.token),
    );
    let kind = "Content-Type: application/json";
    let body = json!({"sql": "SELECT 1 AS one"}).to_string();
    for headers in [
        vec![host.as_str(), kind],
        vec![&host, kind, "Authorization: Bearer"],
        vec![&host, kind, "Authorization: Bearer picsift_0"],
        vec![&host, kind, "Authorization: Basic YW5uYTp4"],
        vec![&host, kind, "Cookie: picsift-session=x"],
    ] {
        for request in [
            "POST /v1/sql",
            "POST /v1/label",
            "GET /",
            "GET /metrics",
            "POST /arrow.flight.protocol.FlightService/DoGet",
        ] {
            let answer = serving.ask(request, &headers, body.as_bytes());
            assert_eq!(answer.status, 401, "{request} {headers:?}: {}", answer.body);
        }
    }
    // A gRPC client learns it as gRPC says it.
    let grpc = "Content-Type: application/grpc";
    let answer = serving.ask(
        "POST /arrow.flight.protocol.FlightService/GetFlightInfo",
        &[&host, grpc],
        b"",
    );
    assert!(answer.head.contains("grpc-status: 16"), "{}", answer.head);
    // Half-open connections, heads without end and bodies that never come: more than there is room for.
    let mut open = Vec::new();
    for number in 0..1100 {
        // This process may not have so many open.
        let Ok(mut stream) = TcpStream::connect(("127.0.0.1", serving.port)) else {
            open.truncate(open.len() - 20);
            break;
        };
        let begun: &[u8] = match number % 4 {
            0 => b"",
            1 => b"POST /v1/sql HTTP/1.1\r\nHost: 127.0.0.1\r\nX: ",
            2 => b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            _ => b"\x16\x03\x01\xff\xff",
        };
        let _ = stream.write_all(begun);
        open.push(stream);
    }
    let answer = serving.ask("POST /v1/sql", &[&host, &bearer, kind], body.as_bytes());
    assert_eq!((answer.status, answer.body.trim()), (200, "{\"one\":1}"));
    drop(open);
    // Giant messages, refused by what their heads say.
    let huge = "Content-Length: 99999999999";
    let giant = format!("POST /v1/sql HTTP/1.1\r\n{host}\r\n{bearer}\r\n{kind}\r\n{huge}\r\n\r\n");
    let mut stream = TcpStream::connect(("127.0.0.1", serving.port)).unwrap();
    stream.write_all(giant.as_bytes()).unwrap();
    let mut said = [0; 12];
    stream.read_exact(&mut said).unwrap();
    assert_eq!(&said, b"HTTP/1.1 400");
    let long = format!("X: {}", "x".repeat(1 << 20));
    let answer = serving.ask(
        "POST /v1/sql",
        &[&host, &bearer, kind, &long],
        body.as_bytes(),
    );
    assert!([0, 431].contains(&answer.status), "{}", answer.head);
    let deep = format!("SELECT {}1{}", "(".repeat(5000), ")".repeat(5000));
    for wrong in [
        deep.as_str(),
        "",
        ";;",
        "SELECT",
        "SELECT 1; SELECT 2",
        "\u{0}",
    ] {
        assert_eq!(serving.sql(wrong).status, 400, "{wrong:.40}");
    }
    assert_eq!(serving.rows("SELECT 1 AS one"), [json!({"one": 1})]);
}

#[test]
fn beyond_this_machine_a_server_needs_tokens_and_tls() {
    let out = tempdir().unwrap();
    let file = out.path().join("tokens.toml");
    token(&file, "research", "anna");
    let file = file.to_str().unwrap();
    for arguments in [
        vec!["--listen", "0.0.0.0:0"],
        vec!["--listen", "[::]:0"],
        vec!["--listen", "0.0.0.0:0", "--tokens", file],
    ] {
        let mut all = vec!["serve", "--no-cache"];
        all.extend(arguments);
        let said = refused(&picsift(&all));
        assert!(said.contains("--tokens and --tls-cert"), "{said}");
    }
    for (arguments, said) in [
        (vec!["--allow-folder", "datasets"], "needs a name"),
        (vec!["--allow-folder", "a=no/such"], "cannot be read"),
        (
            vec!["--allow-folder", "public=datasets"],
            "name of the server's own",
        ),
        (
            vec!["--allow-folder", "a=datasets", "--allow-folder", "A=src"],
            "two places",
        ),
        (
            vec!["--allow-bucket", "a=https://example.com/"],
            "no bucket",
        ),
        (vec!["--tokens", "Cargo.toml"], "no file of tokens"),
        (
            vec!["--tls-cert", "README.md", "--tls-key", "README.md"],
            "for TLS",
        ),
    ] {
        let mut all = vec![
            "serve",
            "--no-cache",
            "--listen",
            "127.0.0.1:0",
            "--metrics",
            "127.0.0.1:0",
        ];
        all.extend(arguments);
        let refused = refused(&picsift(&all));
        assert!(refused.contains(said), "{refused}");
    }
    // Without tokens no page of a browser comes in, and no name that leads here.
    let serving = Serving::with(tempdir().unwrap(), false, &[]);
    let kind = "Content-Type: application/json";
    let body = json!({"sql": "SELECT 1 AS one"}).to_string();
    let host = serving.host();
    for (headers, status) in [
        (vec![host.as_str(), kind], 200),
        (vec!["Host: evil.example", kind], 401),
        (vec![&host, kind, "Origin: http://evil.example"], 401),
        (vec![&host, kind, "Origin: http://127.0.0.1"], 401),
        (vec![&host, "Content-Type: text/plain"], 400),
    ] {
        let answer = serving.ask("POST /v1/sql", &headers, body.as_bytes());
        assert_eq!(answer.status, status, "{headers:?} {}", answer.body);
    }
    serving.driver("local", &[&serving.uri()]);
}

#[test]
fn tls_and_a_socket_bring_clients_in_too() {
    let folder = tempdir().unwrap();
    let path = folder.path().display().to_string();
    if driven(&["certificate", &path], &Arc::default()).is_none() {
        return;
    }
    let (certificate, key) = (format!("{path}/cert.pem"), format!("{path}/key.pem"));
    let socket = format!("{path}/picsift.sock");
    let serving = Serving::with(tempdir().unwrap(), false, &["--unix", &socket]);
    let mode =
        std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&socket).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    serving.driver("local", &[&format!("grpc+unix://{socket}")]);
    // Another server does not take a socket that is answered.
    let other = picsift([
        "serve",
        "--no-cache",
        "--unix",
        &socket,
        "--metrics",
        "127.0.0.1:0",
    ]);
    assert!(refused(&other).contains("another program answers there"));
    signal(&serving.child, "TERM");
    serving.soon("the socket is gone", || !Path::new(&socket).exists());
    let listed = TlsServing::start(&certificate, &key);
    listed.0.driver(
        "secure",
        &[
            &listed.0.uri().replace("grpc", "grpc+tls"),
            &listed.0.token,
            &certificate,
        ],
    );
}

/// A server whose port speaks TLS.
struct TlsServing(Serving);

impl TlsServing {
    fn start(certificate: &str, key: &str) -> Self {
        Self(Serving::with(
            tempdir().unwrap(),
            true,
            &["--tls-cert", certificate, "--tls-key", key],
        ))
    }
}

#[test]
fn tenants_share_models_and_nothing_else() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let sales = token(&file, "sales", "bob");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, format!("[sales]\nfolders = [\"photos\"]\n{text}")).unwrap();
    let serving = Serving::with(
        folder,
        true,
        &[
            "--allow-folder",
            "photos=datasets/photos",
            "--allow-folder",
            "more=datasets",
        ],
    );
    let query = json!({"sql": "SELECT count(*) FILTER (WHERE classify(image, 'dog')) AS n FROM photos.embedded"});
    let asked = || serving.metric("picsift_images_asked_total");
    let run = |token: &str| {
        let answer = serving.json(token, "/v1/sql", &query);
        assert_eq!(answer.status, 200, "{}", answer.body);
        answer.body
    };
    let first = run(&serving.token);
    let once = asked();
    assert!(once > 100.0);
    assert_eq!(run(&serving.token), first);
    assert_eq!(asked(), once, "a tenant's own answers are known");
    assert!(serving.metric("picsift_cache_hits_total") >= once);
    assert_eq!(run(&sales), first);
    assert_eq!(asked(), 2.0 * once, "another's are not");
    // A tenant reads its own places.
    let other = json!({"sql": "SELECT count(*) AS n FROM more.\"photos/embedded\""});
    assert_eq!(serving.json(&serving.token, "/v1/sql", &other).status, 200);
    let answer = serving.json(&sales, "/v1/sql", &other);
    assert_eq!(answer.status, 400, "{}", answer.body);
    let crossing = json!({"sql": "SELECT load_image('datasets/README.md') IS NULL AS lost"});
    assert!(
        serving
            .json(&sales, "/v1/sql", &crossing)
            .body
            .contains("true")
    );
}

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
fn a_bucket_is_read_with_its_own_keys_below_its_place() {
    let folder = tempdir().unwrap();
    crate::s3::references(folder.path(), 8);
    fs::create_dir(folder.path().join("other")).unwrap();
    fs::copy(
        folder.path().join("in/5.jpg"),
        folder.path().join("other/5.jpg"),
    )
    .unwrap();
    fs::write(folder.path().join("other/t.csv"), "a\n1\n").unwrap();
    let Some(bucket) = crate::s3::Server::start(folder.path()) else {
        return;
    };
    let keys = folder.path().join("web.env");
    fs::write(&keys, bucket.variables()).unwrap();
    let keys = format!("web={}", keys.display());
    let serving = Serving::start(&[
        "--allow-bucket",
        "web=s3://bucket/in",
        "--bucket-keys",
        &keys,
    ]);
    let tables =
        serving.rows("SELECT table_name FROM information_schema.tables WHERE table_schema = 'web'");
    assert_eq!(tables, [json!({"table_name": "t"})]);
    let rows = serving.rows(
        "SELECT id, classify(image, 'dog') IS NULL AS is_lost FROM web.t WHERE id >= 3 ORDER BY id",
    );
    let lost: Vec<bool> = rows
        .iter()
        .map(|row| row["is_lost"].as_bool().unwrap())
        .collect();
    assert_eq!(
        lost,
        [true, false, false, false, false],
        "{}",
        serving.log()
    );
    for (image, is_lost) in [
        ("in/5.jpg", false),
        ("other/5.jpg", true),
        ("in/../other/5.jpg", true),
    ] {
        let query = format!("SELECT load_image('s3://bucket/{image}') IS NULL AS is_lost");
        assert_eq!(
            serving.rows(&query),
            [json!({"is_lost": is_lost})],
            "{image}\n{}",
            serving.log()
        );
    }
    for hostile in [
        "web.\"../other/t.csv\"",
        "web.\"s3://bucket/other/t.csv\"",
        "'s3://bucket/other/t.csv'",
    ] {
        let answer = serving.sql(&format!("SELECT * FROM {hostile}"));
        assert_eq!(answer.status, 400, "{hostile} {}", answer.body);
    }
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
