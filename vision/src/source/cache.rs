//! The folders of the hub's cache, as Python's `huggingface_hub` and `hf-hub` both lay them out.
//!
//! `models--owner--name/` has `blobs/ETAG` with the contents, `snapshots/COMMIT/FILE` that point to them (or are plain
//! files, where links are not to be had), and `refs/BRANCH` with a commit. Python writes no `refs` for a commit that was
//! asked for by its hash, so a commit's snapshot is looked for directly.

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
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(path, commit)
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

/// Removes a file of a snapshot and the content that it points to; what is not there needs no removing.
pub(super) fn remove(pointer: &Path) -> io::Result<()> {
    if let Some(blob) = content(pointer) {
        gone(std::fs::remove_file(blob))?;
    }
    gone(std::fs::remove_file(pointer))
}

/// Removes a pointer whose content is gone: the hub's client would stumble over it.
pub(super) fn remove_dangling(pointer: &Path) -> io::Result<()> {
    if pointer.is_symlink() && !pointer.exists() {
        return gone(std::fs::remove_file(pointer));
    }
    Ok(())
}

pub(super) fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Makes `snapshots/COMMIT/FILE` point to content that is here already; both are in the same repository's folder.
pub(super) fn link(blob: &Path, pointer: &Path) -> io::Result<()> {
    if let Some(folder) = pointer.parent() {
        std::fs::create_dir_all(folder)?;
    }
    #[cfg(unix)]
    if let Some(name) = blob.file_name() {
        return std::os::unix::fs::symlink(Path::new("../../blobs").join(name), pointer);
    }
    std::fs::hard_link(blob, pointer)
}
