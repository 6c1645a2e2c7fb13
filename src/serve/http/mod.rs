//! JSON over HTTP, for those without Arrow: pictures to label, and SQL.
//!
//! Bodies are read behind the door and within bounds: their size is looked at in the head and again while they come, their time is bounded,
//! and few are held at once. Rows and labels go out as they come; an answer that breaks off midway is broken off for its reader too.

mod label;
mod rows;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{DefaultBodyLimit, Request};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use serde::de::DeserializeOwned;
use tokio::time::timeout;

use super::Server;
use super::refusal::Refusal;
use label::{MOST_PICTURES, label};
use rows::rows;

/// Bytes of a request that is read on the thread that speaks with its client; pictures keep one for too long.
const READ_AT_ONCE: usize = 16 << 10;

/// How long a request may take to bring its body.
const PATIENCE: Duration = Duration::from_secs(60);

/// The form of answers unless another is asked for.
const LINES: &str = "application/x-ndjson";

/// How requests that come this way are called in metrics.
const WAY: &str = "http";

/// The routes of both.
pub(super) fn routes(server: Arc<Server>) -> Router {
    Router::new()
        .route("/v1/label", post(label))
        .route("/v1/sql", post(rows))
        .layer(DefaultBodyLimit::max(MOST_PICTURES))
        .with_state(server)
}

fn wrong(text: impl Into<String>) -> Refusal {
    Refusal::Wrong(text.into())
}

fn kind(headers: &HeaderMap) -> &str {
    let kind = headers.get(header::CONTENT_TYPE);
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim()
}

/// The body of a request of JSON.
async fn json<T: DeserializeOwned + Send + 'static>(
    request: Request,
    most: usize,
) -> Result<T, Refusal> {
    if kind(request.headers()) != "application/json" {
        return Err(wrong("the request must be application/json"));
    }
    let too_large = || wrong(format!("a request has at most {} MB", most >> 20));
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
    if length.is_some_and(|length| length > most) {
        return Err(too_large());
    }
    let body = to_bytes(request.into_body(), most).await;
    let body = body.map_err(|_| too_large())?;
    let is_short = body.len() <= READ_AT_ONCE;
    let read = move || {
        let read = serde_json::from_slice(&body);
        read.map_err(|error| wrong(format!("the request is wrong: {error}")))
    };
    match is_short {
        true => read(),
        // It ends early only with the server.
        false => tokio::task::spawn_blocking(read)
            .await
            .unwrap_or_else(|_| Err(Refusal::Failed("request".to_string()))),
    }
}

async fn in_time<T>(work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    let late = |_| Err(wrong("the request's body did not come"));
    timeout(PATIENCE, work).await.unwrap_or_else(late)
}

/// The same once its first part is there, so that what is wrong by then is answered as such.
///
/// # Errors
/// The first part's.
async fn begun<T, S>(mut parts: S) -> Result<impl Stream<Item = Result<T, Refusal>>, Refusal>
where
    S: Stream<Item = Result<T, Refusal>> + Unpin,
{
    let first = parts.next().await.transpose()?;
    Ok(stream::iter(first.map(Ok)).chain(parts))
}

/// An answer that goes out as it comes.
fn streamed<S>(kind: &'static str, body: S) -> Response
where
    S: Stream<Item = Result<Bytes, Refusal>> + Send + 'static,
{
    ([(header::CONTENT_TYPE, kind)], Body::from_stream(body)).into_response()
}
