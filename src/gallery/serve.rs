//! A gallery shown on this machine, whose corrections are kept beside it.
//!
//! It listens on the loopback address alone. `door` decides who may see it, before anything but the head of a request is read;
//! [`listen`] bounds what strangers can hold; files come from [`plain`], which follows no link. Corrections must be about
//! this gallery: its own images, its categories, a time that can be read.

mod door;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Extension, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::data::{CHUNK, argument};
use super::{MARKER, MOST_ROWS, data};
use crate::corrections;
use crate::corrections::kept::{self, Correction};
use crate::disk::{self, plain};
use crate::error::AppError;
use crate::listen::{self, Bounds, Listener, Shown};
use door::{Door, Guest};

/// What is open at once: browsers open six connections.
const BOUNDS: Bounds = Bounds {
    most: 64,
    oldest_goes: true,
    stranger: Duration::from_secs(5),
    parting: Duration::from_secs(2),
    streams: None,
};

/// Most bytes of corrections that are taken at once: some hundred thousand of them.
const MOST_BYTES: usize = 32 << 20;

/// Requests whose corrections are in memory at once.
const AT_ONCE: usize = 2;

/// How long a request may take to bring its corrections.
const PATIENCE: Duration = Duration::from_secs(60);

/// Most bytes of a file that is shown; those of a million rows have a tenth.
const MOST_SHOWN: u64 = 256 << 20;

/// Most characters of who corrects.
const MOST_NAME: usize = 200;

/// What the link answers with: behind a redirect a browser that came from elsewhere would not send the cookie.
const ENTRY: &str = "<!doctype html><title>picsift</title><link rel=\"icon\" href=\"/icon.svg\">\
                     <script src=\"/entry.js\"></script>\n";

/// Goes on to the gallery by an address that has the link's state and not its key, in whose place it comes.
const ENTRY_SCRIPT: &str = "location.replace(\"/\" + location.hash);\n";

/// What pages may load and do; the same stands in them for when they are opened from disk.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

struct Gallery {
    folder: PathBuf,
    door: Door,
    categories: Vec<String>,
    keys: Keys,
    /// Which gallery of those that may come to be in the folder.
    number: u64,
    /// The right to hold corrections in memory.
    room: Semaphore,
}

/// What the gallery's rows call their images, as hashes: eight bytes a row.
struct Keys {
    hasher: RandomState,
    hashes: Vec<u64>,
}

/// Serves the gallery in `folder` until Ctrl-C or SIGTERM; `port` 0 is any that is free.
///
/// # Errors
/// [`AppError::Usage`] when there is no gallery or the port is taken.
pub async fn serve(
    folder: &Path,
    port: u16,
    opened: impl FnOnce(&str),
    ended: impl Future<Output = ()> + Send + 'static,
) -> Result<(), AppError> {
    let path = folder.to_path_buf();
    let read = move || {
        let (rows, categories) = known(&path)?;
        let keys = Keys::read(&path, rows)?;
        // What cannot be read is said here, not in a browser.
        kept::read(&path)?;
        // A folder that cannot be written can be shown; what is then corrected is refused with the reason.
        let number = kept::lock(&path).and_then(|lock| lock.gallery());
        Ok((categories, keys, number.unwrap_or_default()))
    };
    let (categories, keys, number) = disk::blocking(read).await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(|error| AppError::Usage(format!("cannot listen on port {port}: {error}")))?;
    let failed = AppError::file("serve", folder);
    let port = match listener.local_addr() {
        Ok(address) => address.port(),
        Err(error) => return Err(failed(error)),
    };
    let gallery = Arc::new(Gallery {
        folder: folder.to_path_buf(),
        door: Door::new(port)?,
        categories,
        keys,
        number,
        room: Semaphore::new(AT_ONCE),
    });
    opened(&gallery.door.link());
    let app = Router::new()
        .route("/data/meta.js", get(meta))
        .route("/entry.js", get(entry))
        .route("/corrections", post(save))
        .fallback(file)
        .layer(middleware::from_fn_with_state(Arc::clone(&gallery), guard))
        .with_state(gallery);
    listen::answer(Listener::Tcp(listener, None), app, BOUNDS, ended)
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
    let text = plain::read(folder, MARKER, MOST_SHOWN).map_err(|error| {
        AppError::Usage(format!(
            "there is no gallery at {}: cannot read {MARKER}: {error}",
            folder.display()
        ))
    })?;
    let marker: Marker = serde_json::from_slice(&text)
        .map_err(|error| AppError::Usage(format!("{} is no gallery's: {error}", path.display())))?;
    Ok((marker.rows, marker.categories))
}

impl Keys {
    /// Those in the gallery's data.
    fn read(folder: &Path, rows: u64) -> Result<Self, AppError> {
        #[derive(Deserialize)]
        struct Row {
            key: String,
        }
        let wrong = |name: &str, reason: String| {
            AppError::Usage(format!(
                "{} is not as picsift writes it: {reason}; make the gallery again",
                folder.join(name).display()
            ))
        };
        if rows > MOST_ROWS {
            return Err(wrong(MARKER, format!("it says that there are {rows} rows")));
        }
        let rows = rows as usize;
        let (hasher, mut hashes) = (RandomState::new(), Vec::with_capacity(rows));
        while hashes.len() < rows {
            let name = format!("data/rows-{}.js", hashes.len() / CHUNK);
            let text = plain::read(folder, &name, MOST_SHOWN)
                .map_err(AppError::file("read", folder.join(&name)))?;
            let argument = argument(&text).ok_or_else(|| wrong(&name, "it is no call".into()))?;
            let chunk: Vec<Row> = serde_json::from_slice(argument)
                .map_err(|error| wrong(&name, error.to_string()))?;
            if chunk.len() != CHUNK.min(rows - hashes.len()) {
                return Err(wrong(&name, format!("it has {} rows", chunk.len())));
            }
            hashes.extend(chunk.iter().map(|row| hasher.hash_one(row.key.as_str())));
        }
        Ok(Self { hasher, hashes })
    }

    /// Whether the image of this row is called so; `None` where there is no such row.
    fn fits(&self, row: u64, key: &str) -> Option<bool> {
        let hash = self.hashes.get(usize::try_from(row).ok()?)?;
        Some(*hash == self.hasher.hash_one(key))
    }
}

/// Lets in whom the door lets in, and marks every answer.
async fn guard(
    State(gallery): State<Arc<Gallery>>,
    Extension(shown): Extension<Shown>,
    request: Request,
    next: Next,
) -> Response {
    let mut answer = match gallery.door.guest(request.uri(), request.headers()) {
        Guest::Known => {
            shown.set();
            next.run(request).await
        }
        Guest::New => {
            shown.set();
            ([(header::SET_COOKIE, gallery.door.cookie())], Html(ENTRY)).into_response()
        }
        Guest::Stranger(reason) => {
            let closed = [(header::CONNECTION, "close")];
            (closed, refusal(StatusCode::FORBIDDEN, reason)).into_response()
        }
    };
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        // The next gallery in the folder has other files of the same names.
        (header::CACHE_CONTROL, "no-store"),
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

fn refusal(status: StatusCode, reason: impl Into<String>) -> Response {
    (status, axum::Json(json!({"error": reason.into()}))).into_response()
}

async fn entry() -> impl IntoResponse {
    (
        [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")],
        ENTRY_SCRIPT,
    )
}

/// A file of the gallery.
async fn file(State(gallery): State<Arc<Gallery>>, method: Method, uri: Uri) -> Response {
    if method != Method::GET {
        return refusal(
            StatusCode::METHOD_NOT_ALLOWED,
            "the gallery is to be looked at",
        );
    }
    // The names that a gallery gives its files need no escapes.
    let name = match uri.path().trim_start_matches('/') {
        "" => "index.html",
        name => name,
    };
    let hidden = name.split('/').any(|part| part.starts_with('.'));
    let kind = match name.rsplit_once('.') {
        Some((_, "html")) => "text/html; charset=utf-8",
        Some((_, "js")) => "text/javascript; charset=utf-8",
        Some((_, "css")) => "text/css; charset=utf-8",
        Some((_, "svg")) => "image/svg+xml",
        Some((_, "jpg")) => "image/jpeg",
        _ => "text/plain; charset=utf-8",
    };
    let (folder, path) = (gallery.folder.clone(), name.to_owned());
    let read = move || Ok(plain::read(&folder, &path, MOST_SHOWN));
    match disk::blocking(read).await {
        Ok(Ok(bytes)) if !hidden => ([(header::CONTENT_TYPE, kind)], bytes).into_response(),
        Ok(Err(error))
            if !matches!(
                error.kind(),
                ErrorKind::NotFound | ErrorKind::NotADirectory | ErrorKind::InvalidInput
            ) =>
        {
            let reason = format!("cannot read {name}: {error}");
            refusal(StatusCode::INTERNAL_SERVER_ERROR, reason)
        }
        Ok(_) => refusal(StatusCode::NOT_FOUND, "the gallery has no such file"),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// What the pages know, with the token and what was corrected before.
async fn meta(State(gallery): State<Arc<Gallery>>) -> Response {
    let folder = gallery.folder.clone();
    let read = move || {
        let failed = || AppError::file("read", folder.join("data/meta.js"));
        let text = plain::read(&folder, "data/meta.js", MOST_SHOWN).map_err(failed())?;
        let text = String::from_utf8(text)
            .map_err(|error| failed()(std::io::Error::new(ErrorKind::InvalidData, error)))?;
        Ok::<_, AppError>((text, kept::read(&folder)?))
    };
    match disk::blocking(read).await {
        Ok((text, corrections)) => {
            let serve = json!({"token": gallery.door.page(), "corrections": corrections});
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

async fn save(State(gallery): State<Arc<Gallery>>, request: Request) -> Response {
    let headers = request.headers();
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    if !gallery.door.is_page(headers) {
        return refusal(
            StatusCode::FORBIDDEN,
            "the page is not this run's: reload it",
        );
    }
    if text(header::CONTENT_TYPE) != Some("application/x-ndjson") {
        return refusal(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "corrections are application/x-ndjson",
        );
    }
    let length = text(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if length.is_some_and(|length| length > MOST_BYTES as u64) {
        return too_many();
    }
    let Ok(_room) = gallery.room.acquire().await else {
        return refusal(StatusCode::SERVICE_UNAVAILABLE, "the gallery is closed");
    };
    let body = match timeout(PATIENCE, to_bytes(request.into_body(), MOST_BYTES)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return too_many(),
        Err(_) => return refusal(StatusCode::REQUEST_TIMEOUT, "the corrections did not come"),
    };
    let new = match parse(&gallery, &body) {
        Ok(new) => new,
        Err(reason) => return refusal(StatusCode::BAD_REQUEST, reason),
    };
    let (folder, number, saved) = (gallery.folder.clone(), gallery.number, new.len());
    match disk::blocking(move || kept::add(&folder, number, new)).await {
        Ok(()) => axum::Json(json!({"saved": saved})).into_response(),
        Err(error) => refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn too_many() -> Response {
    let reason = format!(
        "at most {} MB of corrections are taken at once",
        MOST_BYTES >> 20
    );
    refusal(StatusCode::PAYLOAD_TOO_LARGE, reason)
}

fn parse(gallery: &Gallery, body: &[u8]) -> Result<Vec<Correction>, String> {
    let text = std::str::from_utf8(body).map_err(|error| format!("it is no text: {error}"))?;
    let mut all = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let wrong = |reason: String| format!("line {} is no correction: {reason}", number + 1);
        let one: Correction = serde_json::from_str(line).map_err(|e| wrong(e.to_string()))?;
        let Some(row) = one.row else {
            return Err(wrong("it has no row".to_string()));
        };
        match gallery.keys.fits(row, &one.key) {
            Some(true) if one.key.is_empty() => {
                return Err(wrong(format!("row {row} has no image")));
            }
            Some(true) => {}
            Some(false) => {
                return Err(wrong(format!(
                    "the image of row {row} is not called '{}'",
                    one.key
                )));
            }
            None => return Err(wrong(format!("the gallery has no row {row}"))),
        }
        if !gallery.categories.contains(&one.category) {
            return Err(wrong(format!(
                "'{}' is no category of the gallery",
                one.category
            )));
        }
        if corrections::time(&one.when).is_none() {
            return Err(wrong(format!("'{}' is no time", one.when)));
        }
        if one.who.chars().count() > MOST_NAME || one.who.contains(char::is_control) {
            return Err(wrong(format!(
                "a name has at most {MOST_NAME} characters, all of which can be seen"
            )));
        }
        all.push(one);
    }
    Ok(all)
}
