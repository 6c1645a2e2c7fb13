//! What comes with a table decides nothing about what else is read: no folder, no bucket, no server.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use arrow::array::{Array, BooleanArray, Float32Array, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::file::metadata::KeyValue;
use serde_json::{Value, json};
use tempfile::tempdir;

use crate::support::*;

/// A server that answers every request with what `answer` makes of its head, and remembers the heads.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) fn start(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (Arc::clone(&heads), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (seen, answer) = (Arc::clone(&seen), Arc::clone(&answer));
                std::thread::spawn(move || one(stream.unwrap(), &seen, &*answer));
            }
        });
        Self { address, heads }
    }

    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

fn one(mut stream: TcpStream, seen: &Mutex<Vec<String>>, answer: &dyn Fn(&str) -> Vec<u8>) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    seen.lock().unwrap().push(head.clone());
    let _ = stream.write_all(&answer(&head));
}

/// An answer of this status with more headers and a body.
pub(crate) fn http(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut answer = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
        body.len()
    )
    .into_bytes();
    answer.extend_from_slice(body);
    answer
}

/// The part of a file that a request's range asks for.
pub(crate) fn ranged(head: &str, body: &[u8]) -> Vec<u8> {
    let lower = head.to_ascii_lowercase();
    let headers =
        "ETag: \"1\"\r\nLast-Modified: Tue, 01 Jan 2019 00:00:00 GMT\r\nAccept-Ranges: bytes\r\n";
    if lower.starts_with("head ") {
        let length = body.len();
        return format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n"
        )
        .into_bytes();
    }
    let range = lower.split("range: bytes=").nth(1);
    let range = range.and_then(|range| range.split("\r\n").next()?.split_once('-'));
    let Some((start, end)) = range else {
        return http("200 OK", headers, body);
    };
    let size = body.len();
    let (start, end) = match start.is_empty() {
        true => (size - end.parse::<usize>().unwrap(), size - 1),
        false => {
            let end = end.parse().unwrap_or(size - 1).min(size - 1);
            (start.parse().unwrap(), end)
        }
    };
    let headers = format!("{headers}Content-Range: bytes {start}-{end}/{size}\r\n");
    http("206 Partial Content", &headers, &body[start..=end])
}

/// A labelled table of a stranger in `folder`, whose manifest says that these references were labelled in `base`. Beside it one file
/// that carries the manifest itself.
fn handed_over(folder: &Path, base: &str, references: &[&str]) -> [PathBuf; 2] {
    let honest = folder.join("honest");
    fs::create_dir_all(&honest).unwrap();
    fs::write(honest.join("fish.jpg"), photo("fish27_149.jpg")).unwrap();
    fs::write(honest.join("t.csv"), "image\nfish.jpg\n").unwrap();
    let (table, own) = (honest.join("t.csv"), honest.join("labelled"));
    let (table, own) = (table.to_str().unwrap(), own.to_str().unwrap());
    let args = ["label", table, "-o", own, "--categories", "fish"];
    stdout(&picsift(args));
    let text = fs::read_to_string(Path::new(own).join("_picsift.json")).unwrap();
    let mut manifest: Value = serde_json::from_str(&text).unwrap();
    manifest["input"]["tables"] = json!([base]);
    manifest["files"] = json!([]);
    let rows = references.len();
    let columns = vec![
        ("image", array(StringArray::from(references.to_vec()))),
        ("is_fish", array(BooleanArray::from(vec![true; rows]))),
        ("score_fish", array(Float32Array::from(vec![0.9; rows]))),
        ("label", array(StringArray::from(vec!["fish"; rows]))),
    ];
    let evil = folder.join("evil");
    fs::create_dir_all(&evil).unwrap();
    let part = evil.join("part-00000.parquet");
    write_table(&part, columns.clone());
    let size = fs::metadata(&part).unwrap().len();
    let mut listed: Value = serde_json::from_str(&text).unwrap();
    listed["input"]["tables"] = json!([base]);
    let mut file = listed["files"][0].clone();
    file["path"] = json!("part-00000.parquet");
    file["rows"] = json!(rows);
    file["bytes"] = json!(size);
    listed["files"] = json!([file]);
    fs::write(evil.join("_picsift.json"), listed.to_string()).unwrap();
    let alone = folder.join("evil.parquet");
    let batch = arrow::array::RecordBatch::try_from_iter(columns).unwrap();
    let mut writer =
        ArrowWriter::try_new(fs::File::create(&alone).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    let carried = KeyValue::new("picsift".to_string(), manifest.to_string());
    writer.append_key_value_metadata(carried);
    writer.close().unwrap();
    [evil, alone]
}

/// Whether a folder holds something beside what a run that failed may leave.
fn is_empty(folder: &Path) -> bool {
    !folder.exists() || fs::read_dir(folder).unwrap().next().is_none()
}

#[test]
fn a_table_names_no_folder_for_its_references() {
    let secret = tempdir().unwrap();
    let hidden = secret.path().canonicalize().unwrap();
    fs::write(hidden.join("private.jpg"), photo("fish27_149.jpg")).unwrap();
    let site = Server::start(|_| http("200 OK", "", &photo("fish27_149.jpg")));
    let below_root = hidden.join("private.jpg");
    let below_root = below_root.to_str().unwrap().trim_start_matches('/');
    let web = format!("http://{}/", site.address);
    for (base, reference) in [
        (hidden.to_str().unwrap(), "private.jpg"),
        ("/", below_root),
        (web.as_str(), "private.jpg"),
    ] {
        let folder = tempdir().unwrap();
        for table in handed_over(folder.path(), base, &[reference]) {
            let table = table.to_str().unwrap();
            for command in ["gallery", "export"] {
                let out = folder.path().join(command);
                let mut args = vec![command, table, "-o", out.to_str().unwrap()];
                if command == "export" {
                    args.extend(["--format", "imagefolder"]);
                }
                let said = refused(&picsift(&args));
                assert!(
                    said.contains("--base") && said.contains(base),
                    "{command} {base}: {said}"
                );
                assert!(is_empty(&out), "{command} {base}");
            }
            // What reads no picture needs no folder.
            let query = format!("SELECT count(*) FROM '{table}'");
            stdout(&picsift(["sql", "-c", &query]));
        }
        if base != web {
            let table = folder.path().join("evil");
            let out = folder.path().join("named");
            let (table, out) = (table.to_str().unwrap(), out.to_str().unwrap());
            stdout(&picsift(["gallery", table, "-o", out, "--base", base]));
            assert!(Path::new(out).join("thumbs/000/000000.jpg").exists());
        }
    }
    assert_eq!(site.heads(), Vec::<String>::new());
}

/// A job over these references, with stores at `endpoint`.
fn label_from(endpoint: SocketAddr, table: &Path, out: &Path, more: &[&str]) -> String {
    let cache = tempdir().unwrap();
    let (table, out) = (table.to_str().unwrap(), out.to_str().unwrap());
    let args = ["label", table, "-o", out, "--categories", "fish"];
    let args = [&args[..], more].concat();
    let run = command(args, cache.path())
        .env("AWS_ENDPOINT_URL", format!("http://{endpoint}"))
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_REGION", "us-east-1")
        .env("AZURE_STORAGE_ACCOUNT_NAME", "mine")
        .env("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")
        .envs(match more.contains(&"--quiet") {
            true => None,
            false => Some(("AWS_ACCESS_KEY_ID", "AKIAOWN")),
        })
        .envs(match more.contains(&"--quiet") {
            true => None,
            false => Some(("AWS_SECRET_ACCESS_KEY", "own-secret")),
        })
        .output()
        .unwrap();
    stderr(&run)
}

#[test]
fn a_table_reads_no_bucket_that_nobody_named() {
    let store = Server::start(|_| {
        let headers = "ETag: \"x\"\r\nLast-Modified: Tue, 01 Jan 2019 00:00:00 GMT\r\n";
        http("200 OK", headers, &photo("fish27_149.jpg"))
    });
    let folder = tempdir().unwrap();
    let table = folder.path().join("t.parquet");
    let references = [
        "s3://victims-private-bucket/hr/passport.jpg",
        "s3a://other/x.jpg",
        "s3://a%2f..%2fb/x.jpg",
        "s3://user:pw@bucket/x.jpg",
        "s3://bucket:99/x.jpg",
        "gs://bucket/x.jpg",
        "az://c/x.jpg",
        "abfss://c@evil.example/x.jpg",
        "abfss://c@attacker.dfs.core.windows.net/x.jpg",
    ];
    write_table(
        &table,
        vec![("image", array(StringArray::from(references.to_vec())))],
    );
    let out = folder.path().join("out");
    label_from(store.address, &table, &out, &[]);
    assert_eq!(store.heads(), Vec::<String>::new());
    let said = errors(&read_table(&out));
    let said: Vec<&str> = said.iter().map(|said| said.as_deref().unwrap()).collect();
    assert!(
        said[0].contains("--allow-bucket s3://victims-private-bucket"),
        "{said:?}"
    );
    assert!(
        said[8].contains("--allow-bucket abfss://c@attacker.dfs"),
        "{said:?}"
    );
    assert!(said.iter().all(|said| !said.contains("pw")), "{said:?}");

    // What a person allows is read with their key, and without one anonymously.
    let one = folder.path().join("one.parquet");
    write_table(
        &one,
        vec![("image", array(StringArray::from(vec!["s3://other/x.jpg"])))],
    );
    let allow = ["--allow-bucket", "s3://other"];
    label_from(store.address, &one, &folder.path().join("signed"), &allow);
    let heads = store.heads();
    assert!(
        heads.len() == 1 && heads[0].contains("AKIAOWN"),
        "{heads:?}"
    );
    let quiet = [&allow[..], &["--quiet"]].concat();
    label_from(store.address, &one, &folder.path().join("plain"), &quiet);
    let heads = store.heads();
    let plain = heads[1].to_ascii_lowercase();
    assert!(
        heads.len() == 2 && !plain.contains("authorization"),
        "{heads:?}"
    );
}

#[test]
fn a_table_on_a_server_leads_to_no_other_server() {
    let folder = tempdir().unwrap();
    let table = folder.path().join("t.parquet");
    write_table(
        &table,
        vec![("n", array(StringArray::from(vec!["internal"])))],
    );
    let bytes = fs::read(&table).unwrap();
    let inside = {
        let bytes = bytes.clone();
        Server::start(move |head| ranged(head, &bytes))
    };
    let target = format!("http://{}/internal.parquet", inside.address);
    let outside = Server::start(move |head| match head.contains("/here") {
        true => ranged(head, &bytes),
        false if head.contains("/same") => http("302 Found", "Location: /here.parquet\r\n", b""),
        false => http("302 Found", &format!("Location: {target}\r\n"), b""),
    });
    let query = |name: &str, more: &[&str]| {
        let query = format!("SELECT * FROM 'http://{}/{name}.parquet'", outside.address);
        picsift([&["sql", "--format", "csv", "-c", &query], more].concat())
    };
    let said = stderr(&query("t", &[]));
    assert!(
        said.contains("redirects to") && said.contains("--allow-host 127.0.0.1"),
        "{said}"
    );
    assert_eq!(inside.heads(), Vec::<String>::new());
    assert_eq!(stdout(&query("same", &[])), "n\ninternal\n");
    assert_eq!(
        stdout(&query("t", &["--allow-host", "127.0.0.1"])),
        "n\ninternal\n"
    );
}

#[test]
fn a_bucket_leads_to_no_other_server() {
    let inside = Server::start(|_| http("200 OK", "", b"internal"));
    let target = format!("http://{}/x", inside.address);
    let store = Server::start(move |_| http("307 Moved", &format!("Location: {target}\r\n"), b""));
    let folder = tempdir().unwrap();
    let table = folder.path().join("t.parquet");
    write_table(
        &table,
        vec![("image", array(StringArray::from(vec!["s3://b/redir.jpg"])))],
    );
    let out = folder.path().join("out");
    label_from(store.address, &table, &out, &["--allow-bucket", "s3://b"]);
    let said = errors(&read_table(&out));
    assert!(
        said[0].as_deref().unwrap().contains("on another server"),
        "{said:?}"
    );
    assert_eq!(store.heads().len(), 1);
    assert_eq!(inside.heads(), Vec::<String>::new());
}

#[test]
fn an_image_is_what_its_table_says_where_that_is_asked_for() {
    let folder = tempdir().unwrap();
    let fish = photo("fish27_149.jpg");
    fs::write(folder.path().join("fish.jpg"), &fish).unwrap();
    let right = picsift_images::hex(&picsift_images::sha256(&fish));
    let wrong = "0".repeat(64);
    let table = folder.path().join("t.parquet");
    write_table(
        &table,
        vec![
            ("image", array(StringArray::from(vec!["fish.jpg"; 4]))),
            (
                "sha256",
                array(StringArray::from(vec![
                    Some(wrong.as_str()),
                    Some(right.as_str()),
                    None,
                    Some("no digest"),
                ])),
            ),
        ],
    );
    let cache = tempdir().unwrap();
    let label = |out: &Path, more: &[&str]| {
        let (table, out) = (table.to_str().unwrap(), out.to_str().unwrap());
        let args = ["label", table, "-o", out, "--categories", "fish"];
        command([&args[..], more].concat(), cache.path())
            .output()
            .unwrap()
    };
    // The second time the image is known by its version, and not read.
    for out in ["first", "second"] {
        let out = folder.path().join(out);
        let said = label(&out, &["--sha256", "sha256"]);
        assert!(stdout(&said).contains("2 failed"), "{}", stdout(&said));
        let output = read_table(&out);
        let is = column::<BooleanArray>(&output, "is_fish");
        assert_eq!(
            (0..4).map(|row| is.is_valid(row)).collect::<Vec<_>>(),
            [false, true, true, false]
        );
        let said = errors(&output);
        assert!(
            said[0].as_deref().unwrap().contains(&right)
                && said[3].as_deref().unwrap().contains("no digest"),
            "{said:?}"
        );
    }
    let said = refused(&label(&folder.path().join("third"), &["--sha256", "none"]));
    assert!(said.contains("no column 'none'"), "{said}");
    let said = refused(&label(&folder.path().join("first"), &[]));
    assert!(said.contains("column of digests"), "{said}");
}

/// What is put in the place of a folder of the work while the job runs leads nowhere.
#[cfg(unix)]
#[test]
fn a_link_that_is_put_into_the_work_of_a_running_job_is_not_followed() {
    use std::time::{Duration, Instant};

    let place = tempfile::tempdir().unwrap();
    let rows = 3000;
    fs::write(place.path().join("fish.jpg"), photo("fish27_149.jpg")).unwrap();
    let names = vec!["fish.jpg"; rows];
    write_table(
        &place.path().join("t.parquet"),
        vec![("image", array(StringArray::from(names)))],
    );
    for swapped in ["data", "journal"] {
        let (out, victim) = (format!("out-{swapped}"), format!("victim-{swapped}"));
        let (out, victim) = (place.path().join(out), place.path().join(victim));
        std::fs::create_dir(&victim).unwrap();
        let work = place.path().join(format!(".out-{swapped}.picsift"));
        let table = place.path().join("t.parquet");
        let cache = tempfile::tempdir().unwrap();
        let mut job = command(
            [
                "label",
                table.to_str().unwrap(),
                "-o",
                out.to_str().unwrap(),
                "--categories",
                "fish",
                "--shard-rows",
                "10",
            ],
            cache.path(),
        )
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
        let begun = Instant::now();
        // The second shard is begun.
        let first = work.join("data/part-00000.parquet");
        while !first.exists() {
            assert!(begun.elapsed() < Duration::from_secs(60) && job.try_wait().unwrap().is_none());
            std::thread::sleep(Duration::from_millis(1));
        }
        std::fs::rename(
            work.join(swapped),
            place.path().join(format!("moved-{swapped}")),
        )
        .unwrap();
        std::os::unix::fs::symlink(&victim, work.join(swapped)).unwrap();
        let output = job.wait_with_output().unwrap();
        assert!(!output.status.success(), "{swapped}: {}", stderr(&output));
        let left: Vec<_> = std::fs::read_dir(&victim).unwrap().flatten().collect();
        assert!(left.is_empty(), "{swapped}: {left:?}");
        assert!(!out.exists());
    }
}
