//! The pool's side: processes that decode, what is asked of them, and what becomes of one that does not answer as it should.

use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::confine::LIFE_SECONDS;
use super::wire::{MOST_COPIES, SENTENCE, Settings, VERSION, WORD, ask, geometry_written, say};
use super::{Confinement, Sandbox};
use crate::copies::DisplayCopies;
use crate::deadline::Deadline;
use crate::decode::ImageInfo;
use crate::digest::sha256;
use crate::error::{ImageError, reported};
use crate::format::Format;
use crate::geometry::Geometry;
use crate::limits::Limits;
use crate::memory::Held;
use crate::pixels::RgbPixels;
use crate::work::Work;

/// How often is looked whether the time of a picture is over.
const LOOK: Duration = Duration::from_millis(50);

/// Longest wait for the first word of a process.
const START: Duration = Duration::from_secs(20);

/// Pictures after which a new process takes over: what one picture may have done to it ends there.
const LIFE_PICTURES: u32 = 1000;

/// Bytes by which an encoded copy may be larger than its pixels.
const COPY_SLACK: u64 = 64 << 10;

/// The processes of a pool, one for each of its threads.
pub(crate) struct Workers {
    sandbox: Sandbox,
    limits: Limits,
    slots: Vec<Mutex<Option<Worker>>>,
}

/// A process that decodes.
struct Worker {
    child: Child,
    socket: UnixStream,
    pictures: u32,
    busy: Duration,
}

/// Why a request has no answer.
enum Failure {
    /// The image cannot be decoded, says the process, which goes on.
    Image(ImageError),
    /// The time is over, or nobody waits.
    Late(ImageError),
    /// The process is gone.
    Ended,
    /// It said what it never says.
    Wrong,
    /// The system would not let the pool listen.
    Io(io::Error),
}

impl Workers {
    pub(crate) fn new(sandbox: Sandbox, limits: Limits, threads: usize) -> Self {
        Self {
            sandbox,
            limits,
            slots: (0..threads).map(|_| Mutex::default()).collect(),
        }
    }

    /// Starts a process to see whether that works, and ends it.
    pub(crate) fn check(sandbox: &Sandbox, limits: &Limits) -> Result<Confinement, ImageError> {
        let started = Worker::start(sandbox, limits);
        Ok(started.map_err(not_started)?.1)
    }

    /// [`decode::raster`](crate::decode::raster) and the geometry in another process; with the memory that it has there.
    pub(crate) fn prepare<'a>(
        &self,
        bytes: &[u8],
        geometry: Geometry,
        work: &Work<'a>,
    ) -> Result<(RgbPixels, Option<Held<'a>>), ImageError> {
        geometry.check()?;
        self.limits.check_bytes(bytes)?;
        self.with(|worker| {
            worker.ask(ask::PIXELS, geometry, &[], bytes, work)?;
            let held = worker.wait(say::PIXELS, &self.limits, work)?;
            let (width, height) = worker.size(&work.deadline)?;
            let pixels = u64::from(width) * u64::from(height);
            let fits = match geometry {
                Geometry::Full => pixels <= self.limits.max_pixels,
                Geometry::CentreCrop { size, .. } => (width, height) == (size, size),
                Geometry::Within { side } => width.max(height) <= side,
            };
            if !fits || pixels == 0 {
                return Err(Failure::Wrong);
            }
            let data = worker.bytes(pixels * 3, &work.deadline)?;
            Ok((
                RgbPixels {
                    width,
                    height,
                    data,
                },
                held,
            ))
        })
    }

    /// [`image_info`](crate::image_info) in another process.
    pub(crate) fn info(&self, bytes: &[u8], work: &Work<'_>) -> Result<ImageInfo, ImageError> {
        self.limits.check_bytes(bytes)?;
        self.with(|worker| {
            worker.ask(ask::INFO, Geometry::Full, &[], bytes, work)?;
            worker.wait(say::INFO, &self.limits, work)?;
            let (width, height) = worker.size(&work.deadline)?;
            let [format, channels] = worker.array(&work.deadline)?;
            let format = Format::ALL.get(usize::from(format));
            let pixels = u64::from(width) * u64::from(height);
            match format {
                Some(format) if (1..=4).contains(&channels) && pixels <= self.limits.max_pixels => {
                    Ok(ImageInfo {
                        width,
                        height,
                        format: format.name(),
                        channels,
                        bytes: bytes.len() as u64,
                        sha256: sha256(bytes),
                    })
                }
                _ => Err(Failure::Wrong),
            }
        })
    }

    /// [`display_copies`](crate::display_copies) in another process.
    pub(crate) fn copies(
        &self,
        bytes: &[u8],
        sides: &[u32],
        work: &Work<'_>,
    ) -> Result<DisplayCopies, ImageError> {
        self.limits.check_bytes(bytes)?;
        let sides = &sides[..sides.len().min(MOST_COPIES)];
        self.with(|worker| {
            worker.ask(ask::COPIES, Geometry::Full, sides, bytes, work)?;
            let _held = worker.wait(say::COPIES, &self.limits, work)?;
            let (width, height) = worker.size(&work.deadline)?;
            if u64::from(width) * u64::from(height) > self.limits.max_pixels {
                return Err(Failure::Wrong);
            }
            let mut jpegs = Vec::with_capacity(sides.len());
            for side in sides {
                let length = u64::from(u32::from_le_bytes(worker.array(&work.deadline)?));
                let side = u64::from(*side);
                if length > side.saturating_mul(side).saturating_mul(3) + COPY_SLACK {
                    return Err(Failure::Wrong);
                }
                jpegs.push(worker.bytes(length, &work.deadline)?);
            }
            Ok(DisplayCopies {
                width,
                height,
                jpegs,
            })
        })
    }

    /// Runs a request on this thread's process, which is started if there is none. One that fails otherwise than by saying so is ended.
    fn with<T>(
        &self,
        request: impl FnOnce(&mut Worker) -> Result<T, Failure>,
    ) -> Result<T, ImageError> {
        // The thread's own, so that it lives as long as its process: Linux ends a process with the thread that started it.
        let slot = &self.slots[rayon::current_thread_index().unwrap_or(0) % self.slots.len()];
        let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
        // One that ended between two pictures is no picture's fault.
        let mut worker = match slot.take().and_then(Worker::alive) {
            Some(worker) => worker,
            None => {
                let started = Worker::start(&self.sandbox, &self.limits);
                started.map_err(not_started)?.0
            }
        };
        let started = Instant::now();
        let outcome = request(&mut worker);
        let error = match outcome {
            Ok(answer) => {
                *slot = worker.after(started.elapsed());
                return Ok(answer);
            }
            Err(Failure::Image(error)) => {
                *slot = worker.after(started.elapsed());
                return Err(error);
            }
            Err(Failure::Late(error)) => error,
            Err(Failure::Ended) => ImageError::DecoderEnded {
                how: worker.ended(),
            },
            Err(Failure::Wrong) => ImageError::DecoderEnded {
                how: "it gave an answer that no picture has".to_owned(),
            },
            Err(Failure::Io(error)) => ImageError::DecoderEnded {
                how: format!("it cannot be heard: {error}"),
            },
        };
        tracing::info!(%error, "a process that decodes is replaced");
        Err(error)
    }
}

fn not_started(error: io::Error) -> ImageError {
    ImageError::PoolStart {
        source: Arc::new(error),
    }
}

impl Worker {
    fn start(sandbox: &Sandbox, limits: &Limits) -> io::Result<(Self, Confinement)> {
        let (socket, theirs) = UnixStream::pair()?;
        let output = theirs.try_clone()?;
        let child = Command::new(&sandbox.program)
            .arg0("picsift-decode")
            .args(&sandbox.arguments)
            .env_clear()
            .current_dir("/")
            // What a terminal sends on Ctrl-C is for the program, which may go on with what is under way.
            .process_group(0)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(OwnedFd::from(output)))
            .stderr(Stdio::null())
            .spawn()?;
        let mut worker = Self {
            child,
            socket,
            pictures: 0,
            busy: Duration::ZERO,
        };
        worker.socket.set_read_timeout(Some(LOOK))?;
        worker.socket.set_write_timeout(Some(LOOK))?;
        let settings = Settings {
            max_bytes: limits.max_bytes,
            max_pixels: limits.max_pixels,
            max_memory: limits.max_memory,
            milliseconds: u64::try_from(limits.timeout.as_millis()).unwrap_or(u64::MAX),
            parent: std::process::id(),
        };
        let deadline = Deadline::new(START);
        let hello = worker
            .send(&settings.written(), &deadline)
            .and_then(|()| worker.array::<6>(&deadline));
        let what = match hello {
            Ok([say::HELLO, version @ .., confined]) if u32::from_le_bytes(version) == VERSION => {
                return Ok((
                    worker,
                    match confined {
                        1 => Confinement::SystemCalls,
                        _ => Confinement::LimitsAlone,
                    },
                ));
            }
            Ok(_) | Err(Failure::Wrong | Failure::Image(_)) => {
                "what was started is no process that decodes".to_owned()
            }
            Err(Failure::Late(_)) => format!("it said nothing for {START:?}"),
            Err(Failure::Ended) => worker.ended(),
            Err(Failure::Io(error)) => return Err(error),
        };
        Err(io::Error::other(what))
    }

    /// This one, unless it has ended.
    fn alive(mut self) -> Option<Self> {
        matches!(self.child.try_wait(), Ok(None)).then_some(self)
    }

    /// This one after a picture more; `None` when its life is over.
    fn after(mut self, time: Duration) -> Option<Self> {
        self.pictures += 1;
        self.busy += time;
        let young = self.pictures < LIFE_PICTURES && self.busy.as_secs() < LIFE_SECONDS;
        young.then_some(self)
    }

    /// How it ended.
    fn ended(&mut self) -> String {
        // Its descriptors are closed a moment before that is known.
        for _ in 0..20 {
            if let Ok(Some(status)) = self.child.try_wait() {
                return said(status);
            }
            std::thread::sleep(LOOK / 10);
        }
        "it fell silent".to_owned()
    }

    fn ask(
        &mut self,
        what: u8,
        geometry: Geometry,
        sides: &[u32],
        bytes: &[u8],
        work: &Work<'_>,
    ) -> Result<(), Failure> {
        let mut head = vec![what];
        for number in geometry_written(geometry) {
            head.extend(number.to_le_bytes());
        }
        head.extend((sides.len() as u32).to_le_bytes());
        for side in sides {
            head.extend(side.to_le_bytes());
        }
        head.extend((bytes.len() as u64).to_le_bytes());
        self.send(&head, &work.deadline)?;
        self.send(bytes, &work.deadline)
    }

    /// Gives leave to take memory until the answer begins, and what is held for it.
    fn wait<'a>(
        &mut self,
        answer: u8,
        limits: &Limits,
        work: &Work<'a>,
    ) -> Result<Option<Held<'a>>, Failure> {
        let mut held = None;
        // At a reduced scale, and again at the full one.
        for _ in 0..3 {
            match self.array::<1>(&work.deadline)? {
                [say::NEEDS] => {
                    let bytes = u64::from_le_bytes(self.array(&work.deadline)?);
                    if bytes > limits.max_memory {
                        return Err(Failure::Wrong);
                    }
                    drop(held.take());
                    held = Some(work.hold(bytes));
                    self.send(&[ask::GO], &work.deadline)?;
                }
                [say::FAILED] => return Err(self.failure(&work.deadline)?),
                [tag] if tag == answer => return Ok(held),
                _ => return Err(Failure::Wrong),
            }
        }
        Err(Failure::Wrong)
    }

    fn failure(&mut self, deadline: &Deadline) -> Result<Failure, Failure> {
        let mut text = |most: usize| {
            let length = u32::from_le_bytes(self.array(deadline)?) as usize;
            if length > most {
                return Err(Failure::Wrong);
            }
            let bytes = self.bytes(length as u64, deadline)?;
            Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        let (word, sentence) = (text(WORD)?, text(SENTENCE)?);
        Ok(match reported(&word, &sentence) {
            Some(error) => Failure::Image(error),
            None => Failure::Wrong,
        })
    }

    fn size(&mut self, deadline: &Deadline) -> Result<(u32, u32), Failure> {
        let width = u32::from_le_bytes(self.array(deadline)?);
        Ok((width, u32::from_le_bytes(self.array(deadline)?)))
    }

    fn array<const N: usize>(&mut self, deadline: &Deadline) -> Result<[u8; N], Failure> {
        let mut bytes = [0; N];
        let mut read = 0;
        while read < N {
            match self.socket.read(&mut bytes[read..]) {
                Ok(0) => return Err(Failure::Ended),
                Ok(more) => read += more,
                Err(error) => look(error, deadline)?,
            }
        }
        Ok(bytes)
    }

    fn bytes(&mut self, length: u64, deadline: &Deadline) -> Result<Vec<u8>, Failure> {
        let mut bytes = Vec::with_capacity(length as usize);
        while (bytes.len() as u64) < length {
            let left = length - bytes.len() as u64;
            match Read::take(&self.socket, left).read_to_end(&mut bytes) {
                // It reads on unless there is no more.
                Ok(_) if (bytes.len() as u64) < length => return Err(Failure::Ended),
                Ok(_) => {}
                Err(error) => look(error, deadline)?,
            }
        }
        Ok(bytes)
    }

    fn send(&mut self, mut bytes: &[u8], deadline: &Deadline) -> Result<(), Failure> {
        while !bytes.is_empty() {
            match self.socket.write(bytes) {
                Ok(0) => return Err(Failure::Ended),
                Ok(written) => bytes = &bytes[written..],
                Err(error) => look(error, deadline)?,
            }
        }
        Ok(())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What follows from an error of the socket: that nothing came for a moment is none, while there is time.
fn look(error: io::Error, deadline: &Deadline) -> Result<(), Failure> {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            deadline.check().map_err(Failure::Late)
        }
        io::ErrorKind::Interrupted => Ok(()),
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Err(Failure::Ended),
        _ => Err(Failure::Io(error)),
    }
}

/// How a process ended, as a sentence has it.
fn said(status: ExitStatus) -> String {
    match (status.signal(), status.code()) {
        // What follows a failed allocation.
        (Some(6), _) => "it gave up (signal 6), as for want of memory".to_owned(),
        (Some(signal), _) => format!("signal {signal} ended it"),
        (None, Some(code)) => format!("it ended with code {code}"),
        (None, None) => "it ended".to_owned(),
    }
}
