//! How a job is asked to end.

use std::sync::Arc;

use tokio::sync::watch;

/// A handle that ends a job, from any thread and any number of times; clones end the same job.
#[derive(Debug, Clone)]
pub struct Cancel {
    finish: Arc<watch::Sender<bool>>,
    stop: Arc<watch::Sender<bool>>,
}

impl Default for Cancel {
    fn default() -> Self {
        Self {
            finish: Arc::new(watch::Sender::new(false)),
            stop: Arc::new(watch::Sender::new(false)),
        }
    }
}

impl Cancel {
    /// Lets the job finish and keep the rows that are under way, and end then.
    pub fn finish(&self) {
        self.finish.send_replace(true);
    }

    /// Ends the job at once: rows after the last finished shard are lost and will be labelled again.
    pub fn stop(&self) {
        self.stop.send_replace(true);
        self.finish();
    }

    /// Whether the job was asked to end, in either way.
    pub fn is_asked(&self) -> bool {
        *self.finish.borrow()
    }

    /// Becomes true when the job is asked to end, in either way.
    pub(super) fn finishing(&self) -> watch::Receiver<bool> {
        self.finish.subscribe()
    }

    /// Waits until the job is asked to end at once.
    pub(super) async fn stopped(&self) {
        // The sender lives as long as this handle.
        let _ = self.stop.subscribe().wait_for(|stop| *stop).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_stops_a_job_also_keeps_it_from_going_on() {
        let cancel = Cancel::default();
        let finishing = cancel.finishing();
        assert!(!cancel.is_asked() && !*finishing.borrow());
        cancel.clone().stop();
        cancel.stopped().await;
        assert!(cancel.is_asked() && *finishing.borrow());
    }
}
