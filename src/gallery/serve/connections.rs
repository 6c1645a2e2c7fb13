//! Connections to a served gallery: so many, so long, and gone when it ends.
//!
//! Whoever reaches the port can hold connections open. They are few, each has its limits, and where there is no room the oldest stranger
//! goes, so that nobody keeps the owner out; the end of the program waits for none of them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// Connections at once; browsers open six.
const MOST: usize = 64;

/// How long a connection may take over the head of a request, and idle before it.
const IDLE: Duration = Duration::from_secs(30);

/// How long a connection may last on which nobody has shown the cookie.
const STRANGER: Duration = Duration::from_secs(5);

/// How long requests under way may take to end when the program is asked to.
const PARTING: Duration = Duration::from_secs(2);

/// Most bytes of the head of a request.
const HEAD: usize = 16 << 10;

/// Most fields in the head of a request.
const FIELDS: usize = 64;

/// The pause after a connection could not be taken, as when the process has no more files to open.
const PAUSE: Duration = Duration::from_millis(100);

/// Says of a connection that a request on it has shown the cookie; an extension of each request.
#[derive(Debug, Clone, Default)]
pub(super) struct Shown(Arc<AtomicBool>);

impl Shown {
    /// The cookie was shown.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection that is open.
struct Open {
    shown: Shown,
    task: AbortHandle,
}

/// Answers what comes until `stop` is done.
///
/// # Errors
/// [`io::Error`] when nothing can be listened to any more.
pub(super) async fn answer(
    listener: TcpListener,
    app: Router,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let (end, ends) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let mut open: Vec<Open> = Vec::new();
    tokio::pin!(stop);
    loop {
        let stream = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(_) => {
                    sleep(PAUSE).await;
                    continue;
                }
            },
        };
        while tasks.try_join_next().is_some() {}
        open.retain(|one| !one.task.is_finished());
        if open.len() >= MOST {
            let stranger = open.iter().position(|one| !one.shown.get());
            open.remove(stranger.unwrap_or(0)).task.abort();
        }
        let shown = Shown::default();
        let app = app.clone().layer(Extension(shown.clone()));
        let task = tasks.spawn(connection(stream, app, shown.clone(), ends.clone()));
        open.push(Open { shown, task });
    }
    drop(listener);
    end.send_replace(true);
    // Those that last longer are broken off as the set is dropped.
    let _ = timeout(PARTING, async {
        while tasks.join_next().await.is_some() {}
    })
    .await;
    Ok(())
}

async fn connection(stream: TcpStream, app: Router, shown: Shown, mut ends: watch::Receiver<bool>) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(HEAD)
        .max_headers(FIELDS);
    let served = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    tokio::pin!(served);
    let strange = async {
        sleep(STRANGER).await;
        if shown.get() {
            std::future::pending::<()>().await;
        }
    };
    let ended = async {
        let _ = ends.wait_for(|end| *end).await;
    };
    tokio::select! {
        // What went wrong between a browser and this program is the browser's to say.
        _ = served.as_mut() => {}
        () = strange => {}
        () = ended => {
            served.as_mut().graceful_shutdown();
            let _ = served.await;
        }
    }
}
