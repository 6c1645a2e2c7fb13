//! Jobs from and to S3, against a real server (moto's) that throttles, breaks off and refuses.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::time::{Duration, Instant};

use arrow::array::{Int64Array, StringArray};

use crate::support::*;

const SECRET: &str = "secret-of-the-tests";

/// A server with a bucket `bucket`; it ends when this is dropped.
pub(crate) struct Server {
    port: u16,
    child: Child,
    /// The server ends when this is closed.
    open: Option<ChildStdin>,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.open.take());
        let _ = self.child.wait();
    }
}

impl Server {
    /// A server whose bucket holds the files of `folder`; `None` where Python lacks what it needs and need not have it.
    pub(crate) fn start(folder: &Path) -> Option<Self> {
        let python = match python("moto.server, boto3") {
            Ok(python) => python,
            Err(reason) => {
                assert!(
                    std::env::var_os("PICSIFT_REQUIRE_READERS").is_none(),
                    "{reason}"
                );
                eprintln!("skipped: {reason}");
                return None;
            }
        };
        let mut child = Command::new(python)
            .arg("tests/s3/server.py")
            .arg(folder)
            .current_dir(root())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let open = child.stdin.take();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        Some(Self {
            port: line.trim().parse().expect("the server says its port"),
            child,
            open,
        })
    }

    pub(crate) fn command(&self, args: &[&str], cache: &Path) -> Command {
        let mut command = command(args, cache);
        command
            .env(
                "AWS_ENDPOINT_URL",
                format!("http://127.0.0.1:{}", self.port),
            )
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", SECRET);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        let cache = tempfile::tempdir().unwrap();
        let output = self.command(args, cache.path()).output().unwrap();
        for text in [&output.stdout, &output.stderr] {
            assert!(
                !String::from_utf8_lossy(text).contains(SECRET),
                "a credential is printed"
            );
        }
        output
    }

    /// What a server needs to know of the bucket, by the names of variables.
    pub(crate) fn variables(&self) -> String {
        format!(
            "AWS_ENDPOINT_URL=http://127.0.0.1:{}\nAWS_ALLOW_HTTP=true\nAWS_REGION=us-east-1\n\
             AWS_ACCESS_KEY_ID=test\nAWS_SECRET_ACCESS_KEY={SECRET}\n",
            self.port
        )
    }

    /// Tells the server something.
    pub(crate) fn ask(&self, path: &str) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        assert!(text.contains("200 OK"), "{text}");
    }

    /// How often the server was asked for something.
    pub(crate) fn count(&self, what: &str) -> u64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.write_all(b"GET /counts HTTP/1.0\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let body = text.split("\r\n\r\n").nth(1).unwrap();
        let counts: serde_json::Value = serde_json::from_str(body).unwrap();
        counts[what].as_u64().unwrap_or_default()
    }

    /// Keys below a prefix, as the server's own client lists them.
    pub(crate) fn keys(&self, prefix: &str) -> Vec<String> {
        let script = "import boto3,sys\n\
            c = boto3.client('s3', endpoint_url=sys.argv[1], region_name='us-east-1')\n\
            for o in c.list_objects_v2(Bucket='bucket', Prefix=sys.argv[2]).get('Contents', []): print(o['Key'])";
        let python = python("boto3").unwrap();
        let run = Command::new(python)
            .args([
                "-c",
                script,
                &format!("http://127.0.0.1:{}", self.port),
                prefix,
            ])
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", SECRET)
            .output()
            .unwrap();
        stdout(&run).lines().map(str::to_string).collect()
    }

    /// A column of numbers of an output in the bucket, as picsift reads it.
    pub(crate) fn ids(&self, output: &str) -> Vec<i64> {
        let query = format!("SELECT id FROM '{output}' ORDER BY id");
        let csv = stdout(&self.run(&["sql", "--format", "csv", "-c", &query]));
        csv.lines()
            .skip(1)
            .map(|line| line.parse().unwrap())
            .collect()
    }
}

/// Writes `in/t.parquet` with references beside it; images `slow.jpg`, `cut.jpg`, `denied.jpg` and `none.jpg` are among them.
pub(crate) fn references(folder: &Path, rows: usize) {
    std::fs::create_dir(folder.join("in")).unwrap();
    let photos: Vec<_> = std::fs::read_dir(root().join(REFERENCES).join("images"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "jpg"))
        .collect();
    let names: Vec<String> = (0..rows)
        .map(|row| match row {
            0 => "slow.jpg".to_string(),
            1 => "cut.jpg".to_string(),
            2 => "denied.jpg".to_string(),
            3 => "none.jpg".to_string(),
            row => format!("{row}.jpg"),
        })
        .collect();
    for (row, name) in names.iter().enumerate().filter(|(row, _)| *row != 3) {
        std::fs::copy(&photos[row % photos.len()], folder.join("in").join(name)).unwrap();
    }
    write_table(
        &folder.join("in/t.parquet"),
        vec![
            ("id", array((0..rows as i64).collect::<Int64Array>())),
            ("image", array(StringArray::from_iter_values(names))),
        ],
    );
}

#[test]
fn a_job_from_s3_to_s3_outlives_what_servers_do() {
    let folder = tempfile::tempdir().unwrap();
    references(folder.path(), 40);
    let Some(server) = Server::start(folder.path()) else {
        return;
    };
    let label = ["label", "s3://bucket/in/", "--output", "s3://bucket/out"];
    let more = [
        "--categories",
        "fish,tool",
        "--partition-by",
        "label",
        "--shard-rows",
        "15",
    ];
    let said = stdout(&server.run(&[&label[..], &more[..]].concat()));
    assert!(
        said.starts_with("40 rows") && said.contains("2 failed"),
        "{said}"
    );
    assert!(server.count("throttled") >= 2 && server.count("cut") >= 1);
    assert_eq!(server.ids("s3://bucket/out"), (0..40).collect::<Vec<_>>());
    let query =
        "SELECT reference, kind FROM 's3://bucket/out/_picsift_errors.pq' ORDER BY reference";
    let said = stdout(&server.run(&["sql", "--format", "csv", "-c", query]));
    assert_eq!(
        said,
        "reference,kind\ndenied.jpg,denied\nnone.jpg,not_found\n"
    );
    let keys = server.keys("out/");
    assert!(keys.contains(&"out/_picsift.json".to_string()), "{keys:?}");
    assert!(
        keys.iter().any(|key| key.starts_with("out/label=")),
        "{keys:?}"
    );
    assert!(
        keys.iter().all(|key| !key.contains("_picsift_work")),
        "{keys:?}"
    );
    let again = server.run(&[&label[..], &more[..]].concat());
    assert!(stdout(&again).contains("nothing to do"));
    let other = server.run(&[&label[..], &["--categories", "bird"]].concat());
    assert!(refused(&other).contains("--overwrite"));
    let anew = [&label[..], &["--categories", "bird", "--overwrite"]].concat();
    stdout(&server.run(&anew));
    assert_eq!(server.ids("s3://bucket/out"), (0..40).collect::<Vec<_>>());
    assert!(
        server.keys("out/label=").is_empty(),
        "the former files are gone"
    );
}

#[test]
fn large_files_are_sent_in_parts_and_are_the_same_as_local_ones() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = Server::start(folder.path()) else {
        return;
    };
    stdout(&server.run(&[
        "label",
        EMBEDDED,
        "--output",
        "s3://bucket/big",
        "--categories",
        "fish",
    ]));
    assert!(server.count("multipart") >= 1);
    let local = folder.path().join("local");
    stdout(&picsift([
        "label",
        EMBEDDED,
        "--output",
        local.to_str().unwrap(),
        "--categories",
        "fish",
    ]));
    let sums = |table: &str| {
        let query = format!(
            "SELECT file, sha256(image['bytes']) AS sum, is_fish, label FROM '{table}' ORDER BY file"
        );
        stdout(&server.run(&["sql", "--format", "csv", "-c", &query]))
    };
    assert_eq!(sums("s3://bucket/big"), sums(local.to_str().unwrap()));
}

#[test]
fn a_killed_job_goes_on_and_two_do_not_mix() {
    let folder = tempfile::tempdir().unwrap();
    // One after another they keep a quick machine busy while another process begins.
    references(folder.path(), 900);
    let Some(server) = Server::start(folder.path()) else {
        return;
    };
    let cache = tempfile::tempdir().unwrap();
    let label = [
        "label",
        "s3://bucket/in/",
        "--output",
        "s3://bucket/out",
        "--categories",
        "fish",
        "--shard-rows",
        "90",
        "--no-cache",
        "--fetches",
        "1",
    ];
    let start = || {
        let mut command = server.command(&label, cache.path());
        command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut first = start();
    let begun = Instant::now();
    while server.keys("out/_picsift_work/journal/").len() < 4 {
        assert!(first.try_wait().unwrap().is_none(), "it ended too early");
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
    let second = start().wait_with_output().unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(
        stderr(&second).contains("another picsift (process "),
        "{}",
        stderr(&second)
    );
    first.kill().unwrap();
    first.wait().unwrap();
    // The same machine sees that the process is gone.
    let last = start().wait_with_output().unwrap();
    assert!(stderr(&last).contains("going on"), "{}", stderr(&last));
    assert!(stdout(&last).starts_with("900 rows"));
    assert_eq!(server.ids("s3://bucket/out"), (0..900).collect::<Vec<_>>());
    let parts = server
        .keys("out/")
        .iter()
        .filter(|key| key.ends_with(".parquet"))
        .count();
    assert_eq!(parts, 10, "no file of the killed run is left over");

    // Other readers list the folder: while it is labelled anew, and when that is killed, they see what was there.
    let mut anew = server.command(&label, cache.path());
    anew.args(["--overwrite", "--threshold", "0.9"]);
    let mut anew = anew
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while server.keys("out/_picsift_work/data/").len() < 3 {
        assert!(anew.try_wait().unwrap().is_none(), "it ended too early");
        assert!(begun.elapsed() < Duration::from_secs(120));
    }
    anew.kill().unwrap();
    anew.wait().unwrap();
    let tables = || -> Vec<String> {
        let keys = server.keys("out/");
        keys.into_iter()
            .filter(|key| key.ends_with(".parquet"))
            .collect()
    };
    assert_eq!(tables().len(), 10, "{:?}", tables());
    assert!(
        server
            .keys("out/")
            .contains(&"out/_picsift.json".to_string())
    );
    let mut last = server.command(&label, cache.path());
    last.args(["--overwrite", "--threshold", "0.9"]);
    let last = last.output().unwrap();
    assert!(stderr(&last).contains("going on"), "{}", stderr(&last));
    assert_eq!(server.ids("s3://bucket/out"), (0..900).collect::<Vec<_>>());
    let left: Vec<String> = server.keys("out/");
    assert!(
        left.iter()
            .all(|key| !key.contains("_picsift_work") && !key.contains("publishing")),
        "{left:?}"
    );
}

#[test]
fn an_output_that_may_not_be_written_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = Server::start(folder.path()) else {
        return;
    };
    let run = server.run(&[
        "label",
        EMBEDDED,
        "--output",
        "s3://nobody/out",
        "--categories",
        "fish",
    ]);
    let said = stderr(&run);
    assert_eq!(run.status.code(), Some(1), "{said}");
    assert!(said.contains("s3://nobody/out"), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "{said}");
}

/// A table is read in many requests; parts of two files are no table.
#[test]
fn a_table_that_is_written_anew_while_it_is_read_is_said() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("rewritten")).unwrap();
    let source = parquet_files(&root().join(EMBEDDED)).remove(0);
    std::fs::copy(source, folder.path().join("rewritten/t.parquet")).unwrap();
    let Some(server) = Server::start(folder.path()) else {
        return;
    };
    let table = "s3://bucket/rewritten/t.parquet";
    let run = server.run(&[
        "label",
        table,
        "--output",
        "s3://bucket/out",
        "--categories",
        "fish",
    ]);
    let said = stderr(&run);
    assert_eq!(run.status.code(), Some(1), "{said}");
    let changed = format!("the input file '{table}' changed while it was read");
    assert!(said.contains(&changed), "{said}");
    let work = "out/_picsift_work/";
    assert!(server.keys("out/").iter().all(|key| key.starts_with(work)));
}

#[test]
fn a_bucket_has_hidden_and_broken_files_like_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let table = |name: &str, id: i64| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let id = array(Int64Array::from(vec![id]));
        write_table(&path, vec![("id", id)]);
    };
    for (id, name) in ["a.parquet", "b.PQ", "_temporary/0/c.parquet", ".d.parquet"]
        .iter()
        .enumerate()
    {
        table(&format!("in/{name}"), id as i64);
    }
    table("bad/a.parquet", 0);
    std::fs::write(folder.path().join("bad/b.parquet"), "<html>").unwrap();
    let Some(server) = Server::start(folder.path()) else {
        return;
    };
    assert_eq!(server.ids("s3://bucket/in"), [0, 1]);
    assert_eq!(server.ids("s3://bucket/in/_temporary/"), [2]);
    assert_eq!(server.ids("s3://bucket/in/.d.parquet"), [3]);
    let said = refused(&server.run(&["sql", "-c", "SELECT * FROM 's3://bucket/bad/'"]));
    assert!(
        said.contains("cannot read 's3://bucket/bad/b.parquet' as Parquet"),
        "{said}"
    );
}
