//! Who comes in, and how.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use serde_json::json;
use tempfile::tempdir;

use super::*;
use crate::resume::signal;

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
fn a_token_that_is_taken_away_lets_nobody_in_and_ends_what_runs() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("tokens.toml");
    let bob = token(&file, "research", "bob");
    let serving = Serving::with(folder, true, &[]);
    let one = json!({"sql": "SELECT 1 AS one"});
    let status = |token: &str| serving.json(token, "/v1/sql", &one).status;
    assert_eq!((status(&serving.token), status(&bob)), (200, 200));
    let endless = json!({"sql": "SELECT count(*) FROM generate_series(1, 100000) a, generate_series(1, 100000) b, generate_series(1, 1000) c"});
    let ended = std::thread::scope(|scope| {
        let running = scope.spawn(|| serving.json(&serving.token, "/v1/sql", &endless));
        serving.soon("it runs", || serving.metric("picsift_running") == 1.0);
        let text = fs::read_to_string(&file).unwrap();
        let without = text.lines().filter(|line| !line.starts_with("anna"));
        fs::write(&file, without.collect::<Vec<_>>().join("\n")).unwrap();
        running.join().unwrap()
    });
    assert_eq!(ended.status, 401, "{}", ended.body);
    assert!(ended.body.contains("taken away"), "{}", ended.body);
    assert_eq!((status(&serving.token), status(&bob)), (401, 200));
    // A file that is none of tokens changes nothing, and one with a new token lets its holder in.
    let good = fs::read_to_string(&file).unwrap();
    fs::write(&file, "no tokens").unwrap();
    serving.soon("it is said", || {
        serving.log().contains("who may ask stays as it was")
    });
    assert_eq!(status(&bob), 200);
    fs::write(&file, good).unwrap();
    let carol = token(&file, "sales", "carol");
    serving.soon("another comes in", || status(&carol) == 200);
    // Nobody is left where no line is.
    fs::write(&file, "").unwrap();
    serving.soon("nobody comes in", || {
        status(&bob) == 401 && status(&carol) == 401
    });
}
