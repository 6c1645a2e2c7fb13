//! Where the hub is, where its files are kept on this machine, and whether it may be asked at all.
//!
//! The variables and folders are those of Python's `huggingface_hub`, so that both share one cache. They are read in one
//! place, into a value that the rest of the module is given: nothing else here looks at the environment.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::error::SourceError;

/// The hub where no variable names another.
const ENDPOINT: &str = "https://huggingface.co";

/// How long a server may be silent. A content server that fetches a cold file takes some tens of seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// How to reach the hub and its cache.
#[derive(Clone, PartialEq, Eq)]
pub struct HubSettings {
    /// The hub's address, `http://` or `https://`, without a slash at its end.
    pub endpoint: String,
    /// The folder with one `models--owner--name` folder for each repository.
    pub cache: PathBuf,
    /// The token that is sent with every request to the hub.
    pub token: Option<String>,
    /// Use what is in the cache and ask no server.
    pub offline: bool,
    /// A server that sends nothing for this long is given up.
    pub patience: Duration,
}

impl std::fmt::Debug for HubSettings {
    /// Without the token: it is a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HubSettings")
            .field("endpoint", &self.endpoint)
            .field("cache", &self.cache)
            .field("token", &self.token.as_ref().map(|_| "..."))
            .field("offline", &self.offline)
            .field("patience", &self.patience)
            .finish()
    }
}

impl HubSettings {
    /// The hub and its cache at these places: no token, not offline, 60 s of patience.
    ///
    /// # Errors
    /// [`SourceError::Endpoint`] when `endpoint` is no web address; [`SourceError::File`] when `cache` is relative and
    /// there is no working folder.
    pub fn new(endpoint: &str, cache: &Path) -> Result<Self, SourceError> {
        let wrong = || SourceError::Endpoint {
            text: endpoint.to_owned(),
        };
        let host = endpoint
            .strip_prefix("https://")
            .or_else(|| endpoint.strip_prefix("http://"))
            .ok_or_else(wrong)?;
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || "?#\\".contains(c)) {
            return Err(wrong());
        }
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            cache: std::path::absolute(cache).map_err(SourceError::file("find", cache))?,
            token: None,
            offline: false,
            patience: PATIENCE,
        })
    }

    /// What `HF_ENDPOINT`, `HF_HUB_CACHE`, `HF_HOME`, `XDG_CACHE_HOME`, `HF_TOKEN`, `HF_TOKEN_PATH` and `HF_HUB_OFFLINE`
    /// say; an empty variable counts as none. Without `HF_TOKEN` the token is in the file that the hub's own `login`
    /// wrote.
    ///
    /// # Errors
    /// As [`HubSettings::new`]; [`SourceError::NoHome`] when no variable names a cache and there is no home folder.
    pub fn from_env() -> Result<Self, SourceError> {
        Self::from_variables(|name| {
            std::env::var(name)
                .ok()
                .filter(|value| !value.trim().is_empty())
        })
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, SourceError> {
        let folder = |name| variable(name).map(PathBuf::from);
        let home = folder("HF_HOME").or_else(|| {
            folder("XDG_CACHE_HOME")
                .or_else(|| std::env::home_dir().map(|home| home.join(".cache")))
                .map(|caches| caches.join("huggingface"))
        });
        let cache = folder("HF_HUB_CACHE")
            .or_else(|| home.as_ref().map(|home| home.join("hub")))
            .ok_or(SourceError::NoHome)?;
        let endpoint = variable("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned());
        let mut settings = Self::new(endpoint.trim(), &cache)?;
        settings.token = variable("HF_TOKEN")
            .or_else(|| {
                // No such file is the usual case: nobody logged in.
                let file = folder("HF_TOKEN_PATH").or_else(|| Some(home?.join("token")))?;
                std::fs::read_to_string(file).ok()
            })
            .map(|token| token.trim().to_owned())
            .filter(|token| !token.is_empty());
        settings.offline = variable("HF_HUB_OFFLINE").is_some_and(|value| {
            ["1", "true", "yes", "on"].contains(&value.trim().to_ascii_lowercase().as_str())
        });
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(variables: &[(&str, &str)]) -> Result<HubSettings, SourceError> {
        HubSettings::from_variables(|name| {
            variables
                .iter()
                .find(|(known, _)| *known == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn the_cache_is_where_the_nearest_variable_says() {
        let cache = |variables: &[(&str, &str)]| settings(variables).unwrap().cache;
        let (xdg, home, hub) = (
            ("XDG_CACHE_HOME", "/xdg"),
            ("HF_HOME", "/home"),
            ("HF_HUB_CACHE", "/hub"),
        );
        assert_eq!(cache(&[xdg]), Path::new("/xdg/huggingface/hub"));
        assert_eq!(cache(&[xdg, home]), Path::new("/home/hub"));
        assert_eq!(cache(&[xdg, home, hub]), Path::new("/hub"));
        assert!(cache(&[("HF_HOME", "here")]).is_absolute());
    }

    #[test]
    fn the_token_is_the_variable_or_the_file_that_login_wrote() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().to_str().unwrap();
        let token = |extra: &[(&str, &str)]| {
            let mut variables = vec![("HF_HOME", path)];
            variables.extend(extra);
            settings(&variables).unwrap().token
        };
        assert_eq!(token(&[]), None);
        std::fs::write(home.path().join("token"), "filed\n").unwrap();
        assert_eq!(token(&[]).as_deref(), Some("filed"));
        assert_eq!(token(&[("HF_TOKEN", " given ")]).as_deref(), Some("given"));
        assert!(!format!("{:?}", settings(&[("HF_TOKEN", "given")])).contains("given"));
    }

    #[test]
    fn offline_is_said_in_four_words() {
        for (value, offline) in [("1", true), ("Yes", true), ("ON", true), ("0", false)] {
            let settings = settings(&[("HF_HUB_OFFLINE", value)]).unwrap();
            assert_eq!(settings.offline, offline, "{value}");
        }
        assert!(!settings(&[]).unwrap().offline);
    }

    #[test]
    fn an_address_that_is_none_is_refused() {
        let endpoint = |text| settings(&[("HF_ENDPOINT", text)]).map(|settings| settings.endpoint);
        assert_eq!(
            endpoint("https://mirror/hub/").unwrap(),
            "https://mirror/hub"
        );
        for text in ["mirror", "https://", "ftp://mirror", "http://a b"] {
            let error = endpoint(text).unwrap_err().to_string();
            assert!(
                error.contains(text) && error.contains("HF_ENDPOINT"),
                "{error}"
            );
        }
    }
}
