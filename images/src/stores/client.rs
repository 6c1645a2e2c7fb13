//! The HTTP clients below all object stores.
//!
//! A store is asked because a person named its server, and what it answers must not send this program, and what it carries, to another
//! one: a redirect is followed to the same server only, or where the policy allows its host. The hub is the exception, which keeps
//! its files elsewhere: it may lead to any public address, checked as it is connected to, where no token goes. Encryption is never
//! given up on the way.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use object_store::client::{HttpClient, HttpConnector};
use object_store::{ClientConfigKey, ClientOptions};
use reqwest::header::HeaderMap;
use reqwest::redirect::{Attempt, Policy};
use reqwest::{Client, ClientBuilder, NoProxy, Proxy};
use url::{Host, Url};

use crate::dns::{self, Resolver};
use crate::error::find_cause;
use crate::policy::FetchPolicy;
use crate::reference::{is_below, shown};

/// Redirects that are followed, as of images.
const REDIRECTS: usize = 10;

/// Where the answers of stores may lead.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    pub(super) policy: Arc<FetchPolicy>,
    /// The folder below which the hub's addresses are, where the store is the hub.
    pub(super) hub: Option<Url>,
}

/// Why a redirect of a store is not followed.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error("it redirects to '{0}', which is refused: {1}")]
    Scheme(String, &'static str),
    #[error(
        "it redirects to '{0}' on another server, which is not followed; if it may be, allow its host with --allow-host {1}, or \
         name that address itself"
    )]
    Elsewhere(String, String),
    #[error("it redirects more than {REDIRECTS} times")]
    Endless,
}

/// What an error of a store says of a redirect that was not followed, if that is what it is.
pub fn refused_redirect(error: &(dyn std::error::Error + 'static)) -> Option<String> {
    find_cause::<Refused>(error).map(Refused::to_string)
}

impl Bounds {
    /// Whether a store whose request was `first`, and which has led to `from`, may lead to `to`.
    fn check(&self, first: &Url, from: &Url, to: &Url) -> Result<(), Refused> {
        if let Some(reason) = FetchPolicy::refuses_redirect(from, to) {
            return Err(Refused::Scheme(shown(to.as_str()), reason));
        }
        let address = match to.host() {
            Some(Host::Ipv4(v4)) => Some(IpAddr::V4(v4)),
            Some(Host::Ipv6(v6)) => Some(IpAddr::V6(v6)),
            Some(Host::Domain(_)) | None => None,
        };
        let of_hub = |hub: &Url| is_below(hub, first);
        let allowed = same_server(first, to)
            || self.policy.allows_host(to)
            || address.is_some_and(|address| self.policy.names_address(address))
            || (self.hub.as_ref().is_some_and(of_hub)
                && address.is_none_or(|address| self.policy.allows_address(address)));
        match allowed {
            true => Ok(()),
            false => Err(Refused::Elsewhere(
                shown(to.as_str()),
                to.host_str().unwrap_or_default().to_owned(),
            )),
        }
    }

    fn redirects(&self) -> Policy {
        let bounds = self.clone();
        Policy::custom(move |attempt: Attempt<'_>| {
            let before = attempt.previous();
            let (Some(first), Some(last)) = (before.first(), before.last()) else {
                return attempt.stop();
            };
            if before.len() > REDIRECTS {
                return attempt.error(Refused::Endless);
            }
            match bounds.check(first, last, attempt.url()) {
                Ok(()) => attempt.follow(),
                Err(refused) => attempt.error(refused),
            }
        })
    }

    /// Names to addresses. The servers that are asked were named; of others only the hub may lead to one.
    fn resolver(&self) -> Resolver {
        Resolver {
            lookup: dns::system(),
            policy: self.hub.as_ref().map(|_| Arc::clone(&self.policy)),
            named: self.hub.as_ref().and_then(Url::host_str).map(str::to_owned),
        }
    }
}

/// Whether two URLs are of one server, or the second is the encrypted form of the first.
fn same_server(one: &Url, other: &Url) -> bool {
    let ports = (one.port_or_known_default(), other.port_or_known_default());
    one.host() == other.host()
        && (ports.0 == ports.1
            || (one.scheme() == "http" && other.scheme() == "https")
                && ports == (Some(80), Some(443)))
}

/// Hands out clients within bounds: one for all, or one for each store.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    bounds: Bounds,
    /// The client that is handed out to everyone, once it is made.
    shared: Option<Arc<Mutex<Option<HttpClient>>>>,
    /// What every request says, to the server that the store is of.
    headers: HeaderMap,
}

impl Connector {
    /// A client for each store, as the options of the store want it.
    pub(super) fn each(bounds: Bounds) -> Self {
        Connector {
            bounds,
            shared: None,
            headers: HeaderMap::new(),
        }
    }

    /// One client for all stores, made on the first call.
    pub(super) fn shared(bounds: Bounds) -> Self {
        Connector {
            bounds,
            shared: Some(Arc::default()),
            headers: HeaderMap::new(),
        }
    }

    /// The same whose requests have these headers; those that say who asks are dropped where a redirect leads to another server.
    pub(super) fn with_headers(self, headers: HeaderMap) -> Self {
        Connector { headers, ..self }
    }

    fn make(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = builder(options)
            .map_err(config)?
            .default_headers(self.headers.clone())
            .redirect(self.bounds.redirects())
            .dns_resolver(Arc::new(self.bounds.resolver()))
            .build()
            .map_err(|error| config(error.into()))?;
        Ok(HttpClient::new(client))
    }
}

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let Some(shared) = &self.shared else {
            return self.make(options);
        };
        let mut client = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let made = self.make(options)?;
        *client = Some(made.clone());
        Ok(made)
    }
}

type Cause = Box<dyn std::error::Error + Send + Sync>;

fn config(source: Cause) -> object_store::Error {
    object_store::Error::Generic {
        store: "HTTP client",
        source,
    }
}

/// A client with what the environment may set of it, as `object_store` itself makes one.
fn builder(options: &ClientOptions) -> Result<ClientBuilder, Cause> {
    use ClientConfigKey as Key;
    let text = |key| options.get_config_value(&key);
    let is = |key| text(key).is_some_and(|value| value == "true");
    let time = |key| match text(key) {
        Some(value) => humantime::parse_duration(&value).map(Some),
        None => Ok(None),
    };
    let mut builder = Client::builder()
        .user_agent(
            text(Key::UserAgent)
                .unwrap_or_else(|| concat!("picsift/", env!("CARGO_PKG_VERSION")).to_owned()),
        )
        // The length of a body must be that of the object.
        .no_gzip()
        .no_brotli()
        .no_zstd()
        .no_deflate()
        .https_only(!is(Key::AllowHttp))
        .danger_accept_invalid_certs(is(Key::AllowInvalidCertificates));
    if let Some(proxy) = text(Key::ProxyUrl) {
        let mut proxy = Proxy::all(proxy)?;
        if let Some(excluded) = text(Key::ProxyExcludes) {
            proxy = proxy.no_proxy(NoProxy::from_string(&excluded));
        }
        if let Some(certificate) = text(Key::ProxyCaCertificate) {
            let certificate = reqwest::Certificate::from_pem(certificate.as_bytes())?;
            builder = builder.add_root_certificate(certificate);
        }
        builder = builder.proxy(proxy);
    }
    if let Some(time) = time(Key::Timeout)? {
        builder = builder.timeout(time);
    }
    if let Some(time) = time(Key::ConnectTimeout)? {
        builder = builder.connect_timeout(time);
    }
    if let Some(time) = time(Key::PoolIdleTimeout)? {
        builder = builder.pool_idle_timeout(time);
    }
    if let Some(most) = text(Key::PoolMaxIdlePerHost) {
        builder = builder.pool_max_idle_per_host(most.parse()?);
    }
    if is(Key::Http1Only) {
        builder = builder.http1_only();
    }
    Ok(builder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(hosts: &[&str], hub: Option<&str>, chain: [&str; 3]) -> bool {
        let policy = FetchPolicy {
            hosts: hosts.iter().map(|host| host.parse().unwrap()).collect(),
            ..FetchPolicy::default()
        };
        let bounds = Bounds {
            policy: Arc::new(policy),
            hub: hub.map(|hub| Url::parse(hub).unwrap()),
        };
        let [first, from, to] = chain.map(|url| Url::parse(url).unwrap());
        bounds.check(&first, &from, &to).is_ok()
    }

    #[test]
    fn a_store_leads_to_itself_and_to_what_a_person_allowed() {
        let plain = |from, to| allowed(&[], None, [from, from, to]);
        for (from, to, followed) in [
            ("http://h/t", "http://h/u", true),
            ("http://h/t", "https://h/t", true),
            ("http://h:8000/t", "http://h:8000/u", true),
            ("http://h:8000/t", "http://h:22/u", false),
            ("https://h/t", "http://h/t", false),
            ("https://h/t", "https://other/t", false),
            (
                "http://127.0.0.1:18080/t",
                "http://127.0.0.9:18099/t",
                false,
            ),
            ("http://h/t", "http://169.254.169.254/", false),
            ("http://h/t", "file:///etc/passwd", false),
        ] {
            assert_eq!(plain(from, to), followed, "{from} {to}");
        }
        let to = |host, to| allowed(&[host], None, ["https://h/t", "https://h/t", to]);
        assert!(to("other", "https://other/t"));
        assert!(to("10.0.0.0/8", "https://10.1.2.3/t"));
        assert!(!to("10.0.0.0/8", "https://8.8.8.8/t"));
        assert!(!to("other", "http://other/t"));
    }

    #[test]
    fn the_hub_leads_to_public_servers() {
        let hub = "https://hub.example/";
        let file = "https://hub.example/datasets/o/n/resolve/main/t.parquet";
        let leads = |to| allowed(&[], Some(hub), [file, file, to]);
        assert!(leads("https://cdn.example/x"));
        assert!(!leads("http://cdn.example/x"));
        assert!(!leads("https://127.0.0.1/x"));
        assert!(!leads("https://[::ffff:10.0.0.1]/x"));
        let other = "https://other.example/t.parquet";
        assert!(!allowed(
            &[],
            Some(hub),
            [other, other, "https://cdn.example/x"]
        ));
    }
}
