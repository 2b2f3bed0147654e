//! What all handles of one file share.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::Database;
use selvedge_thread_store::implement::{ChangeLog, ChangeSignal};
use uuid::Uuid;

/// The database, and what all handles of it share. redb opens a file in one process only, so this can be in memory.
pub(crate) struct SharedFile {
    pub(crate) database: Database,
    /// The ids of the handles that exist. A claim of any other handle is void: the handle was dropped, or its process
    /// ended.
    pub(crate) holders: Mutex<HashSet<Uuid>>,
    /// Wakes the callers that wait for lines or changes.
    pub(crate) signal: ChangeSignal,
    /// The versions of all threads when they were last compared. [`ChangeLog`] creates the pages of `list_changes` from
    /// them.
    pub(crate) changes: Mutex<ChangeLog>,
}

/// Locks a mutex, also a poisoned one. No code here panics between two changes that belong together, so what a poisoned
/// lock guards is consistent.
pub(crate) fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
