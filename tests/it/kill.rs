//! A job that is killed again and again ends as if nothing had happened.
//!
//! `PICSIFT_KILLS` and `PICSIFT_SEED` make it longer or another one; `tests/kill.sh` does a hundred.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arrow::array::{Int64Array, StringArray};
use arrow::compute::{SortOptions, lexsort_to_indices, take_record_batch};
use axum::Router;
use axum::extract::{Path as UrlPath, State};
use axum::http::StatusCode;
use axum::routing::get;

use crate::support::*;

/// Rows of the table for each kill, each row with an address of its own: a little more than are labelled in between.
const ROWS_PER_KILL: usize = 100;

/// Rows of a shard.
const SHARD: usize = 25;

/// How long the server thinks about an image: a job must live long enough to be killed in the middle.
const DELAY: Duration = Duration::from_millis(40);

pub(crate) type Requests = Arc<Mutex<HashMap<usize, u64>>>;

/// Serves photographs under `/<number>.jpg`, some of which are missing, each after `delay`, and counts the requests for each.
pub(crate) async fn serve(requests: Requests, delay: Duration) -> SocketAddr {
    async fn image(
        State((requests, delay)): State<(Requests, Duration)>,
        UrlPath(name): UrlPath<String>,
    ) -> Result<Vec<u8>, StatusCode> {
        tokio::time::sleep(delay).await;
        let number: usize = name.trim_end_matches(".jpg").parse().unwrap();
        *requests.lock().unwrap().entry(number).or_default() += 1;
        match number % 10 {
            9 => Err(StatusCode::NOT_FOUND),
            _ => Ok(photos()[number % 2].clone()),
        }
    }
    fn photos() -> &'static [Vec<u8>] {
        static PHOTOS: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
        PHOTOS.get_or_init(|| {
            let folder = root().join(REFERENCES).join("images");
            let mut paths: Vec<_> = std::fs::read_dir(folder)
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.extension().is_some_and(|e| e == "jpg"))
                .collect();
            paths.sort();
            paths
                .iter()
                .take(2)
                .map(|path| std::fs::read(path).unwrap())
                .collect()
        })
    }
    let app = Router::new()
        .route("/{name}", get(image))
        .with_state((requests, delay));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

/// Numbers that follow from a seed alone (xorshift).
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

pub(crate) fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap())
}

fn arguments(table: &Path, output: &Path, server: SocketAddr) -> Vec<String> {
    let (table, output) = (table.to_str().unwrap(), output.to_str().unwrap());
    let (server, shard) = (server.to_string(), SHARD.to_string());
    [
        "label",
        table,
        "--output",
        output,
        "--categories",
        "fish,tool",
        "--partition-by",
        "label",
        "--shard-rows",
        &shard,
        "--allow-host",
        &server,
        "--no-cache",
    ]
    .map(str::to_string)
    .to_vec()
}

/// All rows by their number.
pub(crate) fn rows(output: &Path) -> arrow::array::RecordBatch {
    let all = read_table(output);
    let column = arrow::compute::SortColumn {
        values: Arc::clone(all.column_by_name("id").unwrap()),
        options: Some(SortOptions::default()),
    };
    take_record_batch(&all, &lexsort_to_indices(&[column], None).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_random_moments_change_nothing_and_cost_a_shard_each() {
    let kills = setting("PICSIFT_KILLS", 12);
    let row_count = kills as usize * ROWS_PER_KILL;
    let mut chance = Chance(setting("PICSIFT_SEED", 20_241) | 1);
    let folder = tempfile::tempdir().unwrap();
    let requests = Requests::default();
    let server = serve(Arc::clone(&requests), DELAY).await;
    let table = folder.path().join("t.parquet");
    let urls = (0..row_count).map(|row| format!("http://{server}/{row}.jpg"));
    write_table(
        &table,
        vec![
            ("id", array((0..row_count as i64).collect::<Int64Array>())),
            ("url", array(StringArray::from_iter_values(urls))),
        ],
    );
    let calm = folder.path().join("calm");
    let output = picsift(arguments(&table, &calm, server));
    stdout(&output);
    let once: u64 = requests
        .lock()
        .unwrap()
        .drain()
        .map(|(_, count)| count)
        .sum();
    assert_eq!(
        once, row_count as u64,
        "an undisturbed run asks for each image once"
    );

    let killed = folder.path().join("killed");
    let (mut killings, mut ended) = (0, None);
    for _ in 0..kills {
        let mut child = command(arguments(&table, &killed, server), folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let alive = Duration::from_millis(50 + chance.below(500));
        let begun = Instant::now();
        while begun.elapsed() < alive && ended.is_none() {
            ended = child.try_wait().unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if let Some(status) = ended {
            // It was done before its time; the next runs would have nothing to do.
            assert!(status.success(), "{status}");
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        killings += 1;
    }
    let last = picsift(arguments(&table, &killed, server));
    stdout(&last);
    println!("{killings} kills");

    assert_same_rows(&rows(&killed), &rows(&calm));
    let ids = rows(&killed);
    let ids = column::<Int64Array>(&ids, "id").values().to_vec();
    assert_eq!(
        ids,
        (0..row_count as i64).collect::<Vec<_>>(),
        "no row twice, none lost"
    );
    let asked: u64 = requests.lock().unwrap().values().sum();
    let again = asked - row_count as u64;
    println!(
        "{again} images asked again, {:.1} a kill",
        again as f64 / killings as f64
    );
    assert!(
        again <= killings * SHARD as u64,
        "{again} images were asked again after {killings} kills with shards of {SHARD}"
    );
    let left: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with('.'))
        .collect();
    assert!(left.is_empty(), "the work is cleared away: {left:?}");
    assert!(
        killings >= kills / 2,
        "the job ended too early to be killed: {killings} of {kills}"
    );
    let again = picsift(arguments(&table, &killed, server));
    assert!(stdout(&again).contains("nothing to do"));
}
