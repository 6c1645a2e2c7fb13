//! The folders of the hub's cache, as Python's `huggingface_hub` and `hf-hub` both lay them out.
//!
//! `models--owner--name/` has `blobs/ETAG` with the contents, `snapshots/COMMIT/FILE` that point to them (or are plain
//! files, where links are not to be had), and `refs/BRANCH` with a commit. Python writes no `refs` for a commit that was
//! asked for by its hash, so a commit's snapshot is looked for directly.
//!
//! Other programs' links are read through and never written through: a folder or file of a repository that is a link, but for those of
//! this layout, leads to somebody else's files. Content is only ever replaced, by content that was verified; nothing but an unfinished
//! download of this program is removed.

use std::io;
use std::path::{Path, PathBuf};

use hf_hub::{Cache, CacheRepo, Repo, RepoType};

use super::remote::RemoteFile;

/// Whether this is a commit's hash, which never comes to mean something else.
pub(crate) fn is_commit(revision: &str) -> bool {
    revision.len() == 40 && is_hex(revision)
}

fn is_hex(text: &str) -> bool {
    text.bytes()
        .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The SHA-256 that the hub names a file's content by: it does so for every file that is not kept in git itself.
pub(super) fn hash_of_etag(etag: &str) -> Option<&str> {
    (etag.len() == 64 && is_hex(etag)).then_some(etag)
}

/// The part of the cache that is one repository's.
#[derive(Debug)]
pub(super) struct RepoCache {
    inner: CacheRepo,
    folder: PathBuf,
}

impl RepoCache {
    /// The repository `owner/name` in this cache.
    pub(super) fn new(cache: &Path, repo: &str) -> Self {
        let repo = Repo::new(repo.to_owned(), RepoType::Model);
        Self {
            folder: cache.join(repo.folder_name()),
            inner: Cache::new(cache.to_owned()).repo(repo),
        }
    }

    /// The commit that a revision meant when the hub was last asked, if it was.
    pub(super) fn commit(&self, revision: &str) -> Option<String> {
        if is_commit(revision) {
            return Some(revision.to_owned());
        }
        let commit = std::fs::read_to_string(self.reference(revision)).ok()?;
        let commit = commit.trim();
        is_commit(commit).then(|| commit.to_owned())
    }

    /// Notes which commit a revision means.
    pub(super) fn remember(&self, revision: &str, commit: &str) -> io::Result<()> {
        let path = self.reference(revision);
        self.make_folder(&path)?;
        let part = beside(&path);
        std::fs::write(&part, commit)?;
        std::fs::rename(&part, path)
    }

    /// Makes the folder of a file of this repository. None on the way may be a link.
    pub(super) fn make_folder(&self, path: &Path) -> io::Result<()> {
        let Some(Ok(below)) = path
            .parent()
            .map(|folder| folder.strip_prefix(&self.folder))
        else {
            return Err(leads_elsewhere(path));
        };
        let mut folder = self.folder.clone();
        if let Some(cache) = folder.parent() {
            std::fs::create_dir_all(cache)?;
        }
        for part in std::iter::once(None).chain(below.components().map(Some)) {
            if let Some(part) = part {
                folder.push(part);
            }
            match std::fs::create_dir(&folder) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                    if !std::fs::symlink_metadata(&folder)?.is_dir() {
                        return Err(leads_elsewhere(&folder));
                    }
                }
                made => made?,
            }
        }
        Ok(())
    }

    /// Whether there is a plain file or nothing at this place of the repository, which nothing leads away from.
    pub(super) fn check_plain(&self, path: &Path) -> io::Result<()> {
        self.make_folder(path)?;
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.is_file() => Ok(()),
            Ok(_) => Err(leads_elsewhere(path)),
            Err(error) => gone(Err(error)),
        }
    }

    fn reference(&self, revision: &str) -> PathBuf {
        self.folder.join("refs").join(revision)
    }

    /// Where a file of a commit is, if it is there.
    pub(super) fn pointer(&self, commit: &str, file: &str) -> PathBuf {
        self.inner.pointer_path(commit).join(file)
    }

    /// Where content with this etag is, if it is there.
    pub(super) fn blob(&self, etag: &str) -> PathBuf {
        self.inner.blob_path(etag)
    }
}

/// Where content is put until all of it has come; `hf-hub`'s choice.
pub(super) fn part(blob: &Path) -> PathBuf {
    blob.with_extension("part")
}

/// How a file stands in the cache.
#[derive(Debug)]
pub(super) enum Cached {
    /// It is there, with the length that is known, if one is.
    Whole(PathBuf),
    /// It is there with another length.
    Wrong {
        /// Where.
        path: PathBuf,
        /// Bytes that it must have.
        expected: u64,
        /// Bytes that it has.
        found: u64,
    },
    /// It is not there.
    Missing,
}

/// How this file stands in the cache, judged by its length: hashing gigabytes is for [`super::verify`].
pub(super) fn look_up(cache: &Path, file: &RemoteFile) -> Cached {
    let repo = RepoCache::new(cache, &file.repo);
    let Some(commit) = repo.commit(&file.revision) else {
        return Cached::Missing;
    };
    let path = repo.pointer(&commit, file.name);
    match (std::fs::metadata(&path), file.bytes) {
        (Ok(found), _) if !found.is_file() => Cached::Missing,
        (Ok(found), Some(expected)) if found.len() != expected => Cached::Wrong {
            path,
            expected,
            found: found.len(),
        },
        (Ok(_), _) => Cached::Whole(path),
        (Err(_), _) => Cached::Missing,
    }
}

/// The content that a file of a snapshot points to, when it is in the `blobs` of its repository.
pub(super) fn content(pointer: &Path) -> Option<PathBuf> {
    let path = pointer.canonicalize().ok()?;
    let folder = path.parent()?.file_name()?;
    (folder == "blobs").then_some(path)
}

/// The error of what is no plain file or folder of the cache.
fn leads_elsewhere(path: &Path) -> io::Error {
    let reason = format!(
        "{} is a link, or no file of a cache: take it away, or set HF_HOME to a folder of its own",
        path.display()
    );
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}

/// A name beside this one that no other process uses.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".picsift-{}", std::process::id()));
    PathBuf::from(name)
}

pub(super) fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

impl RepoCache {
    /// Makes `snapshots/COMMIT/FILE` point to content that is here, in the place of what stood there: a link of this layout, or a plain
    /// file with other content.
    pub(super) fn link(&self, blob: &Path, pointer: &Path) -> io::Result<()> {
        self.make_folder(pointer)?;
        match std::fs::symlink_metadata(pointer) {
            Ok(found) if found.is_file() => {}
            Ok(_) if is_own_link(pointer) => {}
            Ok(_) => return Err(leads_elsewhere(pointer)),
            Err(error) => gone(Err(error))?,
        }
        let new = beside(pointer);
        gone(std::fs::remove_file(&new))?;
        #[cfg(unix)]
        if let Some(name) = blob.file_name() {
            std::os::unix::fs::symlink(Path::new("../../blobs").join(name), &new)?;
            return std::fs::rename(new, pointer);
        }
        std::fs::hard_link(blob, &new)?;
        std::fs::rename(new, pointer)
    }
}

/// Whether this is a link to the blobs of its own repository, as the layout has it.
fn is_own_link(pointer: &Path) -> bool {
    let target = std::fs::read_link(pointer).ok();
    let name = target
        .as_deref()
        .and_then(|target| target.strip_prefix("../../blobs").ok());
    name.is_some_and(|name| name.components().count() == 1 && name.file_name().is_some())
}
