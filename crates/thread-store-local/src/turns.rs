//! Whose turn it is to change a live thread.
//!
//! Changes take effect in the order of the first polls of their calls. Most of them are small: one write, made by the task that
//! polls. For these a lock that is free costs next to nothing. Whatever takes longer is done elsewhere, or needs to be waited for,
//! stands in a queue, and as long as somebody stands there or has come from there, everybody else goes to its end.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use selvedge_thread_store::implement::RecentBatches;
use tokio::sync::OwnedMutexGuard;

/// The turns of a thread.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    state: Mutex<State>,
    /// First come, first served.
    queue: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct State {
    /// The newest changes. Whoever came from the queue has them.
    recent: RecentBatches,
    /// How many are in the queue or have come from it.
    queued: usize,
}

impl Turns {
    /// Takes the turn at once, for work that is short: others block their threads meanwhile. Returns `None` if it has to be
    /// waited for.
    #[inline]
    pub(crate) fn at_once(&self) -> Option<ShortTurn<'_>> {
        let state = self.state();
        (state.queued == 0).then_some(ShortTurn(state))
    }

    /// Waits for the turn, asleep, in the order of first polls.
    pub(crate) async fn wait(self: &Arc<Self>) -> Turn {
        let place = self.queue_up();
        Turn::new(Arc::clone(&self.queue).lock_owned().await, place)
    }

    /// The same for a thread that may block.
    pub(crate) fn wait_blocking(self: &Arc<Self>) -> Turn {
        let place = self.queue_up();
        Turn::new(Arc::clone(&self.queue).blocking_lock_owned(), place)
    }

    fn queue_up(self: &Arc<Self>) -> Place {
        self.state().queued += 1;
        Place(Arc::clone(self))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn to make a short change.
#[derive(Debug)]
pub(crate) struct ShortTurn<'a>(MutexGuard<'a, State>);

impl ShortTurn<'_> {
    #[inline]
    pub(crate) fn recent(&mut self) -> &mut RecentBatches {
        &mut self.0.recent
    }
}

/// A place in the queue, from first poll to the end of the turn. Whoever does not wait any more gives it up.
#[derive(Debug)]
struct Place(Arc<Turns>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.state().queued -= 1;
    }
}

/// The turn to change a thread, with the newest changes. It may be taken to another thread.
#[derive(Debug)]
pub(crate) struct Turn {
    recent: RecentBatches,
    // Dropped in this order: the next one in the queue takes over before somebody at once can.
    _queue: OwnedMutexGuard<()>,
    place: Place,
}

impl Turn {
    fn new(queue: OwnedMutexGuard<()>, place: Place) -> Self {
        let recent = std::mem::take(&mut place.0.state().recent);
        Self { recent, _queue: queue, place }
    }
}

impl Deref for Turn {
    type Target = RecentBatches;

    fn deref(&self) -> &RecentBatches {
        &self.recent
    }
}

impl DerefMut for Turn {
    fn deref_mut(&mut self) -> &mut RecentBatches {
        &mut self.recent
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.place.0.state().recent = std::mem::take(&mut self.recent);
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use selvedge_thread_store::BatchId;
    use selvedge_thread_store::implement::BatchOutcome;

    use super::*;

    #[test]
    fn turns_come_in_the_order_of_first_polls() {
        let turns = Arc::new(Turns::default());
        let mut context = Context::from_waker(Waker::noop());
        let id = BatchId::generate();
        turns.at_once().expect("nobody else has it").recent().push(id, BatchOutcome::Reverted(1));

        let first = turns.wait_blocking();
        assert_eq!(first.last(), Some(id), "the newest changes come with the turn");
        assert!(turns.at_once().is_none());
        let mut second = pin!(turns.wait());
        let mut dropped = Box::pin(turns.wait());
        let mut third = pin!(turns.wait());
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert!(dropped.as_mut().poll(&mut context).is_pending());
        assert!(third.as_mut().poll(&mut context).is_pending());
        drop(first);
        assert!(turns.at_once().is_none(), "others wait");
        assert!(third.as_mut().poll(&mut context).is_pending());
        let Poll::Ready(mut turn) = second.as_mut().poll(&mut context) else { panic!("it is the second one's turn") };
        turn.push(id, BatchOutcome::Reverted(2));
        drop(dropped);
        drop(turn);
        let Poll::Ready(turn) = third.as_mut().poll(&mut context) else { panic!("it is the third one's turn") };
        assert_eq!(turn.find(id), Some(BatchOutcome::Reverted(1)));
        drop(turn);
        assert_eq!(turns.at_once().and_then(|mut turn| turn.recent().last()), Some(id));
    }
}
