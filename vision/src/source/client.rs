//! Requests to the hub: where they may lead, and who gets the token.
//!
//! A hub answers for large files with the address of another server. That is followed a few times, never from https to http, and the
//! token is sent to the hub alone, whatever leads away from it. A hub of the public internet leads to public addresses: what it says
//! must not make this machine ask itself or its neighbours. Addresses are checked as they are connected to.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hf_hub::api::sync::ApiError;
use ureq::config::Config;
use ureq::http::{Response, Uri, header};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Body};

use super::remote::RemoteFile;
use super::settings::HubSettings;

/// Redirects that are followed for one request.
const REDIRECTS: usize = 5;

/// Why a request brought nothing.
#[derive(Debug)]
pub(super) enum ClientError {
    /// The client's reason.
    Failed(ApiError),
    /// An answer that no hub gives.
    Odd(String),
}

impl From<ureq::Error> for ClientError {
    fn from(error: ureq::Error) -> Self {
        match error {
            // The resolver's, too.
            ureq::Error::BadUri(reason) => Self::Odd(reason),
            other => Self::Failed(ApiError::RequestError(Box::new(other))),
        }
    }
}

impl From<std::io::Error> for ClientError {
    fn from(error: std::io::Error) -> Self {
        Self::Failed(ApiError::IoError(error))
    }
}

/// What the hub says of a file.
#[derive(Debug)]
pub(super) struct Metadata {
    /// The commit that the revision means.
    pub(super) commit: String,
    /// What the hub calls the content.
    pub(super) etag: String,
    /// Bytes of the content.
    pub(super) bytes: u64,
}

/// What asks the hub.
#[derive(Debug, Clone)]
pub(super) struct Client {
    agent: Agent,
    endpoint: String,
    hub: Uri,
    token: Option<String>,
}

impl Client {
    pub(super) fn new(settings: &HubSettings) -> Result<Self, ClientError> {
        let hub = uri(&settings.endpoint)?;
        let config = Agent::config_builder()
            // Followed here, where it is known what may be sent where.
            .max_redirects(0)
            .user_agent(concat!("picsift/", env!("CARGO_PKG_VERSION")))
            .build();
        let addresses = Addresses {
            inner: DefaultResolver::default(),
            hub: hub.clone(),
            inside: Arc::default(),
        };
        Ok(Self {
            agent: Agent::with_parts(config, DefaultConnector::default(), addresses),
            endpoint: settings.endpoint.clone(),
            hub,
            token: settings.token.clone(),
        })
    }

    /// Commit, etag and length of a file.
    pub(super) fn metadata(&self, file: &RemoteFile) -> Result<Metadata, ClientError> {
        let mut said = None;
        let response = self.get(file, "bytes=0-0", &mut said)?;
        let (commit, etag) = said.ok_or(ClientError::Failed(ApiError::MissingHeader(
            "x-repo-commit",
        )))?;
        let etag = etag.ok_or(ClientError::Failed(ApiError::MissingHeader("etag")))?;
        let range = text(&response, "content-range").ok_or(ClientError::Failed(
            ApiError::MissingHeader("Content-Range"),
        ))?;
        let bytes = range
            .rsplit('/')
            .next()
            .and_then(|total| total.parse().ok());
        Ok(Metadata {
            commit,
            etag: etag.replace('"', ""),
            bytes: bytes.ok_or(ClientError::Failed(ApiError::InvalidHeader(
                "Content-Range",
            )))?,
        })
    }

    /// The content of a file from this byte on; none when the server would begin elsewhere.
    pub(super) fn content(
        &self,
        file: &RemoteFile,
        start: u64,
    ) -> Result<Option<impl Read + use<>>, ClientError> {
        let response = self.get(file, &format!("bytes={start}-"), &mut None)?;
        let begins = text(&response, "content-range").and_then(|range| {
            range
                .strip_prefix("bytes ")?
                .split('-')
                .next()?
                .parse()
                .ok()
        });
        if begins.unwrap_or(0) != start {
            return Ok(None);
        }
        Ok(Some(response.into_body().into_reader()))
    }

    /// The last answer of those that a file's address leads to; `said` is what the hub itself says of commit and etag.
    fn get(
        &self,
        file: &RemoteFile,
        range: &str,
        said: &mut Option<(String, Option<String>)>,
    ) -> Result<Response<Body>, ClientError> {
        let revision = file.revision.replace('/', "%2F");
        let (endpoint, repo, name) = (&self.endpoint, &file.repo, file.name);
        let mut address = uri(&format!("{endpoint}/{repo}/resolve/{revision}/{name}"))?;
        for _ in 0..=REDIRECTS {
            let hub = same_origin(&address, &self.hub);
            let mut request = self.agent.get(address.clone()).header(header::RANGE, range);
            if let Some(token) = self.token.as_ref().filter(|_| hub) {
                request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
            }
            let response = request.call()?;
            if hub && let Some(commit) = text(&response, "x-repo-commit") {
                let etag = text(&response, "x-linked-etag").or_else(|| text(&response, "etag"));
                *said = Some((commit.to_owned(), etag.map(str::to_owned)));
            }
            if !response.status().is_redirection() {
                return Ok(response);
            }
            let to = text(&response, "location")
                .ok_or(ClientError::Failed(ApiError::MissingHeader("Location")))?;
            address = next(&address, to)?;
        }
        Err(ClientError::Odd(format!(
            "it redirects more than {REDIRECTS} times"
        )))
    }
}

/// Where a redirect leads.
fn next(from: &Uri, to: &str) -> Result<Uri, ClientError> {
    let scheme = from.scheme_str().unwrap_or_default();
    let to = match to {
        _ if to.starts_with("//") => uri(&format!("{scheme}:{to}"))?,
        _ if to.starts_with('/') => {
            let authority = from.authority().map_or("", |authority| authority.as_str());
            uri(&format!("{scheme}://{authority}{to}"))?
        }
        _ => uri(to)?,
    };
    let odd = |what: &str| {
        let place = to.authority().map_or("", |authority| authority.host());
        Err(ClientError::Odd(format!("it redirects to {place}, {what}")))
    };
    match to.scheme_str() {
        Some("https") => {}
        Some("http") if scheme == "http" => {}
        Some("http") => return odd("without encryption"),
        _ => return odd("by neither http nor https"),
    }
    if to
        .authority()
        .is_some_and(|authority| authority.as_str().contains('@'))
    {
        return odd("with a user name");
    }
    Ok(to)
}

fn uri(text: &str) -> Result<Uri, ClientError> {
    match text.parse::<Uri>() {
        Ok(uri) if uri.host().is_some_and(|host| !host.is_empty()) => Ok(uri),
        _ => Err(ClientError::Odd("it names no web address".to_owned())),
    }
}

fn port(uri: &Uri) -> Option<u16> {
    uri.port_u16().or(match uri.scheme_str() {
        Some("https") => Some(443),
        Some("http") => Some(80),
        _ => None,
    })
}

fn same_host(one: &Uri, other: &Uri) -> bool {
    let host = |uri: &Uri| uri.host().map(str::to_ascii_lowercase);
    host(one) == host(other)
}

fn same_origin(one: &Uri, other: &Uri) -> bool {
    one.scheme() == other.scheme() && same_host(one, other) && port(one) == port(other)
}

fn text<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// Finds addresses, and refuses those that a public hub may not lead to.
#[derive(Debug)]
struct Addresses {
    inner: DefaultResolver,
    hub: Uri,
    /// Whether the hub itself is in a private network: then so may be what it leads to.
    inside: Arc<AtomicBool>,
}

impl Resolver for Addresses {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.inner.resolve(uri, config, timeout)?;
        // A proxy, which the person named, is looked up too, and looks up what it is asked for itself.
        let direct = config.proxy().is_none_or(|proxy| proxy.is_no_proxy(uri));
        let private = found.iter().any(|address| !is_public(address.ip()));
        if same_host(uri, &self.hub) {
            self.inside.store(private, Ordering::Relaxed);
        } else if private && direct && !self.inside.load(Ordering::Relaxed) {
            return Err(ureq::Error::BadUri(format!(
                "it redirects to {}, whose address is not public",
                uri.host().unwrap_or_default()
            )));
        }
        Ok(found)
    }
}

/// Whether an address can be one of the public internet.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => is_public_v4(v4),
        IpAddr::V6(v6) => is_public_v6(v6),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = matches!(
        (a, b, c),
        // This network, carrier-grade NAT, protocols, benchmarks.
        (0, ..) | (100, 64..128, _) | (192, 0, 0) | (198, 18..20, _) | (240.., ..)
    );
    !(special
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast())
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        // NAT64: the address that is reached is the IPv4 one.
        [0x64, 0xFF9B, 0, 0, 0, 0, high, low] => {
            is_public_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)))
        }
        // Protocols, documentation, 6to4.
        [0x2001, ..0x0200, ..] | [0x2001, 0x0DB8, ..] | [0x2002, ..] | [0x3FFF, ..0x1000, ..] => {
            false
        }
        // Global unicast.
        [first, ..] => first & 0xE000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Uri {
        text.parse().unwrap()
    }

    #[test]
    fn a_redirect_leads_to_the_web_and_never_out_of_encryption() {
        let from = at("https://hub.example/a/b?c");
        for (to, expected) in [
            ("/x?y", "https://hub.example/x?y"),
            ("//cdn.example/x", "https://cdn.example/x"),
            ("https://cdn.example/x", "https://cdn.example/x"),
        ] {
            assert_eq!(next(&from, to).unwrap(), at(expected));
        }
        for to in [
            "http://hub.example/x",
            "http://cdn.example/",
            "file:///etc/passwd",
            "ftp://cdn.example/",
            "https://user:word@cdn.example/",
            "x/y",
            "https://",
            "",
            "\u{7f}",
        ] {
            assert!(matches!(next(&from, to), Err(ClientError::Odd(_))), "{to}");
        }
        assert!(next(&at("http://mirror/"), "http://other/").is_ok());
    }

    #[test]
    fn the_token_is_for_one_scheme_host_and_port() {
        let hub = at("https://Hub.example");
        assert!(same_origin(&at("https://hub.example:443/x"), &hub));
        for other in [
            "http://hub.example/",
            "https://hub.example:444/",
            "https://hub.example.evil/",
            "https://cdn.hub.example/",
        ] {
            assert!(!same_origin(&at(other), &hub), "{other}");
        }
    }

    #[test]
    fn addresses_of_this_machine_and_its_networks_are_not_public() {
        for address in [
            "127.0.0.2",
            "10.0.0.1",
            "169.254.169.254",
            "192.168.0.1",
            "0.0.0.0",
            "100.64.0.1",
            "::1",
            "fe80::1",
            "fd00::1",
            "::ffff:127.0.0.1",
            "64:ff9b::7f00:1",
            "255.255.255.255",
            "224.0.0.1",
            "::",
        ] {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        for address in ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "64:ff9b::808:808"] {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }
}
