//! The thread records that are behind their lines.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use selvedge_protocol::ThreadId;
use tokio::sync::Semaphore;

/// The threads whose records are being folded again.
pub(crate) struct RecordsBehind {
    waiting: Mutex<HashSet<ThreadId>>,
    /// One history at a time is read for this.
    pub(crate) turn: Semaphore,
}

impl Default for RecordsBehind {
    fn default() -> Self {
        Self { waiting: Mutex::default(), turn: Semaphore::new(1) }
    }
}

impl RecordsBehind {
    pub(crate) fn waiting(&self) -> MutexGuard<'_, HashSet<ThreadId>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
