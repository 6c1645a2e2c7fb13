//! The port at which a program that runs for weeks is watched: `/metrics` for Prometheus, `/healthz` for whoever asks whether it is well.
//!
//! It answers anybody who reaches it, so what is [`Measured`] must name no client, table or image. What a program counts is its own to say;
//! what its models have done, and whether they still answer, is said of each here.

use std::fmt::Error;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use picsift_udf::Engine;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::net::TcpListener;

use crate::error::AppError;
use crate::listen::{self, Bounds, Listener};

/// What Prometheus expects an answer in this form to be called.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is open at once on the port, where everybody is a stranger.
const WATCHERS: Bounds = Bounds {
    most: 32,
    oldest_goes: true,
    stranger: Duration::from_secs(10),
    parting: Duration::from_secs(1),
    streams: None,
};

/// What a program has counted.
pub trait Measured: Send + Sync {
    /// Says it as it is now.
    fn say(&self, registry: &mut Registry);
}

/// The port, before it answers.
#[derive(Debug)]
pub struct Port {
    listener: TcpListener,
    /// Where it is.
    pub address: SocketAddr,
}

impl Port {
    /// At this address, if there is to be one.
    ///
    /// # Errors
    /// [`AppError::Usage`] for an address that cannot be had.
    pub async fn open(address: Option<SocketAddr>) -> Result<Option<Self>, AppError> {
        let Some(address) = address else {
            return Ok(None);
        };
        let (listener, address) = listen::bind(address).await?;
        Ok(Some(Self { listener, address }))
    }
}

/// Answers at a port, if there is one, what was `measured` and how the models of an engine are, until `stop` is done.
///
/// # Errors
/// [`io::Error`] when nothing can be listened to any more.
pub async fn answer(
    port: Option<Port>,
    measured: Arc<dyn Measured>,
    engine: Arc<Engine>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let Some(port) = port else {
        stop.await;
        return Ok(());
    };
    let routes = Router::new()
        .route("/healthz", get(health))
        .route("/metrics", get(text))
        .with_state(Arc::new(Watched { measured, engine }));
    let listener = Listener::Tcp(port.listener, None);
    listen::answer(listener, routes, WATCHERS, stop).await
}

/// Says a number that only grows.
pub fn count(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let counter = Counter::<u64>::default();
    counter.inc_by(value);
    registry.register(name, help, counter);
}

/// Says a number that goes up and down.
pub fn gauge(registry: &mut Registry, name: &str, help: &str, value: i64) {
    let gauge = Gauge::<i64>::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

/// What the port answers from.
struct Watched {
    measured: Arc<dyn Measured>,
    engine: Arc<Engine>,
}

impl Watched {
    /// All of it in Prometheus' form.
    fn text(&self) -> Result<String, Error> {
        let mut registry = Registry::with_prefix("picsift");
        self.measured.say(&mut registry);
        models(&self.engine, &mut registry);
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Model {
    model: String,
    device: String,
}

fn models(engine: &Engine, registry: &mut Registry) {
    let (images, batches) = (
        Family::<Model, Counter>::default(),
        Family::<Model, Counter>::default(),
    );
    let waiting = Family::<Model, Gauge>::default();
    let busy = Family::<Model, Counter<f64, AtomicU64>>::default();
    for (_, service) in engine.services() {
        let (info, stats) = (service.info(), service.stats());
        let model = Model {
            model: info.name.clone(),
            device: info.device.to_string(),
        };
        images.get_or_create(&model).inc_by(stats.images);
        batches.get_or_create(&model).inc_by(stats.batches);
        busy.get_or_create(&model).inc_by(stats.busy.as_secs_f64());
        let queue = i64::try_from(service.waiting()).unwrap_or(i64::MAX);
        waiting.get_or_create(&model).set(queue);
    }
    registry.register("model_images", "Images that a model is done with", images);
    registry.register("model_batches", "Calls of a model", batches);
    registry.register("model_queue", "Images that wait for a model", waiting);
    registry.register_with_unit("model_busy", "Time spent in a model", Unit::Seconds, busy);
}

async fn health(State(watched): State<Arc<Watched>>) -> Response {
    match watched
        .engine
        .services()
        .iter()
        .map(|(_, service)| service)
        .find(|service| service.has_ended())
    {
        None => "ok\n".into_response(),
        Some(service) => {
            let text = format!("the model '{}' answers nothing more\n", service.info().name);
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

async fn text(State(watched): State<Arc<Watched>>) -> Response {
    match watched.text() {
        Ok(text) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}
