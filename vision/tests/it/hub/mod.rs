//! Models from a hub: a server of its routes, its faults, and the cache that is shared with other programs.

mod cached;
mod faults;
mod fetched;
mod loaded;
pub(crate) mod server;

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use picsift_vision::registry::fetch;
use picsift_vision::{FetchProgress, HubSettings, ModelFiles, SourceError};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use server::{Hub, Request, Served};

/// The commit that the tests ask for, and another.
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const OTHER: &str = "89abcdef0123456789abcdef0123456789abcdef";

/// Bytes of the weights: several reads of a socket.
const WEIGHTS: usize = 300_000;

/// Content without a pattern that a mistake could repeat.
fn content(seed: u32, bytes: usize) -> Vec<u8> {
    let mut state = seed;
    (0..bytes)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The files of a model: weights that the hub keeps by their hash, and two small ones in git.
fn model(repo: &str, commit: &str, seed: u32) -> Vec<Served> {
    let content = [
        content(seed, 500),
        content(seed + 1, WEIGHTS),
        content(seed + 2, 3000),
    ];
    served(repo, commit, content)
}

/// A model's files with this configuration, these weights and this tokenizer.
fn served(repo: &str, commit: &str, content: [Vec<u8>; 3]) -> Vec<Served> {
    ["config.json", "model.safetensors", "tokenizer.json"]
        .into_iter()
        .zip(content)
        .map(|(name, content)| {
            let mut etag = sha256(&content);
            if name != "model.safetensors" {
                etag.truncate(40);
            }
            Served {
                repo: repo.to_owned(),
                commit: commit.to_owned(),
                name,
                content,
                etag,
            }
        })
        .collect()
}

/// A hub with one model, and an empty cache.
struct Scene {
    hub: Hub,
    files: Vec<Served>,
    home: TempDir,
    settings: HubSettings,
}

impl Scene {
    fn new() -> Self {
        Self::with(model("owner/name", COMMIT, 1))
    }

    fn with(files: Vec<Served>) -> Self {
        let hub = Hub::start(files.clone());
        let home = tempfile::tempdir().unwrap();
        let mut settings = HubSettings::new(&hub.endpoint(), &home.path().join("hub")).unwrap();
        settings.patience = Duration::from_secs(10);
        Self {
            hub,
            files,
            home,
            settings,
        }
    }

    fn fetch(&self) -> Result<ModelFiles, SourceError> {
        self.fetch_as(&format!("owner/name@{COMMIT}"))
    }

    fn fetch_as(&self, model: &str) -> Result<ModelFiles, SourceError> {
        fetch(model, &self.settings, &())
    }

    /// The error of a fetch, as one sentence.
    fn refused(&self) -> String {
        let error = self.fetch().unwrap_err().to_string();
        assert_eq!(error.lines().count(), 1, "{error}");
        error
    }

    /// Asserts that the model is here as the hub has it.
    fn assert_whole(&self, found: &ModelFiles) {
        for (path, served) in [&found.config, &found.weights, &found.tokenizer]
            .into_iter()
            .zip(&self.files)
        {
            assert!(path.starts_with(&self.settings.cache));
            assert!(
                std::fs::read(path).unwrap() == served.content,
                "{} differs",
                served.name
            );
        }
    }

    /// A path below the repository's folder of the cache.
    fn cached(&self, path: &str) -> PathBuf {
        self.settings.cache.join("models--owner--name").join(path)
    }

    fn weights_blob(&self) -> PathBuf {
        self.cached("blobs").join(&self.files[1].etag)
    }

    fn starts(requests: &[Request]) -> Vec<usize> {
        Hub::starts(requests, "/cdn/")
    }
}

/// What was told, as text.
#[derive(Debug, Default)]
struct Told(Mutex<Vec<String>>);

impl Told {
    fn push(&self, text: String) {
        self.0.lock().unwrap().push(text);
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}

impl FetchProgress for Told {
    fn started(&self, file: &str, total: u64, already: u64) {
        self.push(format!("{file} {already}/{total}"));
    }

    fn advanced(&self, bytes: u64) {
        let mut told = self.0.lock().unwrap();
        let last = told.last_mut().unwrap();
        let (rest, sum) = last.rsplit_once(" +").unwrap_or((last, "0"));
        *last = format!("{rest} +{}", sum.parse::<u64>().unwrap() + bytes);
    }

    fn finished(&self) {
        self.push("finished".to_owned());
    }

    fn retrying(&self, error: &SourceError, _: Duration) {
        self.push(format!("again: {error}"));
    }
}
