//! The workers' side of the queue: each takes jobs in its turn, and one whose device has broken gives its own back.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc};

use super::{Request, Shared};

/// The queue as a thread of a worker has it.
#[derive(Clone)]
pub(super) struct Queue {
    /// Weak, so that the queue is closed when nobody is left who asks.
    back: mpsc::WeakSender<Request>,
    /// Who waits for jobs waits for its turn first, in the order in which they came: what is free longest gets the next job.
    requests: Arc<Mutex<mpsc::Receiver<Request>>>,
    shared: Arc<Shared>,
}

impl Queue {
    /// The queue that holds so many jobs, and what fills it.
    pub(super) fn new(jobs: usize, shared: &Arc<Shared>) -> (mpsc::Sender<Request>, Self) {
        let (sender, requests) = mpsc::channel(jobs);
        let queue = Self {
            back: sender.downgrade(),
            requests: Arc::new(Mutex::new(requests)),
            shared: Arc::clone(shared),
        };
        (sender, queue)
    }

    /// Takes at most `most` jobs, after waiting for the first; none when every handle is gone.
    pub(super) fn take(&self, most: usize) -> Vec<Request> {
        let mut taken = Vec::new();
        let mut requests = self.requests.blocking_lock();
        requests.blocking_recv_many(&mut taken, most);
        taken
    }

    /// Takes the next job, after waiting for it; `None` when every handle is gone.
    pub(super) fn take_one(&self) -> Option<Request> {
        self.requests.blocking_lock().blocking_recv()
    }

    /// Leaves the queue for good, with jobs that were taken and not answered: the other devices' from now on, or where there is
    /// none left, of those that have the service's last error.
    pub(super) fn leave(self, open: Vec<Request>) {
        // First: when the last one has left, the queue is closed and nothing waits in it or for it for ever.
        drop(self.requests);
        for mut request in open {
            // Of the broken device, whose libraries panic when they are told to let go; no other could use it.
            std::mem::forget(request.staged.take());
            if self.shared.lost.get().is_some() {
                // It is dropped with its reply, which says the same as a reply would.
                continue;
            }
            if let Some(back) = self.back.upgrade() {
                let _ = back.blocking_send(request);
            }
        }
    }
}
