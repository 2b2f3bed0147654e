//! Order of the changes to threads that are not live in a store.
//!
//! A store that completes a dropped call in the background moves the permit of the thread into that work, so the next call on the
//! same thread waits until the work is done. A caller that repeats a dropped call then finds the thread either unchanged or
//! completely changed, and never conflicts with its own first call. Without the order, a dropped call may take effect after
//! later calls: a thread would be archived, or live, again, and nobody would know of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use selvedge_protocol::ThreadId;
use tokio::sync::OwnedMutexGuard;

/// Above this many threads, those that nobody changes are removed from the map. A lower number scans the map more often, a
/// higher one keeps more idle entries.
const MAX_IDLE_THREADS: usize = 64;

/// A queue for each thread that is being changed, and is not live. A live thread has an order of its own: that of its writer.
#[derive(Debug, Default)]
pub struct ColdQueues(Mutex<HashMap<ThreadId, Arc<tokio::sync::Mutex<()>>>>);

impl ColdQueues {
    /// Waits for the permit to change a thread, in the order of first polls. It ends when it is dropped.
    pub async fn acquire(&self, thread_id: ThreadId) -> OwnedMutexGuard<()> {
        let queue = {
            let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if queues.len() >= MAX_IDLE_THREADS {
                // Every waiter and every holder of a permit has a reference of its own. With the map's alone the queue is idle.
                queues.retain(|_, queue| Arc::strong_count(queue) > 1);
            }
            Arc::clone(queues.entry(thread_id).or_default())
        };
        queue.lock_owned().await
    }
}
