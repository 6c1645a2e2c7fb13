//! Names to addresses, without those that may not be reached.
//!
//! The HTTP client connects to the addresses that it gets from here, so there is no second look-up that a name server
//! could answer differently (DNS rebinding). An address written in a URL does not pass here: it is checked with the
//! URL.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::policy::FetchPolicy;

/// How the name of a host becomes its addresses.
pub type Lookup = Arc<dyn Fn(String) -> BoxFuture<'static, io::Result<Vec<IpAddr>>> + Send + Sync>;

/// The system's resolver.
pub(crate) fn system() -> Lookup {
    Arc::new(|host| {
        async move {
            let found = tokio::net::lookup_host((host, 0)).await?;
            Ok(found.map(|address| address.ip()).collect())
        }
        .boxed()
    })
}

/// All addresses of a host are refused.
#[derive(Debug, thiserror::Error)]
#[error("its address {0} is not public")]
pub(crate) struct NotPublic(pub(crate) IpAddr);

/// A resolver for the HTTP client.
pub(crate) struct Resolver {
    pub(crate) lookup: Lookup,
    /// Whose addresses are let through; `None` lets all through, for hosts that a person named.
    pub(crate) policy: Option<Arc<FetchPolicy>>,
    /// A host whose addresses are let through all the same, as a person named it.
    pub(crate) named: Option<String>,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let found = (self.lookup)(name.as_str().to_owned());
        let named = self.named.as_deref() == Some(name.as_str());
        let policy = self.policy.clone().filter(|_| !named);
        Box::pin(async move {
            let found = found.await?;
            let fits = |address: &IpAddr| {
                policy
                    .as_ref()
                    .is_none_or(|policy| policy.allows_address(*address))
            };
            // The client puts the URL's port in place of 0.
            let usable: Vec<SocketAddr> = found
                .iter()
                .copied()
                .filter(fits)
                .map(|address| SocketAddr::new(address, 0))
                .collect();
            match (usable.is_empty(), found.first()) {
                (false, _) => Ok(Box::new(usable.into_iter()) as Addrs),
                (true, Some(address)) => Err(NotPublic(*address).into()),
                (true, None) => Err("the name has no address".into()),
            }
        })
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolver")
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
