//! The threads that this store writes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use selvedge_protocol::{StoredThread, ThreadId};
use selvedge_rollout::RolloutRecorder;
use selvedge_thread_store::{Result, StoreError};

use crate::error::held_here;
use crate::sync::WaitingBatches;
use crate::turns::{Turn, Turns};

/// A live thread.
#[derive(Debug)]
pub(crate) struct Live {
    /// The recorder of the newest segment. A rewind changes which one that is, in a turn of its own.
    pub(crate) recorder: RolloutRecorder,
    /// The thread's row as observed patches made it, once somebody asked for it.
    row: Mutex<Option<StoredThread>>,
    /// The batches that wait for the medium.
    pub(crate) waiting: WaitingBatches,
    /// Whose turn it is to change the thread, so that a task waits here, asleep, and never on a lock of the recorder.
    pub(crate) turns: Arc<Turns>,
    /// Whether the thread has a file. Making it takes locks of the home.
    is_begun: AtomicBool,
    /// The number of the claim.
    pub(crate) epoch: u64,
}

impl Live {
    /// A claim of a thread; its number is that of the store's newest claim.
    pub(crate) fn new(recorder: RolloutRecorder, epoch: u64) -> Self {
        let is_begun = AtomicBool::new(!recorder.is_lazy());
        let (row, waiting) = (Mutex::new(None), WaitingBatches::default());
        Self { recorder, row, waiting, turns: Arc::default(), is_begun, epoch }
    }

    /// Waits for the turn to change the thread.
    pub(crate) async fn turn(&self) -> Turn {
        self.turns.wait().await
    }

    /// Whether the thread has a file, for sure.
    pub(crate) fn is_begun(&self) -> bool {
        self.is_begun.load(Ordering::Relaxed)
    }

    /// The thread was written, so it has a file.
    pub(crate) fn has_begun(&self) {
        if !self.is_begun() {
            self.is_begun.store(true, Ordering::Relaxed);
        }
    }

    /// Forgets the row: the log says something else now.
    pub(crate) fn forget_row(&self) {
        *self.row() = None;
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
