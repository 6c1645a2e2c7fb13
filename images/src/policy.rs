//! What a table may make this machine fetch.
//!
//! References come from tables, and tables come from others: a reference may try to read a file of this machine or a
//! server that only this network reaches. These settings say what is allowed; they know no transport and enforce
//! nothing themselves (see [`Fetcher`](crate::Fetcher)).

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::str::FromStr;

use ipnet::IpNet;
use url::{Host, Url};

use crate::address::is_public;
use crate::bucket::{Bucket, BucketKeys};
use crate::hub::Hub;
use crate::limits::Limits;

/// The settings of a [`Fetcher`](crate::Fetcher).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchOptions {
    /// Requests and file reads under way at once, all places together; 32 by default, 0 counts as 1.
    pub concurrency: usize,
    /// What one image may cost.
    pub limits: Limits,
    /// What references may reach.
    pub policy: FetchPolicy,
    /// Where `hf://` leads; the hub of the environment by default.
    pub hub: Hub,
}

impl Default for FetchOptions {
    fn default() -> Self {
        FetchOptions {
            concurrency: 32,
            limits: Limits::default(),
            policy: FetchPolicy::default(),
            hub: Hub::from_env(),
        }
    }
}

/// What the references of a table may reach, and how politely.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchPolicy {
    /// Schemes that references may have, in lower case; all of [`FetchPolicy::SCHEMES`] by default. A path counts as
    /// `file`. Redirects are held to the same list.
    pub schemes: Vec<String>,
    /// Hosts that may be asked although their addresses are not public (private, loopback, link-local and the like);
    /// none by default.
    pub hosts: Vec<AllowedHost>,
    /// Local folders that references may reach besides the table's own; none by default. A relative one is meant
    /// from the current folder.
    pub folders: Vec<PathBuf>,
    /// Buckets that references may reach besides the table's own; none by default.
    pub buckets: Vec<Bucket>,
    /// Where files and buckets may be read at all, as URLs of folders that end with a slash, whatever folder a query or table says that
    /// references belong to; no HTTP server is then trusted for being such a folder. For queries by strangers. `None`, the default,
    /// bounds nothing further.
    pub within: Option<Vec<Url>>,
    /// Buckets that have options and credentials of their own, in the place of the environment's; none by default.
    pub keys: Vec<BucketKeys>,
    /// Whether an HTTP answer whose `X-Robots-Tag` says `noai` or `noimageai`, to all or to `picsift`, is refused;
    /// `true` by default.
    pub respect_robots: bool,
    /// Requests under way at once to one HTTP host, whatever the port; 16 by default, 0 counts as 1. Buckets are
    /// made for many readers and know only [`FetchOptions::concurrency`].
    pub at_once_per_host: usize,
    /// Requests per second to one HTTP host, evenly spaced, retries and redirects included; no bound by default.
    pub per_second_per_host: Option<NonZeroU32>,
}

impl FetchPolicy {
    /// All schemes that can be fetched.
    pub const SCHEMES: [&str; 11] = [
        "file", "s3", "s3a", "gs", "az", "abfs", "abfss", "hf", "http", "https", "data",
    ];

    /// Whether the object at `url` in a bucket lies where everything must.
    pub(crate) fn is_within(&self, url: &Url) -> bool {
        let Some(places) = &self.within else {
            return true;
        };
        let bucket = Bucket::of(url);
        places.iter().any(|place| {
            bucket.is_some() && Bucket::of(place) == bucket && url.path().starts_with(place.path())
        })
    }

    /// Whether a person allowed the host of the http(s) `url`, whatever its address.
    pub(crate) fn allows_host(&self, url: &Url) -> bool {
        self.hosts.iter().any(|allowed| match &allowed.0 {
            Allowed::Host(host, port) => {
                url.host().is_some_and(|h| h.to_owned() == *host)
                    && port.is_none_or(|port| url.port_or_known_default() == Some(port))
            }
            Allowed::Net(_) => false,
        })
    }

    /// Whether a host at `address` may be asked.
    pub(crate) fn allows_address(&self, address: IpAddr) -> bool {
        is_public(address.to_canonical()) || self.names_address(address)
    }

    /// Whether a person allowed `address` itself.
    pub(crate) fn names_address(&self, address: IpAddr) -> bool {
        // ::ffff:10.0.0.1 is 10.0.0.1.
        let address = address.to_canonical();
        self.hosts.iter().any(|allowed| match &allowed.0 {
            Allowed::Net(net) => net.contains(&address),
            Allowed::Host(..) => false,
        })
    }

    /// Why a redirect from one URL to another is never followed, whoever sends it.
    pub(crate) fn refuses_redirect(from: &Url, to: &Url) -> Option<&'static str> {
        match (from.scheme(), to.scheme()) {
            (_, "https") | ("http", "http") => None,
            (_, "http") => Some("it leads from https to http"),
            _ => Some("it leads to another scheme than http and https"),
        }
    }
}

impl Default for FetchPolicy {
    fn default() -> Self {
        FetchPolicy {
            schemes: Self::SCHEMES.map(str::to_owned).into(),
            hosts: Vec::new(),
            folders: Vec::new(),
            buckets: Vec::new(),
            within: None,
            keys: Vec::new(),
            respect_robots: true,
            at_once_per_host: 16,
            per_second_per_host: None,
        }
    }
}

/// A host that may be asked although its address is not public.
///
/// - a name, `images.local`, or a name with a port, `images.local:8000`: URLs with that host, whatever it resolves to
/// - an address, `10.0.0.7` or `::1`, or a range, `10.0.0.0/8`: URLs with such an address, and names that resolve to
///   one
/// - an address with a port, `127.0.0.1:8000` or `[::1]:8000`: URLs with that address and port
///
/// ```
/// use picsift_images::AllowedHost;
///
/// assert_eq!("Images.Local:8000".parse::<AllowedHost>()?.to_string(), "images.local:8000");
/// assert_eq!("10.1.2.3/8".parse::<AllowedHost>()?.to_string(), "10.0.0.0/8");
/// assert!("http://images.local/".parse::<AllowedHost>().is_err());
/// # Ok::<(), picsift_images::AllowedHostError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedHost(Allowed);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Allowed {
    Net(IpNet),
    Host(Host, Option<u16>),
}

/// A text that is no [`AllowedHost`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{text}' is not a host to allow: write a name (images.local), an address (10.0.0.7), either with a port \
     (images.local:8000), or a range (10.0.0.0/8)"
)]
pub struct AllowedHostError {
    /// The text.
    pub text: String,
}

impl FromStr for AllowedHost {
    type Err = AllowedHostError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        allowed(text.trim())
            .map(AllowedHost)
            .ok_or_else(|| AllowedHostError {
                text: text.to_owned(),
            })
    }
}

fn allowed(text: &str) -> Option<Allowed> {
    if text.contains('/') {
        return text
            .parse::<IpNet>()
            .ok()
            .map(|net| Allowed::Net(net.trunc()));
    }
    let bare = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Some(Allowed::Net(address.to_canonical().into()));
    }
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse::<u16>().ok()?)),
        None => (text, None),
    };
    // A pattern would be taken for a name that no host has.
    if host.contains('*') {
        return None;
    }
    match (Host::parse(host).ok()?, port) {
        // An address in another notation, such as 2130706433.
        (Host::Ipv4(address), None) => Some(Allowed::Net(IpAddr::V4(address).into())),
        (host, port) => Some(Allowed::Host(host, port)),
    }
}

impl fmt::Display for AllowedHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Allowed::Net(net) if net.prefix_len() == net.max_prefix_len() => {
                write!(f, "{}", net.addr())
            }
            Allowed::Net(net) => write!(f, "{net}"),
            Allowed::Host(host, Some(port)) => write!(f, "{host}:{port}"),
            Allowed::Host(host, None) => write!(f, "{host}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(allowed: &str) -> FetchPolicy {
        FetchPolicy {
            hosts: vec![allowed.parse().unwrap()],
            ..FetchPolicy::default()
        }
    }

    #[test]
    fn a_host_is_allowed_by_name_port_address_or_range() {
        for (allowed, url, host, address) in [
            ("images.local", "http://images.local:81/", true, false),
            ("images.local", "http://a.images.local/", false, false),
            ("images.local:81", "http://IMAGES.local:81/", true, false),
            ("images.local:80", "http://images.local/", true, false),
            ("images.local:81", "http://images.local/", false, false),
            ("127.0.0.1:81", "http://127.0.0.1:81/", true, false),
            ("127.0.0.1:81", "http://127.0.0.1:82/", false, false),
            ("[::1]:81", "http://[::1]:81/", true, false),
            ("10.0.0.7", "http://10.0.0.7/", false, true),
            ("10.0.0.7", "http://10.0.0.8/", false, false),
            ("10.0.0.0/8", "http://10.9.9.9/", false, true),
            ("10.0.0.0/8", "http://[::ffff:10.9.9.9]/", false, true),
            ("2130706433", "http://127.0.0.1/", false, true),
            ("fd00::/8", "http://[fd12::1]/", false, true),
            ("::1", "http://[::1]/", false, true),
        ] {
            let (policy, url) = (policy(allowed), Url::parse(url).unwrap());
            assert_eq!(policy.allows_host(&url), host, "{allowed} {url}");
            let literal = match url.host().unwrap() {
                Host::Ipv4(v4) => Some(IpAddr::V4(v4)),
                Host::Ipv6(v6) => Some(IpAddr::V6(v6)),
                Host::Domain(_) => None,
            };
            assert_eq!(
                literal.is_some_and(|a| policy.allows_address(a)),
                address,
                "{allowed} {url}"
            );
        }
    }

    #[test]
    fn what_is_no_host_says_what_would_be() {
        for text in [
            "",
            "http://a/",
            "a b",
            "10.0.0.0/33",
            "a:port",
            "a:99999",
            "a/8",
            "*.local",
            "user@host",
        ] {
            let error = text.parse::<AllowedHost>().unwrap_err().to_string();
            assert!(
                error.contains(&format!("'{text}' is not a host to allow")),
                "{error}"
            );
        }
    }

    #[test]
    fn no_redirect_gives_encryption_up() {
        for (from, to, followed) in [
            ("https://a/", "http://a/", false),
            ("https://a/", "https://b/", true),
            ("http://a/", "https://a/", true),
            ("http://a/", "http://b/", true),
            ("https://a/", "file:///etc/passwd", false),
        ] {
            let (from, to) = (Url::parse(from).unwrap(), Url::parse(to).unwrap());
            assert_eq!(
                FetchPolicy::refuses_redirect(&from, &to).is_none(),
                followed,
                "{from} {to}"
            );
        }
    }
}
