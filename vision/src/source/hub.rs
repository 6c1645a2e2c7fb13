//! Fetching what the cache lacks from the hub.
//!
//! The download itself, with its cache folders, locks and resumption, is `hf-hub`'s. This adds what it leaves to its
//! callers: no server is asked for what is here, what may pass is tried again, and a file counts only when its length and
//! hash are those that the caller or the hub declares.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::api::sync::{Api, ApiBuilder, Metadata};
use hf_hub::{Cache, Repo, RepoType};

use super::cache::{self, Cached, RepoCache, hash_of_etag, is_commit, look_up};
use super::error::SourceError;
use super::remote::{HubRef, RemoteFile};
use super::settings::HubSettings;
use super::transfer::{self, Doing, Failure};
use super::{FetchProgress, ModelFiles, PlanningFiles, verify};

/// Attempts in a row that bring nothing before it is given up.
const ATTEMPTS: u32 = 4;

/// The wait after the first failure; it doubles with each further one.
const BACK_OFF: Duration = Duration::from_millis(500);

/// What is said of a fetched file that is not what it should be.
const REMOVED: &str = "it was removed: run it again to fetch it anew";

/// The files of a model of the hub, fetched where they are not in the cache.
///
/// # Errors
/// [`SourceError`].
pub(crate) fn fetch(
    model: &HubRef,
    settings: &HubSettings,
    progress: &dyn FetchProgress,
) -> Result<ModelFiles, SourceError> {
    let fetcher = Fetcher::new(settings, progress);
    let files = fetcher.pinned(model)?;
    let [config, weights, tokenizer] = &files;
    Ok(ModelFiles {
        name: model.name.clone(),
        revision: revision(settings, weights),
        licence: model.licence,
        config: fetcher.file(config)?,
        weights: fetcher.file(weights)?,
        tokenizer: fetcher.file(tokenizer)?,
    })
}

/// Those of the files that planning needs. Where no server may be asked, the weights must be in the cache too: they could not be
/// fetched later either.
///
/// # Errors
/// As [`fetch`].
pub(crate) fn fetch_for_planning(
    model: &HubRef,
    settings: &HubSettings,
    progress: &dyn FetchProgress,
) -> Result<PlanningFiles, SourceError> {
    let fetcher = Fetcher::new(settings, progress);
    let files = fetcher.pinned(model)?;
    let [config, weights, tokenizer] = &files;
    Ok(PlanningFiles {
        name: model.name.clone(),
        revision: revision(settings, weights),
        licence: model.licence,
        config: fetcher.file(config)?,
        tokenizer: fetcher.file(tokenizer)?,
    })
}

/// The commit of the weights.
fn revision(settings: &HubSettings, weights: &RemoteFile) -> String {
    let commit = RepoCache::new(&settings.cache, &weights.repo).commit(&weights.revision);
    commit.unwrap_or_else(|| weights.revision.clone())
}

/// The error of a model that is not whole in the cache.
fn complete(model: &str, files: &[RemoteFile], cache: &Path) -> Result<(), SourceError> {
    let missing: Vec<_> = files
        .iter()
        .filter_map(|file| match look_up(cache, file) {
            Cached::Whole(_) => None,
            Cached::Wrong {
                expected, found, ..
            } => Some(format!("{file} has {found} of {expected} bytes")),
            Cached::Missing => Some(format!("{file} is missing")),
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(SourceError::Offline {
        model: model.to_owned(),
        missing: missing.join(", "),
        cache: cache.to_owned(),
    })
}

/// One model's fetching.
struct Fetcher<'a> {
    settings: &'a HubSettings,
    progress: &'a dyn FetchProgress,
    /// Whether the hub has answered.
    reached: Cell<bool>,
}

impl<'a> Fetcher<'a> {
    fn new(settings: &'a HubSettings, progress: &'a dyn FetchProgress) -> Self {
        Self {
            settings,
            progress,
            reached: Cell::new(false),
        }
    }

    /// The model's files, each at one commit where a server may be asked for it, else all of them in the cache.
    fn pinned(&self, model: &HubRef) -> Result<[RemoteFile; 3], SourceError> {
        let mut files = model.files.clone();
        if self.settings.offline {
            complete(&model.name, &files, &self.settings.cache)?;
        } else {
            self.pin(&mut files)?;
        }
        Ok(files)
    }

    /// Replaces a tag or branch by the commit that it means now: the files of one model come from one commit.
    fn pin(&self, files: &mut [RemoteFile]) -> Result<(), SourceError> {
        let Some(moving) = files.iter().find(|file| !is_commit(&file.revision)) else {
            return Ok(());
        };
        let (repo, revision) = (moving.repo.clone(), moving.revision.clone());
        let commit = self
            .persist(|| self.metadata(moving))?
            .commit_hash()
            .to_owned();
        let cache = RepoCache::new(&self.settings.cache, &repo);
        // So that the revision is known offline too.
        cache
            .remember(&revision, &commit)
            .map_err(SourceError::file("write below", &self.settings.cache))?;
        for file in files {
            if (&file.repo, &file.revision) == (&repo, &revision) {
                file.revision.clone_from(&commit);
            }
        }
        Ok(())
    }

    /// Where the file is, after fetching it if need be.
    fn file(&self, file: &RemoteFile) -> Result<PathBuf, SourceError> {
        match look_up(&self.settings.cache, file) {
            Cached::Whole(path) => return Ok(path),
            Cached::Wrong { path, .. } => {
                cache::remove(&path).map_err(SourceError::file("remove", &path))?;
            }
            Cached::Missing => {}
        }
        self.persist(|| self.attempt(file))
    }

    /// Tries until it goes well, fails for good, or fails too often without getting further.
    fn persist<T>(&self, attempt: impl Fn() -> Result<T, Failure>) -> Result<T, SourceError> {
        let mut barren = 0;
        loop {
            let failure = match attempt() {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            barren = if failure.brought { 0 } else { barren + 1 };
            if !failure.may_pass || barren == ATTEMPTS {
                return Err(failure.error);
            }
            let wait = BACK_OFF * 2_u32.pow(barren.saturating_sub(1));
            self.progress.retrying(&failure.error, wait);
            std::thread::sleep(wait);
        }
    }

    /// Asks the hub for a file's commit, etag and length.
    fn metadata(&self, file: &RemoteFile) -> Result<Metadata, Failure> {
        let (api, repo) = (self.api(file)?, repo(file));
        let name = file.name;
        let outcome = transfer::run(
            self.settings.patience,
            |_| {},
            move |relay| {
                let outcome = api.metadata(&api.repo(repo).url(name));
                drop(relay);
                outcome
            },
        );
        let metadata = outcome
            .map_err(|ended| self.doing(file, 0, 0).ended(ended))?
            .map_err(|error| self.doing(file, 0, 0).failed(error))?;
        self.reached.set(true);
        let odd = |reason| Err(self.doing(file, 0, 0).not_a_hub(reason).into());
        if is_commit(&file.revision) && metadata.commit_hash() != file.revision {
            return odd(format!("it offers commit {}", metadata.commit_hash()));
        }
        // Both become names of files.
        if !is_commit(metadata.commit_hash()) {
            return odd(format!("'{}' is no commit", metadata.commit_hash()));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if metadata.etag().is_empty() || !metadata.etag().chars().all(plain) {
            return odd(format!("'{}' is no etag of a hub", metadata.etag()));
        }
        Ok(metadata)
    }

    /// Fetches a file, or the rest of it, and checks it.
    fn attempt(&self, file: &RemoteFile) -> Result<PathBuf, Failure> {
        let metadata = self.metadata(file)?;
        let total = metadata.size() as u64;
        if let Some(expected) = file.bytes
            && expected != total
        {
            return Err(SourceError::OtherSize {
                file: file.to_string(),
                expected,
                found: total,
            }
            .into());
        }
        let cache = RepoCache::new(&self.settings.cache, &file.repo);
        let pointer = cache.pointer(&file.revision, file.name);
        let blob = cache.blob(metadata.etag());
        cache::remove_dangling(&pointer).map_err(SourceError::file("remove", &pointer))?;
        let resumed = if length(&blob) == total && blob.exists() {
            // Another commit has the same content.
            cache::link(&blob, &pointer).map_err(SourceError::file("write", &pointer))?;
            None
        } else {
            Some(self.download(file, &cache::part(&blob), total)?)
        };
        let hash = file.sha256.or_else(|| hash_of_etag(metadata.etag()));
        if let Err(error) = verify::check(&pointer, Some(total), hash, REMOVED) {
            cache::remove(&pointer).map_err(SourceError::file("remove", &pointer))?;
            return Err(Failure {
                error,
                // What was here before may have been the damaged part.
                may_pass: resumed != Some(false),
                brought: false,
            });
        }
        if resumed.is_some() {
            self.progress.finished();
        }
        Ok(pointer)
    }

    /// Has `hf-hub` fetch a file; gives whether it went on from a part that was there.
    fn download(&self, file: &RemoteFile, part: &Path, total: u64) -> Result<bool, Failure> {
        let mut already = length(part);
        if already >= total {
            // No rest can be asked for.
            cache::gone(std::fs::remove_file(part)).map_err(SourceError::file("remove", part))?;
            already = 0;
        }
        self.progress.started(file.name, total, already);
        let (api, repo) = (self.api(file)?, repo(file));
        let name = file.name;
        let outcome = transfer::run(
            self.settings.patience,
            |bytes| self.progress.advanced(bytes),
            move |relay| api.repo(repo).download_with_progress(name, relay),
        );
        let received = length(part);
        let mut failure = match outcome {
            Ok(Ok(_)) => return Ok(already > 0),
            Ok(Err(error)) => self.doing(file, total, received).failed(error),
            Err(ended) => self.doing(file, total, received).ended(ended),
        };
        failure.brought = received > already;
        Err(failure)
    }

    fn api(&self, file: &RemoteFile) -> Result<Api, Failure> {
        ApiBuilder::from_cache(Cache::new(self.settings.cache.clone()))
            .with_endpoint(self.settings.endpoint.clone())
            .with_token(self.settings.token.clone())
            // The client's own attempts resume at the wrong place; `persist` makes them anew.
            .with_retries(0)
            .with_progress(false)
            .build()
            .map_err(|error| self.doing(file, 0, 0).failed(error))
    }

    fn doing(&self, file: &RemoteFile, total: u64, received: u64) -> Doing<'_> {
        Doing {
            settings: self.settings,
            file: file.to_string(),
            reached: self.reached.get(),
            total,
            received,
        }
    }
}

fn repo(file: &RemoteFile) -> Repo {
    Repo::with_revision(file.repo.clone(), RepoType::Model, file.revision.clone())
}

/// The length of a file, 0 if there is none.
fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}
