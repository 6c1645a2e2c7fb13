//! JSON over HTTP, for those without Arrow: pictures to label, and SQL.
//!
//! Bodies are read behind the door and within bounds: their size is looked at in the head and again while they come, their time is bounded,
//! and few are held at once. Rows and labels go out as they come; an answer that breaks off midway is broken off for its reader too.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::writer::StreamWriter;
use arrow::json::WriterBuilder;
use arrow::json::writer::LineDelimited;
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{DefaultBodyLimit, Extension, FromRequest, Multipart, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use datafusion::prelude::SessionContext;
use futures::{Stream, StreamExt, TryStreamExt, stream};
use picsift_udf::{ImageSource, Labelling, PicsiftOptions};
use picsift_vision::Generation;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::Server;
use super::door::Client;
use super::metrics::Run;
use super::query::{id, parsed, stats};
use super::refusal::Refusal;
use crate::error::AppError;
use crate::label::image::{ImageLabeler, ImageLabels};
use crate::options::CategoryOptions;
use crate::sql::{self, Parameter};

/// Most bytes of pictures in a request.
const MOST_PICTURES: usize = 64 << 20;

/// Most pictures in a request.
const MOST_IMAGES: usize = 256;

/// Most categories in a request.
const MOST_CATEGORIES: usize = 200;

/// Most bytes of a request for rows.
const MOST_TEXT: usize = 4 << 20;

/// How long a request may take to bring its body.
const PATIENCE: Duration = Duration::from_secs(60);

/// The form of answers unless another is asked for.
const LINES: &str = "application/x-ndjson";

/// The form of rows in Arrow.
const ARROW: &str = "application/vnd.apache.arrow.stream";

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

/// Pictures and what is to be found out about each.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Pictures {
    images: Vec<Picture>,
    categories: Vec<String>,
    threshold: Option<f32>,
    /// A question to be answered in words.
    ask: Option<String>,
    model: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Picture {
    /// What it is called in the answer.
    file: String,
    /// The encoded image in base64.
    #[serde(deserialize_with = "decoded")]
    data: Bytes,
}

fn decoded<'de, D: serde::Deserializer<'de>>(data: D) -> Result<Bytes, D::Error> {
    let text = <std::borrow::Cow<'_, str>>::deserialize(data)?;
    let bytes = STANDARD.decode(text.as_bytes());
    bytes
        .map(Bytes::from)
        .map_err(|_| serde::de::Error::custom("data is no base64"))
}

/// A statement with its values.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    sql: String,
    #[serde(default)]
    parameters: Vec<Value>,
    /// Settings for this statement, with or without `picsift.` before their names.
    #[serde(default)]
    settings: Map<String, Value>,
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
async fn json<T: DeserializeOwned>(request: Request, most: usize) -> Result<T, Refusal> {
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
    serde_json::from_slice(&body).map_err(|error| wrong(format!("the request is wrong: {error}")))
}

async fn in_time<T>(work: impl Future<Output = Result<T, Refusal>>) -> Result<T, Refusal> {
    let late = |_| Err(wrong("the request's body did not come"));
    timeout(PATIENCE, work).await.unwrap_or_else(late)
}

/// `POST /v1/label`.
async fn label(
    State(server): State<Arc<Server>>,
    Extension(client): Extension<Arc<Client>>,
    request: Request,
) -> Result<Response, Refusal> {
    let slot = server.slot(&client)?;
    let room = timeout(PATIENCE, Arc::clone(&server.bodies).acquire_owned()).await;
    let Ok(Ok(room)) = room else {
        return Err(Refusal::Exhausted(
            "the server holds as many pictures as it can; try again".to_string(),
        ));
    };
    let read = async {
        match kind(request.headers()) {
            "multipart/form-data" => pictures(request).await,
            _ => json(request, MOST_PICTURES).await,
        }
    };
    let pictures = in_time(read).await?;
    labels(&server, &client, pictures, (slot, room)).await
}

/// Pictures as a form brings them: files as `image`, the rest as texts.
async fn pictures(request: Request) -> Result<Pictures, Refusal> {
    let bad = |error: axum::extract::multipart::MultipartError| wrong(error.body_text());
    let form = Multipart::from_request(request, &()).await;
    let mut form = form.map_err(|error| wrong(error.body_text()))?;
    let mut pictures = Pictures::default();
    while let Some(field) = form.next_field().await.map_err(bad)? {
        let name = field.name().unwrap_or_default().to_string();
        if name == "image" {
            let number = pictures.images.len() + 1;
            let file = field
                .file_name()
                .map_or_else(|| number.to_string(), str::to_string);
            let data = field.bytes().await.map_err(bad)?;
            pictures.images.push(Picture { file, data });
            if number > MOST_IMAGES {
                break;
            }
            continue;
        }
        let text = field.text().await.map_err(bad)?;
        match name.as_str() {
            "categories" => {
                let names = text.split(',').map(|name| name.trim().to_string());
                pictures.categories.extend(names);
            }
            "threshold" => {
                let threshold = text.trim().parse();
                pictures.threshold =
                    Some(threshold.map_err(|_| wrong("threshold is a number from 0 to 1"))?);
            }
            "ask" => pictures.ask = Some(text),
            "model" => pictures.model = Some(text),
            _ => {
                return Err(wrong(format!(
                    "the form has no '{}': it has image, categories, threshold, ask and model",
                    picsift_images::escaped(&name)
                )));
            }
        }
    }
    Ok(pictures)
}

async fn labels(
    server: &Arc<Server>,
    client: &Client,
    pictures: Pictures,
    held: (OwnedSemaphorePermit, OwnedSemaphorePermit),
) -> Result<Response, Refusal> {
    let (images, quotas) = (pictures.images.len(), server.rules.quotas);
    if images == 0 || images > MOST_IMAGES || images as u64 > quotas.images {
        let most = quotas.images.min(MOST_IMAGES as u64);
        return Err(wrong(format!("a request has 1 to {most} images")));
    }
    if pictures.categories.len() > MOST_CATEGORIES {
        return Err(wrong(format!(
            "a request has at most {MOST_CATEGORIES} categories"
        )));
    }
    if pictures
        .threshold
        .is_some_and(|threshold| !(0.0..=1.0).contains(&threshold))
    {
        return Err(wrong("threshold is a number from 0 to 1"));
    }
    if let Some(model) = &pictures.model {
        server.rules.setting("picsift.model", model)?;
    }
    let (id, tenant) = (id()?, server.tenant(client).await?);
    let told = |error: AppError| Refusal::of(&error, &id);
    let settings = PicsiftOptions::of(tenant.template.state().config_options());
    let name = pictures.model.as_ref().unwrap_or(&settings.model);
    let model = tenant.engine.model(name, &settings.load);
    let model = model.map_err(|error| told(error.into()))?;
    let labelling = match (pictures.categories.is_empty(), &pictures.ask) {
        (true, Some(_)) => None,
        (true, None) => return Err(wrong("name categories, or ask a question")),
        (false, _) => {
            let options = CategoryOptions {
                names: pictures.categories,
                ..CategoryOptions::default()
            };
            let specs: Vec<_> = options
                .resolve()
                .map_err(told)?
                .into_iter()
                .map(|c| c.spec)
                .collect();
            let labelling = Labelling::new(&model, &specs, pictures.threshold);
            Some(labelling.map_err(|error| told(AppError::Plan(error)))?)
        }
    };
    let open = pictures
        .ask
        .map(|question| model.open(&question, Generation::default()));
    let open = open.transpose().map_err(|error| wrong(error.to_string()))?;
    let stats = stats(client, &id);
    let run = Run::begin(&server.metrics, WAY, Arc::clone(&stats));
    let labeler = Arc::new(ImageLabeler::counted(
        &tenant.engine,
        model,
        labelling,
        open,
        stats,
    ));
    let most = tenant.engine.options().limits.max_bytes;
    let at_once = labeler.in_flight();
    let lines = stream::iter(pictures.images).map(move |picture| {
        let (labeler, id) = (Arc::clone(&labeler), id.clone());
        async move {
            let size = picture.data.len() as u64;
            let outcome = match size > most {
                true => Err(format!("it has {size} bytes; at most {most} are allowed")),
                false => {
                    let labels = labeler.label(ImageSource::Bytes(picture.data)).await;
                    let labels = labels.map_err(|error| Refusal::of(&error.into(), &id))?;
                    labels.map_err(|error| error.to_string())
                }
            };
            let (labels, error) = match outcome {
                Ok(labels) => (labels, None),
                Err(error) => (ImageLabels::default(), Some(error)),
            };
            let file = &picture.file;
            let line = labeler.object(file, &labels, error);
            let mut text = line.map_err(|error| wrong(error.to_string()))?.to_string();
            text.push('\n');
            Ok(Bytes::from(text))
        }
    });
    let lines = within(lines.buffered(at_once), run, held, quotas.time);
    Ok(streamed(LINES, begun(Box::pin(lines)).await?))
}

/// Lines of an answer while its request is under way, and no longer than it may be.
fn within<S, H>(
    lines: S,
    run: Run,
    held: H,
    time: Duration,
) -> impl Stream<Item = Result<Bytes, Refusal>> + Send
where
    S: Stream<Item = Result<Bytes, Refusal>> + Send,
    H: Send,
{
    let state = (
        Box::pin(lines),
        run,
        held,
        tokio::time::Instant::now() + time,
    );
    stream::unfold(Some(state), |state| async move {
        let (mut lines, mut run, held, end) = state?;
        let next = tokio::time::timeout_at(end, lines.next()).await;
        match next {
            Ok(Some(Ok(line))) => {
                run.add();
                Some((Ok(line), Some((lines, run, held, end))))
            }
            Ok(Some(Err(refusal))) => {
                run.ended(refusal.kind());
                Some((Err(refusal), None))
            }
            Ok(None) => {
                run.ended("ok");
                None
            }
            Err(_) => {
                let late = Refusal::Exhausted("the request took longer than it may".to_string());
                run.ended(late.kind());
                Some((Err(late), None))
            }
        }
    })
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

/// `POST /v1/sql`.
async fn rows(
    State(server): State<Arc<Server>>,
    Extension(client): Extension<Arc<Client>>,
    request: Request,
) -> Result<Response, Refusal> {
    let accepted = request.headers().get(header::ACCEPT);
    let accepted = accepted
        .and_then(|accepted| accepted.to_str().ok())
        .unwrap_or_default();
    let in_arrow = accepted.contains(ARROW);
    let asked: Asked = in_time(json(request, MOST_TEXT)).await?;
    let values = asked
        .parameters
        .into_iter()
        .map(value)
        .collect::<Result<Vec<_>, _>>()?;
    let session = server.session(&client, None).await?;
    for (name, setting) in asked.settings {
        set(&server, &client, &session, &name, &setting).await?;
    }
    let ready = server
        .prepare(&client, session, parsed(&asked.sql)?, &values)
        .await?;
    let rows = server.run(&client, ready, WAY)?;
    let schema = Arc::clone(&rows.schema);
    let rows = begun(rows).await?;
    if !in_arrow {
        let named = sql::distinct(&schema);
        let lines = rows.map(move |batch| batch.and_then(|batch| written(&batch, &named)));
        return Ok(streamed(LINES, lines));
    }
    let unwritable = |error: arrow::error::ArrowError| wrong(error.to_string());
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).map_err(unwritable)?;
    let head = Bytes::from(std::mem::take(writer.get_mut()));
    let state = Some((Box::pin(rows), writer));
    let body = stream::try_unfold(state, move |state| async move {
        let Some((mut rows, mut writer)) = state else {
            return Ok(None);
        };
        let more = rows.try_next().await?;
        let left = match &more {
            Some(batch) => writer.write(batch).and_then(|()| writer.flush()),
            None => writer.finish(),
        };
        left.map_err(unwritable)?;
        let bytes = Bytes::from(std::mem::take(writer.get_mut()));
        Ok(Some((bytes, more.map(|_| (rows, writer)))))
    });
    Ok(streamed(ARROW, stream::iter([Ok(head)]).chain(body)))
}

/// Sets one setting of a session as a statement would.
async fn set(
    server: &Arc<Server>,
    client: &Client,
    session: &SessionContext,
    name: &str,
    setting: &Value,
) -> Result<(), Refusal> {
    let name = name.to_ascii_lowercase();
    let name = match name.starts_with("picsift.") {
        true => name,
        false => format!("picsift.{name}"),
    };
    let text = match setting {
        Value::String(text) => text.clone(),
        Value::Null => "default".to_string(),
        other => other.to_string(),
    };
    server.rules.setting(&name, &text)?;
    let statement = parsed(&format!("SET {name} = '{}'", text.replace('\'', "''")))?;
    server
        .prepare(client, session.clone(), statement, &[])
        .await?;
    Ok(())
}

/// A value of JSON for a statement.
fn value(value: Value) -> Result<Parameter, Refusal> {
    Ok(match value {
        Value::Null => Parameter::Null,
        Value::Bool(truth) => Parameter::Boolean(truth),
        Value::String(text) => Parameter::Text(text),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Parameter::Integer(whole.into()),
            (None, Some(number)) if number.is_finite() => Parameter::Float(number),
            _ => return Err(wrong("a parameter is no finite number")),
        },
        Value::Array(_) | Value::Object(_) => {
            return Err(wrong(
                "a parameter is null, true, false, a number or a text",
            ));
        }
    })
}

/// Rows as lines of JSON.
fn written(batch: &RecordBatch, named: &SchemaRef) -> Result<Bytes, Refusal> {
    let unwritable =
        |error: &dyn std::fmt::Display| wrong(format!("the rows have no form in JSON: {error}"));
    let batch = sql::under(batch, named).map_err(|error| unwritable(&error))?;
    let mut text = Vec::new();
    let mut writer = WriterBuilder::new()
        .with_explicit_nulls(true)
        .build::<_, LineDelimited>(&mut text);
    let written = writer.write(&batch).and_then(|()| writer.finish());
    written.map_err(|error| unwritable(&error))?;
    drop(writer);
    Ok(text.into())
}
