//! Files of lines read so that bytes which are no UTF-8 become a mark, by which their rows are found again.
//!
//! Readers of CSV and JSON decode thousands of lines together and end at the first such byte. The mark is made of code points that no text
//! has; where one has them all the same, its row is taken for a wrong one, which harms that row alone.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use datafusion::common::Result as DataFusionResult;
use datafusion::execution::TaskContext;
use datafusion::execution::object_store::ObjectStoreRegistry;
use datafusion::execution::runtime_env::RuntimeEnv;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use url::Url;

/// What stands for bytes that are no text: three of the code points that are for no interchange.
pub(super) const MARK: &str = "\u{FDD0}\u{FDD7}\u{FDDF}";

/// The stores of a session, whose files are read with marks.
#[derive(Debug)]
pub struct MarkedStores(Arc<dyn ObjectStoreRegistry>);

impl MarkedStores {
    /// The same task, which reads with marks.
    pub fn under(context: &TaskContext) -> TaskContext {
        let runtime = context.runtime_env();
        let stores = Self(Arc::clone(&runtime.object_store_registry));
        let runtime = RuntimeEnv {
            object_store_registry: Arc::new(stores),
            ..RuntimeEnv::clone(&runtime)
        };
        TaskContext::new(
            context.task_id(),
            context.session_id(),
            context.session_config().clone(),
            context.scalar_functions().clone(),
            context.higher_order_functions().clone(),
            context.aggregate_functions().clone(),
            context.window_functions().clone(),
            Arc::new(runtime),
        )
    }
}

impl ObjectStoreRegistry for MarkedStores {
    fn register_store(
        &self,
        url: &Url,
        store: Arc<dyn ObjectStore>,
    ) -> Option<Arc<dyn ObjectStore>> {
        self.0.register_store(url, store)
    }

    fn get_store(&self, url: &Url) -> DataFusionResult<Arc<dyn ObjectStore>> {
        Ok(Arc::new(MarkedStore(self.0.get_store(url)?)))
    }
}

/// A store whose files are read with marks, and otherwise as they are.
#[derive(Debug)]
pub(in crate::tables) struct MarkedStore(pub(in crate::tables) Arc<dyn ObjectStore>);

impl fmt::Display for MarkedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[async_trait]
impl ObjectStore for MarkedStore {
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        if options.head {
            return self.0.get_opts(location, options).await;
        }
        let result = self.0.get_opts(location, options).await?;
        let (meta, range, attributes) = (
            result.meta.clone(),
            result.range.clone(),
            result.attributes.clone(),
        );
        Ok(GetResult {
            payload: GetResultPayload::Stream(marked(result.into_stream())),
            meta,
            range,
            attributes,
        })
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let parts = self.0.get_ranges(location, ranges).await?;
        Ok(parts
            .into_iter()
            .map(|part| Marks::default().all(part))
            .collect())
    }

    async fn put_opts(
        &self,
        location: &Path,
        payload: PutPayload,
        options: PutOptions,
    ) -> Result<PutResult> {
        self.0.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Path>>,
    ) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}

/// The parts of a file with marks in them.
fn marked(parts: BoxStream<'static, Result<Bytes>>) -> BoxStream<'static, Result<Bytes>> {
    let state = (parts, Some(Marks::default()));
    futures::stream::unfold(state, |(mut parts, marks)| async move {
        let mut marks = marks?;
        let part: std::result::Result<Bytes, Error> = match parts.next().await {
            Some(Ok(part)) => Ok(marks.next(part)),
            Some(Err(error)) => return Some((Err(error), (parts, None))),
            None => return Some((Ok(marks.end()), (parts, None))),
        };
        Some((part, (parts, Some(marks))))
    })
    .boxed()
}

/// Puts marks into a file that comes in parts.
#[derive(Default)]
struct Marks {
    /// The beginning of a character at the end of the last part.
    open: Vec<u8>,
}

impl Marks {
    fn all(&mut self, part: Bytes) -> Bytes {
        let made = self.next(part);
        match self.open.is_empty() {
            true => made,
            false => [made, self.end()].concat().into(),
        }
    }

    fn next(&mut self, part: Bytes) -> Bytes {
        if self.open.is_empty() && std::str::from_utf8(&part).is_ok() {
            return part;
        }
        let bytes = match self.open.is_empty() {
            true => part,
            false => [&std::mem::take(&mut self.open), &*part].concat().into(),
        };
        let mut made = BytesMut::with_capacity(bytes.len());
        let mut left = &bytes[..];
        loop {
            match std::str::from_utf8(left) {
                Ok(_) => {
                    made.extend_from_slice(left);
                    break;
                }
                Err(error) => {
                    made.extend_from_slice(&left[..error.valid_up_to()]);
                    left = &left[error.valid_up_to()..];
                    let Some(wrong) = error.error_len() else {
                        self.open = left.to_vec();
                        break;
                    };
                    made.extend_from_slice(MARK.as_bytes());
                    left = &left[wrong..];
                }
            }
        }
        made.freeze()
    }

    fn end(&mut self) -> Bytes {
        match std::mem::take(&mut self.open).is_empty() {
            true => Bytes::new(),
            false => Bytes::from_static(MARK.as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_a_file_is_cut_the_same_bytes_are_marked() {
        let file = b"a,\xff\nb\xc3\xbc,\xe2\x82\xac\xe2\x82\n\xc3";
        let expected = format!("a,{MARK}\nb\u{fc},\u{20ac}{MARK}\n{MARK}");
        for size in 1..=file.len() {
            let mut marks = Marks::default();
            let mut made = Vec::new();
            for part in file.chunks(size) {
                made.extend_from_slice(&marks.next(Bytes::copy_from_slice(part)));
            }
            made.extend_from_slice(&marks.end());
            assert_eq!(String::from_utf8(made).unwrap(), expected, "{size}");
        }
        let whole = Bytes::from_static("b\u{fc}".as_bytes());
        assert_eq!(Marks::default().all(whole.clone()).as_ptr(), whole.as_ptr());
    }
}
