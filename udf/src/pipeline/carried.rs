//! The encoded image between the two models of a cascade, so that none is fetched for both.
//!
//! Owns its place and the memory that it holds meanwhile. This memory is a budget of its own for which nobody waits: a fetch that
//! waited for it would wait for the answers of other images, and these perhaps for that fetch. An image without room is fetched again.

use std::sync::{Arc, Mutex, PoisonError};

use picsift_images::Fetched;

use crate::pipeline::budget::{Budget, MemoryPermit};

/// The place of one image.
#[derive(Debug)]
pub(crate) struct Carried {
    budget: Arc<Budget>,
    image: Mutex<Option<(Fetched, MemoryPermit)>>,
}

impl Carried {
    pub(crate) fn within(budget: &Arc<Budget>) -> Self {
        Self {
            budget: Arc::clone(budget),
            image: Mutex::default(),
        }
    }

    /// Leaves an image that was fetched, if there is room.
    pub(crate) fn leave(&self, fetched: &Fetched) {
        let held = self.budget.try_hold(fetched.bytes.len());
        *self.place() = held.map(|held| (fetched.clone(), held));
    }

    /// Takes the image that was left, with the memory that it holds.
    pub(crate) fn take(&self) -> Option<(Fetched, MemoryPermit)> {
        self.place().take()
    }

    fn place(&self) -> std::sync::MutexGuard<'_, Option<(Fetched, MemoryPermit)>> {
        self.image.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
