//! A web server that may misbehave below the level of HTTP, and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;

/// What the server does with a request.
pub(crate) enum Answer {
    /// Sends these bytes and hangs up.
    Send(Vec<u8>),
    /// Sends these bytes and then nothing, for a minute.
    Stall(Vec<u8>),
    /// Waits, then sends these bytes and hangs up.
    Late(Duration, Vec<u8>),
    /// Resets the connection.
    Reset,
}

pub(crate) struct Site {
    /// The root, with the server's address and port.
    pub(crate) url: Url,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Site {
    /// A server on a free port of 127.0.0.1. `answer` gets the head of the request and how many there were before.
    pub(crate) async fn start(
        answer: impl Fn(&str, usize) -> Answer + Send + Sync + 'static,
    ) -> Site {
        Site::at("127.0.0.1:0", answer).await
    }

    pub(crate) async fn at(
        address: &str,
        answer: impl Fn(&str, usize) -> Answer + Send + Sync + 'static,
    ) -> Site {
        let listener = TcpListener::bind(address).await.unwrap();
        let url = Url::parse(&format!("http://{}/", listener.local_addr().unwrap())).unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (answer, seen) = (Arc::new(answer), Arc::clone(&heads));
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                tokio::spawn(async move {
                    let mut buffer = vec![0; 16384];
                    let length = socket.peek(&mut buffer).await.unwrap_or(0);
                    if length == 0 {
                        return;
                    }
                    let head = String::from_utf8_lossy(&buffer[..length]).into_owned();
                    let before = {
                        let mut seen = seen.lock().unwrap();
                        seen.push(head.clone());
                        seen.len() - 1
                    };
                    let answer = answer(&head, before);
                    // Closing a socket with unread bytes resets the connection.
                    if matches!(answer, Answer::Reset) {
                        return;
                    }
                    let _ = socket.read(&mut buffer).await;
                    match answer {
                        Answer::Send(bytes) => drop(socket.write_all(&bytes).await),
                        Answer::Late(time, bytes) => {
                            tokio::time::sleep(time).await;
                            drop(socket.write_all(&bytes).await);
                        }
                        Answer::Stall(bytes) => {
                            drop(socket.write_all(&bytes).await);
                            tokio::time::sleep(Duration::from_secs(60)).await;
                        }
                        Answer::Reset => {}
                    }
                    let _ = socket.shutdown().await;
                });
            }
        });
        Site { url, heads }
    }

    /// The heads of all requests so far.
    pub(crate) fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    pub(crate) fn requests(&self) -> usize {
        self.heads.lock().unwrap().len()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.url.socket_addrs(|| None).unwrap()[0]
    }
}

/// The path that a request asks for, with its query.
pub(crate) fn path(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or_default()
}

/// An answer with a status line, header lines and a body of the right length.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n{headers}\r\n",
        body.len()
    )
    .into_bytes();
    bytes.extend(body);
    bytes
}

pub(crate) fn ok(headers: &str, body: &str) -> Answer {
    Answer::Send(answer("200 OK", headers, body.as_bytes()))
}

pub(crate) fn redirect(location: &str) -> Answer {
    Answer::Send(answer(
        "302 Found",
        &format!("Location: {location}\r\n"),
        b"",
    ))
}
