//! One HTTP request: which client sends it, and what its answer is.
//!
//! It follows no redirect and repeats nothing; see [`super::http`].

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use reqwest::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderName, LOCATION, RETRY_AFTER,
};
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use tokio::sync::OnceCell;
use url::{Host, Url};

use super::{Body, Fetched, Inner, robots, unreadable};
use crate::dns::{Lookup, NotPublic, Resolver};
use crate::error::ImageError;
use crate::error::{Cause, find_cause, root_cause};
use crate::policy::FetchPolicy;
use crate::reference::shown;
use crate::version::Version;

/// How this program calls itself.
const USER_AGENT: &str = concat!("picsift/", env!("CARGO_PKG_VERSION"));

/// Longest wait for a connection, as that of the object stores is.
const CONNECT: Duration = Duration::from_secs(5);

/// How long an unused connection is kept. A table that names thousands of hosts must not hold as many open sockets.
const IDLE: Duration = Duration::from_secs(2);

/// The content encodings that compress.
const COMPRESSIONS: [&str; 7] = [
    "gzip",
    "x-gzip",
    "deflate",
    "br",
    "zstd",
    "compress",
    "x-compress",
];

/// The HTTP clients, made when first needed.
#[derive(Debug)]
pub(super) struct Web {
    /// For references: connects to addresses that the policy lets through.
    guarded: OnceCell<Client>,
    /// For hosts that a person named: connects to any address.
    open: OnceCell<Client>,
    policy: Arc<FetchPolicy>,
    lookup: LookupCell,
}

struct LookupCell(Lookup);

impl std::fmt::Debug for LookupCell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Lookup")
    }
}

/// An answer that is no failure.
pub(super) enum Answer {
    Content(Fetched),
    Unchanged,
    Moved(Url),
}

/// A failure, and how long the server wants to be left alone.
pub(super) struct Failure {
    pub(super) error: ImageError,
    pub(super) pause: Option<Duration>,
}

impl From<ImageError> for Failure {
    fn from(error: ImageError) -> Self {
        Failure { error, pause: None }
    }
}

impl Web {
    pub(super) fn new(lookup: Lookup, policy: Arc<FetchPolicy>) -> Self {
        Web {
            guarded: OnceCell::new(),
            open: OnceCell::new(),
            policy,
            lookup: LookupCell(lookup),
        }
    }

    /// The client that may send a request to `url`, whose server a person may have `named`, or why none may.
    pub(super) async fn client(&self, url: &Url, named: bool) -> Result<&Client, ImageError> {
        if named || self.policy.allows_host(url) {
            return self.open.get_or_try_init(|| self.make(url, None)).await;
        }
        let address = match url.host() {
            Some(Host::Ipv4(v4)) => Some(IpAddr::V4(v4)),
            Some(Host::Ipv6(v6)) => Some(IpAddr::V6(v6)),
            Some(Host::Domain(_)) | None => None,
        };
        if let Some(address) = address.filter(|address| !self.policy.allows_address(*address)) {
            return Err(refused(url, address));
        }
        let policy = Some(Arc::clone(&self.policy));
        self.guarded
            .get_or_try_init(|| self.make(url, policy))
            .await
    }

    async fn make(
        &self,
        url: &Url,
        policy: Option<Arc<FetchPolicy>>,
    ) -> Result<Client, ImageError> {
        let resolver = Resolver {
            lookup: Arc::clone(&self.lookup.0),
            policy,
            named: None,
        };
        Client::builder()
            .user_agent(USER_AGENT)
            .dns_resolver(Arc::new(resolver))
            .no_proxy()
            .redirect(Policy::none())
            // Another crate of the program may turn these features of the library on.
            .no_gzip()
            .no_brotli()
            .no_deflate()
            .no_zstd()
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .build()
            .map_err(|error| {
                let reason = format!("the HTTP client cannot be made ({})", root_cause(&error));
                unreadable(url, reason, Some(Arc::new(error)))
            })
    }
}

impl Inner {
    /// Sends one GET request and reads its answer. `silence` is how long the server may send nothing.
    pub(super) async fn request(
        &self,
        client: &Client,
        url: &Url,
        token: Option<&str>,
        known: Option<&Version>,
        silence: Duration,
    ) -> Result<Answer, Failure> {
        let condition = known.and_then(|known| known.condition(url));
        let conditional = condition.is_some();
        let mut request = client.get(url.clone()).header(ACCEPT_ENCODING, "identity");
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some((name, value)) = condition {
            request = request.header(name, value);
        }
        let mut response = patient(url, silence, request.send()).await?;
        let status = response.status().as_u16();
        match status {
            200 => {}
            304 if conditional => {}
            301 | 302 | 303 | 307 | 308 => return moved(url, &response).map_err(Failure::from),
            _ => {
                return Err(Failure {
                    error: status_error(url, status),
                    pause: retry_after(response.headers()),
                });
            }
        }
        self.check_headers(url, response.headers())?;
        let version = Version::of_response(url, response.headers());
        // A server that knows no conditions sends the same version again.
        if status == 304 || (conditional && version.as_ref() == known) {
            return Ok(Answer::Unchanged);
        }
        let announced = response.content_length();
        if let Some(size) = announced.filter(|&size| size > self.limits.max_bytes) {
            return Err(self.too_large(url, size).into());
        }
        let mut body = Body::new(announced);
        while let Some(chunk) = patient(url, silence, response.chunk()).await? {
            body.push(self, url, &chunk)?;
        }
        if announced.is_some_and(|size| size != body.0.len() as u64) {
            return Err(Failure::from(ImageError::Interrupted {
                reference: shown(url.as_str()),
                reason: "the body has another length than was announced".to_owned(),
                source: None,
            }));
        }
        Ok(Answer::Content(Fetched {
            bytes: body.0.freeze(),
            version,
        }))
    }

    fn check_headers(&self, url: &Url, headers: &HeaderMap) -> Result<(), ImageError> {
        if self.policy.respect_robots
            && let Some(directive) = robots::refusal(headers)
        {
            return Err(ImageError::Robots {
                reference: shown(url.as_str()),
                directive,
            });
        }
        let encoding = text(headers, CONTENT_ENCODING).map(str::to_ascii_lowercase);
        let compresses = |encoding: &String| {
            encoding
                .split(',')
                .any(|name| COMPRESSIONS.contains(&name.trim()))
        };
        match encoding.filter(compresses) {
            Some(encoding) => Err(ImageError::Compressed {
                reference: shown(url.as_str()),
                encoding,
            }),
            None => Ok(()),
        }
    }
}

/// Waits for the next piece of an answer.
async fn patient<T>(
    url: &Url,
    silence: Duration,
    work: impl Future<Output = reqwest::Result<T>>,
) -> Result<T, ImageError> {
    match tokio::time::timeout(silence, work).await {
        Ok(result) => result.map_err(|error| transport_error(url, error.without_url())),
        Err(_) => Err(ImageError::Stalled {
            reference: shown(url.as_str()),
            limit: silence,
        }),
    }
}

fn moved(url: &Url, response: &Response) -> Result<Answer, ImageError> {
    // Many servers write names in UTF-8 where the standard wants them encoded.
    let location = response.headers().get(LOCATION);
    let target = location
        .and_then(|location| std::str::from_utf8(location.as_bytes()).ok())
        .and_then(|location| url.join(location).ok())
        .ok_or_else(|| status_error(url, response.status().as_u16()))?;
    match FetchPolicy::refuses_redirect(url, &target) {
        None => Ok(Answer::Moved(target)),
        Some(reason) => Err(ImageError::RefusedRedirect {
            reference: shown(url.as_str()),
            target: shown(target.as_str()),
            reason,
        }),
    }
}

/// How long the server wants to be left alone: a number of seconds, or until a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = text(headers, RETRY_AFTER)?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(value).ok()?;
    // A date that is over wants no pause.
    Some(date.duration_since(SystemTime::now()).unwrap_or_default())
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok()
}

fn status_error(url: &Url, status: u16) -> ImageError {
    let reference = shown(url.as_str());
    match status {
        404 | 410 => ImageError::NotFound {
            reference,
            source: None,
        },
        401 | 403 => ImageError::PermissionDenied {
            reference,
            source: None,
        },
        _ => ImageError::HttpStatus { reference, status },
    }
}

fn refused(url: &Url, address: IpAddr) -> ImageError {
    let host = url.host_str().unwrap_or_default();
    let place = match url.host() {
        Some(Host::Domain(_)) => format!("{host} ({address})"),
        _ => address.to_string(),
    };
    ImageError::RefusedAddress {
        reference: shown(url.as_str()),
        place,
        host: host.to_owned(),
    }
}

fn transport_error(url: &Url, error: reqwest::Error) -> ImageError {
    if let Some(NotPublic(address)) = find_cause(&error) {
        return refused(url, *address);
    }
    let reference = shown(url.as_str());
    let reason = root_cause(&error);
    // What TLS refuses arrives as invalid data, and no later try will find a better certificate.
    let tls =
        find_cause::<io::Error>(&error).is_some_and(|e| e.kind() == io::ErrorKind::InvalidData);
    let (connect, builder) = (error.is_connect(), error.is_builder());
    let source: Cause = Arc::new(error);
    if connect {
        ImageError::Unreachable {
            reference,
            reason,
            can_pass: !tls,
            source,
        }
    } else if builder {
        ImageError::BadReference { reference, reason }
    } else {
        ImageError::Interrupted {
            reference,
            reason,
            source: Some(source),
        }
    }
}
