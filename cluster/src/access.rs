//! Who may speak with a scheduler and with executors: programs of this version of picsift that know the cluster's token.
//!
//! Both are said in the `user-agent` of each request: of what Ballista's own connections say, the executors' among them, nothing else can be
//! set. Plans are read by the version that wrote them alone, so others are refused before they are.

use std::fmt;
use std::sync::Arc;

use ballista_core::extension::EndpointOverrideFn;
use subtle::ConstantTimeEq;
use tonic::Status;
use tonic::metadata::MetadataMap;
use tonic::transport::Endpoint;

use crate::error::ClusterError;

/// The version that programs of a cluster have in common.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What the `user-agent` of a program of picsift begins with.
const PROGRAM: &str = "picsift/";

/// Letters of a token.
const LENGTH: std::ops::RangeInclusive<usize> = 16..=512;

/// What programs of a cluster show each other.
#[derive(Clone)]
pub struct Access {
    token: Option<Arc<str>>,
    version: &'static str,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            token: None,
            version: VERSION,
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Access")
            .field("open", &self.is_open())
            .finish()
    }
}

impl Access {
    /// Those that know this token.
    ///
    /// # Errors
    /// [`ClusterError::Token`] for a text that is none.
    pub fn by(token: &str) -> Result<Self, ClusterError> {
        let fits = LENGTH.contains(&token.len()) && token.bytes().all(|b| b.is_ascii_graphic());
        match fits {
            true => Ok(Self {
                token: Some(token.into()),
                ..Self::default()
            }),
            false => Err(ClusterError::Token),
        }
    }

    /// Whether everybody may who reaches it.
    pub fn is_open(&self) -> bool {
        self.token.is_none()
    }

    /// The same of another version.
    #[cfg(test)]
    pub(crate) fn of_version(self, version: &'static str) -> Self {
        Self { version, ..self }
    }

    /// Refuses a request whose metadata do not say what these say.
    pub(crate) fn check(&self, metadata: &MetadataMap) -> Result<(), Status> {
        let said = metadata.get("user-agent").and_then(|v| v.to_str().ok());
        let mut words = said.unwrap_or_default().split(' ');
        let version = words.next().and_then(|first| first.strip_prefix(PROGRAM));
        let shown = words.next().unwrap_or_default();
        if let Some(token) = &self.token
            && !bool::from(token.as_bytes().ct_eq(shown.as_bytes()))
        {
            return Err(Status::unauthenticated(
                "the cluster's token is not the one that was shown; give both programs the same --token-file",
            ));
        }
        let own = self.version;
        match version {
            Some(same) if same == own => Ok(()),
            Some(other) => Err(Status::failed_precondition(format!(
                "this is picsift {own}, and who asks is picsift {other}; all programs of a cluster must be of one version"
            ))),
            None => Err(Status::failed_precondition(format!(
                "this is a cluster of picsift {own}, and who asks is another program"
            ))),
        }
    }

    /// The same for a service.
    pub(crate) fn door<T>(
        &self,
    ) -> impl Fn(tonic::Request<T>) -> Result<tonic::Request<T>, Status>
    + Clone
    + Send
    + Sync
    + 'static
    + use<T> {
        let access = self.clone();
        move |request| access.check(request.metadata()).map(|()| request)
    }

    /// Says them on connections.
    pub(crate) fn endpoint(&self, endpoint: Endpoint) -> Result<Endpoint, tonic::transport::Error> {
        let version = self.version;
        endpoint.user_agent(match &self.token {
            Some(token) => format!("{PROGRAM}{version} {token}"),
            None => format!("{PROGRAM}{version}"),
        })
    }

    /// The same on those that Ballista makes.
    pub(crate) fn on_endpoints(&self) -> EndpointOverrideFn {
        let access = self.clone();
        Arc::new(move |endpoint| Ok(access.endpoint(endpoint)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    fn asked(access: &Access, agent: &str) -> Result<(), String> {
        let mut metadata = MetadataMap::new();
        metadata.insert("user-agent", agent.parse().unwrap());
        access
            .check(&metadata)
            .map_err(|status| status.message().to_string())
    }

    #[test]
    fn others_are_refused_by_name() {
        let open = Access::default();
        let own = format!("picsift/{VERSION}");
        assert_eq!(asked(&open, &format!("{own} tonic/0.14")), Ok(()));
        let other = asked(&open, "picsift/9.9.9 tonic/0.14").unwrap_err();
        assert!(
            other.contains(VERSION) && other.contains("picsift 9.9.9"),
            "{other}"
        );
        assert!(
            asked(&open, "grpc-go/1.0")
                .unwrap_err()
                .contains("another program")
        );

        let closed = Access::by(TOKEN).unwrap();
        assert_eq!(asked(&closed, &format!("{own} {TOKEN} tonic/0.14")), Ok(()));
        for wrong in [
            own.clone(),
            format!("{own} tonic/0.14"),
            format!("{own} {TOKEN}x"),
            TOKEN.to_string(),
        ] {
            let said = asked(&closed, &wrong).unwrap_err();
            assert!(said.contains("--token-file"), "{wrong}: {said}");
        }
        // What version there is, is not said to strangers.
        assert!(
            asked(&closed, "picsift/9.9.9")
                .unwrap_err()
                .contains("token")
        );
    }

    #[test]
    fn a_token_is_hard_to_guess_and_fits_into_a_header() {
        assert!(Access::by("short").is_err());
        assert!(Access::by("with a blank in the middle").is_err());
        assert!(Access::by("0123456789abcdef\n").is_err());
        assert!(!format!("{:?}", Access::by(TOKEN).unwrap()).contains(TOKEN));
    }
}
