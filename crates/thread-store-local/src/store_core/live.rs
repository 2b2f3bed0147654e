//! The threads that this store writes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use selvedge_protocol::{StoredThread, ThreadId};
use selvedge_rollout::RolloutRecorder;
use selvedge_thread_store::{Result, StoreError};

use super::unsynced_batches::UnsyncedBatches;
use super::write_queue::{WritePermit, WriteQueue};
use crate::error::held_here;

/// A claim of this store on a thread: the recorder, which holds the writer lock, and what belongs to it in memory.
#[derive(Debug)]
pub(crate) struct LiveClaim {
    /// The recorder of the newest segment. A revert replaces the segment, under a permit of [`queue`](Self::queue).
    pub(crate) recorder: RolloutRecorder,
    /// The thread record with all derived patches applied. `None` until a caller requests it.
    record: Mutex<Option<StoredThread>>,
    /// The batches that wait for an fsync.
    pub(crate) unsynced: UnsyncedBatches,
    /// The queue of the calls that write. A task waits in it without blocking its OS thread, and never waits for a lock of the
    /// recorder.
    pub(crate) queue: Arc<WriteQueue>,
    /// Whether the thread has a file. Creating the file takes locks of the home, so a blocking thread does it.
    is_materialized: AtomicBool,
    /// The number of the claim.
    pub(crate) epoch: u64,
}

impl LiveClaim {
    /// Creates a claim. `epoch` is the store's newest claim number.
    pub(crate) fn new(recorder: RolloutRecorder, epoch: u64) -> Self {
        let is_materialized = AtomicBool::new(!recorder.is_lazy());
        let (record, unsynced) = (Mutex::new(None), UnsyncedBatches::default());
        Self { recorder, record, unsynced, queue: Arc::default(), is_materialized, epoch }
    }

    /// Waits for the permit to change the thread.
    pub(crate) async fn acquire(&self) -> WritePermit {
        self.queue.acquire().await
    }

    /// Returns whether the thread is known to have a file. A thread whose file was just created may still return `false`.
    pub(crate) fn is_materialized(&self) -> bool {
        // Relaxed is enough: an outdated `false` only sends an append to a blocking thread, which finds the file.
        self.is_materialized.load(Ordering::Relaxed)
    }

    /// Records that the thread was written, so that it has a file.
    pub(crate) fn mark_materialized(&self) {
        // A store at every append would make cores compete for the cache line; a load does not.
        if !self.is_materialized() {
            self.is_materialized.store(true, Ordering::Relaxed);
        }
    }

    /// Forgets the thread record, because the log has changed in a way that it does not reflect.
    pub(crate) fn forget_record(&self) {
        *self.record() = None;
    }

    pub(crate) fn record(&self) -> MutexGuard<'_, Option<StoredThread>> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The live threads of a store.
#[derive(Debug, Default)]
pub(crate) struct LiveThreads(RwLock<HashMap<ThreadId, Arc<LiveClaim>>>);

impl LiveThreads {
    /// Returns the claim on a live thread.
    ///
    /// # Errors
    /// `NotFound` (live) if there is none.
    pub(crate) fn get(&self, thread_id: ThreadId) -> Result<Arc<LiveClaim>> {
        self.find(thread_id).ok_or(StoreError::not_live(thread_id))
    }

    pub(crate) fn find(&self, thread_id: ThreadId) -> Option<Arc<LiveClaim>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&thread_id).cloned()
    }

    /// Checks that a thread is not live in this store.
    ///
    /// # Errors
    /// `Conflict` with this process.
    pub(crate) fn ensure_not_live(&self, thread_id: ThreadId) -> Result<()> {
        if self.find(thread_id).is_some() { Err(held_here(thread_id)) } else { Ok(()) }
    }

    /// Adds a claim.
    ///
    /// # Errors
    /// `Conflict` with this process if the thread is live already.
    pub(crate) fn add(&self, thread_id: ThreadId, live: LiveClaim) -> Result<()> {
        let mut threads = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if threads.contains_key(&thread_id) {
            return Err(held_here(thread_id));
        }
        threads.insert(thread_id, Arc::new(live));
        Ok(())
    }

    /// Removes a claim and returns it.
    ///
    /// # Errors
    /// `NotFound` (live) if there is none.
    pub(crate) fn remove(&self, thread_id: ThreadId) -> Result<Arc<LiveClaim>> {
        let mut threads = self.0.write().unwrap_or_else(PoisonError::into_inner);
        threads.remove(&thread_id).ok_or(StoreError::not_live(thread_id))
    }
}
