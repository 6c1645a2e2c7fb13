//! Who may come in, by the head of a request: whoever shows a token, or, where there are none, programs of this machine.
//!
//! Without tokens the server listens to this machine alone (`mod` sees to that). A browser could still be made to send requests here by
//! another site (CSRF), whose name may lead here (DNS rebinding): so a request must then call this machine by a name of its own, and come
//! from no page. Nothing but the head of a request is read before it passes.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use tokio::sync::{Semaphore, watch};

use super::budget::{Budget, Hourly};
use super::refusal::Refusal;
use super::tokens::{Holder, Tokens};

/// The tenant of a server without tokens.
pub(super) const LOCAL: &str = "local";

/// Some clients leave the padding out.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Somebody who may ask: the holder of a token.
#[derive(Debug)]
pub(super) struct Client {
    /// The token's name, with its tenant's before it: the owner of handles.
    pub(super) owner: Arc<str>,
    /// Whose places and kept answers it has.
    pub(super) tenant: String,
    /// The right to run a statement.
    pub(super) slots: Arc<Semaphore>,
    /// What it has of its hour.
    pub(super) budget: Arc<Budget>,
    /// What it was let in by; `None` without tokens.
    holder: Option<Holder>,
    /// Whether its token has been taken away.
    revoked: watch::Sender<bool>,
}

impl Client {
    /// Is done when its token is taken away.
    pub(super) async fn revoked(&self) -> Refusal {
        // The sender is the client's own.
        let mut revoked = self.revoked.subscribe();
        let _ = revoked.wait_for(|revoked| *revoked).await;
        Refusal::Unknown("the token was taken away")
    }

    /// Ends what waits for [`Client::revoked`].
    pub(super) fn revoke(&self) {
        self.revoked.send_replace(true);
    }
}

/// What a request must show.
#[derive(Debug)]
pub(super) struct Door {
    known: RwLock<Arc<Known>>,
    /// Statements of a token at once.
    at_once: usize,
    hourly: Hourly,
}

/// Who comes in.
#[derive(Debug)]
struct Known {
    /// `None` lets in every program of this machine.
    tokens: Option<Tokens>,
    clients: BTreeMap<String, Arc<Client>>,
}

impl Door {
    /// A door for the holders of these tokens, each with so many statements at once and so much in an hour.
    pub(super) fn new(tokens: Option<Tokens>, at_once: usize, hourly: Hourly) -> Self {
        let door = Self {
            known: RwLock::new(Arc::new(Known {
                tokens: None,
                clients: BTreeMap::new(),
            })),
            at_once,
            hourly,
        };
        match tokens {
            Some(tokens) => drop(door.change(tokens)),
            None => {
                let local = door.made(LOCAL, LOCAL, None, None);
                let clients = BTreeMap::from([(local.owner.to_string(), local)]);
                door.put(Known {
                    tokens: None,
                    clients,
                });
            }
        }
        door
    }

    /// Lets in the holders of these tokens alone, and gives those who are not let in any more: whose token is gone or another, or whose
    /// tenant may read other places. What was taken of an hour stays taken.
    pub(super) fn change(&self, tokens: Tokens) -> Vec<Arc<Client>> {
        let before = self.known();
        let client = |holder: Holder| {
            let owner = owner(&holder.tenant, &holder.name);
            let client = match before.clients.get(&owner) {
                Some(known) if known.holder.as_ref() == Some(&holder) => Arc::clone(known),
                known => {
                    let (tenant, name) = (holder.tenant.clone(), holder.name.clone());
                    let budget = known.map(|known| Arc::clone(&known.budget));
                    self.made(&tenant, &name, Some(holder), budget)
                }
            };
            (owner, client)
        };
        let clients: BTreeMap<_, _> = tokens.holders().map(client).collect();
        let stays = |known: &Arc<Client>| {
            let now = clients.get(&*known.owner);
            now.is_some_and(|now| Arc::ptr_eq(now, known))
        };
        let gone = before.clients.values().filter(|known| !stays(known));
        let gone = gone.map(Arc::clone).collect();
        self.put(Known {
            tokens: Some(tokens),
            clients,
        });
        gone
    }

    fn made(
        &self,
        tenant: &str,
        name: &str,
        holder: Option<Holder>,
        budget: Option<Arc<Budget>>,
    ) -> Arc<Client> {
        let at_once = self.at_once.clamp(1, Semaphore::MAX_PERMITS);
        Arc::new(Client {
            owner: owner(tenant, name).into(),
            tenant: tenant.to_string(),
            slots: Arc::new(Semaphore::new(at_once)),
            budget: budget.unwrap_or_else(|| Arc::new(Budget::new(self.hourly))),
            holder,
            revoked: watch::Sender::new(false),
        })
    }

    // What is behind the lock is always whole.
    fn known(&self) -> Arc<Known> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn put(&self, known: Known) {
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(known);
    }

    /// Who asks.
    ///
    /// # Errors
    /// [`Refusal::Unknown`].
    pub(super) fn client(&self, uri: &Uri, headers: &HeaderMap) -> Result<Arc<Client>, Refusal> {
        let known = self.known();
        let Some(tokens) = &known.tokens else {
            if !is_local(uri, headers) {
                return Err(Refusal::Unknown(
                    "without tokens the server answers programs that call this machine 127.0.0.1, ::1 or localhost, and no page",
                ));
            }
            let local = known.clients.values().next();
            return local
                .map(Arc::clone)
                .ok_or(Refusal::Unknown("nobody may ask"));
        };
        let shown = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(shown);
        let Some((user, token)) = shown else {
            return Err(Refusal::Unknown(
                "show a token: authorization: Bearer TOKEN, or its name and itself as user and password",
            ));
        };
        let holder = tokens.holder(&token);
        let holder = holder.filter(|(name, _)| user.is_none_or(|user| user == *name));
        let client = holder.and_then(|(name, tenant)| known.clients.get(&owner(tenant, name)));
        client
            .map(Arc::clone)
            .ok_or(Refusal::Unknown("the token is none of this server's"))
    }
}

/// What the holder of a token is called.
fn owner(tenant: &str, name: &str) -> String {
    format!("{tenant}/{name}")
}

/// The user, if one is said, and the token in an `Authorization` header.
fn shown(header: &str) -> Option<(Option<String>, String)> {
    let (scheme, rest) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some((None, rest.trim().to_string()));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(BASE64.decode(rest.trim()).ok()?).ok()?;
    let (user, token) = text.split_once(':')?;
    Some((Some(user.to_string()), token.to_string()))
}

/// The token of a request that was let in, for a client that wants to show it as a bearer's from now on.
pub(super) fn bearer(header: Option<&str>) -> Option<String> {
    header.and_then(shown).map(|(_, token)| token)
}

/// Whether a request calls this machine by its own name and is no page's.
fn is_local(uri: &Uri, headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).map(|host| host.to_str());
    let host = match (uri.authority(), host) {
        (Some(authority), _) => authority.host().to_string(),
        (None, Some(Ok(host))) => match host.parse::<Authority>() {
            Ok(authority) => authority.host().to_string(),
            Err(_) => return false,
        },
        _ => return false,
    };
    let ours = ["127.0.0.1", "localhost", "[::1]"].contains(&host.as_str());
    ours && !headers.contains_key(header::ORIGIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(
                axum::http::HeaderName::from_bytes(name.as_bytes()).unwrap(),
                value.parse().unwrap(),
            );
        }
        headers
    }

    #[test]
    fn tokens_come_as_bearer_or_as_password_with_or_without_padding() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        let token = super::super::tokens::add(&path, "research", "anna").unwrap();
        let door = Door::new(Some(Tokens::read(&path).unwrap()), 2, Hourly::default());
        let uri = Uri::from_static("/");
        let basic = |user: &str| {
            let encoded =
                base64::engine::general_purpose::STANDARD.encode(format!("{user}:{token}"));
            format!("Basic {encoded}")
        };
        let padded = basic("anna");
        assert!(padded.ends_with('='), "{padded}");
        for header in [
            format!("Bearer {token}"),
            format!("bearer {token}"),
            padded.trim_end_matches('=').to_string(),
            padded,
        ] {
            let client = door
                .client(&uri, &head(&[("authorization", &header)]))
                .unwrap();
            assert_eq!(
                (&*client.owner, client.tenant.as_str()),
                ("research/anna", "research")
            );
        }
        for header in [
            "Bearer x".to_string(),
            format!("Bearer {}", &token[..20]),
            "Basic !!".to_string(),
            basic("bob"),
            basic(""),
            token.clone(),
            format!("Digest {token}"),
        ] {
            let refused = door.client(&uri, &head(&[("authorization", &header)]));
            assert!(matches!(refused, Err(Refusal::Unknown(_))), "{header}");
        }
        assert!(door.client(&uri, &head(&[("host", "127.0.0.1")])).is_err());
    }

    #[test]
    fn who_is_not_in_the_file_any_more_does_not_come_in() {
        use super::super::budget::Spent;
        use super::super::tokens::add;

        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokens.toml");
        let shown = |token: &str| head(&[("authorization", &format!("Bearer {token}"))]);
        let uri = Uri::from_static("/");
        let (anna, bob) = (
            add(&path, "research", "anna").unwrap(),
            add(&path, "sales", "bob").unwrap(),
        );
        let hourly = Hourly {
            images: Some(5),
            ..Hourly::default()
        };
        let door = Door::new(Some(Tokens::read(&path).unwrap()), 2, hourly);
        let of_bob = door.client(&uri, &shown(&bob)).unwrap();
        let of_anna = door.client(&uri, &shown(&anna)).unwrap();
        assert!(door.change(Tokens::read(&path).unwrap()).is_empty());
        of_anna.budget.spend(Spent {
            images: 5,
            ..Spent::default()
        });
        // Another token of the same name is another's, whose hour is that of the first.
        let text = std::fs::read_to_string(&path).unwrap();
        let others = text.lines().filter(|line| !line.starts_with("anna"));
        std::fs::write(&path, others.collect::<Vec<_>>().join("\n")).unwrap();
        let again = add(&path, "research", "anna").unwrap();
        let gone = door.change(Tokens::read(&path).unwrap());
        assert!(gone.len() == 1 && Arc::ptr_eq(&gone[0], &of_anna));
        assert!(door.client(&uri, &shown(&anna)).is_err());
        let of_anna = door.client(&uri, &shown(&again)).unwrap();
        assert!(of_anna.budget.begin().is_err());
        assert!(Arc::ptr_eq(
            &door.client(&uri, &shown(&bob)).unwrap(),
            &of_bob
        ));
        // So is one that may read other places.
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("[sales]\nfolders = []\n{text}")).unwrap();
        let gone = door.change(Tokens::read(&path).unwrap());
        assert!(gone.len() == 1 && Arc::ptr_eq(&gone[0], &of_bob));
        // And nobody comes in where nobody is named.
        assert_eq!(door.change(Tokens::default()).len(), 2);
        assert!(door.client(&uri, &shown(&bob)).is_err());
    }

    #[test]
    fn without_tokens_only_programs_of_this_machine_come_in() {
        let door = Door::new(None, 2, Hourly::default());
        let client = |uri: &'static str, pairs: &[(&str, &str)]| {
            door.client(&Uri::from_static(uri), &head(pairs)).is_ok()
        };
        assert!(client("/", &[("host", "127.0.0.1:8815")]));
        assert!(client("/", &[("host", "[::1]:8815")]));
        assert!(client("http://localhost:8815/x", &[]));
        assert!(!client("/", &[]));
        assert!(!client("/", &[("host", "evil.example:8815")]));
        assert!(!client("http://evil.example/x", &[("host", "localhost")]));
        assert!(!client(
            "/",
            &[("host", "localhost"), ("origin", "http://localhost")]
        ));
        assert!(!client("/", &[("host", "localhost@evil.example")]));
    }
}
