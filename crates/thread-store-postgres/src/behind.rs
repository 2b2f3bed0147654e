//! The threads whose records or projections are behind their lines.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use selvedge_protocol::ThreadId;
use tokio::sync::Semaphore;

/// The threads whose records and projections will be made again.
pub(crate) struct RecordsBehind {
    /// Whether the record of each has to be stored, too.
    waiting: Mutex<HashMap<ThreadId, bool>>,
    /// One history at a time is read for this.
    pub(crate) turn: Semaphore,
}

impl Default for RecordsBehind {
    fn default() -> Self {
        Self { waiting: Mutex::default(), turn: Semaphore::new(1) }
    }
}

impl RecordsBehind {
    pub(crate) fn waiting(&self) -> MutexGuard<'_, HashMap<ThreadId, bool>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
