//! Order of the changes to a thread that is not live in this store.
//!
//! The work of a call runs on a blocking thread, and continues when the call is dropped. The work holds the permit, so the next
//! call on the same thread waits until the work is done. A caller that repeats a dropped call therefore finds the thread
//! either unchanged or completely changed, and never conflicts with the writer lock of its own first call.
//!
//! `write_queue.rs` is the twin for live threads; it explains why there are two.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use selvedge_protocol::ThreadId;
use tokio::sync::OwnedMutexGuard;

use crate::limits::MAX_IDLE_COLD_THREADS;

/// A queue for each thread that is being changed.
#[derive(Debug, Default)]
pub(crate) struct ColdQueues(Mutex<HashMap<ThreadId, Arc<tokio::sync::Mutex<()>>>>);

impl ColdQueues {
    /// Waits for the permit to change a thread, in the order of first polls.
    pub(crate) async fn acquire(&self, thread_id: ThreadId) -> OwnedMutexGuard<()> {
        let queue = {
            let mut queues = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if queues.len() >= MAX_IDLE_COLD_THREADS {
                // Every waiter and every holder of a permit has a reference of its own. With the map's alone the queue is idle.
                queues.retain(|_, queue| Arc::strong_count(queue) > 1);
            }
            Arc::clone(queues.entry(thread_id).or_default())
        };
        queue.lock_owned().await
    }
}
