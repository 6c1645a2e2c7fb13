//! Files of data sets on Hugging Face's hub, or on another server that answers like it: `hf://datasets/owner/name/path`.
//!
//! It turns such a URL into the address of the file and knows to whom a token may be said; it sends nothing.

use std::fmt;

use percent_encoding::percent_decode_str;
use url::Url;

use crate::error::ImageError;
use crate::reference::shown;

/// The hub unless `HF_ENDPOINT` names another one.
const ENDPOINT: &str = "https://huggingface.co";

/// The revision that is read where a URL names none.
const REVISION: &str = "main";

/// Where the hub is, and who asks.
#[derive(Clone, PartialEq, Eq)]
pub struct Hub {
    endpoint: String,
    token: Option<String>,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

impl Hub {
    /// The hub at `endpoint`, which is sent `token` if there is one.
    pub fn new(endpoint: &str, token: Option<&str>) -> Hub {
        Hub {
            endpoint: endpoint.to_owned(),
            token: token.map(str::to_owned),
        }
    }

    /// What `HF_ENDPOINT` and `HF_TOKEN` say; an empty variable counts as none.
    pub fn from_env() -> Hub {
        let variable = |name| std::env::var(name).ok();
        let given = |name| variable(name).map(|text| text.trim().to_owned());
        let given = |name| given(name).filter(|text| !text.is_empty());
        Hub {
            endpoint: given("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.to_owned()),
            token: given("HF_TOKEN"),
        }
    }

    /// The token, which is for the hub's own server and for nobody that it redirects to.
    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// The folder below which all of the hub's addresses are.
    pub(crate) fn root(&self) -> Result<Url, ImageError> {
        let bad = || ImageError::BadReference {
            reference: shown(&self.endpoint),
            reason: "HF_ENDPOINT must be an http:// or https:// address".to_owned(),
        };
        let mut url = Url::parse(&self.endpoint).map_err(|_| bad())?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(bad());
        }
        url.set_query(None);
        url.set_fragment(None);
        url.path_segments_mut()
            .map_err(|()| bad())?
            .pop_if_empty()
            .push("");
        Ok(url)
    }

    /// The address of the file that `url`, of the scheme `hf`, names.
    pub(crate) fn file(&self, url: &Url) -> Result<Url, ImageError> {
        let decoded = |part: &str| percent_decode_str(part).decode_utf8_lossy().into_owned();
        let parts = url.path_segments().into_iter().flatten().map(decoded);
        let form = "a file of the hub is written hf://datasets/owner/name/path or hf://datasets/owner/name@revision/path";
        let bad = || ImageError::BadReference {
            reference: shown(url.as_str()),
            reason: form.to_owned(),
        };
        let place = (url.host_str() == Some("datasets"))
            .then(|| Place::read(parts))
            .flatten()
            .ok_or_else(bad)?;
        if place.path.iter().all(String::is_empty) {
            return Err(bad());
        }
        self.address("", &place, "resolve")
    }

    /// The address at which the hub does `what` with a place; `below` the folder of its interface, if any.
    pub(crate) fn address(
        &self,
        below: &str,
        place: &Place,
        what: &str,
    ) -> Result<Url, ImageError> {
        let mut address = self.root()?;
        if let Ok(mut segments) = address.path_segments_mut() {
            segments
                .pop_if_empty()
                .extend((!below.is_empty()).then_some(below))
                .extend(["datasets", &place.owner, &place.name, what, &place.revision])
                .extend(&place.path);
        }
        Ok(address)
    }
}

/// A file or folder of a data set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) owner: String,
    pub(crate) name: String,
    pub(crate) revision: String,
    /// Its names from the root of the data set on.
    pub(crate) path: Vec<String>,
}

impl Place {
    /// Reads `owner`, `name` or `name@revision`, and a path.
    pub(crate) fn read(parts: impl IntoIterator<Item = String>) -> Option<Place> {
        let parts: Vec<String> = parts.into_iter().collect();
        let [owner, named, path @ ..] = parts.as_slice() else {
            return None;
        };
        let (name, revision) = match named.split_once('@') {
            Some((name, revision)) => (name, Some(revision)),
            None => (named.as_str(), None),
        };
        // Branches of the hub's own have slashes, written as they are or as %2F.
        let (revision, path) = match (revision, path) {
            (None, path) => (REVISION.to_owned(), path),
            (Some("refs"), [kind, which, path @ ..])
                if matches!(kind.as_str(), "convert" | "pr") =>
            {
                (format!("refs/{kind}/{which}"), path)
            }
            (Some(revision), path) => {
                let revision = percent_decode_str(revision).decode_utf8_lossy();
                (revision.into_owned(), path)
            }
        };
        let place = Place {
            owner: owner.clone(),
            name: name.to_owned(),
            revision,
            path: path.to_vec(),
        };
        let named = [&place.owner, &place.name, &place.revision];
        named.iter().all(|part| !part.is_empty()).then_some(place)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::resolve;

    fn address(hub: &Hub, reference: &str) -> Result<String, String> {
        let url = resolve(reference, None).map_err(|error| error.to_string())?;
        let file = hub.file(&url).map_err(|error| error.to_string())?;
        Ok(file.into())
    }

    #[test]
    fn a_file_of_the_hub_has_an_address() {
        let hub = Hub::new("https://hub.example/mirror", None);
        for (reference, expected) in [
            ("hf://datasets/o/n/a.jpg", "datasets/o/n/resolve/main/a.jpg"),
            (
                "hf://datasets/o/n@v1/b/a.jpg",
                "datasets/o/n/resolve/v1/b/a.jpg",
            ),
            (
                "hf://datasets/o/n/50% of#1?.jpg",
                "datasets/o/n/resolve/main/50%25%20of%231%3F.jpg",
            ),
            (
                "hf://datasets/o/n/a%20b@2.jpg",
                "datasets/o/n/resolve/main/a%2520b@2.jpg",
            ),
            (
                "hf://datasets/o/n@refs%2Fpr%2F7/a.jpg",
                "datasets/o/n/resolve/refs%2Fpr%2F7/a.jpg",
            ),
            (
                "hf://datasets/o/n@refs/convert/parquet/a.jpg",
                "datasets/o/n/resolve/refs%2Fconvert%2Fparquet/a.jpg",
            ),
        ] {
            let expected = format!("https://hub.example/mirror/{expected}");
            assert_eq!(address(&hub, reference), Ok(expected), "{reference}");
        }
        for wrong in [
            "hf://owner/model/a.jpg",
            "hf://datasets/o",
            "hf://datasets/o/n",
            "hf://datasets/o/n/",
            "hf://datasets/o/n@/a.jpg",
            "hf://datasets/o/@main/a.jpg",
        ] {
            let said = address(&hub, wrong).unwrap_err();
            assert!(
                said.contains("hf://datasets/o") || said.contains("hf://owner"),
                "{said}"
            );
        }
    }

    #[test]
    fn a_key_has_no_step_up() {
        let hub = Hub::new("https://hub.example/mirror/", None);
        let said = address(&hub, "hf://datasets/o/n/../../x").unwrap_err();
        assert!(said.contains("'..'"), "{said}");
    }

    #[test]
    fn the_endpoint_is_an_address_and_the_token_no_secret_of_messages() {
        let hub = Hub::new("file:///tmp", Some("hf_secret"));
        let said = address(&hub, "hf://datasets/o/n/a.jpg").unwrap_err();
        assert!(said.contains("HF_ENDPOINT"), "{said}");
        assert!(!format!("{hub:?}").contains("secret"));
    }
}
