//! Decoding off tokio's workers: a rayon pool with a bounded door.
//!
//! A semaphore admits a few jobs per thread and lets further callers wait without holding pixels; the reply comes by
//! oneshot. Decoding cannot be interrupted: on a timeout the caller gets its error at once, while the thread finishes
//! the image it has begun, which the limits on bytes and pixels keep short.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::{Semaphore, oneshot};

use crate::copies::{self, DisplayCopies};
use crate::{Geometry, ImageError, ImageInfo, Limits, RgbPixels, decode};

/// Jobs admitted per thread: one at work, one ready so that no thread waits for a caller to wake.
const JOBS_PER_THREAD: usize = 2;

/// Bytes that are hashed by the caller: that takes less time than handing them over, some ten microseconds.
const HASHED_AT_ONCE: usize = 16 << 10;

/// The result of [`DecodePool::prepare`] and [`DecodePool::prepare_with`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared<T> {
    /// The pixels, or what was made of them.
    pub value: T,
    /// How long a thread worked on this image, `finish` included; waiting does not count.
    pub decode_time: Duration,
}

/// Threads that decode. Clones share the threads.
#[derive(Clone)]
pub struct DecodePool {
    inner: Arc<Inner>,
}

struct Inner {
    threads: ThreadPool,
    admission: Arc<Semaphore>,
    limits: Limits,
}

impl DecodePool {
    /// Starts `threads` threads (0 counts as 1).
    pub fn new(threads: usize, limits: Limits) -> Result<Self, ImageError> {
        let count = threads.max(1);
        let threads = ThreadPoolBuilder::new()
            .num_threads(count)
            .thread_name(|i| format!("picsift-decode-{i}"))
            .build()
            .map_err(|e| ImageError::PoolStart {
                source: Arc::new(e),
            })?;
        let admission = Arc::new(Semaphore::new(count * JOBS_PER_THREAD));
        Ok(DecodePool {
            inner: Arc::new(Inner {
                threads,
                admission,
                limits,
            }),
        })
    }

    /// The limits that every image here has to keep.
    pub fn limits(&self) -> &Limits {
        &self.inner.limits
    }

    /// [`prepare`](crate::prepare) on a thread of the pool.
    pub async fn prepare(
        &self,
        bytes: Bytes,
        geometry: Geometry,
    ) -> Result<Prepared<RgbPixels>, ImageError> {
        self.prepare_with(bytes, geometry, |pixels| pixels).await
    }

    /// As [`DecodePool::prepare`], with the pixels handed to `finish` on the thread that decoded them.
    ///
    /// Only what `finish` gives leaves the pool: with [`Geometry::Full`] the pool's admission then bounds how many
    /// images of full size there are at once. Its time counts as decoding, for the limit too; its panic is
    /// [`ImageError::DecoderPanicked`].
    pub async fn prepare_with<T, F>(
        &self,
        bytes: Bytes,
        geometry: Geometry,
        finish: F,
    ) -> Result<Prepared<T>, ImageError>
    where
        T: Send + 'static,
        F: FnOnce(RgbPixels) -> T + Send + 'static,
    {
        let (value, decode_time) = self
            .run(move |limits| {
                let pixels = decode::prepare(&bytes, geometry, limits)?;
                // The encoded image is of no more use, and `finish` may take a while.
                drop(bytes);
                Ok(finish(pixels))
            })
            .await?;
        Ok(Prepared { value, decode_time })
    }

    /// [`sha256`](crate::sha256) of the encoded image, what makes two images the same; of a large one on a thread of the pool.
    pub async fn hash(&self, bytes: Bytes) -> Result<[u8; 32], ImageError> {
        if bytes.len() <= HASHED_AT_ONCE {
            return Ok(decode::sha256(&bytes));
        }
        let (hash, _) = self.run(move |_| Ok(decode::sha256(&bytes))).await?;
        Ok(hash)
    }

    /// [`image_info`](crate::image_info) on a thread of the pool.
    pub async fn info(&self, bytes: Bytes) -> Result<ImageInfo, ImageError> {
        let (info, _) = self
            .run(move |limits| decode::image_info(&bytes, limits))
            .await?;
        Ok(info)
    }

    /// [`display_copies`](crate::display_copies) on a thread of the pool.
    pub async fn display_copies(
        &self,
        bytes: Bytes,
        sides: &'static [u32],
    ) -> Result<DisplayCopies, ImageError> {
        let (copies, _) = self
            .run(move |limits| copies::display_copies(&bytes, sides, limits))
            .await?;
        Ok(copies)
    }

    /// Runs `work` on the pool and gives its result with the time it took.
    async fn run<T, F>(&self, work: F) -> Result<(T, Duration), ImageError>
    where
        T: Send + 'static,
        F: FnOnce(&Limits) -> Result<T, ImageError> + Send + 'static,
    {
        let admission = Arc::clone(&self.inner.admission);
        let permit = admission
            .acquire_owned()
            .await
            .map_err(|_| ImageError::PoolClosed)?;
        let (started, has_started) = oneshot::channel();
        let (reply, answer) = oneshot::channel();
        let limits = self.inner.limits.clone();
        let limit = limits.timeout;
        self.inner.threads.spawn(move || {
            let _permit = permit;
            // The caller is gone (a LIMIT was reached, the job was stopped): nobody wants the pixels.
            if started.send(()).is_err() {
                return;
            }
            let begun = Instant::now();
            let result = catch_unwind(AssertUnwindSafe(|| work(&limits))).unwrap_or_else(|panic| {
                Err(ImageError::DecoderPanicked {
                    reason: panic_text(&*panic),
                })
            });
            // Failing to send means the caller gave up meanwhile.
            let _ = reply.send(result.map(|value| (value, begun.elapsed())));
        });
        // The clock runs from the start of the work: a slow neighbour in the queue is not this image's fault.
        has_started.await.map_err(|_| ImageError::PoolClosed)?;
        match tokio::time::timeout(limit, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(ImageError::PoolClosed),
            Err(_) => Err(ImageError::DecodeTimedOut { limit }),
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "it panicked without a message".to_owned()
    }
}
