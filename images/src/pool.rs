//! Decoding off tokio's workers: a rayon pool with a bounded door.
//!
//! A semaphore admits a few jobs per thread and lets further callers wait without holding pixels; the reply comes by
//! oneshot. A job waits on its thread until the memory that its header asks for is free: a thread that waited for no memory could take on
//! only what needs some too. On a timeout the caller gets its error at once, and the thread stops where the decoder next looks at
//! the clock; so does one whose caller has gone. Only a BMP, the picture of a lossy WebP, a resize and what the caller does with the pixels are
//! done to their end, which the limit on pixels keeps short.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use rayon::{ThreadPool, ThreadPoolBuilder};
use tokio::sync::{Semaphore, oneshot};

use crate::copies::{self, DisplayCopies};
use crate::deadline::Deadline;
use crate::decode::{self, ImageInfo};
use crate::digest::sha256;
use crate::error::{ImageError, panicked};
use crate::geometry::Geometry;
use crate::limits::Limits;
use crate::memory::Memory;
use crate::pixels::RgbPixels;
use crate::sandbox::{Confinement, Sandbox, Workers};
use crate::work::Work;

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
    memory: Arc<Memory>,
    limits: Limits,
    /// Where pictures are decoded if not on the threads.
    workers: Option<Workers>,
}

/// Says that its caller has gone, when that is dropped.
struct Caller(Arc<AtomicBool>);

impl Drop for Caller {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl DecodePool {
    /// Starts `threads` threads (0 counts as 1).
    pub fn new(threads: usize, limits: Limits) -> Result<Self, ImageError> {
        Self::with(threads, limits, None)
    }

    /// As [`DecodePool::new`], with a process for each thread that decodes in its stead and can do nothing else; what keeps it so comes too.
    /// Results are the same; what a decoder does not survive is an image's [`ImageError::DecoderEnded`].
    ///
    /// # Errors
    /// Also when a process cannot be started, or is none that decodes.
    pub fn sandboxed(
        threads: usize,
        limits: Limits,
        sandbox: Sandbox,
    ) -> Result<(Self, Confinement), ImageError> {
        let confinement = Workers::check(&sandbox, &limits)?;
        Ok((Self::with(threads, limits, Some(sandbox))?, confinement))
    }

    fn with(threads: usize, limits: Limits, sandbox: Option<Sandbox>) -> Result<Self, ImageError> {
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
                memory: Arc::new(Memory::new(limits.max_memory)),
                workers: sandbox.map(|sandbox| Workers::new(sandbox, limits.clone(), count)),
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

    /// As [`DecodePool::prepare_each`] for one geometry.
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
        let prepared = self.prepare_each(bytes, vec![geometry], |pixels| {
            pixels.into_iter().next().map(finish)
        });
        let Prepared { value, decode_time } = prepared.await?;
        // Each geometry has its pixels.
        let value = value.ok_or(ImageError::PoolClosed)?;
        Ok(Prepared { value, decode_time })
    }

    /// As [`DecodePool::prepare`] for several geometries, with the pixels of each handed to `finish` in their order, on the thread that
    /// decoded them. The image is decoded once, unless the scale that is enough differs; pixels are the same as for each geometry alone.
    ///
    /// Only what `finish` gives leaves the pool: with [`Geometry::Full`] the pool's admission then bounds how many
    /// images of full size there are at once. Its time counts as decoding, for the limit too; its panic is
    /// [`ImageError::DecoderPanicked`].
    pub async fn prepare_each<T, F>(
        &self,
        bytes: Bytes,
        geometries: Vec<Geometry>,
        finish: F,
    ) -> Result<Prepared<T>, ImageError>
    where
        T: Send + 'static,
        F: FnOnce(Vec<RgbPixels>) -> T + Send + 'static,
    {
        let inner = Arc::clone(&self.inner);
        let (value, decode_time) = self
            .run(move |work| {
                let (pixels, held) = match &inner.workers {
                    None => decode::each(&bytes, &geometries, work)?,
                    Some(workers) => {
                        let (mut pixels, mut held) = (Vec::new(), None);
                        for geometry in geometries {
                            // Whoever held memory while it waits for more could wait for ever.
                            drop(held.take());
                            let (one, memory) = workers.prepare(&bytes, geometry, work)?;
                            pixels.push(one);
                            held = memory;
                        }
                        (pixels, held)
                    }
                };
                // The encoded image is of no more use, and `finish` may take a while.
                drop(bytes);
                let finished = finish(pixels);
                drop(held);
                Ok(finished)
            })
            .await?;
        Ok(Prepared { value, decode_time })
    }

    /// [`sha256`](crate::sha256) of the encoded image, what makes two images the same; of a large one beside tokio's workers, and not on a thread
    /// of the pool: what is known already must not wait for what is decoded.
    pub async fn hash(&self, bytes: Bytes) -> Result<[u8; 32], ImageError> {
        if bytes.len() <= HASHED_AT_ONCE {
            return Ok(sha256(&bytes));
        }
        // It ends early only with the program.
        let hashed = tokio::task::spawn_blocking(move || sha256(&bytes)).await;
        hashed.map_err(|_| ImageError::PoolClosed)
    }

    /// [`image_info`](crate::image_info) on a thread of the pool.
    pub async fn info(&self, bytes: Bytes) -> Result<ImageInfo, ImageError> {
        let inner = Arc::clone(&self.inner);
        let (info, _) = self
            .run(move |work| {
                work.begin();
                match &inner.workers {
                    None => decode::image_info(&bytes, work.limits),
                    Some(workers) => workers.info(&bytes, work),
                }
            })
            .await?;
        Ok(info)
    }

    /// [`display_copies`](crate::display_copies) on a thread of the pool.
    pub async fn display_copies(
        &self,
        bytes: Bytes,
        sides: &'static [u32],
    ) -> Result<DisplayCopies, ImageError> {
        let inner = Arc::clone(&self.inner);
        let (copies, _) = self
            .run(move |work| match &inner.workers {
                None => copies::copies(&bytes, sides, work),
                Some(workers) => workers.copies(&bytes, sides, work),
            })
            .await?;
        Ok(copies)
    }

    /// Runs `job` on the pool and gives its result with the time it took.
    async fn run<T, F>(&self, job: F) -> Result<(T, Duration), ImageError>
    where
        T: Send + 'static,
        F: FnOnce(&Work<'_>) -> Result<T, ImageError> + Send + 'static,
    {
        let admission = Arc::clone(&self.inner.admission);
        let permit = admission
            .acquire_owned()
            .await
            .map_err(|_| ImageError::PoolClosed)?;
        let (begun, has_begun) = oneshot::channel();
        let (reply, answer) = oneshot::channel();
        let memory = Arc::clone(&self.inner.memory);
        let limits = self.inner.limits.clone();
        let limit = limits.timeout;
        let caller = Caller(Arc::default());
        let abandoned = Arc::clone(&caller.0);
        self.inner.threads.spawn(move || {
            let _permit = permit;
            // A LIMIT was reached, or the job was stopped: nobody wants the pixels.
            if abandoned.load(Ordering::Relaxed) {
                return;
            }
            let deadline = Deadline::unless(limits.timeout, abandoned);
            let work = Work::awaited(&limits, &memory, deadline, begun);
            let result = catch_unwind(AssertUnwindSafe(|| job(&work)))
                .unwrap_or_else(|panic| Err(panicked(&*panic)));
            // Failing to send means the caller gave up meanwhile.
            let _ = reply.send(result.map(|value| (value, work.time())));
        });
        // The clock runs from the start of the work: a slow neighbour in the queue is not this image's fault. What is refused before
        // that has its answer already.
        let _ = has_begun.await;
        let outcome = tokio::time::timeout(limit, answer).await;
        drop(caller);
        match outcome {
            Ok(Ok(result)) => result,
            Ok(Err(_)) => Err(ImageError::PoolClosed),
            Err(_) => Err(ImageError::DecodeTimedOut { limit }),
        }
    }
}
