//! What the work on one image may use: its limits, a share of the memory, and its time.

use std::cell::Cell;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::deadline::Deadline;
use crate::limits::Limits;
use crate::memory::{Held, Memory};

/// One image's work. It stays on the thread that does it.
pub(crate) struct Work<'a> {
    pub(crate) limits: &'a Limits,
    pub(crate) deadline: Deadline,
    memory: &'a Memory,
    since: Cell<Instant>,
    /// Asks for memory where others share it who are elsewhere.
    ask: Option<&'a dyn Fn(u64)>,
    /// Tells whoever waits that the time runs.
    begun: Cell<Option<oneshot::Sender<()>>>,
}

impl<'a> Work<'a> {
    /// Work that its caller waits for itself.
    pub(crate) fn new(limits: &'a Limits, memory: &'a Memory) -> Work<'a> {
        Work {
            limits,
            deadline: Deadline::new(limits.timeout),
            memory,
            since: Cell::new(Instant::now()),
            ask: None,
            begun: Cell::new(None),
        }
    }

    /// Work for another process, which `ask` asks for memory and waits for.
    #[cfg(unix)]
    pub(crate) fn asking(limits: &'a Limits, memory: &'a Memory, ask: &'a dyn Fn(u64)) -> Work<'a> {
        Work {
            ask: Some(ask),
            ..Work::new(limits, memory)
        }
    }

    /// Work that somebody on another thread waits for, and is told when it [begins](Work::begin).
    pub(crate) fn awaited(
        limits: &'a Limits,
        memory: &'a Memory,
        deadline: Deadline,
        begun: oneshot::Sender<()>,
    ) -> Work<'a> {
        Work {
            limits,
            deadline,
            memory,
            since: Cell::new(Instant::now()),
            ask: None,
            begun: Cell::new(Some(begun)),
        }
    }

    /// The time begins.
    pub(crate) fn begin(&self) {
        self.deadline.begin_again();
        self.since.set(Instant::now());
        if let Some(begun) = self.begun.take() {
            // Failing to send means that nobody waits, which the deadline knows.
            let _ = begun.send(());
        }
    }

    /// How long it has been worked on, without the wait for memory.
    pub(crate) fn time(&self) -> Duration {
        self.since.get().elapsed()
    }

    /// Waits for `bytes` of memory, and begins: that neighbours are large is not this image's fault.
    pub(crate) fn hold(&self, bytes: u64) -> Held<'a> {
        if let Some(ask) = self.ask {
            ask(bytes);
        }
        let held = self.memory.take(bytes);
        self.begin();
        held
    }
}
