//! A gallery shown on this machine, whose corrections are kept beside it.
//!
//! It listens on the loopback address alone, and still trusts no page: other sites can make a browser send requests here (CSRF), and
//! a name of theirs may lead here (DNS rebinding). So the Host must be this machine, an Origin must be this page, and
//! corrections need a token that only this page has.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tower_http::services::ServeDir;

use super::kept::{self, CORRECTIONS, Correction};
use super::{MARKER, data};
use crate::error::AppError;
use crate::output::place;
use crate::printer::say;
use crate::signals;

/// The header with the token.
const TOKEN: &str = "x-picsift-token";

/// Most bytes of corrections that are taken at once: some hundred thousand of them.
const MOST_BYTES: usize = 32 << 20;

/// What pages may load and do; the same stands in them for when they are opened from disk.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct Shown {
    folder: PathBuf,
    hosts: [String; 2],
    token: String,
    rows: u64,
    categories: Vec<String>,
    /// Which gallery of those that may come to be in the folder.
    gallery: u64,
}

/// Serves the gallery in `folder` until Ctrl-C; `port` 0 is any that is free.
///
/// # Errors
/// [`AppError::Usage`] when there is no gallery or the port is taken.
pub async fn serve(folder: &Path, port: u16) -> Result<(), AppError> {
    let (rows, categories) = known(folder)?;
    // What cannot be read is said here, not in a browser.
    kept::read(folder)?;
    // A folder that cannot be written can be shown; what is then corrected is refused with the reason.
    let gallery = kept::lock(folder)
        .and_then(|lock| lock.gallery())
        .unwrap_or_default();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|error| AppError::Usage(format!("cannot listen on port {port}: {error}")))?;
    let failed = AppError::file("serve", folder);
    let port = match listener.local_addr() {
        Ok(address) => address.port(),
        Err(error) => return Err(failed(error)),
    };
    let shown = Arc::new(Shown {
        folder: folder.to_path_buf(),
        hosts: [format!("127.0.0.1:{port}"), format!("localhost:{port}")],
        token: token()?,
        rows,
        categories,
        gallery,
    });
    say!(
        "the gallery is at http://127.0.0.1:{port}/ until Ctrl-C; corrections go to {}",
        folder.join(CORRECTIONS).display()
    );
    let app = Router::new()
        .route("/data/meta.js", get(meta))
        .route("/corrections", post(save))
        .fallback_service(ServeDir::new(folder))
        .layer(DefaultBodyLimit::max(MOST_BYTES))
        .layer(middleware::from_fn_with_state(Arc::clone(&shown), guard))
        .with_state(shown);
    axum::serve(listener, app)
        .with_graceful_shutdown(async {
            // Where no signal can come it goes on until it is killed.
            if signals::next().await.is_none() {
                std::future::pending::<()>().await;
            }
        })
        .await
        .map_err(failed)
}

/// Rows and categories of the gallery.
fn known(folder: &Path) -> Result<(u64, Vec<String>), AppError> {
    #[derive(Deserialize)]
    struct Marker {
        rows: u64,
        categories: Vec<String>,
    }
    let path = folder.join(MARKER);
    let text = std::fs::read(&path).map_err(|error| {
        AppError::Usage(format!(
            "there is no gallery at {}: cannot read {MARKER}: {error}",
            folder.display()
        ))
    })?;
    let marker: Marker = serde_json::from_slice(&text)
        .map_err(|error| AppError::Usage(format!("{} is no gallery's: {error}", path.display())))?;
    Ok((marker.rows, marker.categories))
}

fn token() -> Result<String, AppError> {
    let mut bytes = [0; 32];
    getrandom::getrandom(&mut bytes)
        .map_err(|error| AppError::file("read", "the system's random numbers")(error.into()))?;
    Ok(picsift_images::hex(&bytes))
}

/// Lets only this machine's own page through, and marks every answer.
async fn guard(State(shown): State<Arc<Shown>>, request: Request, next: Next) -> Response {
    let mut answer = match refused(&shown, request.headers()) {
        Some(reason) => refusal(StatusCode::FORBIDDEN, reason),
        None => next.run(request).await,
    };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
        (
            HeaderName::from_static("cross-origin-resource-policy"),
            "same-origin",
        ),
    ] {
        answer
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    answer
}

fn refused(shown: &Shown, headers: &HeaderMap) -> Option<&'static str> {
    let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or(""));
    let ours = |host: &str| shown.hosts.iter().any(|known| known == host);
    if !text(header::HOST).is_some_and(ours) {
        return Some("the gallery answers to 127.0.0.1 and localhost alone");
    }
    match text(header::ORIGIN) {
        Some(origin) if !origin.strip_prefix("http://").is_some_and(ours) => {
            Some("the gallery answers to its own page alone")
        }
        _ => None,
    }
}

fn refusal(status: StatusCode, reason: impl Into<String>) -> Response {
    (status, axum::Json(json!({"error": reason.into()}))).into_response()
}

/// What the pages know, with the token and what was corrected before.
async fn meta(State(shown): State<Arc<Shown>>) -> Response {
    let folder = shown.folder.clone();
    let read = move || {
        let path = folder.join("data/meta.js");
        let text = std::fs::read_to_string(&path).map_err(AppError::file("read", &path))?;
        Ok::<_, AppError>((text, kept::read(&folder)?))
    };
    match place::blocking(read).await {
        Ok((text, corrections)) => {
            let serve = json!({"token": shown.token, "corrections": corrections});
            let served = format!("\"serve\":{}", data::harmless(&serve.to_string()));
            // The last member, so that no text of the data is taken for it.
            let text = match text.rsplit_once("\"serve\":null") {
                Some((before, after)) => format!("{before}{served}{after}"),
                None => text,
            };
            (
                [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")],
                text,
            )
                .into_response()
        }
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

async fn save(State(shown): State<Arc<Shown>>, headers: HeaderMap, body: Bytes) -> Response {
    let is = |name: &str, wanted: &str| headers.get(name).is_some_and(|value| value == wanted);
    if !is(TOKEN, &shown.token) {
        return refusal(
            StatusCode::FORBIDDEN,
            "the page is not this run's: reload it",
        );
    }
    if !is("content-type", "application/x-ndjson") {
        return refusal(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "corrections are application/x-ndjson",
        );
    }
    let new = match parse(&shown, &body) {
        Ok(new) => new,
        Err(reason) => return refusal(StatusCode::BAD_REQUEST, reason),
    };
    let (folder, gallery, saved) = (shown.folder.clone(), shown.gallery, new.len());
    match place::blocking(move || kept::add(&folder, gallery, new)).await {
        Ok(()) => axum::Json(json!({"saved": saved})).into_response(),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn parse(shown: &Shown, body: &[u8]) -> Result<Vec<Correction>, String> {
    let text = std::str::from_utf8(body).map_err(|error| format!("it is no text: {error}"))?;
    let mut all = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = |reason: String| format!("line {} is no correction: {reason}", number + 1);
        let one: Correction = serde_json::from_str(line).map_err(|e| wrong(e.to_string()))?;
        match one.row {
            Some(row) if row < shown.rows => {}
            Some(row) => return Err(wrong(format!("the gallery has no row {row}"))),
            None => return Err(wrong("it has no row".to_string())),
        }
        if !shown.categories.contains(&one.category) {
            return Err(wrong(format!(
                "'{}' is no category of the gallery",
                one.category
            )));
        }
        all.push(one);
    }
    Ok(all)
}
