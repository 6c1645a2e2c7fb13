//! `POST /v1/label`: pictures, and the lines of `picsift image` about them.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::multipart::MultipartError;
use axum::extract::{Extension, FromRequest, Multipart, Request, State};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use picsift_udf::{ImageSource, Labelling, PicsiftOptions};
use picsift_vision::Generation;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::super::Server;
use super::super::counts::Run;
use super::super::door::Client;
use super::super::query::{id, stats};
use super::super::refusal::Refusal;
use super::{LINES, PATIENCE, WAY, begun, in_time, json, kind, streamed, wrong};
use crate::error::AppError;
use crate::label::image::{ImageLabeler, ImageLabels};
use crate::options::CategoryOptions;

/// Most bytes of pictures in a request.
pub(super) const MOST_PICTURES: usize = 64 << 20;

/// Most pictures in a request.
const MOST_IMAGES: usize = 256;

/// Most categories in a request.
const MOST_CATEGORIES: usize = 200;

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

/// `POST /v1/label`.
pub(super) async fn label(
    State(server): State<Arc<Server>>,
    Extension(client): Extension<Arc<Client>>,
    request: Request,
) -> Result<Response, Refusal> {
    let slot = server.slot(&client)?;
    client.budget.begin()?;
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
    labels(&server, client, pictures, (slot, room)).await
}

/// Pictures as a form brings them: files as `image`, the rest as texts.
async fn pictures(request: Request) -> Result<Pictures, Refusal> {
    let bad = |error: MultipartError| wrong(error.body_text());
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
    client: Arc<Client>,
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
    let (id, tenant) = (id()?, server.tenant(&client).await?);
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
    let stats = stats(&client, &id);
    let run = Run::begin(&server.metrics, WAY, Arc::clone(&stats), &client.budget);
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
    let lines = within(lines.buffered(at_once), run, (client, held), quotas.time);
    Ok(streamed(LINES, begun(Box::pin(lines)).await?))
}

/// Lines of an answer while its request is under way, and no longer than it may be.
fn within<S, H>(
    lines: S,
    run: Run,
    held: (Arc<Client>, H),
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
        let next = tokio::select! {
            next = tokio::time::timeout_at(end, lines.next()) => next,
            revoked = held.0.revoked() => Ok(Some(Err(revoked))),
        };
        let next = next.map(|next| {
            run.add();
            next.map(|line| line.and_then(|line| run.go_on().map(|()| line)))
        });
        match next {
            Ok(Some(Ok(line))) => Some((Ok(line), Some((lines, run, held, end)))),
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
