//! The batches of one thread that are written and not synced.

use std::sync::{Mutex, MutexGuard, PoisonError};

use selvedge_rollout::WrittenBatch;
use selvedge_thread_store::Result;
use tokio::sync::oneshot;

use crate::error::store_error;

/// The batches of one live thread that wait for an fsync, with the callers that wait for them. `group_commit.rs` has the queue
/// of the threads that have any.
#[derive(Debug, Default)]
pub(crate) struct UnsyncedBatches(Mutex<PendingBatches>);

#[derive(Debug, Default)]
struct PendingBatches {
    batches: Vec<(WrittenBatch, oneshot::Sender<Result<()>>)>,
    /// Whether the thread is in the queue or is being synced.
    is_queued: bool,
}

impl UnsyncedBatches {
    /// Adds a batch. Returns whether the caller has to put the thread into the queue.
    pub(crate) fn add(&self, batch: WrittenBatch, done: oneshot::Sender<Result<()>>) -> bool {
        let mut pending = self.pending();
        pending.batches.push((batch, done));
        !std::mem::replace(&mut pending.is_queued, true)
    }

    /// Syncs the batches that are pending now. Returns whether more have collected meanwhile.
    pub(crate) fn sync(&self) -> bool {
        let batches = std::mem::take(&mut self.pending().batches);
        // The last batch first: an fsync covers everything before it, so for the others nothing is left to do.
        for (batch, done) in batches.into_iter().rev() {
            // A caller that was dropped does not receive its result.
            let _ = done.send(batch.sync().map_err(store_error));
        }
        // Decided under the lock that `add` takes. A batch added before is reported here; one added later finds
        // `is_queued` false and queues the thread itself. So none is forgotten.
        let mut pending = self.pending();
        pending.is_queued = !pending.batches.is_empty();
        pending.is_queued
    }

    fn pending(&self) -> MutexGuard<'_, PendingBatches> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
