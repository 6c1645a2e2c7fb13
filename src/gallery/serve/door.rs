//! Who may see a served gallery: whoever was given the link that this run printed.
//!
//! Every user of the machine can reach a port of it, other sites can make a browser send requests there (CSRF), and a name of theirs may
//! lead there (DNS rebinding). So a request needs the Host of this machine, no Origin but the page's own, and the cookie that the link
//! brought; corrections need a token too that only the page has. All of it is in the head of a request: nothing else of a stranger's is
//! read.

use axum::http::{HeaderMap, HeaderName, Uri, header};
use subtle::ConstantTimeEq;

use crate::error::AppError;
use crate::listen::secret;

/// The header with the page's token.
const TOKEN: &str = "x-picsift-token";

/// The name of the link's token in its query.
const KEY: &str = "key";

/// What is known of a request by its head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Guest {
    /// It has the link, and is to get the cookie.
    New,
    /// It has the cookie.
    Known,
    /// It is to be refused, for this reason.
    Stranger(&'static str),
}

/// What a request must show.
pub(super) struct Door {
    port: u16,
    hosts: [String; 2],
    link: String,
    page: String,
}

impl Door {
    /// A door with new tokens.
    ///
    /// # Errors
    /// [`AppError::File`] when the system has no random numbers.
    pub(super) fn new(port: u16) -> Result<Self, AppError> {
        Ok(Self {
            port,
            hosts: [format!("127.0.0.1:{port}"), format!("localhost:{port}")],
            link: secret()?,
            page: secret()?,
        })
    }

    /// The address that lets in.
    pub(super) fn link(&self) -> String {
        format!("http://{}/?{KEY}={}", self.hosts[0], self.link)
    }

    /// The token that the page sends with corrections.
    pub(super) fn page(&self) -> &str {
        &self.page
    }

    /// The cookie that the link brings. Ports share cookies, so its name has the port; scripts cannot read it and other sites cannot
    /// have it sent.
    pub(super) fn cookie(&self) -> String {
        let (name, token) = (self.name(), &self.link);
        format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict")
    }

    fn name(&self) -> String {
        format!("picsift-{}", self.port)
    }

    /// Who asks.
    pub(super) fn guest(&self, uri: &Uri, headers: &HeaderMap) -> Guest {
        let text = |name: HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or(""));
        let ours = |host: &str| self.hosts.iter().any(|known| known == host);
        if !text(header::HOST).is_some_and(ours) {
            return Guest::Stranger("the gallery answers to 127.0.0.1 and localhost alone");
        }
        match text(header::ORIGIN) {
            Some(origin) if !origin.strip_prefix("http://").is_some_and(ours) => {
                return Guest::Stranger("the gallery answers to its own page alone");
            }
            _ => {}
        }
        let name = self.name();
        let cookies = headers.get_all(header::COOKIE).iter();
        let mut cookies = cookies
            .filter_map(|cookies| cookies.to_str().ok())
            .flat_map(|cookies| cookies.split(';'))
            .filter_map(|cookie| cookie.trim().split_once('='))
            .filter(|(known, _)| *known == name);
        let query = uri.query().unwrap_or_default().split('&');
        let mut keys = query
            .filter_map(|part| part.split_once('='))
            .filter(|(name, _)| uri.path() == "/" && *name == KEY);
        // Who has both is new too: the address must lose the key.
        if keys.any(|(_, value)| same(value, &self.link)) {
            return Guest::New;
        }
        if cookies.any(|(_, value)| same(value, &self.link)) {
            return Guest::Known;
        }
        Guest::Stranger("open the gallery by the link that picsift printed when it was started")
    }

    /// Whether a request is of the page that this run gave out.
    pub(super) fn is_page(&self, headers: &HeaderMap) -> bool {
        let token = headers.get(TOKEN).and_then(|value| value.to_str().ok());
        token.is_some_and(|token| same(token, &self.page))
    }
}

/// Compares in a time that does not tell how much of it is right.
fn same(found: &str, token: &str) -> bool {
    found.as_bytes().ct_eq(token.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_link_and_its_cookie_let_in() {
        let door = Door::new(7).unwrap();
        let other = Door::new(7).unwrap();
        let guest = |uri: &str, headers: &[(HeaderName, &str)]| {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.append(name, value.parse().unwrap());
            }
            door.guest(&uri.parse().unwrap(), &map)
        };
        let host = (header::HOST, "localhost:7");
        let own = door.cookie();
        let own = (header::COOKIE, own.split(';').next().unwrap());
        let wrong = other.cookie();
        let wrong = (header::COOKIE, wrong.split(';').next().unwrap());
        let entry = format!("/?key={}", door.link);
        let many = format!("a=b; {}; c=d", own.1);
        for (uri, headers, expected) in [
            (
                "/data/meta.js",
                vec![host.clone(), own.clone()],
                Guest::Known,
            ),
            (
                "/",
                vec![host.clone(), (header::COOKIE, &many)],
                Guest::Known,
            ),
            (
                "/",
                vec![host.clone(), wrong.clone(), own.clone()],
                Guest::Known,
            ),
            (&entry, vec![host.clone()], Guest::New),
            (&entry, vec![host.clone(), wrong.clone()], Guest::New),
            (&entry, vec![host.clone(), own.clone()], Guest::New),
        ] {
            assert_eq!(guest(uri, &headers), expected, "{uri} {headers:?}");
        }
        let foreign = (header::ORIGIN, "http://127.0.0.1:8");
        let half = format!("/?key={}", &door.link[..32]);
        let elsewhere = format!("/data/meta.js?key={}", door.link);
        for (uri, headers) in [
            ("/", vec![host.clone()]),
            ("/?key=", vec![host.clone()]),
            (&half, vec![host.clone()]),
            (&elsewhere, vec![host.clone()]),
            ("/", vec![host.clone(), wrong]),
            ("/", vec![host.clone(), own.clone(), foreign]),
            ("/", vec![(header::HOST, "evil.example:7"), own.clone()]),
            ("/", vec![own]),
        ] {
            let found = guest(uri, &headers);
            assert!(matches!(found, Guest::Stranger(_)), "{uri} {headers:?}");
        }
    }
}
