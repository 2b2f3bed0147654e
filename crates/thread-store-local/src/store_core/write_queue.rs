//! Order of the writers of one live thread: first come, first served.
//!
//! Changes take effect in the order in which their calls are polled for the first time. There are two ways to get a permit:
//!
//! ```text
//!                 no call is queued
//!   try_acquire ───────────────────────▶ InlinePermit: holds `state` locked for one short write
//!
//!   acquire ──▶ queued += 1 ──▶ wait for `queue` ──▶ WritePermit: owns `recent`, may be sent to a blocking thread
//!                                                        │ drop
//!                                                        ▼
//!                                   `recent` goes back ▶ `queue` passes on ▶ queued -= 1
//! ```
//!
//! Most appends are one small write by the task that polls. For these a free `std` mutex costs next to nothing, while a Tokio
//! mutex would cost more than the write. Work that blocks, or has to wait for its turn, uses the queue. As long as any call is
//! in the queue or holds its permit, every other call goes to the end of the queue, so an inline write never overtakes another call.
//!
//! [`ColdQueues`](selvedge_thread_store::implement::ColdQueues) is the simpler twin for threads that are not live. Nothing about a cold thread is kept in memory between
//! two calls, and each change of one waits for files anyway. It needs no inline permit and no list of recent batches, but it
//! needs a map from threads to queues, which a live thread does not: its queue is a field of the live thread.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use selvedge_thread_store::implement::RecentBatches;
use tokio::sync::OwnedMutexGuard;

/// The queue of the writers of one live thread.
#[derive(Debug, Default)]
pub(crate) struct WriteQueue {
    state: Mutex<WriteQueueState>,
    /// Tokio's mutex is fair: it is acquired in the order of first polls.
    queue: Arc<tokio::sync::Mutex<()>>,
}

#[derive(Debug, Default)]
struct WriteQueueState {
    /// The newest batches of the thread. They move into the [`WritePermit`] while there is one.
    recent: RecentBatches,
    /// How many calls wait in the queue or hold its permit.
    queued: usize,
}

impl WriteQueue {
    /// Returns a permit for one short write, if no call is queued. `None` if the caller has to [`acquire`](Self::acquire).
    ///
    /// Other callers block their threads while this permit is held, so it must not be held across anything that waits.
    #[inline]
    pub(crate) fn try_acquire(&self) -> Option<InlinePermit<'_>> {
        let state = self.state();
        (state.queued == 0).then_some(InlinePermit(state))
    }

    /// Waits for the permit without blocking the thread, in the order of first polls.
    pub(crate) async fn acquire(self: &Arc<Self>) -> WritePermit {
        let position = self.enqueue();
        WritePermit::new(Arc::clone(&self.queue).lock_owned().await, position)
    }

    /// Waits for the permit on a thread that may block.
    pub(crate) fn acquire_blocking(self: &Arc<Self>) -> WritePermit {
        let position = self.enqueue();
        WritePermit::new(Arc::clone(&self.queue).blocking_lock_owned(), position)
    }

    fn enqueue(self: &Arc<Self>) -> QueuePosition {
        // An inline writer holds this lock. It has finished its write before anything counts as queued.
        self.state().queued += 1;
        QueuePosition(Arc::clone(self))
    }

    fn state(&self) -> MutexGuard<'_, WriteQueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The permit for a short write by the calling task.
#[derive(Debug)]
pub(crate) struct InlinePermit<'a>(MutexGuard<'a, WriteQueueState>);

impl InlinePermit<'_> {
    #[inline]
    pub(crate) fn recent(&mut self) -> &mut RecentBatches {
        &mut self.0.recent
    }
}

/// A position in the queue, from the first poll to the end of the permit. Dropping it gives it up, also while still waiting.
#[derive(Debug)]
struct QueuePosition(Arc<WriteQueue>);

impl Drop for QueuePosition {
    fn drop(&mut self) {
        self.0.state().queued -= 1;
    }
}

/// The permit to change a thread, together with its newest batches. It can be sent to another thread.
#[derive(Debug)]
pub(crate) struct WritePermit {
    recent: RecentBatches,
    // Fields are dropped in this order. The next call in the queue gets the mutex before `queued` falls to zero, so that no
    // inline writer gets in between. `Drop` below has put `recent` back before either.
    _queue: OwnedMutexGuard<()>,
    position: QueuePosition,
}

impl WritePermit {
    fn new(queue: OwnedMutexGuard<()>, position: QueuePosition) -> Self {
        let recent = std::mem::take(&mut position.0.state().recent);
        Self { recent, _queue: queue, position }
    }
}

impl Deref for WritePermit {
    type Target = RecentBatches;

    fn deref(&self) -> &RecentBatches {
        &self.recent
    }
}

impl DerefMut for WritePermit {
    fn deref_mut(&mut self) -> &mut RecentBatches {
        &mut self.recent
    }
}

impl Drop for WritePermit {
    fn drop(&mut self) {
        self.position.0.state().recent = std::mem::take(&mut self.recent);
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
    fn permits_are_granted_in_the_order_of_first_polls() {
        let queue = Arc::new(WriteQueue::default());
        let mut context = Context::from_waker(Waker::noop());
        let id = BatchId::generate();
        queue.try_acquire().expect("no call is queued").recent().push(id, BatchOutcome::Reverted(1));

        let first = queue.acquire_blocking();
        assert_eq!(first.last(), Some(id), "the permit carries the newest batches");
        assert!(queue.try_acquire().is_none());
        let mut second = pin!(queue.acquire());
        let mut dropped = Box::pin(queue.acquire());
        let mut third = pin!(queue.acquire());
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert!(dropped.as_mut().poll(&mut context).is_pending());
        assert!(third.as_mut().poll(&mut context).is_pending());
        drop(first);
        assert!(queue.try_acquire().is_none(), "other calls are queued");
        assert!(third.as_mut().poll(&mut context).is_pending());
        let Poll::Ready(mut permit) = second.as_mut().poll(&mut context) else { panic!("the second call is next") };
        permit.push(id, BatchOutcome::Reverted(2));
        drop(dropped);
        drop(permit);
        let Poll::Ready(permit) = third.as_mut().poll(&mut context) else { panic!("the third call is next") };
        assert_eq!(permit.find(id), Some(BatchOutcome::Reverted(1)));
        drop(permit);
        assert_eq!(queue.try_acquire().and_then(|mut permit| permit.recent().last()), Some(id));
    }
}
