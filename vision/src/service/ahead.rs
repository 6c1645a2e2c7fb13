//! Jobs that are made ready while the model is at work, at most one batch of them.
//!
//! A thread beside the model's takes jobs off the queue one by one, has each staged and lays it here; the model's thread takes
//! all that lies here when it is done with a batch. So what waits runs together as if there were no such thread.
//!
//! What is ready takes the device's memory. Where a batch has none left, it can be [let go](Ahead::let_go), and jobs then lie here as they
//! came.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::Request;
use super::queue::Queue;
use crate::model::{Staged, Stager};
use crate::packing::PackLimits;

/// What lies between both threads.
pub(super) struct Ahead {
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    ready: VecDeque<Request>,
    cost: usize,
    /// One batch: what may lie here. A job that costs more than that lies alone.
    limits: PackLimits,
    /// Whether jobs lie here as they came.
    bare: bool,
    /// Whether the thread that stages is at it, or holds what it has no room for yet.
    staging: bool,
    /// Whether that thread has let something go.
    dropped: bool,
    /// Nothing is laid here any more, or nothing taken.
    closed: bool,
}

impl Ahead {
    pub(super) fn new(limits: PackLimits) -> Self {
        Self {
            state: Mutex::new(State {
                ready: VecDeque::new(),
                cost: 0,
                limits,
                bare: false,
                staging: false,
                dropped: false,
                closed: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Takes at most `most` jobs, after waiting for the first; none when there will be none.
    pub(super) fn take(&self, most: usize) -> Vec<Request> {
        let mut state = self.lock();
        while state.ready.is_empty() && !state.closed {
            state = self.wait(state);
        }
        let count = most.min(state.ready.len());
        let taken: Vec<Request> = state.ready.drain(..count).collect();
        state.cost -= taken.iter().map(Request::cost).sum::<usize>();
        self.changed.notify_all();
        taken
    }

    /// Lets go of what has been made ready, and makes nothing ready until [`Ahead::resume`]; whether there was anything. The device has
    /// its memory back when this returns.
    pub(super) fn let_go(&self) -> bool {
        let mut state = self.lock();
        state.bare = true;
        state.dropped = false;
        self.changed.notify_all();
        while state.staging {
            state = self.wait(state);
        }
        let staged = state.ready.iter_mut().map(|request| request.staged.take());
        let staged: Vec<Staged> = staged.flatten().collect();
        let any = state.dropped || !staged.is_empty();
        drop(state);
        drop(staged);
        any
    }

    /// Makes jobs ready again, within these limits.
    pub(super) fn resume(&self, limits: PackLimits) {
        let mut state = self.lock();
        state.bare = false;
        state.limits = limits;
        self.changed.notify_all();
    }

    /// Whether the next job is to be made ready; if so, it is to be [laid](Ahead::lay) here next.
    fn begin(&self) -> bool {
        let mut state = self.lock();
        state.staging = !state.bare;
        state.staging
    }

    /// Lays a job here, after waiting for room.
    ///
    /// # Errors
    /// The job, when nothing is taken any more.
    fn lay(&self, mut request: Request) -> Result<(), Box<Request>> {
        let cost = request.cost();
        let mut state = self.lock();
        while !state.closed && !state.has_room(cost) {
            if state.bare && state.staging {
                // Not under the lock: letting go asks the device.
                drop(state);
                let dropped = request.staged.take().is_some();
                state = self.lock();
                state.dropped |= dropped;
                state.staging = false;
                self.changed.notify_all();
                continue;
            }
            state = self.wait(state);
        }
        state.staging = false;
        self.changed.notify_all();
        if state.closed {
            return Err(Box::new(request));
        }
        state.cost += cost;
        state.ready.push_back(request);
        Ok(())
    }

    /// Says that nothing is laid here, or taken, any more; gives what lies here.
    pub(super) fn close(&self) -> Vec<Request> {
        let mut state = self.lock();
        state.closed = true;
        self.changed.notify_all();
        state.cost = 0;
        state.ready.drain(..).collect()
    }

    /// Says that nothing is laid here any more; what lies here can still be taken.
    fn finish(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    // Under the lock nothing panics.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let waited = self.changed.wait(state);
        waited.unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn has_room(&self, cost: usize) -> bool {
        let fits = self.cost.saturating_add(cost) <= self.limits.cost;
        self.ready.is_empty() || (self.ready.len() < self.limits.items && fits)
    }
}

/// The thread that stages: until every handle is gone, or the model's thread has ended.
pub(super) fn stage_all(stager: &dyn Stager, queue: Queue, ahead: &Ahead) {
    while let Some(mut request) = queue.take_one() {
        if request.reply.is_closed() {
            continue;
        }
        if ahead.begin() {
            // What cannot be staged is the batch's to find out: it has an error for it.
            let staged = catch_unwind(AssertUnwindSafe(|| stager.stage(&request.job.views)));
            request.staged = staged.ok().flatten();
        }
        if let Err(request) = ahead.lay(request) {
            return queue.leave(vec![*request]);
        }
    }
    ahead.finish();
}
