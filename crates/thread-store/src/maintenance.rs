//! Housekeeping: what makes the storage of a store smaller or faster, and changes nothing that a reader is told.

use selvedge_protocol::{ThreadId, Timestamp};

use crate::StoreError;

/// Request for housekeeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaintenanceRequest {
    /// Only threads that were last updated before this time: whoever goes on with a thread may have to undo what was done.
    pub updated_before: Timestamp,
}

/// How far housekeeping is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaintenanceProgress {
    /// How many threads are done.
    pub threads_done: u64,
    /// How many there are to do.
    pub threads: u64,
    /// How many bytes those that are done had in storage.
    pub bytes_done: u64,
    /// How many bytes all of them have.
    pub bytes: u64,
}

/// What housekeeping came to.
#[derive(Debug, Default)]
pub struct MaintenanceReport {
    /// How many threads are stored in another way now.
    pub threads: u64,
    /// How many bytes of storage these took before.
    pub bytes_before: u64,
    /// How many bytes they take now.
    pub bytes_after: u64,
    /// What was left as it is, and why: somebody writes a thread, or the system refused.
    pub left: Vec<(ThreadId, StoreError)>,
}

impl MaintenanceReport {
    /// Returns whether there was nothing to do.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.threads == 0 && self.left.is_empty()
    }
}
