//! Tables and images on a web server: relative references, a missing file, a refused one.

use std::net::SocketAddr;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, StringArray};
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::routing::get;
use tempfile::tempdir;

use crate::support::*;

/// Paths and what is there.
type Files = Vec<(&'static str, Vec<u8>)>;

/// Serves `files` below `/`, with ranges, as any web server does; `secret` is forbidden.
async fn serve(files: Files) -> SocketAddr {
    async fn file(
        State(files): State<Arc<Files>>,
        Path(path): Path<String>,
        headers: HeaderMap,
    ) -> Response<Body> {
        let status = |status| {
            Response::builder()
                .status(status)
                .body(Body::empty())
                .unwrap()
        };
        if path.contains("secret") {
            return status(StatusCode::FORBIDDEN);
        }
        let Some((_, bytes)) = files.iter().find(|(name, _)| *name == path) else {
            return status(StatusCode::NOT_FOUND);
        };
        let range = headers.get(header::RANGE).and_then(|value| {
            let (start, end) = value
                .to_str()
                .ok()?
                .strip_prefix("bytes=")?
                .split_once('-')?;
            let end = end
                .parse::<usize>()
                .map_or(bytes.len(), |end| (end + 1).min(bytes.len()));
            Some((start.parse::<usize>().ok()?, end))
        });
        match range {
            None => Response::new(Body::from(bytes.clone())),
            Some((start, end)) => Response::builder()
                .status(StatusCode::PARTIAL_CONTENT)
                .header(
                    header::CONTENT_RANGE,
                    format!("bytes {start}-{}/{}", end - 1, bytes.len()),
                )
                .body(Body::from(bytes[start..end].to_vec()))
                .unwrap(),
        }
    }
    let app = Router::new()
        .route("/{*path}", get(file))
        .with_state(Arc::new(files));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_on_a_web_server_finds_its_images_beside_it() {
    let folder = tempdir().unwrap();
    let table = folder.path().join("t.parquet");
    let images = [
        "images/fish.jpg",
        "images/none.jpg",
        "images/secret.jpg",
        "images/fish.jpg?size=big",
    ];
    write_table(
        &table,
        vec![("image", array(StringArray::from(images.to_vec())))],
    );
    let server = serve(vec![
        ("data/t.parquet", std::fs::read(&table).unwrap()),
        ("data/images/fish.jpg", photo("fish27_149.jpg")),
    ])
    .await;
    let url = format!("http://{server}/data/t.parquet");
    let target = folder.path().join("out");
    let args = [
        "label",
        &url,
        "-o",
        target.to_str().unwrap(),
        "--categories",
        "fish",
    ]
    .map(str::to_string);
    let run = tokio::task::spawn_blocking(move || picsift(args))
        .await
        .unwrap();
    let said = stdout(&run);
    assert!(said.contains("4 images (1 distinct), 2 failed"), "{said}");
    let output = read_table(&target);
    let is = column::<BooleanArray>(&output, "is_fish");
    assert!(is.value(0) && is.value(3) && is.is_null(1) && is.is_null(2));
    let errors = errors(&output);
    let said = |row: usize| errors[row].as_deref().unwrap();
    assert!(
        said(1).starts_with("fetch: ") && said(1).contains("none.jpg"),
        "{}",
        said(1)
    );
    assert!(said(2).contains("secret.jpg"), "{}", said(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_table_on_a_web_server_is_said() {
    let folder = tempdir().unwrap();
    let server = serve(Vec::new()).await;
    let url = format!("http://{server}/none.parquet");
    let target = folder.path().join("out");
    let args = [
        "label",
        &url,
        "-o",
        target.to_str().unwrap(),
        "--categories",
        "fish",
    ]
    .map(str::to_string);
    let run = tokio::task::spawn_blocking(move || picsift(args))
        .await
        .unwrap();
    assert!(refused(&run).contains("none.parquet"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_the_hub_is_labelled_with_the_images_beside_it() {
    let folder = tempdir().unwrap();
    let table = folder.path().join("t.parquet");
    let images = ["images/fish.jpg", "images/none.jpg"];
    write_table(
        &table,
        vec![("image", array(StringArray::from(images.to_vec())))],
    );
    let server = serve(vec![
        (
            "datasets/o/n/resolve/v1/data/t.parquet",
            std::fs::read(&table).unwrap(),
        ),
        (
            "datasets/o/n/resolve/v1/data/images/fish.jpg",
            photo("fish27_149.jpg"),
        ),
    ])
    .await;
    let endpoint = format!("http://{server}");
    let target = folder.path().join("out");
    let cache = tempdir().unwrap();
    let run = |args: Vec<String>| {
        let mut command = command(args, cache.path());
        command.env("HF_ENDPOINT", &endpoint).env_remove("HF_TOKEN");
        tokio::task::spawn_blocking(move || command.output().unwrap())
    };
    let label = ["label", "hf://datasets/o/n@v1/data/t.parquet", "-o"].map(str::to_string);
    let label = label.into_iter().chain([
        target.to_str().unwrap().to_string(),
        "--categories".to_string(),
        "fish".to_string(),
    ]);
    let said = stdout(&run(label.collect()).await.unwrap());
    assert!(said.contains("2 images"), "{said}");
    let output = read_table(&target);
    let is = column::<BooleanArray>(&output, "is_fish");
    assert!(is.value(0) && is.is_null(1));
    let said = errors(&output)[1].clone().unwrap();
    assert!(said.contains("none.jpg"), "{said}");

    let query = "SELECT count(*) AS n FROM 'hf://datasets/o/n@v1/data/t.parquet'";
    let sql = ["sql", "--format", "csv", "-c", query].map(str::to_string);
    let said = stdout(&run(sql.to_vec()).await.unwrap());
    assert_eq!(said.trim(), "n\n2");
}
