//! A hub in a few hundred bytes: its routes and headers over plain sockets, so that a test decides what goes over the wire
//! and where it breaks.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A file as the hub has it.
#[derive(Clone)]
pub(crate) struct Served {
    /// `owner/name`.
    pub(crate) repo: String,
    pub(crate) commit: String,
    pub(crate) name: &'static str,
    pub(crate) content: Vec<u8>,
    /// What the hub calls the content: its SHA-256 for large files, which are behind a redirect.
    pub(crate) etag: String,
}

/// What a request gets instead of its answer. All but a status are for requests of content, not for the one byte that asks
/// for its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// This status and nothing else.
    Status(u16),
    /// The length of all and the bytes before this one, then the end of the connection.
    DiesAt(usize),
    /// The bytes before this one, without saying how many there should be.
    EndsAt(usize),
    /// As many bytes, each of them wrong.
    Damaged,
    /// Everything, whatever part was asked for.
    WholeAgain,
    /// Nothing for a long time.
    Silent,
    /// A redirect to nowhere.
    Lost,
    /// An answer without the headers of a hub.
    Page,
    /// More bytes than there are.
    TooMuch,
    /// A length that no disk has room for.
    Endless,
}

/// A request that came.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) range: Option<String>,
    pub(crate) token: Option<String>,
}

#[derive(Default)]
struct State {
    files: Vec<Served>,
    branches: Vec<(String, String)>,
    faults: Vec<(String, usize, Fault)>,
    /// Paths and the servers that have what is behind them.
    leads: Vec<(String, String)>,
    requests: Vec<Request>,
}

/// A hub that serves until the test ends.
pub(crate) struct Hub {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Hub {
    pub(crate) fn start(files: Vec<Served>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State {
            files,
            ..State::default()
        }));
        let shared = Arc::clone(&state);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // A client that hangs up is no failure of the test.
                std::thread::spawn(move || answer(stream, address, &state).ok());
            }
        });
        Self { address, state }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The next `times` requests for a path with `part` in it get this.
    pub(crate) fn fault(&self, part: &str, times: usize, fault: Fault) {
        let mut state = self.state.lock().unwrap();
        state.faults.push((part.to_owned(), times, fault));
    }

    /// Whatever is asked for below this path is on another server.
    pub(crate) fn lead(&self, path: &str, server: &str) {
        self.state.lock().unwrap().leads = vec![(path.to_owned(), server.to_owned())];
    }

    /// No faults from now on.
    pub(crate) fn heal(&self) {
        self.state.lock().unwrap().faults.clear();
    }

    /// Lets a branch mean a commit.
    pub(crate) fn branch(&self, name: &str, commit: &str) {
        let mut state = self.state.lock().unwrap();
        state.branches.retain(|(known, _)| known != name);
        state.branches.push((name.to_owned(), commit.to_owned()));
    }

    /// The requests since the last call.
    pub(crate) fn requests(&self) -> Vec<Request> {
        std::mem::take(&mut self.state.lock().unwrap().requests)
    }

    /// The starts of the requests for content in `requests`, of paths with `part` in them.
    pub(crate) fn starts(requests: &[Request], part: &str) -> Vec<usize> {
        requests
            .iter()
            .filter(|request| request.path.contains(part))
            .filter_map(|request| {
                let (start, end) = range(request.range.as_deref()?);
                end.is_none().then_some(start)
            })
            .collect()
    }
}

/// First and last byte of `bytes=FIRST-LAST`.
fn range(text: &str) -> (usize, Option<usize>) {
    let (start, end) = text
        .strip_prefix("bytes=")
        .unwrap()
        .split_once('-')
        .unwrap();
    (start.parse().unwrap(), end.parse().ok())
}

fn answer(mut stream: TcpStream, address: SocketAddr, state: &Mutex<State>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut request = Request {
        path: first.split(' ').nth(1).unwrap_or_default().to_owned(),
        range: None,
        token: None,
    };
    for line in lines {
        let line = line?;
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("range") => {
                request.range = Some(value.to_owned());
            }
            Some((name, value)) if name.eq_ignore_ascii_case("authorization") => {
                request.token = Some(value.to_owned());
            }
            Some(_) => {}
            None => break,
        }
    }
    let asked = request.range.as_deref().map_or((0, None), range);
    let (fault, lead, file, redirect) = {
        let mut state = state.lock().unwrap();
        state.requests.push(request.clone());
        let fault = state.fault(&request.path, asked.1.is_none());
        let (file, redirect) = state.find(&request.path).unzip();
        let lead = state
            .leads
            .iter()
            .find(|(path, _)| request.path.contains(path));
        let lead = lead.map(|(_, server)| format!("{server}{}", request.path));
        (fault, lead, file, redirect.flatten())
    };
    let mut head = |status: &str, headers: &[(&str, String)]| {
        let mut text = format!("HTTP/1.1 {status}\r\nconnection: close\r\n");
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        stream.write_all(format!("{text}\r\n").as_bytes())
    };
    let empty = ("content-length", "0".to_owned());
    match fault {
        Some(Fault::Status(status)) => return head(&format!("{status} Fault"), &[empty]),
        Some(Fault::Lost) => return head("302 Found", &[empty]),
        Some(Fault::Silent) => {
            std::thread::sleep(Duration::from_secs(20));
            return Ok(());
        }
        Some(Fault::Page) => return head("200 OK", &[("content-length", "0".to_owned())]),
        _ => {}
    }
    let Some(file) = file else {
        return head("404 Not Found", &[empty]);
    };
    let commit = ("x-repo-commit", file.commit.clone());
    if let Some(place) = lead {
        let linked = ("x-linked-etag", format!("\"{}\"", file.etag));
        return head("302 Found", &[empty, commit, linked, ("location", place)]);
    }
    if let Some(target) = redirect {
        let place = match target.strip_prefix("/cdn/") {
            // Large files are on another host, small ones on the hub itself.
            Some(_) => format!("http://{address}{target}"),
            None => target,
        };
        let linked = ("x-linked-etag", format!("\"{}\"", file.etag));
        return head("302 Found", &[empty, commit, linked, ("location", place)]);
    }
    let total = file.content.len();
    let whole = fault == Some(Fault::WholeAgain);
    let start = if whole { 0 } else { asked.0 };
    let end = asked.1.map_or(total, |last| total.min(last + 1));
    if start >= end {
        return head("416 Range Not Satisfiable", &[empty]);
    }
    let mut headers = vec![
        commit,
        ("etag", format!("\"{}\"", file.etag)),
        ("accept-ranges", "bytes".to_owned()),
        (
            "content-range",
            match fault {
                Some(Fault::Endless) => format!("bytes {start}-{}/{}", end - 1, 1_u64 << 50),
                _ => format!("bytes {start}-{}/{total}", end - 1),
            },
        ),
    ];
    let mut content = file.content[start..end].to_vec();
    match fault {
        Some(Fault::EndsAt(at)) => content.truncate(at.saturating_sub(start)),
        Some(Fault::TooMuch) => content.resize(content.len() + 1_000_000, 0),
        _ => headers.push(("content-length", content.len().to_string())),
    }
    match fault {
        Some(Fault::DiesAt(at)) => content.truncate(at.saturating_sub(start)),
        Some(Fault::Damaged) => content.iter_mut().for_each(|byte| *byte = !*byte),
        _ => {}
    }
    head(
        if whole {
            "200 OK"
        } else {
            "206 Partial Content"
        },
        &headers,
    )?;
    stream.write_all(&content)
}

impl State {
    fn fault(&mut self, path: &str, content: bool) -> Option<Fault> {
        let (_, times, fault) = self.faults.iter_mut().find(|(part, times, fault)| {
            let any = matches!(
                fault,
                Fault::Status(_) | Fault::Lost | Fault::Page | Fault::Endless
            );
            *times > 0 && path.contains(part.as_str()) && (content || any)
        })?;
        *times -= 1;
        Some(*fault)
    }

    /// The file at a path, and where the path redirects to.
    fn find(&self, path: &str) -> Option<(Served, Option<String>)> {
        if let Some(rest) = path.strip_prefix("/cdn/").or(path.strip_prefix("/api/")) {
            let (commit, etag) = rest.split_once('/')?;
            let mut files = self.files.iter();
            let file = files.find(|file| file.commit == commit && file.etag == etag)?;
            return Some((file.clone(), None));
        }
        let (repo, rest) = path.trim_start_matches('/').split_once("/resolve/")?;
        let (revision, name) = rest.split_once('/')?;
        let branch = self.branches.iter().find(|(branch, _)| branch == revision);
        let commit = branch.map_or(revision, |(_, commit)| commit.as_str());
        let file = self
            .files
            .iter()
            .find(|file| file.repo == repo && file.commit == commit && file.name == name)?;
        let place = format!("{commit}/{}", file.etag);
        let target = match (file.etag.len(), name) {
            (64, _) => Some(format!("/cdn/{place}")),
            (_, "tokenizer.json") => Some(format!("/api/{place}")),
            _ => None,
        };
        Some((file.clone(), target))
    }
}
