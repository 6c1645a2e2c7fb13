//! Reading the very version of a file that was listed.
//!
//! A table in a bucket is read in many requests over hours, and somebody may write it anew in between. Every request for a file that
//! was [`pinned`](Versions::pin) asks for the version that it had then, so that a store refuses it rather than give parts of two
//! files. Which files those are, and what follows when one has changed, is the job's to know.

use std::collections::HashMap;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

/// The versions of files, by their URLs, and which of the files was found to have another.
#[derive(Debug, Default)]
pub struct Versions(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    tags: HashMap<String, String>,
    changed: Option<String>,
}

impl Versions {
    /// Lets the file at `url` (without query) be read at this entity tag only.
    ///
    /// A weak tag means no exact bytes, and stores refuse every request for one; it is not asked for.
    pub fn pin(&self, url: &str, tag: &str) {
        if !tag.starts_with("W/") {
            self.known().tags.insert(url.to_string(), tag.to_string());
        }
    }

    /// The first file that was asked for and had another version, as a URL without query.
    pub fn changed(&self) -> Option<String> {
        self.known().changed.clone()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A store whose pinned files are read at their versions.
#[derive(Debug)]
pub(super) struct PinnedStore {
    /// The URL of its root, with a slash at its end.
    pub(super) root: String,
    pub(super) store: Arc<dyn ObjectStore>,
    pub(super) versions: Arc<Versions>,
}

impl PinnedStore {
    fn tag(&self, path: &Path) -> Option<String> {
        let known = self.versions.known();
        match known.tags.is_empty() {
            true => None,
            false => known.tags.get(&format!("{}{path}", self.root)).cloned(),
        }
    }
}

impl fmt::Display for PinnedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for PinnedStore {
    async fn get_opts(&self, location: &Path, mut options: GetOptions) -> Result<GetResult> {
        if let Some(tag) = self.tag(location) {
            options.if_match.get_or_insert(tag);
        }
        let result = self.store.get_opts(location, options).await;
        if let Err(Error::Precondition { .. }) = &result {
            let url = format!("{}{location}", self.root);
            self.versions.known().changed.get_or_insert(url);
        }
        result
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        if self.tag(location).is_none() {
            return self.store.get_ranges(location, ranges).await;
        }
        let fetch = |range| async move {
            let options = GetOptions::new().with_range(Some(range));
            self.get_opts(location, options).await?.bytes().await
        };
        let together = object_store::OBJECT_STORE_COALESCE_DEFAULT;
        object_store::coalesce_ranges(ranges, fetch, together).await
    }

    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.store.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.store.put_multipart_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.store.copy_opts(from, to, options).await
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    use super::*;

    #[tokio::test]
    async fn a_pinned_file_is_read_as_it_was_or_not_at_all() {
        let inner: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (path, other) = (Path::from("a.parquet"), Path::from("b.parquet"));
        let tag = inner.put(&path, "old".into()).await.unwrap().e_tag.unwrap();
        inner.put(&other, "old".into()).await.unwrap();
        let versions = Arc::new(Versions::default());
        let store = PinnedStore {
            root: "s3://bucket/".to_string(),
            store: Arc::clone(&inner),
            versions: Arc::clone(&versions),
        };
        versions.pin("s3://bucket/a.parquet", &tag);
        versions.pin("s3://bucket/b.parquet", "W/\"weak\"");
        assert_eq!(store.get_range(&path, 0..3).await.unwrap(), "old");
        assert_eq!(
            store.get_ranges(&path, &[0..1, 2..3]).await.unwrap().len(),
            2
        );
        assert_eq!(versions.changed(), None);

        inner.put(&path, "new".into()).await.unwrap();
        inner.put(&other, "new".into()).await.unwrap();
        assert!(store.get_ranges(&path, &[0..1, 2..3]).await.is_err());
        assert!(store.get_range(&path, 0..3).await.is_err());
        assert_eq!(store.get_range(&other, 0..3).await.unwrap(), "new");
        let changed = versions.changed();
        assert_eq!(changed.as_deref(), Some("s3://bucket/a.parquet"));
    }
}
