//! Fair turns at a model that several share: one after the other, whoever has how many images waiting.
//!
//! Knows sharers by their numbers, and nothing of images or models. The model's own queue is first come, first served; as no more
//! images are let through than it is at and will be at next, the order in which they are let through is the order of answers.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

/// The turns at one model.
pub(crate) struct Turns(Mutex<State>);

struct State {
    free: usize,
    /// Those who wait, by sharer; the first one's first is next. No queue is empty.
    waiting: VecDeque<(u64, VecDeque<oneshot::Sender<Turn>>)>,
}

/// The right to ask about an image. Dropped, it is the next one's.
pub(crate) struct Turn(Option<Arc<Turns>>);

impl Turns {
    /// So many at once; 0 counts as 1.
    pub(crate) fn new(at_once: usize) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            free: at_once.max(1),
            waiting: VecDeque::new(),
        })))
    }

    /// Waits for a turn of this sharer. Dropping the future gives it up.
    pub(crate) async fn take(self: &Arc<Self>, share: u64) -> Turn {
        let turn = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.free > 0 {
                state.free -= 1;
                return Turn(Some(Arc::clone(self)));
            }
            let (give, turn) = oneshot::channel();
            match state.waiting.iter_mut().find(|(other, _)| *other == share) {
                Some((_, queue)) => queue.push_back(give),
                None => state.waiting.push_back((share, VecDeque::from([give]))),
            }
            turn
        };
        // A sender is dropped only together with all turns.
        turn.await.unwrap_or(Turn(None))
    }

    /// Gives a turn that has ended to the next, or keeps it.
    fn pass_on(self: Arc<Self>) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some((share, mut queue)) = state.waiting.pop_front() {
            let next = queue.pop_front();
            if !queue.is_empty() {
                state.waiting.push_back((share, queue));
            }
            let Some(next) = next else { continue };
            match next.send(Turn(Some(Arc::clone(&self)))) {
                Ok(()) => return,
                // Who waited is gone; the turn must not be passed on again while this lock is held.
                Err(mut turn) => turn.0 = None,
            }
        }
        state.free += 1;
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(turns) = self.0.take() {
            turns.pass_on();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt, poll};

    use super::*;

    #[tokio::test]
    async fn who_has_few_waits_for_one_turn_of_who_has_many() {
        let turns = Turns::new(1);
        let under_way = turns.take(1).await;
        let mut many: Vec<_> = (0..100).map(|_| Box::pin(turns.take(1))).collect();
        for one in &mut many {
            assert!(poll!(one).is_pending());
        }
        let mut few = Box::pin(turns.take(2));
        assert!(poll!(&mut few).is_pending());
        drop(under_way);
        let first = many[0].as_mut().now_or_never().expect("it came first");
        assert!(poll!(&mut few).is_pending());
        drop(first);
        assert!(few.now_or_never().is_some(), "not after the other 99");
    }

    #[tokio::test]
    async fn turns_of_those_who_left_are_not_lost() {
        let turns = Turns::new(2);
        let held = [turns.take(1).await, turns.take(1).await];
        let mut gone = Box::pin(turns.take(2));
        let mut given_and_gone = Box::pin(turns.take(3));
        let mut stays = Box::pin(turns.take(4));
        assert!(poll!(&mut gone).is_pending());
        assert!(poll!(&mut given_and_gone).is_pending());
        assert!(poll!(&mut stays).is_pending());
        drop(gone);
        let [one, other] = held;
        drop(one);
        drop(given_and_gone);
        assert!(stays.now_or_never().is_some());
        drop(other);
        assert!(turns.take(5).now_or_never().is_some());
        assert!(turns.take(5).now_or_never().is_some());
    }
}
