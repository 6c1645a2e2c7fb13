//! Jobs that are made ready while the model is at work, at most one batch of them.
//!
//! A thread beside the model's takes jobs off the queue one by one, has each staged and lays it here; the model's thread takes
//! all that lies here when it is done with a batch. So what waits runs together as if there were no such thread.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::Request;
use super::queue::Queue;
use crate::model::Stager;
use crate::packing::PackLimits;

/// What lies between both threads.
pub(super) struct Ahead {
    state: Mutex<State>,
    changed: Condvar,
    /// One batch: what may lie here. A job that costs more than that lies alone.
    limits: PackLimits,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Request>,
    cost: usize,
    /// Nothing is laid here any more, or nothing taken.
    closed: bool,
}

impl Ahead {
    pub(super) fn new(limits: PackLimits) -> Self {
        Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            limits,
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

    /// Lays a job here, after waiting for room.
    ///
    /// # Errors
    /// The job, when nothing is taken any more.
    fn lay(&self, request: Request) -> Result<(), Box<Request>> {
        let cost = request.cost();
        let mut state = self.lock();
        while !state.closed && !state.has_room(cost, self.limits) {
            state = self.wait(state);
        }
        if state.closed {
            return Err(Box::new(request));
        }
        state.cost += cost;
        state.ready.push_back(request);
        self.changed.notify_all();
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
    fn has_room(&self, cost: usize, limits: PackLimits) -> bool {
        let fits = self.cost.saturating_add(cost) <= limits.cost;
        self.ready.is_empty() || (self.ready.len() < limits.items && fits)
    }
}

/// The thread that stages: until every handle is gone, or the model's thread has ended.
pub(super) fn stage_all(stager: &dyn Stager, queue: Queue, ahead: &Ahead) {
    while let Some(mut request) = queue.take_one() {
        if request.reply.is_closed() {
            continue;
        }
        // What cannot be staged is the batch's to find out: it has an error for it.
        let staged = catch_unwind(AssertUnwindSafe(|| stager.stage(&request.job.views)));
        request.staged = staged.ok().flatten();
        if let Err(request) = ahead.lay(request) {
            return queue.leave(vec![*request]);
        }
    }
    ahead.finish();
}
