//! The threads that this store writes.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use selvedge_protocol::{StoredThread, ThreadId};
use selvedge_rollout::RolloutRecorder;
use selvedge_thread_store::{Result, StoreError};

use crate::error::held_here;
use crate::sync::WaitingBatches;

/// A live thread.
#[derive(Debug)]
pub(crate) struct Live {
    /// The recorder of the newest segment.
    recorder: RwLock<RolloutRecorder>,
    /// The thread's row as observed patches made it, once somebody asked for it.
    row: Mutex<Option<StoredThread>>,
    /// The batches that wait for the medium.
    pub(crate) waiting: WaitingBatches,
}

impl Live {
    pub(crate) fn new(recorder: RolloutRecorder) -> Self {
        Self { recorder: RwLock::new(recorder), row: Mutex::new(None), waiting: WaitingBatches::default() }
    }

    /// Does something with the recorder, as others may at the same time.
    pub(crate) fn with_recorder<T>(&self, work: impl FnOnce(&RolloutRecorder) -> T) -> T {
        work(&self.recorder.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Does something with the recorder that changes what the thread's history is. Appends wait meanwhile.
    pub(crate) fn alone_with_recorder<T>(&self, work: impl FnOnce(&RolloutRecorder) -> T) -> T {
        let recorder = self.recorder.write().unwrap_or_else(PoisonError::into_inner);
        let result = work(&recorder);
        *self.row() = None;
        result
    }

    pub(crate) fn row(&self) -> MutexGuard<'_, Option<StoredThread>> {
        self.row.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The live threads of a store.
#[derive(Debug, Default)]
pub(crate) struct LiveThreads(RwLock<HashMap<ThreadId, Arc<Live>>>);

impl LiveThreads {
    /// A live thread.
    ///
    /// # Errors
    /// `NotFound` (live).
    pub(crate) fn get(&self, thread_id: ThreadId) -> Result<Arc<Live>> {
        self.find(thread_id).ok_or(StoreError::not_live(thread_id))
    }

    pub(crate) fn find(&self, thread_id: ThreadId) -> Option<Arc<Live>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(&thread_id).cloned()
    }

    /// Refuses when the thread is live here.
    ///
    /// # Errors
    /// `Conflict` with this process.
    pub(crate) fn refuse(&self, thread_id: ThreadId) -> Result<()> {
        if self.find(thread_id).is_some() { Err(held_here(thread_id)) } else { Ok(()) }
    }

    /// Adds a live thread.
    ///
    /// # Errors
    /// `Conflict` with this process when it is live already.
    pub(crate) fn add(&self, thread_id: ThreadId, live: Live) -> Result<()> {
        let mut threads = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if threads.contains_key(&thread_id) {
            return Err(held_here(thread_id));
        }
        threads.insert(thread_id, Arc::new(live));
        Ok(())
    }

    /// Takes a live thread out.
    ///
    /// # Errors
    /// `NotFound` (live).
    pub(crate) fn remove(&self, thread_id: ThreadId) -> Result<Arc<Live>> {
        let mut threads = self.0.write().unwrap_or_else(PoisonError::into_inner);
        threads.remove(&thread_id).ok_or(StoreError::not_live(thread_id))
    }
}
