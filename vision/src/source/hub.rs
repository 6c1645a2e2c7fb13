//! Fetching what the cache lacks from the hub.
//!
//! No server is asked for what is here, a broken download goes on where it broke, what may pass is tried again, and a file comes to its
//! place only when its length and hash are those that the registry or the hub declares. The folders, locks and names are those of
//! `hf-hub` and Python's `huggingface_hub`, which may work on them at the same time.

use std::cell::Cell;
use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use hf_hub::api::sync::ApiError;

use super::cache::{self, Cached, RepoCache, hash_of_etag, is_commit, look_up};
use super::client::{Client, ClientError, Metadata};
use super::error::SourceError;
use super::local::MOST_TEXT;
use super::remote::{HubRef, RemoteFile};
use super::settings::HubSettings;
use super::transfer::{self, Doing, Failure};
use super::{FetchProgress, ModelFiles, PlanningFiles, WEIGHTS, verify};

/// Attempts in a row that bring nothing before it is given up.
const ATTEMPTS: u32 = 4;

/// The wait after the first failure; it doubles with each further one.
const BACK_OFF: Duration = Duration::from_millis(500);

/// How often, and how long apart, another process's lock is tried.
const LOCK: (u32, Duration) = (5, Duration::from_secs(1));

/// Bytes that are read at once.
const CHUNK: usize = 64 << 10;

/// Most bytes of weights, a hundred times those of the largest model.
const MOST_WEIGHTS: u64 = 1 << 40;

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
    let (files, preprocessor) = fetcher.pinned(model)?;
    let [config, weights, tokenizer] = &files;
    Ok(ModelFiles {
        name: model.name.clone(),
        revision: revision(settings, weights),
        licence: model.licence,
        config: fetcher.file(config)?,
        weights: fetcher.file(weights)?,
        tokenizer: fetcher.file(tokenizer)?,
        preprocessor: preprocessor.map(|file| fetcher.file(&file)).transpose()?,
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
    let (files, preprocessor) = fetcher.pinned(model)?;
    let [config, weights, tokenizer] = &files;
    Ok(PlanningFiles {
        name: model.name.clone(),
        revision: revision(settings, weights),
        licence: model.licence,
        config: fetcher.file(config)?,
        tokenizer: fetcher.file(tokenizer)?,
        preprocessor: preprocessor.map(|file| fetcher.file(&file)).transpose()?,
    })
}

/// The commit of the weights.
fn revision(settings: &HubSettings, weights: &RemoteFile) -> String {
    let commit = RepoCache::new(&settings.cache, &weights.repo).commit(&weights.revision);
    commit.unwrap_or_else(|| weights.revision.clone())
}

/// The error of a model that is not whole in the cache.
fn complete<'a>(
    model: &str,
    files: impl Iterator<Item = &'a RemoteFile>,
    cache: &Path,
) -> Result<(), SourceError> {
    let missing: Vec<_> = files
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
    fn pinned(&self, model: &HubRef) -> Result<([RemoteFile; 3], Option<RemoteFile>), SourceError> {
        let (mut files, mut preprocessor) = (model.files.clone(), model.preprocessor.clone());
        if self.settings.offline {
            complete(&model.name, model.all(), &self.settings.cache)?;
        } else {
            self.pin(&mut files)?;
            self.pin(preprocessor.as_mut_slice())?;
        }
        Ok((files, preprocessor))
    }

    /// Replaces a tag or branch by the commit that it means now: the files of one model come from one commit.
    fn pin(&self, files: &mut [RemoteFile]) -> Result<(), SourceError> {
        let Some(moving) = files.iter().find(|file| !is_commit(&file.revision)) else {
            return Ok(());
        };
        let (repo, revision) = (moving.repo.clone(), moving.revision.clone());
        let commit = self.persist(|| self.metadata(moving))?.commit;
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
        if let Cached::Whole(path) = look_up(&self.settings.cache, file) {
            return Ok(path);
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
        let (client, asked) = (self.client(file)?, file.clone());
        let outcome = transfer::run(
            self.settings.patience,
            |_| {},
            move |relay| {
                let outcome = client.metadata(&asked);
                drop(relay);
                outcome
            },
        );
        let metadata = outcome
            .map_err(|ended| self.doing(file, 0, 0).ended(ended))?
            .map_err(|error| self.failed(file, 0, 0, error))?;
        self.reached.set(true);
        let odd = |reason| Err(self.doing(file, 0, 0).not_a_hub(reason).into());
        if is_commit(&file.revision) && metadata.commit != file.revision {
            return odd(format!("it offers commit {}", metadata.commit));
        }
        // Both become names of files.
        if !is_commit(&metadata.commit) {
            return odd(format!("'{}' is no commit", metadata.commit));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if metadata.etag.is_empty() || !metadata.etag.chars().all(plain) {
            return odd(format!("'{}' is no etag of a hub", metadata.etag));
        }
        Ok(metadata)
    }

    /// Fetches a file, or the rest of it, and checks it.
    fn attempt(&self, file: &RemoteFile) -> Result<PathBuf, Failure> {
        let Metadata { etag, bytes, .. } = self.metadata(file)?;
        if let Some(expected) = file.bytes
            && expected != bytes
        {
            return Err(SourceError::OtherSize {
                file: file.to_string(),
                expected,
                found: bytes,
            }
            .into());
        }
        let most = if file.name == WEIGHTS {
            MOST_WEIGHTS
        } else {
            MOST_TEXT
        };
        if bytes > most {
            let reason = format!("it offers {bytes} bytes, more than any model has");
            return Err(self.doing(file, 0, 0).not_a_hub(reason).into());
        }
        let repo = RepoCache::new(&self.settings.cache, &file.repo);
        let (pointer, blob) = (repo.pointer(&file.revision, file.name), repo.blob(&etag));
        let hash = file.sha256.or_else(|| hash_of_etag(&etag));
        let writing = || SourceError::file("write below", &self.settings.cache);
        // Another commit may have the same content.
        if verify::check(&blob, Some(bytes), hash, REMOVED).is_err() {
            let part = cache::part(&blob);
            repo.check_plain(&blob).map_err(writing())?;
            repo.check_plain(&part).map_err(writing())?;
            let _lock = self.lock(file, &repo, &blob.with_extension("lock"))?;
            let resumed = self.download(file, &part, bytes)?;
            if let Err(error) = verify::check(&part, Some(bytes), hash, REMOVED) {
                cache::gone(std::fs::remove_file(&part))
                    .map_err(SourceError::file("remove", &part))?;
                return Err(Failure {
                    error: error.about(&pointer),
                    // What was here before may have been the damaged part.
                    may_pass: resumed,
                    brought: false,
                });
            }
            std::fs::rename(&part, &blob).map_err(SourceError::file("write", &blob))?;
            self.progress.finished();
        }
        repo.link(&blob, &pointer).map_err(writing())?;
        Ok(pointer)
    }

    /// Holds off other processes that fetch the same content, until it is dropped.
    fn lock(&self, file: &RemoteFile, repo: &RepoCache, path: &Path) -> Result<File, Failure> {
        let failed = || SourceError::file("lock", path);
        repo.check_plain(path).map_err(failed())?;
        let mut options = File::options();
        options.write(true).create(true).truncate(false);
        let lock = options.open(path).map_err(failed())?;
        for _ in 0..LOCK.0 {
            match lock.try_lock() {
                Ok(()) => return Ok(lock),
                Err(TryLockError::WouldBlock) => std::thread::sleep(LOCK.1),
                Err(TryLockError::Error(error)) => return Err(failed()(error).into()),
            }
        }
        let taken = ApiError::LockAcquisition(path.to_owned());
        Err(self.doing(file, 0, 0).failed(taken))
    }

    /// Fetches what is missing of a part; gives whether it went on from one that was there.
    fn download(&self, file: &RemoteFile, part: &Path, total: u64) -> Result<bool, Failure> {
        let mut already = length(part);
        if already >= total {
            // No rest can be asked for.
            cache::gone(std::fs::remove_file(part)).map_err(SourceError::file("remove", part))?;
            already = 0;
        }
        self.progress.started(file.name, total, already);
        let (client, asked, path) = (self.client(file)?, file.clone(), part.to_owned());
        let outcome = transfer::run(
            self.settings.patience,
            |bytes| self.progress.advanced(bytes),
            move |relay| append(&client, &asked, &path, already, total, relay),
        );
        let received = length(part);
        let mut failure = match outcome {
            Ok(Ok(())) => return Ok(already > 0),
            Ok(Err(error)) => self.failed(file, total, received, error),
            Err(ended) => self.doing(file, total, received).ended(ended),
        };
        failure.brought = received > already;
        Err(failure)
    }

    fn client(&self, file: &RemoteFile) -> Result<Client, Failure> {
        Client::new(self.settings).map_err(|error| self.failed(file, 0, 0, error))
    }

    fn failed(&self, file: &RemoteFile, total: u64, received: u64, error: ClientError) -> Failure {
        let doing = self.doing(file, total, received);
        match error {
            ClientError::Failed(error) => doing.failed(error),
            ClientError::Odd(reason) => doing.not_a_hub(reason).into(),
        }
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

/// Adds the rest of a file's content to a part that has `already` of its `total` bytes.
fn append(
    client: &Client,
    file: &RemoteFile,
    part: &Path,
    already: u64,
    total: u64,
    relay: transfer::Relay,
) -> Result<(), ClientError> {
    let mut options = File::options();
    options.append(true).create(true);
    let mut written = options.open(part)?;
    let Some(content) = client.content(file, already)? else {
        // The server begins at another byte than it was asked for; from the first it cannot.
        written.set_len(0)?;
        let reason = "the server does not go on where it is asked to";
        return Err(std::io::Error::new(std::io::ErrorKind::ConnectionAborted, reason).into());
    };
    // One byte more shows that there is too much.
    let mut content = content.take(total - already + 1);
    let mut buffer = vec![0; CHUNK];
    loop {
        let read = content.read(&mut buffer)?;
        if read == 0 {
            return Ok(());
        }
        written.write_all(&buffer[..read])?;
        relay.advanced(read);
    }
}

/// The length of a file, 0 if there is none.
fn length(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}
