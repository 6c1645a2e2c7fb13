//! A job whose images stand on a server that does everything wrong: it ends, and each row says what happened.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use arrow::array::{Array, BooleanArray, Int64Array, StringArray, StructArray};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::*;

/// How the server answers, and the kind of failure that follows; `None` where there is none.
const MANNERS: [(&str, Option<&str>); 7] = [
    ("good", None),
    ("third", None),
    ("stall", Some("timed_out")),
    ("short", Some("interrupted")),
    ("reset", Some("interrupted")),
    ("round", Some("too_many_redirects")),
    ("never", Some("http_status")),
];

/// Rows of each manner.
const EACH: usize = 6;

async fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            tokio::spawn(answer(connection));
        }
    });
    address
}

/// Answers one request and closes the connection.
async fn answer(mut connection: TcpStream) {
    static THIRDS: AtomicUsize = AtomicUsize::new(0);
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        if request.starts_with(b"GET /reset") {
            // Closed with bytes that nobody read: the other side sees a reset.
            return;
        }
        let mut byte = [0];
        match connection.read(&mut byte).await {
            Ok(1) => request.push(byte[0]),
            _ => return,
        }
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split(' ').nth(1).unwrap().to_string();
    let image = photo("giraffe_000.webp");
    let head = |status: &str, length: usize, more: &str| {
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{more}\r\n")
    };
    let failing = head("500 Internal Server Error", 0, "").into_bytes();
    let whole = [head("200 OK", image.len(), "").as_bytes(), &image].concat();
    let said = match path.split('/').nth(1).unwrap() {
        "good" => whole,
        "third" if THIRDS.fetch_add(1, Ordering::Relaxed).is_multiple_of(3) => failing,
        "third" => whole,
        "stall" => {
            let some = [head("200 OK", image.len(), "").as_bytes(), &image[..100]].concat();
            let _ = connection.write_all(&some).await;
            tokio::time::sleep(Duration::from_secs(600)).await;
            return;
        }
        "short" => [head("200 OK", image.len() + 50_000, "").as_bytes(), &image].concat(),
        "round" => head("302 Found", 0, &format!("location: {path}x\r\n")).into_bytes(),
        _ => failing,
    };
    let _ = connection.write_all(&said).await;
    let _ = connection.shutdown().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_answer_is_a_row_with_its_reason_and_the_job_ends() {
    let server = serve().await;
    let folder = tempfile::tempdir().unwrap();
    let (table, output) = (folder.path().join("t.parquet"), folder.path().join("out"));
    let rows = EACH * MANNERS.len();
    let urls = (0..rows).map(|row| {
        let (manner, _) = MANNERS[row % MANNERS.len()];
        format!("http://{server}/{manner}/{row}.webp")
    });
    let columns = vec![
        ("id", array((0..rows as i64).collect::<Int64Array>())),
        ("url", array(StringArray::from_iter_values(urls))),
    ];
    write_table(&table, columns);
    let begun = Instant::now();
    let ended = picsift([
        "label",
        table.to_str().unwrap(),
        "--output",
        output.to_str().unwrap(),
        "--categories",
        "fish",
        "--allow-host",
        &server.to_string(),
        "--image-timeout",
        "3",
    ]);
    let said = stdout(&ended);
    assert!(begun.elapsed() < Duration::from_secs(60), "it hangs");
    let failing = EACH * MANNERS.iter().filter(|(_, kind)| kind.is_some()).count();
    assert!(said.contains(&format!("{failing} failed")), "{said}");

    let rows = read_table(&output);
    let errors = column::<StructArray>(&rows, "picsift_error");
    let kinds = errors.column_by_name("kind").unwrap();
    let kinds = kinds.as_any().downcast_ref::<StringArray>().unwrap();
    let fish = column::<BooleanArray>(&rows, "is_fish");
    let mut seen: HashMap<&str, Vec<Option<&str>>> = HashMap::new();
    for row in 0..rows.num_rows() {
        let kind = errors.is_valid(row).then(|| kinds.value(row));
        assert_eq!(kind.is_some(), fish.is_null(row));
        seen.entry(MANNERS[row % MANNERS.len()].0)
            .or_default()
            .push(kind);
    }
    for (manner, kind) in MANNERS {
        assert_eq!(seen[manner], vec![kind; EACH], "{manner}");
    }
}
