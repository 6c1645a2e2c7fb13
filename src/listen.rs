//! Connections to what this program serves: so many, so long, and gone when it ends.
//!
//! Whoever reaches the port can hold connections open. They are bounded, each has its limits, and where there is no room the oldest
//! stranger goes, so that nobody keeps those out who may come in; the end of the program waits for none of them for long. Who is a
//! stranger the service says ([`Shown`]); what it answers is not known here.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::{Extension, Router};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
#[cfg(unix)]
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use crate::error::AppError;

/// How long a connection may take over the head of a request, and idle before it.
const IDLE: Duration = Duration::from_secs(30);

/// Most bytes of the head of a request.
const HEAD: usize = 16 << 10;

/// Most fields in the head of a request.
const FIELDS: usize = 64;

/// The pause after a connection could not be taken, as when the process has no more files to open.
const PAUSE: Duration = Duration::from_millis(100);

/// After how long of silence an HTTP/2 connection is asked whether it is still there, and how long it may take to say so.
const ALIVE: Duration = Duration::from_secs(20);

/// What strangers and others may hold.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at once.
    pub most: usize,
    /// What becomes of a connection that is one too many where there is no stranger to go: `true` lets the oldest go for it, which
    /// idles in a browser; `false` refuses it.
    pub oldest_goes: bool,
    /// How long a connection may last on which nobody has shown who it is.
    pub stranger: Duration,
    /// How long requests under way may take to end when the program is asked to.
    pub parting: Duration,
    /// Requests at once of one HTTP/2 connection; `None` speaks HTTP/1.1 alone.
    pub streams: Option<u32>,
}

/// Says of a connection that a request on it has shown who it is; an extension of each request.
#[derive(Debug, Clone, Default)]
pub struct Shown(Arc<AtomicBool>);

impl Shown {
    /// It was shown.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Where connections come from.
pub enum Listener {
    /// A port, in the clear or by TLS.
    Tcp(TcpListener, Option<TlsAcceptor>),
    /// A socket of the file system.
    #[cfg(unix)]
    Unix(UnixListener),
}

/// Both directions of a connection.
trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// A connection that was accepted; TLS has not been spoken yet.
struct Accepted {
    io: Box<dyn Io>,
    tls: Option<TlsAcceptor>,
}

impl Listener {
    async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Tcp(listener, tls) => {
                let (stream, _) = listener.accept().await?;
                // Answers are written whole; waiting for more of them helps nobody.
                let _ = stream.set_nodelay(true);
                Ok(Accepted {
                    io: Box::new(stream),
                    tls: tls.clone(),
                })
            }
            #[cfg(unix)]
            Self::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok(Accepted {
                    io: Box::new(stream),
                    tls: None,
                })
            }
        }
    }
}

/// A connection that is open.
struct Open {
    shown: Shown,
    task: AbortHandle,
}

/// A secret that cannot be guessed: 256 random bits in hex.
///
/// # Errors
/// [`AppError::File`] when the system has no random numbers.
pub fn secret() -> Result<String, AppError> {
    let mut bytes = [0; 32];
    getrandom::getrandom(&mut bytes)
        .map_err(|error| AppError::file("read", "the system's random numbers")(error.into()))?;
    Ok(picsift_images::hex(&bytes))
}

/// What listens at an address, and where that is.
///
/// # Errors
/// [`AppError::Usage`] when it cannot be had.
pub async fn bind(address: SocketAddr) -> Result<(TcpListener, SocketAddr), AppError> {
    let failed = |error| AppError::Usage(format!("cannot listen at {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    Ok((listener, address))
}

/// Answers what comes until `stop` is done.
///
/// # Errors
/// [`io::Error`] when nothing can be listened to any more.
pub async fn answer(
    listener: Listener,
    app: Router,
    bounds: Bounds,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let (end, ends) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let mut open: Vec<Open> = Vec::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(_) => {
                    sleep(PAUSE).await;
                    continue;
                }
            },
        };
        while tasks.try_join_next().is_some() {}
        open.retain(|one| !one.task.is_finished());
        if open.len() >= bounds.most {
            match open.iter().position(|one| !one.shown.get()) {
                Some(stranger) => open.remove(stranger).task.abort(),
                None if bounds.oldest_goes => open.remove(0).task.abort(),
                None => continue,
            }
        }
        let shown = Shown::default();
        let app = app.clone().layer(Extension(shown.clone()));
        let task = tasks.spawn(connection(
            accepted,
            app,
            bounds,
            shown.clone(),
            ends.clone(),
        ));
        open.push(Open { shown, task });
    }
    drop(listener);
    end.send_replace(true);
    // Those that last longer are broken off as the set is dropped.
    let _ = timeout(bounds.parting, async {
        while tasks.join_next().await.is_some() {}
    })
    .await;
    Ok(())
}

async fn connection(
    accepted: Accepted,
    app: Router,
    bounds: Bounds,
    shown: Shown,
    ends: watch::Receiver<bool>,
) {
    let strange = async {
        sleep(bounds.stranger).await;
        if shown.get() {
            std::future::pending::<()>().await;
        }
    };
    let spoken = async {
        let Accepted { io, tls } = accepted;
        match tls {
            // What is wrong with a handshake is the other side's to say.
            Some(tls) => {
                if let Ok(stream) = tls.accept(io).await {
                    serve(stream, app, bounds, ends).await;
                }
            }
            None => serve(io, app, bounds, ends).await,
        }
    };
    tokio::select! {
        () = spoken => {}
        () = strange => {}
    }
}

async fn serve(
    io: impl Io + 'static,
    app: Router,
    bounds: Bounds,
    mut ends: watch::Receiver<bool>,
) {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(HEAD)
        .max_headers(FIELDS);
    let http = match bounds.streams {
        Some(streams) => {
            http.http2()
                .timer(TokioTimer::new())
                .max_concurrent_streams(streams)
                .max_header_list_size(HEAD as u32)
                .keep_alive_interval(ALIVE)
                .keep_alive_timeout(ALIVE);
            http
        }
        None => http.http1_only(),
    };
    let served = http.serve_connection(TokioIo::new(io), TowerToHyperService::new(app));
    tokio::pin!(served);
    let ended = async {
        let _ = ends.wait_for(|end| *end).await;
    };
    tokio::select! {
        // What went wrong between a client and this program is the client's to say.
        _ = served.as_mut() => {}
        () = ended => {
            served.as_mut().graceful_shutdown();
            let _ = served.await;
        }
    }
}
