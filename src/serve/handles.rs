//! What clients come back for, by a handle that cannot be guessed: sessions, prepared statements, plans that wait to be fetched.
//!
//! A handle is its owner's alone. Each owner keeps a bounded number, the oldest goes first, and none that nobody came back for stays.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::AppError;
use crate::listen::secret;

/// Things by handle.
#[derive(Debug)]
pub(super) struct Handles<T> {
    kept: Mutex<HashMap<String, Kept<T>>>,
    /// Most of one owner.
    most: usize,
    /// How long one stays that nobody comes back for.
    idle: Duration,
}

#[derive(Debug)]
struct Kept<T> {
    owner: Arc<str>,
    used: Instant,
    thing: T,
}

impl<T> Handles<T> {
    /// None yet.
    pub(super) fn new(most: usize, idle: Duration) -> Self {
        Self {
            kept: Mutex::default(),
            most,
            idle,
        }
    }

    /// Keeps a thing for its owner, who comes back with what this gives.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub(super) fn put(&self, owner: &Arc<str>, thing: T) -> Result<String, AppError> {
        let handle = secret()?;
        let mut kept = self.lock();
        kept.retain(|_, one| one.used.elapsed() < self.idle);
        let own = || kept.iter().filter(|(_, one)| one.owner == *owner);
        if own().count() >= self.most {
            let oldest = own().min_by_key(|(_, one)| one.used);
            let oldest = oldest.map(|(handle, _)| handle.clone());
            oldest.and_then(|handle| kept.remove(&handle));
        }
        let owner = Arc::clone(owner);
        let used = Instant::now();
        kept.insert(handle.clone(), Kept { owner, used, thing });
        Ok(handle)
    }

    /// Gives a thing back to its owner, and keeps it no longer.
    pub(super) fn take(&self, owner: &Arc<str>, handle: &str) -> Option<T> {
        let mut kept = self.lock();
        let one = kept.get(handle).filter(|one| one.owner == *owner)?;
        let fresh = one.used.elapsed() < self.idle;
        kept.remove(handle).map(|one| one.thing).filter(|_| fresh)
    }

    /// What the owner's thing says, and keeps it on.
    pub(super) fn with<R>(
        &self,
        owner: &Arc<str>,
        handle: &str,
        look: impl FnOnce(&mut T) -> R,
    ) -> Option<R> {
        let mut kept = self.lock();
        let one = kept.get_mut(handle)?;
        if one.owner != *owner || one.used.elapsed() >= self.idle {
            return None;
        }
        one.used = Instant::now();
        Some(look(&mut one.thing))
    }

    /// Forgets all of an owner.
    pub(super) fn forget(&self, owner: &str) {
        self.lock().retain(|_, one| *one.owner != *owner);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Kept<T>>> {
        // The map is whole at every point where a panic could leave the lock.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handle_is_its_owners_and_old_ones_go() {
        let handles = Handles::new(2, Duration::from_secs(60));
        let (anna, bob): (Arc<str>, Arc<str>) = ("anna".into(), "bob".into());
        let first = handles.put(&anna, 1).unwrap();
        assert_eq!(handles.take(&bob, &first), None);
        assert_eq!(handles.with(&bob, &first, |one| *one), None);
        assert_eq!(handles.with(&anna, &first, |one| *one), Some(1));
        let second = handles.put(&anna, 2).unwrap();
        let other = handles.put(&bob, 3).unwrap();
        handles.with(&anna, &first, |_| ());
        let third = handles.put(&anna, 4).unwrap();
        assert_eq!(handles.take(&anna, &second), None, "the oldest went");
        assert_eq!(handles.take(&anna, &first), Some(1));
        assert_eq!(handles.take(&anna, &first), None, "it was given back");
        assert_eq!(handles.take(&anna, &third), Some(4));
        assert_eq!(handles.take(&bob, &other), Some(3));
        let (fourth, other) = (
            handles.put(&anna, 5).unwrap(),
            handles.put(&bob, 6).unwrap(),
        );
        handles.forget(&anna);
        assert_eq!(handles.take(&anna, &fourth), None);
        assert_eq!(handles.take(&bob, &other), Some(6));
        let passing = Handles::new(2, Duration::ZERO);
        let handle = passing.put(&anna, 1).unwrap();
        assert_eq!(passing.take(&anna, &handle), None);
    }
}
