//! A server of SQL and labels: models are loaded once, clients are many.
//!
//! Two ways in on one port, Arrow Flight SQL (`flight`) and JSON over HTTP (`http`); what is counted (`counts`), and whether the server is well, on
//! another one. `door` decides who comes in by the head of a request, `rules` what a statement may do, `catalog`
//! which tables there are, `quotas` how much one takes and `budget` a token in an hour, `refusal` what a client is told of what went wrong. Each tenant has an engine of
//! its own, with its own kept answers and its own processes that decode; all share the models, in turn. What SQL means is `sql`'s to know,
//! what an image shows the engine's.

mod bounded;
mod budget;
mod catalog;
mod counts;
mod door;
mod flight;
mod handles;
mod http;
mod query;
mod quotas;
mod refusal;
mod reload;
mod rules;
mod tenant;
mod tls;
pub mod tokens;
mod workers;
mod yielding;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use datafusion::prelude::SessionContext;
use picsift_udf::{Engine, EngineOptions};
use picsift_vision::store::StoreOptions;
use tokio::sync::{Semaphore, watch};

use crate::error::AppError;
use crate::listen::{self, Bounds, Listener, Shown};
use crate::metrics::{self, Port};
use crate::options::ModelOptions;
use crate::session;

pub use budget::Hourly;
pub use catalog::Place;
pub use quotas::Quotas;
pub use tls::TlsFiles;

use counts::Metrics;
use door::{Door, LOCAL};
use handles::Handles;
use query::Ready;
use refusal::Refusal;
use rules::Rules;
use tenant::Tenants;
use tokens::Tokens;
use workers::Workers;

/// What is open at once on the port of clients.
const CLIENTS: Bounds = Bounds {
    most: 1024,
    oldest_goes: false,
    stranger: Duration::from_secs(10),
    parting: Duration::from_secs(5),
    streams: Some(128),
};

/// Sessions, prepared statements and plans that one token keeps.
const HANDLES: usize = 256;

/// Requests whose pictures are in memory at once.
const BODIES: usize = 32;

/// How long a session or a prepared statement stays that nobody comes back for.
const IDLE: Duration = Duration::from_secs(3600);

/// How long the rows of a plan wait to be fetched.
const UNFETCHED: Duration = Duration::from_secs(300);

/// What a server is started with.
#[derive(Debug)]
pub struct ServeOptions {
    /// Where clients come in; without TLS and tokens an address of this machine alone.
    pub listen: Option<SocketAddr>,
    /// A socket of the file system where they come in too, for its owner alone.
    pub unix: Option<PathBuf>,
    /// Where `/metrics` and `/healthz` are answered; `None` is nowhere.
    pub metrics: Option<SocketAddr>,
    /// The file of tokens; without one every program of this machine may ask.
    pub tokens: Option<PathBuf>,
    /// The certificate and its key.
    pub tls: Option<TlsFiles>,
    /// What clients can name tables of.
    pub places: Vec<Place>,
    /// The model that is asked unless a client sets another.
    pub model: ModelOptions,
    /// The others that a client may set.
    pub models: Vec<String>,
    /// Limits on images, what references may reach, and processes that decode.
    pub engine: EngineOptions,
    /// Where answers are kept, in a folder for each tenant; `None` keeps none.
    pub answers: Option<StoreOptions>,
    /// What a statement may take.
    pub quotas: Quotas,
    /// What a token may take in an hour.
    pub hourly: Hourly,
    /// Bytes that sorts, joins and groups of all statements together may take.
    pub memory: usize,
}

/// Where a server is to be found, once it is.
#[derive(Debug, Clone)]
pub struct Opened {
    /// The address of clients, as `grpc://...` and `http://...` have it after the slashes.
    pub clients: Option<SocketAddr>,
    /// The socket of clients.
    pub unix: Option<PathBuf>,
    /// Whether they come in by TLS.
    pub tls: bool,
    /// Whether they must show a token.
    pub tokens: bool,
    /// The address of metrics.
    pub metrics: Option<SocketAddr>,
}

/// What all requests share.
struct Server {
    door: Door,
    tenants: Tenants,
    rules: Rules,
    metrics: Arc<Metrics>,
    /// Sessions in which a client has set something.
    sessions: Handles<SessionContext>,
    /// Prepared statements.
    statements: Handles<flight::Statement>,
    /// Plans whose rows wait to be fetched.
    plans: Handles<Ready>,
    /// The right to plan a statement, which takes a processor.
    planning: Arc<Semaphore>,
    workers: Workers,
    /// The right to hold the pictures of a request in memory.
    bodies: Arc<Semaphore>,
}

/// Serves until `ended` is done.
///
/// # Errors
/// [`AppError::Usage`] for options that do not go together, files of tokens and certificates that are none, and addresses that cannot be
/// had; when the model cannot be loaded.
pub async fn serve(
    options: ServeOptions,
    opened: impl FnOnce(&Opened),
    ended: impl Future<Output = ()> + Send + 'static,
) -> Result<(), AppError> {
    check(&options)?;
    let tokens = options.tokens.as_deref().map(Tokens::read).transpose()?;
    let tenants = match &tokens {
        Some(tokens) => tokens.tenants.clone(),
        None => BTreeMap::from([(LOCAL.to_string(), None)]),
    };
    let tls = options.tls.as_ref().map(TlsFiles::acceptor).transpose()?;
    let (clients, address) = match options.listen {
        Some(address) => {
            let (listener, address) = listen::bind(address).await?;
            (Some(Listener::Tcp(listener, tls)), Some(address))
        }
        None => (None, None),
    };
    let socket = options.unix.as_deref().map(tls::socket).transpose()?;
    let watched = Port::open(options.metrics).await?;
    let opened_as = Opened {
        clients: address,
        unix: options.unix.clone(),
        tls: options.tls.is_some(),
        tokens: tokens.is_some(),
        metrics: watched.as_ref().map(|port| port.address),
    };
    let engine = Arc::new(Engine::new(EngineOptions {
        store: None,
        // It has models, and decodes nothing.
        sandbox: None,
        decode_threads: 1,
        ..options.engine.clone()
    })?);
    // Loaded before anybody is let in: what is wrong with it is said here, and the first client does not wait for it.
    engine.service(&options.model.name, &options.model.load)?;
    for model in &options.models {
        engine.model(model, &options.model.load)?;
    }
    let mut models = vec![options.model.name.clone()];
    models.extend(options.models.iter().cloned());
    let file = options.tokens.clone();
    let server = Arc::new(Server {
        door: Door::new(tokens, options.quotas.at_once, options.hourly),
        rules: Rules {
            models,
            quotas: options.quotas,
        },
        metrics: Arc::default(),
        sessions: Handles::new(HANDLES, IDLE),
        statements: Handles::new(HANDLES, IDLE),
        plans: Handles::new(HANDLES, UNFETCHED),
        planning: Arc::new(Semaphore::new(2 * session::cores())),
        workers: Workers::new()?,
        bodies: Arc::new(Semaphore::new(BODIES)),
        tenants: Tenants::new(tenants, Arc::clone(&engine), options)?,
    });
    let counted = Arc::clone(&server.metrics);
    let app = routes(Arc::clone(&server));
    opened(&opened_as);
    let (stop, stopped) = watch::channel(false);
    let stopping = || {
        let mut stopped = stopped.clone();
        async move {
            let _ = stopped.wait_for(|stopped| *stopped).await;
        }
    };
    let answer = |listener: Option<Listener>, app: Router, bounds: Bounds| {
        let stop = stopping();
        async move {
            match listener {
                Some(listener) => listen::answer(listener, app, bounds, stop).await,
                None => Ok(()),
            }
        }
    };
    let following = {
        let stop = stopping();
        async move {
            if let Some(file) = file {
                tokio::select! {
                    () = reload::follow(&server, &file) => {}
                    () = stop => {}
                }
            }
            Ok(())
        }
    };
    let ending = async {
        ended.await;
        stop.send_replace(true);
        Ok(())
    };
    let done = tokio::try_join!(
        answer(clients, app.clone(), CLIENTS),
        answer(socket, app, CLIENTS),
        metrics::answer(watched, counted, engine, stopping()),
        following,
        ending,
    );
    if let Some(path) = &opened_as.unix {
        // Nobody answers there any more.
        let _ = std::fs::remove_file(path);
    }
    done.map(drop)
        .map_err(|error| AppError::Usage(format!("cannot serve: {error}")))
}

/// Whether strangers of the network would be let in, or see what passes.
fn check(options: &ServeOptions) -> Result<(), AppError> {
    if options.listen.is_none() && options.unix.is_none() {
        return Err(AppError::Usage(
            "a server needs --listen or --unix, where clients come in".to_string(),
        ));
    }
    let local = options
        .listen
        .is_none_or(|address| address.ip().is_loopback());
    if !local && (options.tls.is_none() || options.tokens.is_none()) {
        return Err(AppError::Usage(
            "beyond this machine a server needs --tokens and --tls-cert with --tls-key; without them --listen takes 127.0.0.1 or ::1"
                .to_string(),
        ));
    }
    Ok(())
}

/// Both ways in, behind the door.
fn routes(server: Arc<Server>) -> Router {
    flight::routes(Arc::clone(&server))
        .merge(http::routes(Arc::clone(&server)))
        .fallback(|| async {
            Refusal::Missing(
                "there is POST /v1/label, POST /v1/sql and Arrow Flight SQL".to_string(),
            )
        })
        .layer(middleware::from_fn_with_state(server, guard))
}

/// Lets in whom the door lets in.
async fn guard(State(server): State<Arc<Server>>, mut request: Request, next: Next) -> Response {
    let is_grpc = request
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    match server.door.client(request.uri(), request.headers()) {
        Ok(client) => {
            if let Some(shown) = request.extensions().get::<Shown>() {
                shown.set();
            }
            request.extensions_mut().insert(client);
            next.run(request).await
        }
        Err(refusal) => {
            server.metrics.note("door", refusal.kind());
            if is_grpc {
                return tonic::Status::from(refusal).into_http();
            }
            let closed = [(header::CONNECTION, HeaderValue::from_static("close"))];
            let mut answer = refusal.into_response();
            if request.version() < axum::http::Version::HTTP_2 {
                answer
                    .headers_mut()
                    .extend(closed.map(|(name, value)| (Some(name), value)));
            }
            answer
        }
    }
}
